//! What a caller asks for, and what it gets.

use crate::entry::Entry;
use crate::load;
use crate::snapshot::Token;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How fresh an answer must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Freshness {
    /// From the source, by a load that begins after the call.
    Strong,
    /// At most the keyspace's Δ behind the source.
    #[default]
    Bounded,
    /// At most this far behind the source.
    Within(Duration),
    /// Whatever there is, marked with its age; the source where there is nothing.
    Any,
}

/// The options of one read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Read {
    /// How fresh the answer must be.
    pub freshness: Freshness,
    /// Writes that it must reflect; those of other sources are ignored.
    pub tokens: Vec<Token>,
    /// When the caller stops waiting. What others wait for too goes on.
    pub deadline: Option<Instant>,
    /// Rather an error than a copy that the rule refuses, also where the keyspace is fail-safe:
    /// for who knows of a reason why its age cannot be told.
    pub never_stale: bool,
}

impl Read {
    /// From the source.
    pub fn strong() -> Self {
        Self {
            freshness: Freshness::Strong,
            ..Self::default()
        }
    }

    /// At most the keyspace's Δ behind the source: the default.
    pub fn bounded() -> Self {
        Self::default()
    }

    /// At most `max_staleness` behind the source.
    pub fn within(max_staleness: Duration) -> Self {
        Self {
            freshness: Freshness::Within(max_staleness),
            ..Self::default()
        }
    }

    /// Whatever there is.
    pub fn any() -> Self {
        Self {
            freshness: Freshness::Any,
            ..Self::default()
        }
    }

    /// Reflecting these writes too.
    pub fn reflecting(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.tokens.extend(tokens);
        self
    }

    /// Never answered by a copy that the rule refuses.
    pub fn never_stale(mut self) -> Self {
        self.never_stale = true;
        self
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// This process's memory.
    L1,
    /// The remote tier.
    L2,
    /// The source.
    Source,
    /// A copy that the rule refuses, served because the caller takes anything or because the
    /// source is unreachable and the keyspace fail-safe.
    Stale,
}

impl Origin {
    /// The word for it in traces and metadata.
    pub fn word(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Source => "db",
            Self::Stale => "stale",
        }
    }
}

/// An answer: it shares the cached entry, so holding one copies nothing.
pub struct Answer<V> {
    pub(crate) entry: Arc<Entry<V>>,
    /// Where it came from.
    pub origin: Origin,
    /// An upper bound on how far behind its source the value can be.
    pub age: Duration,
}

impl<V> Answer<V> {
    /// The value; `None` is a known absence.
    pub fn value(&self) -> Option<&V> {
        self.entry.value.as_ref()
    }
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Self {
        Self {
            entry: self.entry.clone(),
            origin: self.origin,
            age: self.age,
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Answer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("value", &self.entry.value)
            .field("origin", &self.origin)
            .field("age", &self.age)
            .finish()
    }
}

/// Why a read has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The load failed, and there was nothing that could be served instead.
    #[error("loading a value for {keyspace}")]
    Load {
        /// The keyspace.
        keyspace: Arc<str>,
        /// Why.
        #[source]
        cause: load::Error,
    },
    /// The source did not answer within the keyspace's `load_deadline`.
    #[error("loading a value for {keyspace} took longer than {limit:?}")]
    LoadDeadline {
        /// The keyspace.
        keyspace: Arc<str>,
        /// The deadline.
        limit: Duration,
    },
    /// The caller's own deadline passed first.
    #[error("the caller's deadline passed while it waited for {keyspace}")]
    CallerDeadline {
        /// The keyspace.
        keyspace: Arc<str>,
    },
    /// Too many loads at once, and no turn came in time.
    #[error("too many concurrent loads for {keyspace}")]
    Overloaded {
        /// The keyspace.
        keyspace: Arc<str>,
    },
    /// The loader panicked, or answered for fewer keys than it was asked.
    #[error("the loader of {keyspace} is broken: {problem}")]
    BrokenLoader {
        /// The keyspace.
        keyspace: Arc<str>,
        /// What it did.
        problem: &'static str,
    },
}

impl Error {
    /// Whether the source could not be reached in time, so that a last value is better than none.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Load { cause, .. } => matches!(cause, load::Error::Unavailable(_)),
            Self::LoadDeadline { .. } | Self::Overloaded { .. } => true,
            Self::CallerDeadline { .. } | Self::BrokenLoader { .. } => false,
        }
    }
}
