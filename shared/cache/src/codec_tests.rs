//! Whatever arrives is read or refused: never a panic, and never more memory than it paid for.
//!
//! Bytes at random are refused at the first look, so most of these begin with what is right,
//! change some of it, and put a right seal on it.

use super::*;
use crate::feed::Written;
use crate::hint::{Hint, Pushed};
use crate::parcel::Parcel;
use crate::snapshot::Token;
use crate::trace::Place;
use allocation_counter::measure;
use proptest::prelude::*;

/// What a decoder may need for itself.
const ROOM_BYTES: u64 = 4096;

/// Something done to the bytes of a message.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    /// A number of the greatest size, where a length may have stood.
    Huge(usize),
    Cut(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = 0usize..4096;
    let some = proptest::collection::vec(any::<u8>(), 1..20);
    let change = prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at.clone(), some).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at.clone(), 1usize..40).prop_map(|(at, length)| Change::Remove(at, length)),
        (at.clone(), 1usize..80).prop_map(|(at, length)| Change::Repeat(at, length)),
        at.clone().prop_map(Change::Huge),
        at.prop_map(Change::Cut),
    ];
    proptest::collection::vec(change, 0..6)
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        let at = |at: usize| at % (bytes.len() + 1);
        let part = |from: usize, length: usize| {
            let from = at(from);
            from..(from + length).min(bytes.len())
        };
        match change {
            Change::Set(place, byte) => {
                let place = at(place);
                if let Some(old) = bytes.get_mut(place) {
                    *old = byte;
                }
            }
            Change::Insert(place, more) => {
                let place = at(place);
                bytes.splice(place..place, more);
            }
            Change::Remove(from, length) => {
                let part = part(from, length);
                bytes.drain(part);
            }
            Change::Repeat(from, length) => {
                let part = part(from, length);
                bytes.extend_from_within(part);
            }
            Change::Huge(place) => {
                let place = at(place);
                let huge = [[0xff; 9].as_slice(), &[1]].concat();
                bytes.splice(place..(place + 1).min(bytes.len()), huge);
            }
            Change::Cut(place) => bytes.truncate(at(place)),
        }
    }
    bytes
}

fn labels() -> impl Strategy<Value = Label> {
    let numbers = (any::<u64>(), any::<u32>(), 0u64..1 << 50, 0u64..40);
    numbers.prop_map(|(system, timeline, xmin, open)| {
        let in_progress = (0..open).map(|n| xmin + 3 * n).collect();
        Label {
            epoch: Epoch { system, timeline },
            snapshot: Snapshot::new(xmin, xmin + 200, in_progress).expect("in bounds"),
        }
    })
}

fn tag_lists() -> impl Strategy<Value = Vec<Tag>> {
    proptest::collection::vec(any::<u64>().prop_map(Tag), 0..20)
}

fn parcels() -> impl Strategy<Value = Parcel> {
    let payload = prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Some),
        (any::<u8>(), 0usize..4096).prop_map(|(byte, length)| Some(vec![byte; length])),
    ];
    let parts = (labels(), tag_lists(), payload, any::<(u64, u64)>());
    parts.prop_map(
        |(label, tags, payload, (soft_millis, hard_millis))| Parcel {
            label,
            tags,
            soft_millis,
            hard_millis,
            payload: payload.map(Bytes::from),
        },
    )
}

fn hints() -> impl Strategy<Value = Hint> {
    let pushed = (
        "\\PC{0,8}",
        "\\PC{0,8}",
        proptest::collection::vec(any::<u8>(), 0..40),
    );
    let pushed = pushed.prop_map(|(keyspace, key, parcel)| Pushed {
        keyspace,
        key,
        parcel: parcel.into(),
    });
    let pushed = proptest::collection::vec(pushed, 0..6);
    let parts = (
        labels(),
        tag_lists(),
        pushed,
        any::<(u64, u64, u64, u64, bool)>(),
        any::<Option<([u8; 16], [u8; 8])>>(),
    );
    parts.prop_map(
        |(label, tags, pushed, (source, sender, sent_micros, xid, journalled), place)| Hint {
            source,
            sender,
            sent_micros,
            written: Written {
                epoch: label.epoch,
                xid,
                tags,
            },
            journalled,
            pushed,
            place: place.map(|(trace, span)| Place { trace, span }),
        },
    )
}

/// The message behind its seal, changed, with a right seal again.
fn resealed(message: &Bytes, changes: Vec<Change>) -> Bytes {
    let body = unseal(message.clone(), Sealed::Entry, "a", None).expect("sealed here");
    let mut message = BytesMut::from(&changed(body.to_vec(), changes)[..]);
    seal(&mut message, "a", None);
    message.freeze()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_parcel_takes_no_more_memory_than_it_paid_for(
        parcel in parcels(), compress_from in 1usize..200, changes in changes(),
    ) {
        let message = resealed(&parcel.pack("a", compress_from, None), changes);
        let length = message.len() as u64;
        let mut read = None;
        let used = measure(|| read = Parcel::unpack(message, "a", None)).bytes_max;
        // A byte of LZ4 may stand for 255; one of a list of transactions for eight, while the
        // list grows for three times that.
        prop_assert!(used <= 256 * length + ROOM_BYTES, "{used} bytes for {length}");
        if let Some(parcel) = read {
            let again = Parcel::unpack(parcel.pack("a", compress_from, None), "a", None);
            prop_assert_eq!(again, Some(parcel), "what was read is a parcel like any other");
        }
    }

    #[test]
    fn a_hint_takes_no_more_memory_than_it_paid_for(hint in hints(), changes in changes()) {
        let message = resealed(&hint.encode("a", None), changes);
        let length = message.len() as u64;
        let mut read = None;
        let used = measure(|| read = Hint::decode(message, "a", None)).bytes_max;
        // Nothing here is packed: a value that it carries costs its frame, in three bytes.
        prop_assert!(used <= 64 * length + ROOM_BYTES, "{used} bytes for {length}");
        if let Some(hint) = read {
            prop_assert_eq!(Hint::decode(hint.encode("a", None), "a", None), Some(hint));
        }
    }

    #[test]
    fn a_label_takes_no_more_memory_than_it_paid_for(label in labels(), changes in changes()) {
        let mut message = BytesMut::new();
        put_label(&mut message, &label);
        let mut message = Bytes::from(changed(message.to_vec(), changes));
        let length = message.len() as u64;
        let mut read = None;
        let used = measure(|| read = super::label(&mut message)).bytes_max;
        prop_assert!(used <= 32 * length + ROOM_BYTES, "{used} bytes for {length}");
        if let Some(label) = read {
            let mut message = BytesMut::new();
            put_label(&mut message, &label);
            prop_assert_eq!(super::label(&mut message.freeze()), Some(label));
        }
    }

    #[test]
    fn a_printed_snapshot_takes_no_more_memory_than_it_paid_for(
        label in labels(), changes in changes(),
    ) {
        let text = changed(label.snapshot.to_string().into_bytes(), changes);
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut read = None;
        let used = measure(|| read = Snapshot::parse(&text).ok()).bytes_max;
        prop_assert!(used <= 32 * text.len() as u64 + ROOM_BYTES, "{used} for {}", text.len());
        if let Some(snapshot) = read {
            prop_assert_eq!(Snapshot::parse(&snapshot.to_string()), Ok(snapshot));
        }
    }

    #[test]
    fn a_token_takes_no_more_memory_than_a_token_needs(
        numbers in any::<(u64, u64, u32, u64, u64)>(), changes in changes(), times in 1usize..50,
    ) {
        let (source, system, timeline, xid, touched) = numbers;
        let epoch = Epoch { system, timeline };
        let token = Token { source, epoch, xid, touched }.encode().repeat(times);
        let text = changed(token.into_bytes(), changes);
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut read = None;
        let used = measure(|| read = Token::decode(&text).ok()).bytes_max;
        prop_assert!(used <= ROOM_BYTES, "{used} bytes for {}", text.len());
        if let Some(token) = read {
            prop_assert_eq!(token.encode(), text, "one token has one text");
        }
    }
}

#[test]
fn a_length_that_is_declared_is_not_believed() {
    for count in [1, 4096, 65_536, u64::from(u32::MAX), u64::MAX] {
        let mut label_of_many = BytesMut::new();
        put_epoch(
            &mut label_of_many,
            Epoch {
                system: 1,
                timeline: 1,
            },
        );
        for number in [10, 1 << 40, count] {
            put_number(&mut label_of_many, number);
        }
        let mut many = BytesMut::new();
        put_number(&mut many, count);
        let (mut label_of_many, many) = (label_of_many.freeze(), many.freeze());
        let used = measure(|| {
            assert_eq!(label(&mut label_of_many), None);
            assert_eq!(tags(&mut many.clone()), None);
            assert_eq!(bytes(&mut many.clone()), None);
        });
        assert!(used.bytes_max <= ROOM_BYTES, "{used:?} for {count}");
    }
}
