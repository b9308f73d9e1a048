//! A row as keyspaces hold it, and as callers get it: its message, encoded once.

use bytes::{BufMut, Bytes, BytesMut};
use larder::{Answer, Origin, Token, Value};
use larder_proto::{Framed, Raw};
use larder_runtime::shortcut::Reply;
use larder_runtime::status;
use larder_wire::{Mark, mark, put_token, reply};
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
    pub message: Framed,
}

impl Entity {
    /// The row that this message is.
    pub fn new(version: u64, message: &impl Message) -> Self {
        Self {
            version,
            message: Framed::of(message),
        }
    }

    /// The message, without a copy.
    pub fn raw(&self) -> Raw {
        self.message.raw()
    }
}

/// In the remote tier, the version stands before the message.
impl Value for Entity {
    fn encode(&self) -> Bytes {
        let message = self.message.as_message();
        let mut bytes = BytesMut::with_capacity(VERSION_BYTES + message.len());
        bytes.put_u64(self.version);
        bytes.put_slice(message);
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let (version, message) = bytes.split_first_chunk::<VERSION_BYTES>()?;
        Some(Self {
            version: u64::from_be_bytes(*version),
            message: Framed::copied(message),
        })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.message.body_len()
    }

    fn version(&self) -> Option<u64> {
        Some(self.version)
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

/// The answer to a Get that can be given at once: the row, where it is in memory.
#[inline]
pub fn found_at_once(answer: &Answer<Entity>) -> Option<Reply> {
    let row = answer.value()?;
    Some(reply(&row.message, Mark::of(answer), Some(row.version)))
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
            message: Framed::copied(b"message"),
        };
        assert_eq!(Entity::decode(row.encode()), Some(row));
        assert_eq!(Entity::decode(Bytes::from_static(b"short")), None);
        let empty = Entity {
            version: 1,
            message: Framed::copied(b""),
        };
        assert_eq!(Entity::decode(empty.encode()), Some(empty));
    }
}
