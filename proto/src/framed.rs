//! A message that is ready to be sent.

use crate::Raw;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// gRPC's prefix of a message: a flag that says whether it is compressed, and its length.
const PREFIX: usize = 5;

/// An encoded message as it stands in a gRPC body: behind a prefix that says how long it is.
///
/// A server can send it as it is; [`Framed::message`] is a part of the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Framed(Bytes);

impl Framed {
    /// Encodes a message.
    pub fn of(message: &impl Message) -> Self {
        Self::written(message.encoded_len(), |body| message.encode_raw(body))
    }

    /// Copies a message that is encoded.
    pub fn copied(encoded: &[u8]) -> Self {
        Self::written(encoded.len(), |body| body.put_slice(encoded))
    }

    /// The message that `write` puts, of about so many bytes.
    pub fn written(about: usize, write: impl FnOnce(&mut BytesMut)) -> Self {
        let mut body = BytesMut::with_capacity(PREFIX + about);
        body.put_bytes(0, PREFIX);
        write(&mut body);
        // Longer ones do not fit into gRPC; no limit on messages comes near it.
        let len = u32::try_from(body.len() - PREFIX).unwrap_or(u32::MAX);
        body[1..PREFIX].copy_from_slice(&len.to_be_bytes());
        Self(body.freeze())
    }

    /// The encoded message, without a copy.
    pub fn message(&self) -> Bytes {
        self.0.slice(PREFIX..)
    }

    /// The encoded message.
    pub fn as_message(&self) -> &[u8] {
        &self.0[PREFIX..]
    }

    /// The message as an answer that is handed to the codec, without a copy.
    pub fn raw(&self) -> Raw {
        Raw::from(self.message())
    }

    /// The length of the body.
    pub fn body_len(&self) -> usize {
        self.0.len()
    }

    /// All of the body, without a copy.
    pub fn body(&self) -> Bytes {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::v1::Profile;

    #[test]
    fn the_prefix_says_how_long_the_message_is() {
        let profile = Profile {
            bio: "b".repeat(300),
            ..Profile::default()
        };
        let encoded = profile.encode_to_vec();
        let framed = Framed::of(&profile);
        let len = u32::try_from(encoded.len()).expect("short");
        assert_eq!(
            framed.body()[..PREFIX],
            [&[0][..], &len.to_be_bytes()].concat()
        );
        assert_eq!(framed.message(), encoded);
        assert_eq!(framed, Framed::copied(&encoded));
        assert_eq!(Framed::of(&Profile::default()).body(), &[0; PREFIX][..]);
    }
}
