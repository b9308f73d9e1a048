//! Bytes that cross processes: values in the remote tier, and hints.
//!
//! Whatever arrives may be anything. Decoding never panics, never allocates more than what
//! arrived allows, and refuses what does not end where it says.
//!
//! A message is `format, body, seal`. The seal is 8 bytes of XXH3 over the body, seeded with the
//! name it was stored under: it tells corrupt, cut and misplaced bytes from our own. With a key it
//! is 16 bytes of a keyed BLAKE3 instead, which whoever can write to the remote tier cannot make.

use crate::key::Tag;
use crate::snapshot::{Epoch, Label, Snapshot};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A secret that all processes of a cluster share; values and hints are sealed with it.
#[derive(Clone)]
pub struct SealKey(Arc<Sealing>);

struct Sealing {
    secret: [u8; 32],
    refused: [AtomicU64; 2],
}

impl SealKey {
    /// A key of 32 secret bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Arc::new(Sealing {
            secret,
            refused: Default::default(),
        }))
    }

    /// The same secret, which has refused nothing yet.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.0.secret)
    }

    /// How many messages of a kind it has not found sealed with its secret.
    pub(crate) fn refused(&self, kind: Sealed) -> u64 {
        self.0.refused[kind as usize].load(Ordering::Relaxed)
    }
}

/// What a seal is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sealed {
    Entry,
    Hint,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(***)")
    }
}

const PLAIN_SEAL_BYTES: usize = 8;
const KEYED_SEAL_BYTES: usize = 16;
/// Tags in one value or hint.
const MAX_TAGS: u64 = 4096;
/// Transactions in progress in one label.
const MAX_IN_PROGRESS: u64 = 65_536;

/// Appends the seal of all that `message` holds, stored or sent under `name`.
pub(crate) fn seal(message: &mut BytesMut, name: &str, key: Option<&SealKey>) {
    match key {
        None => message.put_u64(plain_seal(message, name)),
        Some(key) => {
            let seal = keyed_seal(message, name, key);
            message.put_slice(&seal);
        }
    }
}

/// The message without its seal, if the seal is right.
pub(crate) fn unseal(
    message: Bytes,
    kind: Sealed,
    name: &str,
    key: Option<&SealKey>,
) -> Option<Bytes> {
    let opened = opened(message, name, key);
    if let (None, Some(key)) = (&opened, key) {
        key.0.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
    opened
}

fn opened(mut message: Bytes, name: &str, key: Option<&SealKey>) -> Option<Bytes> {
    let seal_bytes = if key.is_some() {
        KEYED_SEAL_BYTES
    } else {
        PLAIN_SEAL_BYTES
    };
    let body = message.len().checked_sub(seal_bytes)?;
    let seal = message.split_off(body);
    let right = match key {
        None => seal == plain_seal(&message, name).to_be_bytes()[..],
        Some(key) => blake3::Hash::from(pad(&keyed_seal(&message, name, key))) == pad(&seal),
    };
    right.then_some(message)
}

fn plain_seal(body: &[u8], name: &str) -> u64 {
    let seed = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(body, seed)
}

fn keyed_seal(body: &[u8], name: &str, key: &SealKey) -> [u8; KEYED_SEAL_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(&key.0.secret);
    hasher.update(&(name.len() as u64).to_be_bytes());
    hasher.update(name.as_bytes());
    hasher.update(body);
    let mut seal = [0; KEYED_SEAL_BYTES];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..KEYED_SEAL_BYTES]);
    seal
}

/// BLAKE3's own hash type compares in constant time, at its full width.
fn pad(seal: &[u8]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[..KEYED_SEAL_BYTES].copy_from_slice(seal);
    wide
}

/// A number in seven bits a byte, the low ones first.
pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

pub(crate) fn number(from: &mut Bytes) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn byte(from: &mut Bytes) -> Option<u8> {
    from.has_remaining().then(|| from.get_u8())
}

pub(crate) fn fixed(from: &mut Bytes) -> Option<u64> {
    (from.remaining() >= 8).then(|| from.get_u64())
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn bytes(from: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(number(from)?).ok()?;
    (length <= from.remaining()).then(|| from.split_to(length))
}

pub(crate) fn put_epoch(out: &mut BytesMut, epoch: Epoch) {
    out.put_u64(epoch.system);
    put_number(out, u64::from(epoch.timeline));
}

pub(crate) fn epoch(from: &mut Bytes) -> Option<Epoch> {
    let system = fixed(from)?;
    Some(Epoch {
        system,
        timeline: u32::try_from(number(from)?).ok()?,
    })
}

/// A label: the epoch, then `xmin`, the distance to `xmax`, and the gaps between what is in
/// progress, which are small.
pub(crate) fn put_label(out: &mut BytesMut, label: &Label) {
    let snapshot = &label.snapshot;
    put_epoch(out, label.epoch);
    put_number(out, snapshot.xmin());
    put_number(out, snapshot.xmax() - snapshot.xmin());
    put_number(out, snapshot.in_progress().len() as u64);
    let mut last = snapshot.xmin();
    for &xid in snapshot.in_progress() {
        put_number(out, xid - last);
        last = xid;
    }
}

pub(crate) fn label(from: &mut Bytes) -> Option<Label> {
    let epoch = epoch(from)?;
    let xmin = number(from)?;
    let xmax = xmin.checked_add(number(from)?)?;
    let count = number(from).filter(|&count| count <= MAX_IN_PROGRESS)?;
    // Each takes a byte at least: what arrived bounds what is allocated.
    if count > from.remaining() as u64 {
        return None;
    }
    let mut last = xmin;
    let in_progress = (0..count).map(|_| {
        last = last.checked_add(number(from)?)?;
        Some(last)
    });
    let in_progress = in_progress.collect::<Option<Vec<_>>>()?;
    Some(Label {
        epoch,
        snapshot: Snapshot::new(xmin, xmax, in_progress).ok()?,
    })
}

pub(crate) fn put_tags(out: &mut BytesMut, tags: &[Tag]) {
    put_number(out, tags.len() as u64);
    for tag in tags {
        out.put_u64(tag.0);
    }
}

pub(crate) fn tags(from: &mut Bytes) -> Option<Vec<Tag>> {
    let count = number(from).filter(|&count| count <= MAX_TAGS)?;
    if count * 8 > from.remaining() as u64 {
        return None;
    }
    (0..count).map(|_| fixed(from).map(Tag)).collect()
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
