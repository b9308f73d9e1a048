//! The one place where the cache's errors become statuses.

use larder::{Error, load};
use larder_runtime::status;
use std::time::Duration;
use tonic::Status;

/// When to try again after the source was away, or too busy.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The status that tells a caller why a read has no answer. The cause goes to the log, once.
pub fn refusal(error: &Error) -> Status {
    match error {
        Error::Load {
            cause: load::Error::Unavailable(cause),
            keyspace,
        } => {
            tracing::debug!(
                cache.keyspace = &**keyspace,
                cause = &**cause as &dyn std::error::Error,
                "the source is away"
            );
            let message = "the database cannot be reached";
            status::unavailable("SOURCE_UNAVAILABLE", message, RETRY_AFTER)
        }
        Error::LoadDeadline { .. } => {
            let message = "the database did not answer in time";
            status::unavailable("SOURCE_UNAVAILABLE", message, RETRY_AFTER)
        }
        Error::Overloaded { .. } => {
            let message = "too many loads are under way";
            status::resource_exhausted("TOO_MANY_LOADS", message, RETRY_AFTER)
        }
        Error::CallerDeadline { .. } => status::deadline_exceeded(),
        Error::Load {
            cause: load::Error::Failed(cause),
            keyspace,
        } => {
            if let Some(told) = told(&**cause) {
                return told;
            }
            tracing::error!(
                cache.keyspace = &**keyspace,
                cause = &**cause as &dyn std::error::Error,
                "a load failed"
            );
            status::internal()
        }
        Error::BrokenLoader { .. } => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a loader is broken"
            );
            status::internal()
        }
    }
}

/// A loader that asked another service may have a status to pass on.
fn told(cause: &(dyn std::error::Error + 'static)) -> Option<Status> {
    cause.downcast_ref::<Status>().cloned()
}
