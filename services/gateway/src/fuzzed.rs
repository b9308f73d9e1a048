//! What reads the bytes of others, for those who throw any at it: see `fuzz/`. No promise to anybody
//! else.

use crate::coding::Coding;
use crate::conditional::{Etag, Validators};
use crate::hooks;
use crate::routes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Headers, a line for each, and behind an empty line the rest.
fn parts(bytes: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (&rest[..end], &rest[end + 1..]);
        rest = behind;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            break;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

/// A hook: nothing of it is signed, so it is refused, whatever it says.
pub fn hook(bytes: &[u8]) {
    let (headers, body) = parts(bytes);
    hooks::tried(&headers, body);
}

/// What a request means, at each route.
pub fn request(bytes: &[u8]) {
    let (headers, body) = parts(bytes);
    let query = headers.get("query").and_then(|query| query.to_str().ok());
    routes::tried(query, &headers, body);
}

/// The conditions of a request, and how it wants its answer coded. Without conditions nothing is
/// held back.
pub fn conditions(bytes: &[u8]) {
    let (headers, _) = parts(bytes);
    let etag = Etag::versioned(7, b"shown");
    let validators = Validators {
        etag: &etag,
        modified: None,
    };
    let outcome = validators.judge(&Method::GET, &headers);
    let conditional = headers.keys().any(|name| name.as_str().starts_with("if-"));
    assert!(conditional || outcome == crate::conditional::Outcome::Proceed);
    let _ = Coding::chosen(&headers);
}
