//! What may happen, told the same way for both engines.

use std::path::PathBuf;

/// Why the database could not do what was asked. `Display` never repeats the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address names an engine that is not known here.
    #[error("no database speaks `{scheme}`; an address begins with sqlite:// or postgres://")]
    UnknownScheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The address cannot be used; the text says why and never repeats a password.
    #[error("the database's address cannot be used: {0}")]
    Address(String),
    /// The database, or the way to it, is not there now, or all connections are in use. Nothing
    /// was changed; trying again later may help.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Cause),
    /// The statement took longer than it may. Nothing was changed.
    #[error("the database took too long")]
    TimedOut(#[source] Cause),
    /// The connection was lost while committing: the transaction may or may not have happened.
    #[error("it is not known whether the transaction was committed")]
    CommitUnknown(#[source] Cause),
    /// Another transaction was in the way; the same transaction may succeed when repeated.
    #[error("another transaction is in the way")]
    Busy(#[source] Cause),
    /// A row with this key exists.
    #[error("a unique key is taken{}", named(constraint))]
    Unique {
        /// The constraint, where the engine names it.
        constraint: Option<String>,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The row refers to one that does not exist, or is referred to.
    #[error("a reference does not hold{}", named(constraint))]
    ForeignKey {
        /// The constraint, where the engine names it.
        constraint: Option<String>,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// A value is not allowed: a CHECK or NOT NULL constraint.
    #[error("a value is not allowed{}", named(constraint))]
    Check {
        /// The constraint, where the engine names it.
        constraint: Option<String>,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The transaction had ended already, with the error of an earlier statement.
    #[error("the transaction was rolled back by an earlier error")]
    Ended,
    /// The file is no SQLite database, or a damaged one.
    #[error("the database file is damaged or no database{}", at(path))]
    Corrupt {
        /// The file, where it is known.
        path: Option<PathBuf>,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// A later release has applied its migrations and not all of this one's: they have parted.
    #[error("migration {version} is of another release, and not all of this one's are applied")]
    NewerSchema {
        /// The newest migration that was applied.
        version: i64,
    },
    /// Somebody else is to bring the schema up to date, and has not yet.
    #[error("the schema waits for migration {version}, which this process does not apply")]
    Behind {
        /// The first migration that is not applied.
        version: i64,
    },
    /// There is no such database, and it was not to be created.
    #[error("there is no such database yet, and this process does not create it")]
    Absent,
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] Cause),
    /// A column is not of the type it was asked for as.
    #[error("column {index} cannot be read")]
    Column {
        /// Counted from 0.
        index: usize,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// No row, where one was promised.
    #[error("the statement gave no row")]
    NoRow,
    /// Anything else: most often a mistake in a statement.
    #[error("the database refused the statement")]
    Refused(#[source] Cause),
}

/// What the driver said.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Whether the database is away, or too slow to count as present.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }

    pub(crate) fn elapsed(doing: &'static str) -> Self {
        Self::TimedOut(doing.into())
    }
}

fn named(constraint: &Option<String>) -> String {
    constraint
        .as_ref()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default()
}

fn at(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map(|path| format!(": {}", path.display()))
        .unwrap_or_default()
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(_) => database(error),
            E::Io(_)
            | E::Tls(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::BeginFailed => Self::Unavailable(Box::new(error)),
            E::Protocol(_) => Self::Unavailable(Box::new(error)),
            E::RowNotFound => Self::NoRow,
            E::Configuration(_) => Self::Address(error.to_string()),
            _ => Self::Refused(Box::new(error)),
        }
    }
}

fn database(error: sqlx::Error) -> Error {
    let Some(told) = error.as_database_error() else {
        return Error::Refused(Box::new(error));
    };
    let constraint = told.constraint().map(str::to_owned);
    let code = told.code().unwrap_or_default().into_owned();
    let postgres = told
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some();
    let meaning = if postgres {
        of_postgres(&code)
    } else {
        of_sqlite(&code)
    };
    let source: Cause = Box::new(error);
    match meaning {
        Meaning::Unavailable => Error::Unavailable(source),
        Meaning::TimedOut => Error::TimedOut(source),
        Meaning::Busy => Error::Busy(source),
        Meaning::Unique => Error::Unique { constraint, source },
        Meaning::ForeignKey => Error::ForeignKey { constraint, source },
        Meaning::Check => Error::Check { constraint, source },
        Meaning::Corrupt => Error::Corrupt { path: None, source },
        Meaning::Refused => Error::Refused(source),
    }
}

enum Meaning {
    Unavailable,
    TimedOut,
    Busy,
    Unique,
    ForeignKey,
    Check,
    Corrupt,
    Refused,
}

fn of_postgres(code: &str) -> Meaning {
    match code {
        "23505" | "23P01" => Meaning::Unique,
        "23503" | "23001" => Meaning::ForeignKey,
        "23514" | "23502" | "23000" => Meaning::Check,
        // Serialization, deadlock, lock not available in time.
        "40001" | "40P01" | "55P03" => Meaning::Busy,
        "57014" => Meaning::TimedOut,
        // Shut down, crashed, starting up, database dropped; an idle or open transaction ended
        // by the server; a primary that has become a standby; a database that takes no connections.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25006" | "55000" => {
            Meaning::Unavailable
        }
        // Connections; out of memory, disk or connections; an I/O error of the server.
        _ if ["08", "53", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Meaning::Unavailable
        }
        _ => Meaning::Refused,
    }
}

fn of_sqlite(code: &str) -> Meaning {
    let Ok(code) = code.parse::<i32>() else {
        return Meaning::Refused;
    };
    match (code, code & 0xff) {
        (2067 | 1555 | 2579, _) => Meaning::Unique,
        (787, _) => Meaning::ForeignKey,
        (_, 19) => Meaning::Check,
        (_, 5 | 6) => Meaning::Busy,
        (_, 9) => Meaning::TimedOut,
        (_, 11 | 26) => Meaning::Corrupt,
        // I/O error, disk full, the file cannot be opened, out of memory.
        (_, 10 | 13 | 14 | 7) => Meaning::Unavailable,
        _ => Meaning::Refused,
    }
}
