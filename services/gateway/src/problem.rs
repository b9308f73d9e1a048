//! What is said when something is wrong: `application/problem+json` (RFC 9457), made of a gRPC
//! status or in its likeness.
//!
//! Beside the members of the standard there are `code` (the canonical code), `reason` (what a
//! program tells errors apart by), `errors` (the fields of the request and what is wrong with
//! them), `metadata` (words of the sentence that a program may want), and `retry_after_ms`, which
//! the header `Retry-After` rounds up to seconds.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use larder_runtime::status::{self, code_name};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Somebody who is told what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The status of HTTP.
    pub status: StatusCode,
    /// The canonical code.
    pub code: Code,
    /// What a program tells errors apart by, in `UPPER_SNAKE_CASE`.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
    /// The fields of the request that are wrong.
    pub errors: Vec<FieldError>,
    /// Words of the sentence that a program may want.
    pub metadata: BTreeMap<String, String>,
    /// When it makes sense to try again.
    pub retry_after: Option<Duration>,
}

/// A field of the request and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldError {
    /// The field, header or parameter.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// One of the gateway's own.
    pub fn new(
        status: StatusCode,
        code: Code,
        reason: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            reason: reason.into(),
            detail: detail.into(),
            errors: Vec::new(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// 400: a field, parameter or header of the request is not as it must be.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        status::invalid(field, description).into()
    }

    /// The same, when it makes sense to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl From<Status> for Problem {
    fn from(said: Status) -> Self {
        let details = said.get_error_details();
        let (reason, metadata) = match details.error_info() {
            Some(info) => (info.reason.clone(), info.metadata.clone()),
            // The transport's: its words are for the log.
            None => {
                tracing::debug!(grpc.status = %said, "a service was not understood");
                (code_name(said.code()).to_owned(), Default::default())
            }
        };
        let violations = details.bad_request().map(|bad| &bad.field_violations);
        let error = |violation: &tonic_types::FieldViolation| FieldError {
            field: violation.field.clone(),
            detail: violation.description.clone(),
        };
        let detail = match details.error_info() {
            Some(_) => said.message(),
            None => "a service did not answer as it should",
        };
        Self {
            errors: violations.into_iter().flatten().map(error).collect(),
            metadata: metadata.into_iter().collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            ..Self::new(status_of(said.code()), said.code(), reason, detail)
        }
    }
}

/// The status of HTTP that a canonical code is told with.
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The members, in the order in which a person wants to read them.
#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u128>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.reason.to_ascii_lowercase().replace('_', "-");
        let members = Members {
            r#type: format!("urn:larder:problem:{kind}"),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: code_name(self.code),
            reason: &self.reason,
            errors: &self.errors,
            metadata: &self.metadata,
            retry_after_ms: self.retry_after.map(|delay| delay.as_millis()),
        };
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// 404: nothing is at this path.
pub async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        "NO_SUCH_PATH",
        detail,
    )
}

/// 405: what is there cannot be asked this. `Allow` says what can.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not for {}", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, Code::Unimplemented, "METHOD_NOT_ALLOWED", detail)
}
