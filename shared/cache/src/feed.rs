//! Where rounds come from: the trait that a source's journal implements.

use crate::key::Tag;
use crate::snapshot::{Epoch, Snapshot, Token, Xid};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// A transaction touched a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    /// What was touched.
    pub tag: Tag,
    /// Who touched it.
    pub xid: Xid,
}

/// How far a digest has come: what the feed needs to know to say what is new since.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Coverage {
    /// The life of the database that the snapshot belongs to.
    pub epoch: Epoch,
    /// The last snapshot whose changes are all known.
    pub snapshot: Snapshot,
    /// The pruning mark seen together with that snapshot.
    pub low_marked: Xid,
}

/// The journal's lines that are visible in `snapshot` and were not before. All of it comes from
/// one statement on the primary, so that nothing fits between its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// The life of the database.
    pub epoch: Epoch,
    /// What is visible now.
    pub snapshot: Snapshot,
    /// Lines below are old enough to be dropped next.
    pub low_marked: Xid,
    /// Lines below have been dropped.
    pub low_dropped: Xid,
    /// What is new, in any order. A transaction, or a round, with very many lines may be given
    /// as one change of [`Tag::all`] with the highest of their ids.
    pub changes: Vec<Change>,
}

/// What one committed transaction changed, as it read back itself before its commit: the content
/// of a hint, and of the token that its writer gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The life of the database it was written to.
    pub epoch: Epoch,
    /// The transaction; on SQLite its last line.
    pub xid: Xid,
    /// All that it touched, or [`Tag::all`] alone where that is very much.
    pub tags: Vec<Tag>,
}

impl Written {
    /// The receipt of this write to the source with this hash.
    pub fn token(&self, source: u64) -> Token {
        Token {
            source,
            epoch: self.epoch,
            xid: self.xid,
            touched: self.touched(),
        }
    }

    /// A hash of all that it touched, in whatever order; never 0.
    pub(crate) fn touched(&self) -> u64 {
        let mut tags = self.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        let bytes: Vec<u8> = tags.iter().flat_map(|tag| tag.0.to_be_bytes()).collect();
        xxhash_rust::xxh3::xxh3_64(&bytes).max(1)
    }
}

/// A line for the journal in words: a collection and a key of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// `profiles`, `comments.product`; [`Tag::WHOLE`] for the source.
    pub collection: String,
    /// `42`; [`Tag::WHOLE`] for the keyspace.
    pub key: String,
}

impl Line {
    /// The line's tag.
    pub fn tag(&self) -> Tag {
        Tag::of(&self.collection, &self.key)
    }
}

/// Why a feed could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The source, or the way to it, is not there now.
    #[error("the source cannot be reached")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// It answered something that makes no sense; a standby's answer is of this kind.
    #[error("the source's answer cannot be used: {0}")]
    Unusable(String),
    /// This feed has no way to write lines.
    #[error("this source takes no lines")]
    Unsupported,
}

/// Yields rounds: what changed in a source, known from the source itself.
///
/// Cancelling any of these futures is safe: a round changes nothing that others have stored there,
/// and a line is written whole or not at all.
pub trait Feed: Send + Sync + 'static {
    /// The round since `since`; with `None`, every line that the journal still holds. A feed that
    /// finds `since` to be of another epoch also answers with every line.
    fn round<'a>(&'a self, since: Option<&'a Coverage>) -> BoxFuture<'a, Result<Round, Error>>;

    /// The same for another process, whose `since` is only its word: it is answered, and believed
    /// in nothing that would concern others.
    fn round_for<'a>(&'a self, since: Option<&'a Coverage>) -> BoxFuture<'a, Result<Round, Error>> {
        self.round(since)
    }

    /// Writes lines in a transaction of their own, so that every process moves these tags
    /// whatever becomes of the hints.
    fn touch<'a>(&'a self, lines: &'a [Line]) -> BoxFuture<'a, Result<Written, Error>>;
}
