//! A whole answer that is made once and sent many times: its bytes in every coding that was asked
//! for, and what tells it from another.

use crate::coding::Coding;
use crate::conditional::{Etag, Modified, Outcome, Validators};
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use std::sync::OnceLock;

/// See the module's documentation.
///
/// Each coding has a tag of its own, as it must where tags are strong: a cache that holds the one
/// must not take part of the other for it.
#[derive(Debug)]
pub struct Document {
    content_type: &'static str,
    plain: Bytes,
    etag: Etag,
    gzip: OnceLock<Option<Bytes>>,
    zstd: OnceLock<Option<Bytes>>,
}

impl Document {
    /// Of these bytes, which its tag is made of.
    pub fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let plain = bytes.into();
        Self {
            content_type,
            etag: Etag::of(&[&plain]),
            plain,
            gzip: OnceLock::new(),
            zstd: OnceLock::new(),
        }
    }

    /// The bytes, as they are.
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The tag of its bytes as they are.
    pub fn etag(&self) -> &Etag {
        &self.etag
    }

    /// What it takes in memory at most, in every coding.
    pub fn most_bytes(&self) -> usize {
        self.plain.len() * 2 + 512
    }

    /// The answer to a request with these conditions and wishes: 200, 304 or 412. `headers` are
    /// what else it says, whichever it is.
    pub fn answer(
        &self,
        method: &Method,
        request: &HeaderMap,
        modified: Option<Modified>,
        headers: HeaderMap,
    ) -> Response {
        let (coding, bytes) = self.coded(Coding::chosen(request));
        let etag = coding.map(|coding| self.etag.coded(coding));
        let validators = Validators {
            etag: etag.as_ref().unwrap_or(&self.etag),
            modified,
        };
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        validators.put(headers);
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        match validators.judge(method, request) {
            Outcome::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
            Outcome::Failed => {
                *response.status_mut() = StatusCode::PRECONDITION_FAILED;
                return response;
            }
            Outcome::Proceed => {}
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if method != Method::HEAD {
            *response.body_mut() = Body::from(bytes.clone());
        }
        response
    }

    /// The bytes in a coding, and its name; as they are, where coding them is not worth it.
    fn coded(&self, coding: Coding) -> (Option<&'static str>, &Bytes) {
        let place = match coding {
            Coding::Identity => return (None, &self.plain),
            Coding::Gzip => &self.gzip,
            Coding::Zstd => &self.zstd,
        };
        match place.get_or_init(|| coding.encode(&self.plain)) {
            Some(coded) => (coding.name(), coded),
            None => (None, &self.plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
    use http_body_util::BodyExt as _;

    fn page() -> Document {
        let text = "<p>The kettle boils.</p>".repeat(200);
        Document::new("text/html; charset=utf-8", text)
    }

    fn asking(lines: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().expect("a header"));
        }
        headers
    }

    fn answer(page: &Document, method: &Method, request: &HeaderMap) -> Response {
        let mut more = HeaderMap::new();
        more.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        page.answer(method, request, None, more)
    }

    #[tokio::test]
    async fn each_coding_has_its_own_tag_and_its_true_length() {
        let page = page();
        let mut tags = Vec::new();
        for accepted in ["identity", "gzip", "zstd"] {
            let request = asking(&[(ACCEPT_ENCODING, accepted)]);
            let response = answer(&page, &Method::GET, &request);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[VARY], "accept-encoding");
            let coding = response.headers().get(CONTENT_ENCODING).cloned();
            assert_eq!(coding.is_none(), accepted == "identity");
            tags.push(response.headers()[ETAG].clone());
            let length = response.headers()[CONTENT_LENGTH].clone();
            let head = answer(&page, &Method::HEAD, &request);
            assert_eq!(head.headers(), response.headers(), "a HEAD says the same");
            assert!(
                head.into_body()
                    .collect()
                    .await
                    .expect("it")
                    .to_bytes()
                    .is_empty()
            );
            let body = response.into_body().collect().await.expect("a body");
            assert_eq!(length, body.to_bytes().len().to_string());
        }
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
        // Nobody is told that the bytes in one coding are those in another.
        let request = asking(&[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, "\"x\"")]);
        let mut request = request;
        request.insert(IF_NONE_MATCH, tags[0].clone());
        assert_eq!(
            answer(&page, &Method::GET, &request).status(),
            StatusCode::OK
        );
        request.insert(IF_NONE_MATCH, tags[1].clone());
        let same = answer(&page, &Method::GET, &request);
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(same.headers()[ETAG], tags[1]);
        assert_eq!(same.headers()[CACHE_CONTROL], "public");
        assert_eq!(same.headers()[VARY], "accept-encoding");
        assert_eq!(same.headers().get(CONTENT_LENGTH), None);
        assert!(
            same.into_body()
                .collect()
                .await
                .expect("it")
                .to_bytes()
                .is_empty()
        );
    }

    #[test]
    fn what_a_caller_takes_for_something_else_is_refused() {
        let request = asking(&[(axum::http::header::IF_MATCH, "\"other\"")]);
        let response = answer(&page(), &Method::GET, &request);
        assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    }
}
