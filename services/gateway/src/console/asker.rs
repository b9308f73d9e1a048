//! Who asks the console, and what he may.
//!
//! The admin port's own rule decides ([`larder_runtime::access::Access`]): a token, a certificate, or neither on loopback.
//! Whoever may change what is cached may see keys too; there is no third kind of asker.
//!
//! A browser adds a danger of its own: a page from elsewhere asks in its user's place. So what other
//! sites ask is refused, what changes something needs a header that no form can send, and where
//! nothing but being on this machine gives the right, the console must have been called by a number
//! or as localhost: a name of somebody else's may have been made to lead here (DNS rebinding).

use super::Console;
use crate::problem::Problem;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::convert::Infallible;
use std::net::IpAddr;
use tonic::Code;

/// What stands for all that the console does beyond numbers.
const METHOD: &str = "/larder.cache.v1.CacheService/Invalidate";
/// What the page's own script sends with whatever changes something.
const MARK: &str = "larder-console";

impl Console {
    /// Whether whoever asks may see keys and have copies dropped; if not, why.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Problem> {
        let mut known = false;
        if let Some(access) = &self.access {
            access.check(head, METHOD)?;
            known = access.knows_askers();
        }
        match known || called_here(head) {
            true => Ok(()),
            false => Err(refused(
                "HOST_UNKNOWN",
                "without a token, keys are shown at a number or at localhost only",
            )),
        }
    }

    /// Whether whoever asks may see keys. An error where what he shows is wrong: he means to be
    /// somebody, and must not believe that he is.
    pub(super) fn may(&self, head: &Parts) -> Result<bool, Problem> {
        match self.check(head) {
            Ok(()) => Ok(true),
            Err(problem) if head.headers.contains_key(AUTHORIZATION) => Err(problem),
            Err(_) => Ok(false),
        }
    }
}

/// The head of a request, as handlers take it.
pub(super) struct Told(pub(super) Parts);

impl<S: Sync> FromRequestParts<S> for Told {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(head.clone()))
    }
}

/// Refuses what pages from elsewhere ask.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match own_page(request.method(), request.headers()) {
        true => next.run(request).await,
        false => refused(
            "OTHER_SITE",
            "the console answers its own page and programs, and no other site's",
        )
        .into_response(),
    }
}

fn own_page(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let near = matches!(text("sec-fetch-site"), None | Some("same-origin" | "none"));
    let origin = match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, at)| at == host),
        (Some(_), None) => false,
    };
    let meant = method == Method::GET || method == Method::HEAD || text(MARK).is_some();
    near && origin && meant
}

/// Whether the console was called by a number, or as localhost.
fn called_here(head: &Parts) -> bool {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.or_else(|| head.uri.authority().cloned());
    host.is_some_and(|host| {
        let host = host.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

fn refused(reason: &'static str, detail: &str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        Code::PermissionDenied,
        reason,
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::new(());
        for (name, value) in headers {
            let name = axum::http::HeaderName::try_from(*name).expect("a name");
            request
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
        request.into_parts().0
    }

    #[test]
    fn what_other_sites_ask_is_refused_and_a_form_can_change_nothing() {
        let host = ("host", "127.0.0.1:9501");
        let mark = (MARK, "1");
        for (method, headers, may) in [
            (Method::GET, vec![host], true),
            (Method::GET, vec![host, ("sec-fetch-site", "none")], true),
            (
                Method::GET,
                vec![host, ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                Method::GET,
                vec![host, ("sec-fetch-site", "same-site")],
                false,
            ),
            (
                Method::GET,
                vec![host, ("origin", "http://evil.example")],
                false,
            ),
            (Method::GET, vec![host, ("origin", "null")], false),
            (Method::POST, vec![host], false),
            (Method::POST, vec![host, mark], true),
            (
                Method::POST,
                vec![host, mark, ("origin", "http://127.0.0.1:9501")],
                true,
            ),
            (
                Method::POST,
                vec![host, mark, ("origin", "http://127.0.0.1:9502")],
                false,
            ),
            (
                Method::POST,
                vec![mark, ("origin", "http://127.0.0.1:9501")],
                false,
            ),
        ] {
            let told = format!("{method} {headers:?}");
            assert_eq!(own_page(&method, &head(&headers).headers), may, "{told}");
        }
    }

    #[test]
    fn a_name_of_somebody_elses_is_not_here() {
        for (host, here) in [
            ("127.0.0.1:9501", true),
            ("[::1]:9501", true),
            ("localhost:9501", true),
            ("LOCALHOST", true),
            ("10.1.2.3", true),
            ("evil.example:9501", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(called_here(&head(&[("host", host)])), here, "{host}");
        }
        assert!(!called_here(&head(&[])));
    }
}
