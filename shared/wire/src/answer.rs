//! What a caller is told about an answer.

use crate::names;
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::{Answer, Origin, Token};
use larder_proto::Framed;
use larder_runtime::shortcut::Reply;
use std::time::Duration;
use tonic::Response;
use tonic::metadata::MetadataMap;

/// Where an answer came from, and how old it can be. The mark of an answer that was made of
/// several is the worst of theirs: see [`Mark::and`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Where it came from.
    pub origin: Origin,
    /// How far behind its source it can be, at most.
    pub age: Duration,
}

impl Mark {
    /// The mark of one answer.
    pub fn of<V>(answer: &Answer<V>) -> Self {
        Self {
            origin: answer.origin,
            age: answer.age,
        }
    }

    /// The mark of something made of both: the farther origin, the greater age. A stale part
    /// makes the whole stale.
    pub fn and(self, other: Self) -> Self {
        let origin = if far(other.origin) > far(self.origin) {
            other.origin
        } else {
            self.origin
        };
        Self {
            origin,
            age: self.age.max(other.age),
        }
    }
}

fn far(origin: Origin) -> u8 {
    match origin {
        Origin::L1 => 0,
        Origin::L2 => 1,
        Origin::Source => 2,
        Origin::Stale => 3,
    }
}

const SOURCE: HeaderName = HeaderName::from_static(names::SOURCE);
const AGE: HeaderName = HeaderName::from_static(names::AGE);
const VERSION: HeaderName = HeaderName::from_static(names::VERSION);

/// Writes the mark, and the entity's version where it is one, into a response's metadata.
pub fn mark<T>(message: T, mark: Mark, version: Option<u64>) -> Response<T> {
    let mut response = Response::new(message);
    *response.metadata_mut() = MetadataMap::from_headers(metadata(mark, version));
    response
}

/// The whole answer, marked, of a call that is answered at once.
pub fn reply(message: &Framed, mark: Mark, version: Option<u64>) -> Reply {
    Reply {
        metadata: metadata(mark, version),
        body: message.body(),
    }
}

fn metadata(mark: Mark, version: Option<u64>) -> HeaderMap {
    let origin = match mark.origin {
        Origin::L1 => "l1",
        Origin::L2 => "l2",
        Origin::Source => "db",
        Origin::Stale => "stale",
    };
    // Rounded up: it is an upper bound.
    let millis = u64::try_from(mark.age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    // For what the transport adds, too.
    let mut metadata = HeaderMap::with_capacity(6);
    metadata.insert(SOURCE, HeaderValue::from_static(origin));
    metadata.insert(AGE, millis.into());
    if let Some(version) = version {
        metadata.insert(VERSION, version.into());
    }
    metadata
}

/// Writes the token of a write into its response's metadata.
pub fn put_token(metadata: &mut MetadataMap, token: &Token) {
    if let Ok(token) = token.encode().parse() {
        metadata.insert(names::TOKEN, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_whole_is_the_worst_of_its_parts() {
        let near = Mark {
            origin: Origin::L1,
            age: Duration::from_millis(900),
        };
        let far = Mark {
            origin: Origin::Stale,
            age: Duration::from_millis(5),
        };
        let both = Mark {
            origin: Origin::Stale,
            age: Duration::from_millis(900),
        };
        assert_eq!(near.and(far), both);
        assert_eq!(far.and(near), both);
    }

    #[test]
    fn an_age_is_rounded_up() {
        let age = Duration::from_nanos(1_000_001);
        let response = mark(
            (),
            Mark {
                origin: Origin::L1,
                age,
            },
            Some(7),
        );
        let metadata = response.metadata();
        let said = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(said(names::AGE), Some("2"));
        assert_eq!(said(names::SOURCE), Some("l1"));
        assert_eq!(said(names::VERSION), Some("7"));
    }
}
