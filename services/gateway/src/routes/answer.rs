//! From the service's answer to that of HTTP.

use super::table::{Does, Route};
use crate::conditional::{Etag, Outcome, Validators};
use crate::contracts::JSON;
use crate::headers::telling;
use crate::problem::Problem;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use larder_proto::Raw;
use larder_runtime::status;
use larder_wire::names;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};

/// The answer of a call that went well.
pub fn of(
    route: &Route,
    asked: &HeaderMap,
    answered: tonic::Response<Raw>,
) -> Result<Response, Problem> {
    let (metadata, message, _) = answered.into_parts();
    let message = DynamicMessage::decode(route.rpc.output(), message.into_bytes());
    let message = message.map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer is malformed"
        );
        status::internal()
    })?;
    let body = json(&message)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    telling(metadata, &mut headers);
    let mut status = StatusCode::OK;
    match route.does {
        Does::Get | Does::Read => {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
            let tag = tag(route, &headers, &body);
            let validators = Validators {
                etag: &tag,
                modified: None,
            };
            validators.put(&mut headers);
            match validators.judge(&route.http, asked) {
                Outcome::Proceed => {}
                Outcome::NotModified => {
                    status = StatusCode::NOT_MODIFIED;
                    headers.remove(CONTENT_TYPE);
                }
                Outcome::Failed => return Err(failed()),
            }
        }
        Does::Create => {
            status = StatusCode::CREATED;
            put(&mut headers, LOCATION, &place(route, &message));
        }
        Does::Update | Does::Delete | Does::Act => {}
    }
    if !route.is_safe() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(match status {
        StatusCode::NOT_MODIFIED => (status, headers).into_response(),
        _ => (status, headers, body).into_response(),
    })
}

/// What a call is told that did not go well. A version that `If-Match` asked for and that is not
/// there is a precondition that failed; one asked for by a parameter is a conflict.
pub fn refused(asked: &HeaderMap, status: Status) -> Problem {
    let problem = Problem::from(status);
    let mismatch = problem.code == Code::Aborted && problem.reason == "VERSION_MISMATCH";
    match mismatch && asked.contains_key(IF_MATCH) {
        true => Problem {
            status: StatusCode::PRECONDITION_FAILED,
            ..problem
        },
        false => problem,
    }
}

fn json(message: &DynamicMessage) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let written =
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &JSON);
    written.map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer cannot be JSON"
        );
        status::internal()
    })?;
    Ok(text)
}

/// 412: it is not in the state that the caller takes it for.
fn failed() -> Problem {
    let detail = "it is in another state than the request's conditions want";
    let status = StatusCode::PRECONDITION_FAILED;
    Problem::new(status, Code::FailedPrecondition, "CONDITION_FAILED", detail)
}

/// An entity's tag has its version before the hash of what is shown, that of a list the hash alone.
fn tag(route: &Route, headers: &HeaderMap, body: &[u8]) -> Etag {
    let version = headers
        .get(names::VERSION)
        .filter(|_| route.does == Does::Get);
    let version = version.and_then(|version| version.to_str().ok()?.parse().ok());
    match version {
        Some(version) => Etag::versioned(version, body),
        None => Etag::of(&[body]),
    }
}

/// Where an entity is that was made.
fn place(route: &Route, message: &DynamicMessage) -> String {
    let id = message.get_field_by_name("id");
    let id = id.as_deref().and_then(Value::as_str).unwrap_or_default();
    // A comment is made at its product, and lives among the comments.
    let (_, kind) = route.path.rsplit_once('/').unwrap_or_default();
    format!("/v1/{kind}/{id}")
}

fn put(headers: &mut HeaderMap, name: axum::http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
