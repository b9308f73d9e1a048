//! Pages for when something is wrong.

use super::address::PublicUrl;
use super::layout::{self, Head};
use crate::problem::Problem;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::html;
use std::time::Duration;
use tonic::Status;

/// Why there is no page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    status: StatusCode,
    title: &'static str,
    text: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// There is no such thing.
    pub fn missing() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "There is no such page",
            text: "It may have been here once, or its address may have been mistyped.".to_owned(),
            retry_after: None,
        }
    }

    /// The request cannot be understood.
    pub fn malformed(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "This address cannot be understood",
            text: text.into(),
            retry_after: None,
        }
    }

    /// The page that says so.
    pub fn page(&self, site: &PublicUrl) -> Response {
        let head = Head {
            title: self.title,
            description: self.title,
            kind: "website",
            canonical: None,
            linked: &[],
        };
        let main = html! {
            section class="failure" {
                p class="code" { (self.status.as_u16()) }
                h1 { (self.title) }
                p { (self.text) }
                p { a class="button" href="/" { "To the first page" } }
            }
        };
        let page = layout::page(site, &head, &main);
        let mut response = (self.status, page).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(layout::HTML));
        // Who asks a moment later may be answered otherwise.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a service's refusal means to somebody who looks at a page.
impl From<Status> for Failure {
    fn from(said: Status) -> Self {
        let problem = Problem::from(said);
        let (title, text) = match problem.status {
            StatusCode::NOT_FOUND => return Self::missing(),
            // The services write these for the public.
            StatusCode::BAD_REQUEST => return Self::malformed(problem.detail),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => (
                "The shop is closed for a moment",
                "What this page shows cannot be asked for just now. Try again shortly.",
            ),
            StatusCode::GATEWAY_TIMEOUT => (
                "This takes too long",
                "What this page shows did not come in time. Try again shortly.",
            ),
            _ => ("Something went wrong", "It is not your doing."),
        };
        Self {
            status: problem.status,
            title,
            text: text.to_owned(),
            retry_after: problem.retry_after,
        }
    }
}
