//! What a comment is: its checked types, and their way from and to the contract.

use bytes::Bytes;
use larder::{Key, Value};
use larder_api::mask::{Chosen, Fields};
use larder_api::{Checks, Id};
use larder_host::Entity;
use larder_proto::comments::v1 as wire;
use prost::Message;
use prost_types::Timestamp;
use tonic::Status;

/// The fields that an update may write.
pub const FIELDS: Fields = Fields(&["body"]);

const BODY_CHARS: usize = 10_000;
const MICROS: i64 = 1_000_000;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Id);

        impl $name {
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

        impl Key for $name {
            fn write(&self, text: &mut String) {
                text.push_str(self.as_str());
            }

            fn parse(text: &str) -> Option<Self> {
                Self::read(text)
            }
        }
    )*};
}

ids! {
    /// Which comment.
    CommentId;
    /// What it is about. Products are another service's.
    ProductId;
    /// Whose it is. Profiles are another service's.
    AuthorId;
}

/// A comment as its keyspace holds it: the message without its author's name, and the author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comment {
    /// The row.
    pub entity: Entity,
    /// Who wrote it, read from the row once.
    pub author: AuthorId,
}

/// In the remote tier it is the row alone.
impl Value for Comment {
    fn encode(&self) -> Bytes {
        self.entity.encode()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        #[derive(Clone, PartialEq, Message)]
        struct Signed {
            #[prost(string, tag = "3")]
            author_id: String,
        }
        let entity = Entity::decode(bytes)?;
        let signed = Signed::decode(entity.message.message()).ok()?;
        let author = AuthorId::read(&signed.author_id)?;
        Some(Self { entity, author })
    }

    fn weight(&self) -> usize {
        self.entity.weight() + size_of::<AuthorId>() + self.author.as_str().len()
    }

    fn version(&self) -> Option<u64> {
        self.entity.version()
    }
}

/// A comment to be created, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// Which it will be.
    pub id: CommentId,
    /// What it will be about.
    pub product: ProductId,
    /// Whose it will be.
    pub author: AuthorId,
    /// What it will say.
    pub body: String,
}

/// A change of a comment, checked: what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which comment.
    pub id: CommentId,
    /// What it says.
    pub body: Option<String>,
    /// Only if the comment is of this version.
    pub expected_version: Option<u64>,
}

impl Draft {
    /// The comment that a request wants created.
    pub fn new(request: wire::CreateCommentRequest) -> Result<Self, Status> {
        let comment = request.comment.unwrap_or_default();
        check(&comment)?;
        let id = Id::parse_or_new("comment.id", comment.id)?;
        Ok(Self {
            id: CommentId(id),
            product: ProductId::parse("comment.product_id", comment.product_id)?,
            author: AuthorId::parse("comment.author_id", comment.author_id)?,
            body: comment.body,
        })
    }
}

impl Change {
    /// The change that a request wants.
    pub fn new(request: wire::UpdateCommentRequest) -> Result<Self, Status> {
        let wire::UpdateCommentRequest {
            comment,
            update_mask,
            expected_version,
        } = request;
        let comment = comment.unwrap_or_default();
        let id = CommentId::parse("comment.id", comment.id.clone())?;
        let populated = |_: &str| !comment.body.is_empty();
        let chosen: Chosen = FIELDS.chosen(update_mask.as_ref(), populated)?;
        if chosen.has("body") {
            check(&comment)?;
        }
        Ok(Self {
            id,
            body: chosen.pick("body", comment.body),
            expected_version,
        })
    }
}

fn check(comment: &wire::Comment) -> Result<(), Status> {
    let checks = Checks::of("comment");
    checks.filled("body", &comment.body, BODY_CHARS).done()
}

/// A row's time as callers get it.
pub fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(MICROS) * 1000;
    Timestamp {
        seconds: micros.div_euclid(MICROS),
        // Below a second's nanoseconds, which fit.
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_reads_back_from_the_remote_tier_with_its_author() {
        let message = wire::Comment {
            id: "c".to_owned(),
            author_id: "ada".to_owned(),
            body: "b".to_owned(),
            ..wire::Comment::default()
        };
        let comment = Comment {
            entity: Entity::new(7, &message),
            author: AuthorId::read("ada").expect("an id"),
        };
        assert_eq!(Comment::decode(comment.encode()), Some(comment));
        let unsigned = Entity::new(7, &wire::Comment::default());
        assert_eq!(Comment::decode(unsigned.encode()), None);
        assert_eq!(Comment::decode(Bytes::from_static(&[0xff; 20])), None);
    }

    #[test]
    fn a_time_keeps_its_microseconds() {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(
            timestamp(1_700_000_000_123_456),
            time(1_700_000_000, 123_456_000)
        );
        assert_eq!(timestamp(0), time(0, 0));
    }
}
