//! Keys and tags: what is cached, and what it depends on.

use smallvec::SmallVec;
use std::hash::Hash;
use xxhash_rust::xxh3::xxh3_64;

/// A 64-bit hash of something that a value depends on: a row (`profiles/42`), a collection
/// (`comments.product/7`), or a whole keyspace. Two that collide cost a miss, never a stale
/// answer. Every process computes the same hash, whatever it was built from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u64);

impl Tag {
    /// The key under which a journal line names a whole keyspace or source.
    pub const WHOLE: &str = "*";

    /// The tag of member `key` of `collection`; `Tag::WHOLE` as the key stands for all of a
    /// keyspace, and as both for all of a source.
    pub fn of(collection: &str, key: &str) -> Self {
        // On the stack, unless it is very long.
        let mut text = SmallVec::<[u8; 128]>::new();
        text.extend_from_slice(collection.as_bytes());
        text.push(b'/');
        text.extend_from_slice(key.as_bytes());
        Self(xxh3_64(&text))
    }

    /// The tag that every entry of a keyspace has.
    pub fn keyspace(name: &str) -> Self {
        Self::of(name, Self::WHOLE)
    }

    /// The tag that stands for every keyspace of a source.
    pub fn all() -> Self {
        Self::of(Self::WHOLE, Self::WHOLE)
    }
}

/// A key of a keyspace.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// Writes the key's text, the same in every process and different for every key; it becomes
    /// part of the name in the remote tier.
    fn write(&self, text: &mut String);

    /// Reads what [`Key::write`] wrote; `None` when it is no key of this keyspace.
    fn parse(text: &str) -> Option<Self>;

    /// Adds the tags that the key itself implies, whatever its value. A value from the remote
    /// tier is judged by these and by its own.
    fn tags(&self, _tags: &mut Vec<Tag>) {}
}

impl Key for String {
    fn write(&self, text: &mut String) {
        text.push_str(self);
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}
