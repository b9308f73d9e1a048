//! A hint: all the changes of one committed transaction, on their way to the other processes.

use crate::codec::{self, SealKey, Sealed};
use crate::feed::Written;
use crate::trace::Place;
use bytes::{Buf, BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;
/// The same, and behind it the place of its write in a recorded trace: 24 bytes. A process that does
/// not know it yet passes it over, and hears of the write with its next round.
const TRACED: u8 = 2;
/// Values that one hint may carry.
pub(crate) const MOST_PUSHED: usize = 64;
/// A hint larger than this is not read.
const MAX_BYTES: usize = 1 << 20;

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hint {
    /// The hash of the source's name.
    pub(crate) source: u64,
    /// A random number of the process that sent it, which need not heed it.
    pub(crate) sender: u64,
    /// Wall-clock microseconds at its publication, for the propagation histogram alone.
    pub(crate) sent_micros: u64,
    /// What was written. From a source without a feed: `None` as the epoch.
    pub(crate) written: Written,
    /// Whether the source has a feed, so that epoch and transaction mean something.
    pub(crate) journalled: bool,
    /// Small values that were written, judged like any from the remote tier.
    pub(crate) pushed: Vec<Pushed>,
    /// Where in a recorded trace it was sent, if in one.
    pub(crate) place: Option<Place>,
}

/// A value that travels with its hint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pushed {
    pub(crate) keyspace: String,
    pub(crate) key: String,
    /// As it lies in the remote tier.
    pub(crate) parcel: Bytes,
}

impl Hint {
    pub(crate) fn encode(&self, channel: &str, key: Option<&SealKey>) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + 8 * self.written.tags.len());
        out.put_u8(if self.place.is_some() { TRACED } else { FORMAT });
        out.put_u8(u8::from(self.journalled));
        out.put_u64(self.source);
        out.put_u64(self.sender);
        out.put_u64(self.sent_micros);
        codec::put_epoch(&mut out, self.written.epoch);
        codec::put_number(&mut out, self.written.xid);
        codec::put_tags(&mut out, &self.written.tags);
        codec::put_number(&mut out, self.pushed.len() as u64);
        for pushed in &self.pushed {
            codec::put_bytes(&mut out, pushed.keyspace.as_bytes());
            codec::put_bytes(&mut out, pushed.key.as_bytes());
            codec::put_bytes(&mut out, &pushed.parcel);
        }
        if let Some(place) = self.place {
            out.put_slice(&place.trace);
            out.put_slice(&place.span);
        }
        codec::seal(&mut out, channel, key);
        out.freeze()
    }

    pub(crate) fn decode(message: Bytes, channel: &str, key: Option<&SealKey>) -> Option<Self> {
        if message.len() > MAX_BYTES {
            return None;
        }
        let mut from = codec::unseal(message, Sealed::Hint, channel, key)?;
        let format = codec::byte(&mut from).filter(|format| [FORMAT, TRACED].contains(format))?;
        let journalled = codec::byte(&mut from)? == 1;
        let source = codec::fixed(&mut from)?;
        let sender = codec::fixed(&mut from)?;
        let sent_micros = codec::fixed(&mut from)?;
        let epoch = codec::epoch(&mut from)?;
        let xid = codec::number(&mut from)?;
        let tags = codec::tags(&mut from)?;
        let count = codec::number(&mut from).filter(|&count| count <= MOST_PUSHED as u64)?;
        let pushed = (0..count)
            .map(|_| Pushed::decode(&mut from))
            .collect::<Option<_>>()?;
        let place = match format {
            TRACED => Some(place(&mut from)?),
            _ => None,
        };
        let written = Written { epoch, xid, tags };
        let hint = Self {
            source,
            sender,
            sent_micros,
            written,
            journalled,
            pushed,
            place,
        };
        (!from.has_remaining()).then_some(hint)
    }
}

fn place(from: &mut Bytes) -> Option<Place> {
    let mut place = Place {
        trace: [0; 16],
        span: [0; 8],
    };
    from.try_copy_to_slice(&mut place.trace).ok()?;
    from.try_copy_to_slice(&mut place.span).ok()?;
    Some(place)
}

impl Pushed {
    fn decode(from: &mut Bytes) -> Option<Self> {
        let text = |from: &mut Bytes| String::from_utf8(codec::bytes(from)?.into()).ok();
        Some(Self {
            keyspace: text(from)?,
            key: text(from)?,
            parcel: codec::bytes(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Tag;
    use crate::snapshot::Epoch;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_hint_reads_back_on_its_own_channel_only(
            tags in proptest::collection::vec(any::<u64>(), 0..6),
            numbers in any::<(u64, u64, u64, u32, u64, bool)>(),
            place in any::<Option<([u8; 16], [u8; 8])>>(),
            key in "\\PC{0,8}",
        ) {
            let (source, sent_micros, system, timeline, xid, journalled) = numbers;
            let tags = tags.into_iter().map(Tag).collect();
            let written = Written { epoch: Epoch { system, timeline }, xid, tags };
            let parcel = Bytes::from_static(b"parcel");
            let pushed = vec![Pushed { keyspace: "profiles".into(), key, parcel }];
            let place = place.map(|(trace, span)| Place { trace, span });
            let hint = Hint { source, sender: 7, sent_micros, written, journalled, pushed, place };
            let message = hint.encode("c", None);
            prop_assert_eq!(Hint::decode(message.clone(), "d", None), None);
            prop_assert_eq!(Hint::decode(message, "c", None), Some(hint));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut sealed = BytesMut::from(&bytes[..]);
            codec::seal(&mut sealed, "c", None);
            let _ = Hint::decode(sealed.freeze(), "c", None);
        }
    }
}
