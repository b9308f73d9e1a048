//! One cached value, and what the rule needs to know of it.

use crate::clock::Stamp;
use crate::digest::Cells;
use crate::judge::Seq;
use crate::key::Tag;
use crate::snapshot::{Epoch, Label, Snapshot, Xid};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};

/// A value that a keyspace holds.
pub trait Value: Clone + Send + Sync + 'static {
    /// The value's bytes in the remote tier.
    fn encode(&self) -> Bytes;

    /// Reads what [`Value::encode`] wrote; `None` for anything else. Such a value is dropped and
    /// counted, and the source is asked.
    fn decode(bytes: Bytes) -> Option<Self>;

    /// How many bytes it takes in memory, its own size included.
    fn weight(&self) -> usize;

    /// The version that the value itself carries, where it does: for people who compare copies.
    fn version(&self) -> Option<u64> {
        None
    }

    /// A hash of what the value says: copies whose hashes differ contradict each other. To be
    /// written by hand where two loads of one truth may be encoded differently, by the time of
    /// the load, say.
    fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.encode())
    }
}

impl Value for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

/// A cached value.
///
/// In this order, so that what a hit looks at stands together: with the counts that `Arc` puts
/// before it, one cache line.
#[repr(C)]
pub(crate) struct Entry<V> {
    /// The value reflects every change applied up to here; only a rescue raises it.
    captured: AtomicU64,
    /// The value reflects everything committed before: when the load was asked for, or what was
    /// proven when a value from elsewhere was taken.
    pub(crate) loaded_at: Stamp,
    /// Never later than `hard_at`.
    pub(crate) soft_at: Stamp,
    pub(crate) cells: Cells,
    pub(crate) value: Option<V>,
    pub(crate) hard_at: Stamp,
    /// The epoch and `xmin` of its label: enough for a rescue.
    pub(crate) label: Option<(Epoch, Xid)>,
    /// What it depends on beside its keyspace and what its key implies.
    pub(crate) tags: Box<[Tag]>,
}

impl<V> Entry<V> {
    pub(crate) fn captured(&self) -> Seq {
        self.captured.load(Ordering::Acquire)
    }

    /// A label that is certainly right: of the entry's own, what lies below its `xmin`.
    pub(crate) fn weak_label(&self) -> Option<Label> {
        let (epoch, xmin) = self.label?;
        Some(Label {
            epoch,
            snapshot: Snapshot::up_to(xmin.saturating_sub(1)),
        })
    }

    pub(crate) fn recapture(&self, seq: Seq) {
        self.captured.fetch_max(seq, Ordering::AcqRel);
    }
}

/// An entry in the making: what is known of a value before it is decided when it expires.
pub(crate) struct Draft<V> {
    pub(crate) value: Option<V>,
    pub(crate) captured: Seq,
    pub(crate) loaded_at: Stamp,
    pub(crate) cells: Cells,
    pub(crate) label: Option<(Epoch, Xid)>,
    pub(crate) tags: Box<[Tag]>,
}

impl<V> Draft<V> {
    pub(crate) fn until(self, soft_at: Stamp, hard_at: Stamp) -> Entry<V> {
        Entry {
            value: self.value,
            captured: AtomicU64::new(self.captured),
            loaded_at: self.loaded_at,
            soft_at,
            hard_at,
            cells: self.cells,
            label: self.label,
            tags: self.tags,
        }
    }
}
