//! This service's copies of the profiles: whose name stands beside a comment.
//!
//! The keyspace `profiles` is the profiles service's own: the same name, keys, tags and bytes in
//! the remote tier, so that whichever of the two loaded a profile spares the other doing it. Its
//! rounds and what the remote tier does not have come over gRPC.
//!
//! A comment without a name is worth more to its reader than none: while the profiles cannot say,
//! the last names known are shown, and where there is none, none; either is marked stale.

use crate::model::AuthorId;
use bytes::Bytes;
use larder::policy::Invalid;
use larder::{Answer, Error, Keyspace, Larder, Origin, Part, Policy, Read, Source, Value};
use larder_host::Entity;
use larder_runtime::client::Client;
use larder_wire::{Mark, Upstream, refusal};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// How long the profiles may take before comments are shown without waiting for them.
const PATIENCE: Duration = Duration::from_secs(1);
/// The age of a name that is not known: no bound, in a number that every client can read.
const NO_BOUND: Duration = Duration::from_millis(i64::MAX as u64);

/// A profile, and what is used of it, read from it once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Author {
    profile: Entity,
    /// A part of the profile's bytes.
    name: Bytes,
    followers: u64,
}

/// Invariant: the bytes are those of the profiles service's own `Entity`, name and all, since
/// what is stored here is read there. Test: `a_profile_loaded_by_one_service_is_a_hit_in_the_other`.
impl Value for Author {
    fn encode(&self) -> Bytes {
        self.profile.encode()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        #[derive(Clone, PartialEq, Message)]
        struct Named {
            #[prost(bytes = "bytes", tag = "2")]
            display_name: Bytes,
            #[prost(int64, tag = "5")]
            followers: i64,
        }
        let profile = Entity::decode(bytes)?;
        let named = Named::decode(profile.message.message()).ok()?;
        let name = named.display_name;
        // It goes into a string of the answer as it is.
        std::str::from_utf8(&name).ok()?;
        let followers = u64::try_from(named.followers).unwrap_or_default();
        Some(Self {
            profile,
            name,
            followers,
        })
    }

    fn weight(&self) -> usize {
        self.profile.weight() + size_of::<Bytes>() + size_of::<u64>()
    }

    fn version(&self) -> Option<u64> {
        self.profile.version()
    }
}

/// The handle on the profiles. Clones are of the same one.
#[derive(Clone)]
pub struct Authors(Keyspace<AuthorId, Author>);

/// The names of some authors, in the order asked; empty for who has no profile.
pub struct Names {
    /// The names.
    pub names: Vec<Bytes>,
    /// Where they came from; `None` where none was asked for.
    pub mark: Option<Mark>,
    /// What they are known from; `None` where some are not known, or not for sure.
    pub parts: Option<Vec<Part>>,
}

impl Authors {
    /// Opens the source and its keyspace. Must be called on a tokio runtime.
    pub fn open(larder: &Larder, profiles: Client) -> Result<Self, Invalid> {
        let upstream = Upstream::new("profiles", profiles);
        let loader = upstream.loader::<AuthorId, Author>("profiles");
        let source = larder.source("profiles").feed(Arc::new(upstream)).open();
        let policy = Policy {
            fail_safe: true,
            load_deadline: PATIENCE,
            ..Policy::default()
        };
        let keyspace = source.keyspace("profiles", loader).policy(policy).open()?;
        Ok(Self(keyspace))
    }

    /// The source of the profiles.
    pub fn source(&self) -> &Source {
        self.0.source()
    }

    /// The names of these authors, as fresh as asked or else marked stale. Fails only when the
    /// caller's own deadline passes.
    pub async fn names(&self, authors: &[AuthorId], read: &Read) -> Result<Names, Error> {
        match self.0.get_many(authors, read).await {
            Ok(answers) => Ok(self.known(&answers)),
            Err(error @ Error::CallerDeadline { .. }) => Err(error),
            Err(error) => {
                // For the log: what is no mere absence of the profiles is an error there.
                let _ = refusal(&error);
                Ok(self.last_known(authors))
            }
        }
    }

    /// How many follow each of these authors, none who has no profile. Who is asked for is in
    /// memory afterwards.
    pub async fn followers(&self, authors: &[AuthorId], read: &Read) -> Result<Vec<u64>, Error> {
        let answers = self.0.get_many(authors, read).await?;
        let followers = answers.iter().map(|answer| answer.value());
        Ok(followers
            .map(|author| author.map_or(0, |author| author.followers))
            .collect())
    }

    fn known(&self, answers: &[Answer<Author>]) -> Names {
        Names {
            names: answers.iter().map(name).collect(),
            mark: answers.iter().map(Mark::of).reduce(Mark::and),
            parts: Some(answers.iter().map(|answer| self.0.part(answer)).collect()),
        }
    }

    /// What memory has of them, however old.
    fn last_known(&self, authors: &[AuthorId]) -> Names {
        let mut whole = Mark {
            origin: Origin::Stale,
            age: Duration::ZERO,
        };
        let last = authors.iter().map(|author| {
            let answer = self.0.peek(author, &Read::any());
            let age = answer.as_ref().map_or(NO_BOUND, |answer| answer.age);
            whole.age = whole.age.max(age);
            answer.as_ref().map(name).unwrap_or_default()
        });
        Names {
            names: last.collect(),
            mark: Some(whole),
            parts: None,
        }
    }
}

fn name(answer: &Answer<Author>) -> Bytes {
    answer
        .value()
        .map(|author| author.name.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::Framed;
    use larder_proto::profiles::v1::Profile;

    #[test]
    fn a_profile_keeps_all_its_bytes_though_little_of_it_is_read() {
        let profile = Profile {
            id: "ada".to_owned(),
            display_name: "Ada Lovelace".to_owned(),
            bio: "Wrote the first program.".to_owned(),
            followers: 7,
            version: 3,
            ..Profile::default()
        };
        let stored = Entity::new(3, &profile).encode();
        let author = Author::decode(stored.clone()).expect("a profile");
        assert_eq!(
            (&author.name[..], author.followers),
            (&b"Ada Lovelace"[..], 7)
        );
        assert_eq!(author.encode(), stored);
    }

    #[test]
    fn what_is_no_profile_or_has_no_name_that_can_be_shown_is_refused() {
        let garbled = Entity {
            version: 1,
            message: Framed::copied(&[0x12, 2, 0xc3, 0x28]),
        };
        assert_eq!(Author::decode(garbled.encode()), None);
        assert_eq!(Author::decode(Bytes::from_static(b"short")), None);
        let nameless = Entity::new(1, &Profile::default());
        assert_eq!(
            Author::decode(nameless.encode()).expect("a profile").name,
            ""
        );
    }
}
