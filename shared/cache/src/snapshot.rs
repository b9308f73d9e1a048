//! Which transactions are visible: snapshots, labels, epochs and tokens.
//!
//! Everything here is a pure function of its arguments. The journal parses what its database
//! prints into these types; the digest and the judge compare them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// A transaction's number in its source: PostgreSQL's 64-bit transaction id, or on SQLite the
/// journal id of its last line (one writer at a time, so id order is commit order).
pub type Xid = u64;

/// At most this many transactions may be in progress in a snapshot that we accept.
const MAX_IN_PROGRESS: usize = 65_536;

/// One life of a database. Values, snapshots, hints and tokens of another epoch are worthless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch {
    /// A hash of where a PostgreSQL database is and of a name that each of its lives has by chance;
    /// on SQLite a random number, changed on restore.
    pub system: u64,
    /// PostgreSQL's timeline, which a promotion raises; 0 on SQLite.
    pub timeline: u32,
}

impl Epoch {
    /// Of no life that any database has lived.
    pub const NONE: Self = Self {
        system: 0,
        timeline: 0,
    };
}

/// The set of transactions visible at one moment, as PostgreSQL writes it: all below `xmin`,
/// none from `xmax` on, and between them all but those in progress.
///
/// An aborted transaction counts as visible; it changed nothing, so that is harmless for as long
/// as its number is nobody else's, which is within one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Snapshot {
    xmin: Xid,
    xmax: Xid,
    /// Sorted, distinct, each in `xmin..xmax`.
    in_progress: Box<[Xid]>,
}

/// Why a snapshot, a token or a label could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The bounds are the wrong way round, or an id in progress lies outside of them.
    #[error("a snapshot's bounds and the ids in progress contradict each other")]
    Contradiction,
    /// More transactions in progress than any server runs.
    #[error("a snapshot lists more than {MAX_IN_PROGRESS} transactions in progress")]
    TooLong,
    /// Not the text or the bytes of what was expected.
    #[error("not a {0}")]
    Syntax(&'static str),
}

impl Snapshot {
    /// A snapshot from its parts; `in_progress` may come in any order.
    pub fn new(xmin: Xid, xmax: Xid, mut in_progress: Vec<Xid>) -> Result<Self, Malformed> {
        if in_progress.len() > MAX_IN_PROGRESS {
            return Err(Malformed::TooLong);
        }
        in_progress.sort_unstable();
        in_progress.dedup();
        let outside = |xid: &Xid| *xid < xmin || *xid >= xmax;
        if xmin > xmax || in_progress.iter().any(outside) {
            return Err(Malformed::Contradiction);
        }
        Ok(Self {
            xmin,
            xmax,
            in_progress: in_progress.into(),
        })
    }

    /// Everything up to and including `last`, nothing after: SQLite's snapshots.
    pub fn up_to(last: Xid) -> Self {
        let next = last.saturating_add(1);
        Self {
            xmin: next,
            xmax: next,
            in_progress: Box::default(),
        }
    }

    /// What may be believed of a snapshot taken on a standby, whose list of transactions in
    /// progress is empty whatever runs on the primary: only what lies below `xmin`.
    pub fn below_xmin(&self) -> Self {
        Self {
            xmin: self.xmin,
            xmax: self.xmin,
            in_progress: Box::default(),
        }
    }

    /// Reads `xmin:xmax:xip,xip`, as `pg_snapshot` is printed.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let number = |text: &str| {
            text.parse::<Xid>()
                .map_err(|_| Malformed::Syntax("snapshot"))
        };
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(Malformed::Syntax("snapshot"));
        let (xmin, xmax, list) = (number(part()?)?, number(part()?)?, part()?);
        let in_progress = match list {
            "" => Vec::new(),
            list => list
                .split(',')
                .take(MAX_IN_PROGRESS + 1)
                .map(number)
                .collect::<Result<_, _>>()?,
        };
        Self::new(xmin, xmax, in_progress)
    }

    /// All transactions below this one had ended.
    pub fn xmin(&self) -> Xid {
        self.xmin
    }

    /// No transaction from this one on had ended.
    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// The transactions between the two that had not ended, in order.
    pub fn in_progress(&self) -> &[Xid] {
        &self.in_progress
    }

    /// Whether what transaction `xid` did can be seen: `visible(xid, S)`.
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }

    /// Whether everything visible here is visible in `other` too: `self ⊆ other`.
    pub fn within(&self, other: &Snapshot) -> bool {
        if other.in_progress.iter().any(|&xid| self.sees(xid)) {
            return false;
        }
        // All of other.xmax..self.xmax is invisible there, so it must be in progress here.
        let beyond = self.xmax.saturating_sub(other.xmax);
        let hidden = self
            .in_progress
            .iter()
            .filter(|&&xid| xid >= other.xmax)
            .count();
        beyond == hidden as u64
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            write!(f, "{}{xid}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The snapshot that a value was read under: the value reflects all that is visible in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Label {
    /// The life of the database that the snapshot belongs to.
    pub epoch: Epoch,
    /// What the value reflects.
    pub snapshot: Snapshot,
}

impl Label {
    /// The label of what was read on a standby: see [`Snapshot::below_xmin`].
    pub fn of_standby(epoch: Epoch, snapshot: &Snapshot) -> Self {
        Self {
            epoch,
            snapshot: snapshot.below_xmin(),
        }
    }
}

/// The receipt of a write: whoever shows it gets an answer that reflects the write. It is not
/// secret and grants nothing; a forged one costs its reader a trip to the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    /// The hash of the source's name: a keyspace heeds the tokens of its own source only.
    pub source: u64,
    /// The life of the database that was written to.
    pub epoch: Epoch,
    /// The transaction that wrote.
    pub xid: Xid,
    /// The hash of all that it touched: a hint that says otherwise is not this write's. 0 takes
    /// any hint of the transaction.
    pub touched: u64,
}

const TOKEN_FORMAT: u8 = 1;
const TOKEN_BYTES: usize = 41;

impl Token {
    /// The token as opaque, URL-safe text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(TOKEN_FORMAT);
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.epoch.system.to_be_bytes());
        bytes.extend(self.epoch.timeline.to_be_bytes());
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.touched.to_be_bytes());
        bytes.extend(token_check(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Token::encode`] wrote; anything cut, mistyped or foreign is refused.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed::Syntax("token");
        if text.len() > 2 * TOKEN_BYTES {
            return Err(malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed)?;
        let bytes: &[u8; TOKEN_BYTES] = bytes.as_slice().try_into().map_err(|_| malformed)?;
        let (body, check) = bytes.split_at(TOKEN_BYTES - 4);
        if body[0] != TOKEN_FORMAT || check != token_check(body) {
            return Err(malformed);
        }
        let u64_at = |at: usize| {
            body[at..]
                .first_chunk()
                .map(|bytes| u64::from_be_bytes(*bytes))
                .ok_or(malformed)
        };
        let timeline = body[17..]
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes));
        Ok(Self {
            source: u64_at(1)?,
            epoch: Epoch {
                system: u64_at(9)?,
                timeline: timeline.ok_or(malformed)?,
            },
            xid: u64_at(21)?,
            touched: u64_at(29)?,
        })
    }
}

fn token_check(body: &[u8]) -> [u8; 4] {
    (xxhash_rust::xxh3::xxh3_64(body) as u32).to_be_bytes()
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
