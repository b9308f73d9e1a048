//! What a caller is told when the database did not do what was asked.

use larder_journal::Error;
use larder_runtime::status::{self, Problem};
use std::time::Duration;
use tonic::{Code, Status};

/// When to try again after the database was away.
const AFTER_ABSENCE: Duration = Duration::from_millis(500);
/// When to try again after another transaction was in the way.
const AFTER_CONFLICT: Duration = Duration::from_millis(20);

/// The status of a write that failed, `doing` for the log: "creating a profile". What has a
/// meaning of its own to the service (a key that is taken, say) is not for here.
pub fn of_write(error: &Error, doing: &'static str) -> Status {
    use larder_db::Error as Db;
    let cause = error as &dyn std::error::Error;
    match error {
        Error::Database(Db::Unavailable(_) | Db::TimedOut(_)) => {
            tracing::debug!(cause, doing, "the database is away");
            let message = "the database cannot be reached";
            status::unavailable("SOURCE_UNAVAILABLE", message, AFTER_ABSENCE)
        }
        Error::Database(Db::Busy(_)) => {
            let message = "another write is in the way; the same call may succeed now";
            let conflict = Problem::new(Code::Aborted, "WRITE_CONFLICT", message);
            conflict.retry_after(AFTER_CONFLICT).into()
        }
        // Not UNAVAILABLE, after which many clients repeat the call by themselves.
        Error::Database(Db::CommitUnknown(_)) => {
            tracing::warn!(cause, doing, "nobody knows whether it was committed");
            let message = "it is not known whether this was written: read before you repeat it";
            Problem::new(Code::Unknown, "OUTCOME_UNKNOWN", message).into()
        }
        _ => {
            tracing::error!(cause, doing, "the database refused");
            status::internal()
        }
    }
}
