//! A message that stays encoded.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

/// A message of any type, encoded: what a cache holds and a server writes as it is.
///
/// It is a [`Message`] itself. Encoding it puts its bytes, decoding it keeps the bytes without a
/// look at the fields: on its own it takes them all, nested in another message it collects them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(Bytes);

impl Raw {
    /// Encodes a message.
    pub fn of(message: &impl Message) -> Self {
        Self(message.encode_to_vec().into())
    }

    /// The message that these bytes are.
    pub fn decode<M: Message + Default>(&self) -> Result<M, DecodeError> {
        M::decode(self.0.clone())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<Bytes> for Raw {
    fn from(encoded: Bytes) -> Self {
        Self(encoded)
    }
}

impl Message for Raw {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let kept = std::mem::take(&mut self.0);
        let mut out = kept
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        encoding::encode_key(tag, wire_type, &mut out);
        let outcome = encoding::skip_field(
            wire_type,
            tag,
            &mut Tee {
                from: buf,
                out: &mut out,
            },
            ctx,
        );
        self.0 = out.freeze();
        outcome
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0 = Bytes::new();
    }

    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        Ok(Self(buf.copy_to_bytes(buf.remaining())))
    }
}

/// Keeps a copy of what is read through it: skipping a field becomes copying it.
struct Tee<'a, B> {
    from: &'a mut B,
    out: &'a mut BytesMut,
}

impl<B: Buf> Buf for Tee<'_, B> {
    fn remaining(&self) -> usize {
        self.from.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.from.chunk()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let chunk = self.from.chunk();
            let step = chunk.len().min(count);
            // Buf's contract: to advance past the end is a panic, never an endless loop.
            assert!(step > 0, "cannot advance past the end");
            self.out.put_slice(&chunk[..step]);
            self.from.advance(step);
            count -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::v1::Entry;
    use crate::profiles::v1::{ListProfilesResponse, Profile};

    /// `ListProfilesResponse` as a server would have it whose pages are made of encoded rows.
    #[derive(Clone, PartialEq, Message)]
    struct Page {
        #[prost(message, repeated, tag = "1")]
        profiles: Vec<Raw>,
        #[prost(string, tag = "2")]
        next_page_token: String,
    }

    fn profile(id: &str) -> Profile {
        Profile {
            id: id.to_owned(),
            display_name: "Ada".to_owned(),
            bio: "b".repeat(300),
            followers: -1,
            version: u64::MAX,
            ..Profile::default()
        }
    }

    #[test]
    fn a_message_comes_back_from_its_bytes() {
        let raw = Raw::of(&profile("a"));
        assert_eq!(raw.decode::<Profile>(), Ok(profile("a")));
        assert_eq!(raw.encode_to_vec(), profile("a").encode_to_vec());
        assert_eq!(raw.encoded_len(), profile("a").encoded_len());
        assert_eq!(<Raw as Message>::decode(&raw.encode_to_vec()[..]), Ok(raw));
    }

    #[test]
    fn what_is_written_are_the_very_bytes_that_were_kept() {
        let odd = Raw::from(Bytes::from_static(&[0xff; 7]));
        assert_eq!(odd.encode_to_vec(), [0xff; 7]);
        assert!(odd.decode::<Profile>().is_err());
    }

    #[test]
    fn encoded_rows_nest_in_a_page_both_ways() {
        let typed = ListProfilesResponse {
            profiles: vec![profile("a"), Profile::default(), profile("b")],
            next_page_token: "next".to_owned(),
        };
        let page = Page {
            profiles: typed.profiles.iter().map(Raw::of).collect(),
            next_page_token: "next".to_owned(),
        };
        assert_eq!(page.encode_to_vec(), typed.encode_to_vec());
        assert_eq!(Page::decode(&typed.encode_to_vec()[..]), Ok(page));
    }

    #[test]
    fn every_wire_type_is_kept_when_nested_and_broken_up() {
        let entry = Entry {
            found: true,
            payload: Bytes::from_static(b"xyz"),
            tags: vec![1, 2],
            label: None,
        };
        let mut encoded = entry.encode_to_vec();
        encoding::encode_key(900, WireType::ThirtyTwoBit, &mut encoded);
        encoded.extend_from_slice(&[1, 2, 3, 4]);
        encoding::encode_key(901, WireType::StartGroup, &mut encoded);
        encoding::encode_key(1, WireType::Varint, &mut encoded);
        encoded.push(5);
        encoding::encode_key(901, WireType::EndGroup, &mut encoded);
        for cut in 0..encoded.len() {
            let mut raw = Raw::default();
            let (head, tail) = encoded.split_at(cut);
            raw.merge(head.chain(tail)).expect("whole fields");
            assert_eq!(raw.as_bytes(), &encoded);
        }
    }

    #[test]
    fn a_nested_message_that_ends_early_is_refused() {
        let mut encoded = Page {
            profiles: vec![Raw::of(&profile("a"))],
            next_page_token: String::new(),
        }
        .encode_to_vec();
        encoded.truncate(encoded.len() - 1);
        assert!(Page::decode(&encoded[..]).is_err());
        let mut encoded = Page {
            profiles: vec![Raw::from(Bytes::from_static(&[0x0a, 9]))],
            ..Page::default()
        }
        .encode_to_vec();
        encoded.extend_from_slice(&[0; 0]);
        assert!(Page::decode(&encoded[..]).is_err());
    }
}
