//! Which slot a key has, and who has which slot.

use super::super::words;
use crate::remote::Error;
use redis::Value;
use std::ops::RangeInclusive;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Host and port.
pub(super) type Address = (String, u16);

/// The slot of a key: of what stands in its first pair of braces, if anything does.
pub(super) fn slot(key: &str) -> u16 {
    let key = key.as_bytes();
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// The XMODEM variant.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let place = (crc >> 8) ^ u16::from(*byte);
        (crc << 8) ^ TABLE[usize::from(place)]
    })
}

static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// A part of the slots, and who has it: the primary first, then its replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) slots: RangeInclusive<u16>,
    pub(super) nodes: Vec<Address>,
}

/// Reads an answer to CLUSTER SLOTS. A node that does not tell its own host (it may not know it)
/// is at `host`, where the answer came from.
pub(super) fn read(answer: &Value, host: &str) -> Result<Vec<Part>, Error> {
    let Value::Array(parts) = answer else {
        return Err(words::unexpected(answer));
    };
    let parts: Option<Vec<Part>> = parts.iter().map(|part| read_part(part, host)).collect();
    parts.ok_or_else(|| words::unexpected(answer))
}

fn read_part(part: &Value, host: &str) -> Option<Part> {
    let Value::Array(fields) = part else {
        return None;
    };
    let [Value::Int(first), Value::Int(last), nodes @ ..] = &fields[..] else {
        return None;
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let nodes: Vec<_> = nodes
        .iter()
        .filter_map(|node| read_node(node, host))
        .collect();
    let is_sound = first <= last && last < SLOTS && !nodes.is_empty();
    is_sound.then_some(Part {
        slots: first..=last,
        nodes,
    })
}

/// A node without a known address (`?`) is left out.
fn read_node(node: &Value, host: &str) -> Option<Address> {
    let Value::Array(fields) = node else {
        return None;
    };
    let [name, Value::Int(port), ..] = &fields[..] else {
        return None;
    };
    let host = match words::text(name) {
        Some("?") => return None,
        None | Some("") => host,
        Some(name) => name,
    };
    Some((host.to_owned(), u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_has_the_slot_that_the_specification_says() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
        assert_eq!(slot("foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(name: Value, port: i64) -> Value {
        Value::Array(vec![
            name,
            Value::Int(port),
            bulk("id"),
            Value::Array(vec![]),
        ])
    }

    fn part(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        let mut fields = vec![Value::Int(first), Value::Int(last)];
        fields.extend(nodes);
        Value::Array(fields)
    }

    #[test]
    fn parts_are_read_with_their_nodes() {
        let answer = Value::Array(vec![
            part(0, 99, vec![node(bulk("a"), 1), node(bulk("?"), 2)]),
            part(100, 16_383, vec![node(Value::Nil, 3), node(bulk(""), 4)]),
        ]);
        let address = |host: &str, port| (host.to_owned(), port);
        let expected = [
            Part {
                slots: 0..=99,
                nodes: vec![address("a", 1)],
            },
            Part {
                slots: 100..=16_383,
                nodes: vec![address("asked", 3), address("asked", 4)],
            },
        ];
        assert_eq!(read(&answer, "asked").unwrap(), expected);
    }

    #[test]
    fn answers_that_make_no_sense_are_errors() {
        for parts in [
            vec![Value::Nil],
            vec![part(0, 16_384, vec![node(bulk("a"), 1)])],
            vec![part(2, 1, vec![node(bulk("a"), 1)])],
            vec![part(-1, 1, vec![node(bulk("a"), 1)])],
            vec![part(0, 1, vec![])],
            vec![part(0, 1, vec![node(bulk("a"), 65_536)])],
        ] {
            let answer = Value::Array(parts);
            assert!(read(&answer, "asked").is_err(), "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_slot(key in ".*") {
            prop_assert!(slot(&key) < SLOTS);
        }
    }
}
