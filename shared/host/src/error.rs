//! Why a service did not start, or ended.

use crate::service::BoxError;
use larder_runtime::{access, listen, server, telemetry, tls};

/// Why a service did not start, or ended. None of these mends itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The gRPC server failed.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Nothing can be said of what it does.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Who may call it, or look into it, makes no sense.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A rate limit makes no sense.
    #[error(transparent)]
    Limit(#[from] larder_limit::Error),
    /// There is no key where one was expected.
    #[error(transparent)]
    Seal(#[from] larder_runtime::config::NoSealKey),
    /// A certificate's file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] larder_runtime::config::Unreadable),
    /// The remote tier's address makes no sense.
    #[error("--remote (REDIS_URL) cannot be used")]
    Remote(#[source] larder::remote::Error),
    /// The database's address makes no sense.
    #[error("--database (DATABASE_URL) cannot be used: {problem}")]
    Address {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The database cannot be opened or brought up to date.
    #[error("the database of {service} cannot be opened")]
    Database {
        /// Whose.
        service: &'static str,
        /// Why not.
        #[source]
        source: larder_journal::Error,
    },
    /// The service could not open its keyspaces.
    #[error("{service} cannot be opened")]
    Service {
        /// Which.
        service: &'static str,
        /// Why not.
        #[source]
        source: BoxError,
    },
}

impl Error {
    /// Whether it waits for somebody else to bring the tables up to date.
    pub(crate) fn is_behind(&self) -> bool {
        use larder_db::Error as Db;
        use larder_journal::Error as Journal;
        let Self::Database { source, .. } = self else {
            return false;
        };
        matches!(
            source,
            Journal::Database(Db::Behind { .. } | Db::Absent) | Journal::NotInstalled { .. }
        )
    }

    /// Whether the same may go well a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        use larder_db::Error as Db;
        use larder_journal::Error as Journal;
        let Self::Database { source, .. } = self else {
            return false;
        };
        match source {
            Journal::Database(error) => !matches!(
                error,
                Db::UnknownScheme { .. }
                    | Db::Address(_)
                    | Db::Corrupt { .. }
                    | Db::NewerSchema { .. }
                    | Db::Migration(_)
            ),
            // A standby, which may be promoted.
            Journal::Unusable(_) => true,
            Journal::NotInstalled { .. } => true,
            _ => false,
        }
    }
}

/// An error with all its causes, for one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // A transparent error says what its cause says.
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
