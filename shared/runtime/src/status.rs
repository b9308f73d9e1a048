//! What a caller is told when something is wrong: a code, a short public sentence, and details
//! in the types of `google.rpc`, always with exactly one `ErrorInfo`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "larder";

/// The reason of a server that is starting: no handler has seen the call, so that it can be made
/// elsewhere, be it a read or a write. Nothing that a handler says may have it.
pub const STARTING: &str = "STARTING";

/// Details travel in a header, and headers have a limit: more violations than this are left out.
const VIOLATIONS: usize = 32;

/// An error to be told to the caller. The functions of this module make the usual ones.
///
/// ```
/// use larder_runtime::status::{self, Problem};
///
/// let missing = status::not_found("profile", "ada");
/// let own = Problem::new(tonic::Code::FailedPrecondition, "SHELF_FULL", "the shelf is full")
///     .with("shelf", "7");
/// # let _: (tonic::Status, tonic::Status) = (missing, own.into());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Problem {
    code: Code,
    reason: Cow<'static, str>,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// `reason` is what a program tells errors apart by, in `UPPER_SNAKE_CASE`; `message` is for
    /// people, and holds nothing that the public must not know.
    pub fn new(
        code: Code,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds a word of the message that a program may want: the id, the limit.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a field of the request and what is wrong with it.
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        if self.violations.len() < VIOLATIONS {
            self.violations
                .push(FieldViolation::new(field, description));
        }
        self
    }

    /// Says when it makes sense to try again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut details = ErrorDetails::with_error_info(problem.reason, DOMAIN, problem.metadata);
        if !problem.violations.is_empty() {
            details.set_bad_request(problem.violations);
        }
        if problem.retry_after.is_some() {
            details.set_retry_info(problem.retry_after);
        }
        Status::with_error_details(problem.code, problem.message, details)
    }
}

/// INVALID_ARGUMENT: one field of the request is not as it must be.
pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Status {
    invalid_fields([(field.into(), description.into())])
}

/// INVALID_ARGUMENT: these fields of the request are not as they must be.
pub fn invalid_fields<F, D>(violations: impl IntoIterator<Item = (F, D)>) -> Status
where
    F: Into<String>,
    D: Into<String>,
{
    let mut problem = Problem::new(Code::InvalidArgument, "INVALID_FIELD", "");
    for (field, description) in violations {
        problem = problem.field(field, description);
    }
    let said: Vec<_> = problem
        .violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect();
    let fields: Vec<_> = problem
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    let fields = fields.join(",");
    problem.message = said.join("; ");
    problem.with("fields", fields).into()
}

/// NOT_FOUND: there is no such `kind` (`profile`) with this id.
pub fn not_found(kind: &str, id: &str) -> Status {
    Problem::new(
        Code::NotFound,
        "NOT_FOUND",
        format!("there is no {kind} {id}"),
    )
    .with("kind", kind)
    .with("id", id)
    .into()
}

/// ALREADY_EXISTS: the id is taken.
pub fn already_exists(kind: &str, id: &str) -> Status {
    Problem::new(
        Code::AlreadyExists,
        "ALREADY_EXISTS",
        format!("there is a {kind} {id} already"),
    )
    .with("kind", kind)
    .with("id", id)
    .into()
}

/// ABORTED: the caller's `expected_version` is not the entity's.
pub fn version_mismatch(kind: &str, id: &str, expected: u64, actual: u64) -> Status {
    let message = format!("{kind} {id} is of version {actual}, not {expected}");
    Problem::new(Code::Aborted, "VERSION_MISMATCH", message)
        .with("kind", kind)
        .with("id", id)
        .with("expected_version", expected.to_string())
        .with("version", actual.to_string())
        .into()
}

/// ABORTED: another writer came between; the same call may succeed now.
pub fn aborted(reason: &'static str, message: impl Into<String>) -> Status {
    Problem::new(Code::Aborted, reason, message).into()
}

/// RESOURCE_EXHAUSTED: more than may be, now; `retry_after` says when there may be room.
pub fn resource_exhausted(
    reason: &'static str,
    message: impl Into<String>,
    retry_after: Duration,
) -> Status {
    Problem::new(Code::ResourceExhausted, reason, message)
        .retry_after(retry_after)
        .into()
}

/// UNAVAILABLE: something that is needed is not there now.
pub fn unavailable(
    reason: &'static str,
    message: impl Into<String>,
    retry_after: Duration,
) -> Status {
    Problem::new(Code::Unavailable, reason, message)
        .retry_after(retry_after)
        .into()
}

/// DEADLINE_EXCEEDED: the caller waits no longer.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed before there was an answer";
    Problem::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message).into()
}

/// INTERNAL: a fault of ours. The cause goes to the log, not to the caller.
pub fn internal() -> Status {
    Problem::new(Code::Internal, "INTERNAL", "something went wrong here").into()
}

/// A code's name as the specification writes it: `NOT_FOUND`.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_error_info_of_our_domain() {
        let second = Duration::from_secs(1);
        let all = [
            (
                invalid("id", "is empty"),
                Code::InvalidArgument,
                "INVALID_FIELD",
            ),
            (not_found("profile", "a"), Code::NotFound, "NOT_FOUND"),
            (
                already_exists("profile", "a"),
                Code::AlreadyExists,
                "ALREADY_EXISTS",
            ),
            (
                version_mismatch("profile", "a", 1, 2),
                Code::Aborted,
                "VERSION_MISMATCH",
            ),
            (aborted("RACE", "lost"), Code::Aborted, "RACE"),
            (
                resource_exhausted("FULL", "full", second),
                Code::ResourceExhausted,
                "FULL",
            ),
            (
                unavailable("AWAY", "away", second),
                Code::Unavailable,
                "AWAY",
            ),
            (
                deadline_exceeded(),
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
            ),
            (internal(), Code::Internal, "INTERNAL"),
        ];
        for (status, code, reason) in all {
            assert_eq!(status.code(), code);
            assert!(!status.message().is_empty());
            let details = status.get_error_details_vec();
            let infos = details
                .iter()
                .filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)))
                .count();
            assert_eq!(infos, 1, "{reason}");
            let details = status.get_error_details();
            let info = details.error_info().expect("counted above");
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason, DOMAIN)
            );
        }
    }

    #[test]
    fn a_bad_request_names_every_field() {
        let status = invalid_fields([("profile.id", "is empty"), ("page_size", "is negative")]);
        assert_eq!(
            status.message(),
            "profile.id: is empty; page_size: is negative"
        );
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .expect("violations")
            .field_violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(fields, ["profile.id", "page_size"]);
    }

    #[test]
    fn too_many_violations_still_fit_into_a_header() {
        let status = invalid_fields((0..1000).map(|n| (format!("ids[{n}]"), "is not an id")));
        let details = status.get_error_details();
        assert_eq!(
            details
                .bad_request()
                .expect("violations")
                .field_violations
                .len(),
            VIOLATIONS
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let status = unavailable("AWAY", "away", Duration::from_millis(250));
        let details = status.get_error_details();
        let retry = details.retry_info().expect("retry info");
        assert_eq!(retry.retry_delay, Some(Duration::from_millis(250)));
    }
}
