//! `/console`: what all caches of the suite do, live, for those who run it. On the admin port only.
//!
//! A page without anything from elsewhere (`page/`), which asks for the numbers once a second
//! ([`state`]), follows what happens ([`events`]), looks at single keys and has copies dropped
//! ([`inspect`]). Whoever can reach the port may see numbers, as at `/metrics`; keys and what
//! changes something are for those who may ([`asker`]). Values are shown to nobody: the caches do
//! not tell them.

pub mod asker;
pub mod events;
pub mod inspect;
pub mod state;

use crate::backends::Backends;
use crate::document::Document;
use crate::problem::{self, Problem};
use asker::guard;
use axum::Router;
use axum::http::header::{self, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use events::Viewers;
use larder_runtime::access::Access;
use serde::Serialize;
use state::Surveyor;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the page is.
pub const PATH: &str = "/console";

/// What handlers reach. Clones share everything.
#[derive(Clone)]
pub struct Console {
    backends: Backends,
    access: Option<Access>,
    surveyor: Arc<Surveyor>,
    viewers: Viewers,
}

impl Console {
    /// Of these services, for those who have access; streams end when the process is stopping.
    pub fn new(backends: Backends, access: Option<Access>, stopping: CancellationToken) -> Self {
        Self {
            surveyor: Arc::new(Surveyor::new(backends.clone())),
            viewers: Viewers::new(stopping),
            backends,
            access,
        }
    }

    /// The page and all that it asks.
    pub fn routes(self) -> Router {
        let files = FILES.iter().fold(Router::new(), |routes, file| {
            let document = Arc::new(Document::new(file.content_type, file.bytes));
            let show = async move |method: Method, request: HeaderMap| {
                let again = HeaderValue::from_static("no-cache");
                let headers = HeaderMap::from_iter([(CACHE_CONTROL, again)]);
                document.answer(&method, &request, None, headers)
            };
            routes.route(file.path, get(show))
        });
        let asked = Router::new()
            .route("/console/state", get(state::show))
            .route("/console/events", get(events::show))
            .route("/console/inspect", get(inspect::look))
            .route("/console/invalidate", post(inspect::invalidate))
            .layer(from_fn(guard))
            .with_state(self);
        files
            .merge(asked)
            .method_not_allowed_fallback(problem::method_not_allowed)
            .layer(from_fn(sealed))
    }
}

/// A part of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static str,
}

/// A file of the folder `page`, at this path, or at its name below the page's.
macro_rules! file {
    ($name:literal, $kind:literal) => {
        file!($name, $kind, concat!("/console/", $name))
    };
    ($name:literal, $kind:literal, $path:expr) => {
        File {
            path: $path,
            content_type: concat!($kind, "; charset=utf-8"),
            bytes: include_str!(concat!("page/", $name)),
        }
    };
}

const FILES: &[File] = &[
    file!("index.html", "text/html", PATH),
    file!("console.css", "text/css"),
    file!("console.js", "text/javascript"),
    file!("ask.js", "text/javascript"),
    file!("events.js", "text/javascript"),
    file!("inspect.js", "text/javascript"),
    file!("rates.js", "text/javascript"),
    file!("view.js", "text/javascript"),
];

/// What browsers are told with every answer: the page consists of these files alone, no other page
/// may show it or read what it reads, and nobody is told where it was.
const SEALS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

async fn sealed(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in &SEALS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name.clone(), value);
    }
    response
}

/// An answer that nobody keeps.
fn json(answer: &impl Serialize) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    match serde_json::to_vec(answer) {
        Ok(body) => (headers, body).into_response(),
        Err(_) => Problem::from(larder_runtime::status::internal()).into_response(),
    }
}

/// A parameter of the query; empty where there is none.
fn parameter(head: &axum::http::request::Parts, name: &str) -> String {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(known, _)| known == name);
    found.map_or_else(String::new, |(_, value)| value.into_owned())
}
