//! What pages ask of the services: with the wishes of whoever asks for the page, and with what the
//! answer says of itself.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use larder::Origin;
use larder_wire::{Mark, mark, names};
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response};

/// An answer, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Asked<T> {
    /// The answer.
    pub message: T,
    /// Where it came from, and how old it can be.
    pub mark: Mark,
    /// Its version, where it is an entity.
    pub version: Option<u64>,
}

/// A request with the wishes that stand in the headers of another.
pub fn asking<T>(message: T, headers: &HeaderMap) -> Request<T> {
    const WISHES: [HeaderName; 3] = [
        HeaderName::from_static(names::FRESHNESS),
        HeaderName::from_static(names::MAX_STALENESS),
        HeaderName::from_static(names::TOKEN),
    ];
    let mut wishes = HeaderMap::new();
    for name in WISHES {
        for value in headers.get_all(&name) {
            wishes.append(name.clone(), value.clone());
        }
    }
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(wishes);
    request
}

/// What a response says, and says of itself. One that says nothing is taken for old.
pub fn asked<T>(response: Response<T>) -> Asked<T> {
    let (metadata, message, _) = response.into_parts();
    let said = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    let origin = match said(names::SOURCE) {
        Some("l1") => Origin::L1,
        Some("l2") => Origin::L2,
        Some("db") => Origin::Source,
        _ => Origin::Stale,
    };
    let millis = said(names::AGE).and_then(|age| age.parse().ok());
    let age = millis.map_or(
        Duration::from_millis(i64::MAX as u64),
        Duration::from_millis,
    );
    Asked {
        message,
        mark: Mark { origin, age },
        version: said(names::VERSION).and_then(|version| version.parse().ok()),
    }
}

/// The headers that say of a page what its parts say of themselves.
pub fn told(whole: Mark, version: Option<u64>) -> HeaderMap {
    mark((), whole, version).into_parts().0.into_headers()
}

/// Whether a part is older than it should be.
pub fn is_stale(whole: Mark) -> bool {
    whole.origin == Origin::Stale
}

/// A header's value that is made of numbers and words of ours.
pub fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
