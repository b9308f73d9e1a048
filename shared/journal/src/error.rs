//! What may go wrong with the journal.

use larder::feed;
use std::sync::Arc;

/// Why the journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database failed, or refused.
    #[error(transparent)]
    Database(#[from] larder_db::Error),
    /// What the database answered makes no sense here; a standby's answer may be of this kind.
    #[error("the journal's answer cannot be used: {0}")]
    Unusable(String),
    /// A newer release has changed the journal itself: this one would misread it.
    #[error("the journal is of a newer release (version {version})")]
    Newer {
        /// Of this crate's own tables.
        version: i64,
    },
    /// Somebody else is to install the journal, and has not yet.
    #[error("the journal of revision {revision} is not installed, which this process does not do")]
    NotInstalled {
        /// Of the watches.
        revision: i64,
    },
    /// The watches are not those that were installed under this revision.
    #[error("the watches of revision {revision} have changed; they need a higher revision")]
    Unrevised {
        /// Of the watches.
        revision: i64,
    },
}

impl From<Error> for feed::Error {
    fn from(error: Error) -> Self {
        use larder_db::Error as Db;
        match error {
            Error::Unusable(why) => Self::Unusable(why),
            Error::Database(
                error @ (Db::Unavailable(_) | Db::TimedOut(_) | Db::Busy(_) | Db::CommitUnknown(_)),
            ) => Self::Unavailable(Arc::new(error)),
            other => {
                let cause = std::error::Error::source(&other).map(|cause| format!(": {cause}"));
                Self::Unusable(format!("{other}{}", cause.unwrap_or_default()))
            }
        }
    }
}
