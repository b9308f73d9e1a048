//! What a profile is: its checked types, and their way from and to the contract.

use larder::Key;
use larder_api::mask::{Chosen, Fields};
use larder_api::{Checks, Id};
use larder_proto::profiles::v1 as wire;
use prost_types::FieldMask;
use tonic::Status;

/// The fields that an update may write.
pub const FIELDS: Fields = Fields(&["display_name", "bio", "avatar_url", "followers"]);

const NAME_CHARS: usize = 200;
const BIO_CHARS: usize = 4_000;
const URL_CHARS: usize = 2_000;

/// Whose profile.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProfileId(Id);

impl ProfileId {
    /// The id in a request's `field`.
    pub fn parse(field: &str, text: String) -> Result<Self, Status> {
        Id::parse(field, text).map(Self)
    }

    /// The id that this text is, if it is one.
    pub fn read(text: &str) -> Option<Self> {
        Id::read(text).map(Self)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Key for ProfileId {
    fn write(&self, text: &mut String) {
        text.push_str(self.as_str());
    }

    fn parse(text: &str) -> Option<Self> {
        Self::read(text)
    }
}

/// A profile to be created, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// Whose it will be.
    pub id: ProfileId,
    /// What it will be like.
    pub content: Content,
}

/// What a profile says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    /// The name that others see.
    pub display_name: String,
    /// A few sentences.
    pub bio: String,
    /// Where the picture is.
    pub avatar_url: String,
    /// How many others follow.
    pub followers: i64,
}

/// A change of a profile, checked: what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whose profile.
    pub id: ProfileId,
    /// The name that others see.
    pub display_name: Option<String>,
    /// A few sentences.
    pub bio: Option<String>,
    /// Where the picture is.
    pub avatar_url: Option<String>,
    /// How many others follow.
    pub followers: Option<i64>,
    /// Only if the profile is of this version.
    pub expected_version: Option<u64>,
}

impl Draft {
    /// The profile that a request wants created.
    pub fn new(request: wire::CreateProfileRequest) -> Result<Self, Status> {
        let profile = request.profile.unwrap_or_default();
        let id = ProfileId(Id::parse_or_new("profile.id", profile.id.clone())?);
        check(&profile, |_| true)?;
        let wire::Profile {
            display_name,
            bio,
            avatar_url,
            followers,
            ..
        } = profile;
        Ok(Self {
            id,
            content: Content {
                display_name,
                bio,
                avatar_url,
                followers,
            },
        })
    }
}

impl Change {
    /// The change that a request wants.
    pub fn new(request: wire::UpdateProfileRequest) -> Result<Self, Status> {
        let wire::UpdateProfileRequest {
            profile,
            update_mask,
            expected_version,
        } = request;
        let profile = profile.unwrap_or_default();
        let id = ProfileId::parse("profile.id", profile.id.clone())?;
        let chosen = chosen(&profile, update_mask.as_ref())?;
        check(&profile, |field| chosen.has(field))?;
        Ok(Self {
            id,
            display_name: chosen.pick("display_name", profile.display_name),
            bio: chosen.pick("bio", profile.bio),
            avatar_url: chosen.pick("avatar_url", profile.avatar_url),
            followers: chosen.pick("followers", profile.followers),
            expected_version,
        })
    }
}

fn chosen(profile: &wire::Profile, mask: Option<&FieldMask>) -> Result<Chosen, Status> {
    FIELDS.chosen(mask, |field| match field {
        "display_name" => !profile.display_name.is_empty(),
        "bio" => !profile.bio.is_empty(),
        "avatar_url" => !profile.avatar_url.is_empty(),
        _ => profile.followers != 0,
    })
}

/// Whether the fields that are to be written can be.
fn check(profile: &wire::Profile, written: impl Fn(&str) -> bool) -> Result<(), Status> {
    let mut checks = Checks::of("profile");
    if written("display_name") {
        checks = checks.filled("display_name", &profile.display_name, NAME_CHARS);
    }
    if written("bio") {
        checks = checks.text("bio", &profile.bio, BIO_CHARS);
    }
    if written("avatar_url") {
        checks = checks.text("avatar_url", &profile.avatar_url, URL_CHARS);
    }
    if written("followers") {
        checks = checks.not_negative("followers", profile.followers);
    }
    checks.done()
}
