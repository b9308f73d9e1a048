//! The suite's own headers, which pass through both ways: what a caller asks of the cache, and
//! what it is told about an answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use larder_runtime::deadline::Deadline;
use larder_wire::names;
use tonic::Request;
use tonic::metadata::MetadataMap;

const ASKED: [HeaderName; 3] = [
    HeaderName::from_static(names::FRESHNESS),
    HeaderName::from_static(names::MAX_STALENESS),
    HeaderName::from_static(names::TOKEN),
];
const TOLD: [HeaderName; 4] = [
    HeaderName::from_static(names::SOURCE),
    HeaderName::from_static(names::AGE),
    HeaderName::from_static(names::VERSION),
    HeaderName::from_static(names::TOKEN),
];

/// A call that asks what the request's headers ask, and ends no later. The service says what is
/// wrong with them.
pub fn asking<T>(message: T, headers: &HeaderMap, deadline: Option<Deadline>) -> Request<T> {
    let mut metadata = HeaderMap::new();
    for name in &ASKED {
        for value in headers.get_all(name) {
            for value in alone(name, value) {
                metadata.append(name, value);
            }
        }
    }
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(metadata);
    if let Some(deadline) = deadline {
        deadline.put_on(&mut request);
    }
    request
}

/// Has an answer tell what the service told.
pub fn telling(metadata: MetadataMap, headers: &mut HeaderMap) {
    let metadata = metadata.into_headers();
    for name in &TOLD {
        for value in metadata.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// The values of a header that may repeat, which proxies may have joined by commas.
fn alone(name: &HeaderName, value: &HeaderValue) -> Vec<HeaderValue> {
    let text = value.to_str().ok();
    match text.filter(|text| name == names::TOKEN && text.contains(',')) {
        Some(text) => {
            let values = text.split(',').map(str::trim);
            let values = values.filter(|value| !value.is_empty());
            values.filter_map(|value| value.parse().ok()).collect()
        }
        None => vec![value.clone()],
    }
}
