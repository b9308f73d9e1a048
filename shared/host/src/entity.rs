//! A row as keyspaces hold it, and as callers get it: its message, encoded once.

use bytes::{BufMut, Bytes, BytesMut};
use larder::{Answer, Origin, Token, Value};
use larder_proto::Raw;
use larder_runtime::status;
use larder_wire::{Mark, mark, put_token};
use prost::Message;
use std::time::Duration;
use tonic::{Response, Status};

const VERSION_BYTES: usize = size_of::<u64>();

/// A row: its version, and its message as it goes to callers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entity {
    /// The row's version.
    pub version: u64,
    /// The encoded message.
    pub message: Bytes,
}

impl Entity {
    /// The row that this message is.
    pub fn new(version: u64, message: &impl Message) -> Self {
        Self {
            version,
            message: message.encode_to_vec().into(),
        }
    }

    /// The message, without a copy.
    pub fn raw(&self) -> Raw {
        Raw::from(self.message.clone())
    }
}

/// In the remote tier, the version stands before the message.
impl Value for Entity {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(VERSION_BYTES + self.message.len());
        bytes.put_u64(self.version);
        bytes.put_slice(&self.message);
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        let version = bytes.first_chunk::<VERSION_BYTES>().copied()?;
        let message = bytes.split_off(VERSION_BYTES);
        Some(Self {
            version: u64::from_be_bytes(version),
            message,
        })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.message.len()
    }
}

/// The answer to a Get: the row, or NOT_FOUND for the `kind` (`profile`) with this id, either
/// with its mark.
#[inline]
pub fn found(answer: &Answer<Entity>, kind: &str, id: &str) -> Result<Response<Raw>, Status> {
    let row = answer
        .value()
        .ok_or_else(|| absent(kind, id, Mark::of(answer)))?;
    Ok(mark(row.raw(), Mark::of(answer), Some(row.version)))
}

/// NOT_FOUND, with where that is known from.
#[cold]
pub fn absent(kind: &str, id: &str, known: Mark) -> Status {
    let mut status = status::not_found(kind, id);
    *status.metadata_mut() = mark((), known, None).metadata().clone();
    status
}

/// The answer to a write: the row as written, and the token to read it back with.
pub fn written(row: &Entity, token: Option<Token>) -> Response<Raw> {
    let now = Mark {
        origin: Origin::Source,
        age: Duration::ZERO,
    };
    let mut response = mark(row.raw(), now, Some(row.version));
    if let Some(token) = token {
        put_token(response.metadata_mut(), &token);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_from_the_remote_tier() {
        let row = Entity {
            version: 7,
            message: Bytes::from_static(b"message"),
        };
        assert_eq!(Entity::decode(row.encode()), Some(row));
        assert_eq!(Entity::decode(Bytes::from_static(b"short")), None);
        let empty = Entity {
            version: 1,
            message: Bytes::new(),
        };
        assert_eq!(Entity::decode(empty.encode()), Some(empty));
    }
}
