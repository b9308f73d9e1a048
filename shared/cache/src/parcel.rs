//! A value as it lies in the remote tier: a claim, with the label that it is judged by.

use crate::codec::{self, SealKey, Sealed};
use crate::key::Tag;
use crate::snapshot::Label;
use bytes::{Buf, BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;
const ABSENT: u8 = 1;
const COMPRESSED: u8 = 2;
/// What a parcel may unpack to, whatever it says of itself.
const MAX_UNPACKED_BYTES: usize = 64 << 20;

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) label: Label,
    /// What the value depends on beside its keyspace and what its key implies.
    pub(crate) tags: Vec<Tag>,
    /// Wall-clock milliseconds. Expiry decides how long a copy is useful, never whether it is
    /// true, so here clocks of two machines may be compared.
    pub(crate) soft_millis: u64,
    pub(crate) hard_millis: u64,
    /// `None`: the source has no such thing.
    pub(crate) payload: Option<Bytes>,
}

impl Parcel {
    /// The bytes to store under `name`.
    pub(crate) fn pack(
        &self,
        name: &str,
        compress_from_bytes: usize,
        key: Option<&SealKey>,
    ) -> Bytes {
        let payload = self.payload.as_deref().unwrap_or_default();
        let packed = (payload.len() >= compress_from_bytes.max(1))
            .then(|| lz4_flex::block::compress(payload))
            .filter(|packed| packed.len() < payload.len());
        let mut flags = if self.payload.is_none() { ABSENT } else { 0 };
        flags |= if packed.is_some() { COMPRESSED } else { 0 };

        let body = packed.as_deref().unwrap_or(payload);
        let mut out = BytesMut::with_capacity(body.len() + 96 + 8 * self.tags.len());
        out.put_u8(FORMAT);
        out.put_u8(flags);
        codec::put_label(&mut out, &self.label);
        codec::put_tags(&mut out, &self.tags);
        out.put_u64(self.soft_millis);
        out.put_u64(self.hard_millis);
        if packed.is_some() {
            codec::put_number(&mut out, payload.len() as u64);
        }
        out.put_slice(body);
        codec::seal(&mut out, name, key);
        out.freeze()
    }

    /// Reads what [`Parcel::pack`] made for the same name; `None` for anything else.
    pub(crate) fn unpack(bytes: Bytes, name: &str, key: Option<&SealKey>) -> Option<Self> {
        let mut from = codec::unseal(bytes, Sealed::Entry, name, key)?;
        if codec::byte(&mut from)? != FORMAT {
            return None;
        }
        let flags = codec::byte(&mut from)?;
        let label = codec::label(&mut from)?;
        let tags = codec::tags(&mut from)?;
        let soft_millis = codec::fixed(&mut from)?;
        let hard_millis = codec::fixed(&mut from)?;
        let payload = match flags {
            0 => Some(from),
            COMPRESSED => Some(unpacked(from)?),
            ABSENT if !from.has_remaining() => None,
            _ => return None,
        };
        Some(Self {
            label,
            tags,
            soft_millis,
            hard_millis,
            payload,
        })
    }
}

fn unpacked(mut from: Bytes) -> Option<Bytes> {
    let length = usize::try_from(codec::number(&mut from)?).ok()?;
    // LZ4 cannot shrink anything beyond 255 times, so what arrived bounds what is allocated.
    if length > MAX_UNPACKED_BYTES.min(from.remaining().saturating_mul(256)) {
        return None;
    }
    let payload = lz4_flex::block::decompress(&from, length).ok()?;
    (payload.len() == length).then(|| payload.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Epoch, Snapshot};
    use proptest::prelude::*;

    fn parcels() -> impl Strategy<Value = Parcel> {
        let payload = prop_oneof![
            Just(None),
            proptest::collection::vec(any::<u8>(), 0..64).prop_map(Some),
            (any::<u8>(), 0usize..4096).prop_map(|(byte, length)| Some(vec![byte; length])),
        ];
        let label = (any::<u64>(), any::<u32>(), 0u64..1 << 50, 0u64..5);
        let rest = (
            proptest::collection::vec(any::<u64>(), 0..5),
            any::<u64>(),
            any::<u64>(),
        );
        (label, rest, payload).prop_map(|(label, (tags, soft_millis, hard_millis), payload)| {
            let (system, timeline, xmin, open) = label;
            let in_progress = (0..open).map(|n| xmin + 2 * n).collect();
            let snapshot = Snapshot::new(xmin, xmin + 10, in_progress).expect("in bounds");
            Parcel {
                label: Label {
                    epoch: Epoch { system, timeline },
                    snapshot,
                },
                tags: tags.into_iter().map(Tag).collect(),
                soft_millis,
                hard_millis,
                payload: payload.map(Bytes::from),
            }
        })
    }

    fn keys() -> impl Strategy<Value = Option<SealKey>> {
        prop_oneof![
            Just(None),
            any::<[u8; 32]>().prop_map(|key| Some(SealKey::new(key)))
        ]
    }

    proptest! {
        #[test]
        fn a_parcel_reads_back(parcel in parcels(), key in keys()) {
            let packed = parcel.pack("a", 32, key.as_ref());
            prop_assert_eq!(Parcel::unpack(packed, "a", key.as_ref()), Some(parcel));
        }

        #[test]
        fn a_parcel_that_was_changed_cut_or_moved_is_refused(
            parcel in parcels(), key in keys(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let packed = parcel.pack("a", 32, key.as_ref());
            prop_assert_eq!(Parcel::unpack(packed.clone(), "b", key.as_ref()), None);
            let cut = packed.slice(..at.index(packed.len()));
            prop_assert_eq!(Parcel::unpack(cut, "a", key.as_ref()), None);
            let mut changed = packed.to_vec();
            changed[at.index(packed.len())] ^= 1 << bit;
            prop_assert_eq!(Parcel::unpack(changed.into(), "a", key.as_ref()), None);
        }

        #[test]
        fn no_bytes_make_unpacking_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // With a right seal, so that the decoder behind it is reached.
            let mut sealed = BytesMut::from(&bytes[..]);
            codec::seal(&mut sealed, "a", None);
            let _ = Parcel::unpack(sealed.freeze(), "a", None);
        }
    }
}
