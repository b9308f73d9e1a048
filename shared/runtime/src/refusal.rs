//! What the transport refuses by itself is said in the same words as everything else.
//!
//! tonic answers a message over the limit with OUT_OF_RANGE and one that cannot be read with
//! INTERNAL, and none of its answers carries an `ErrorInfo`. This layer gives such answers the
//! code that callers expect and the details that they rely on.

use crate::status::{self, Problem};
use http::HeaderMap;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Gives every error without details an `ErrorInfo`.
pub fn layer() -> RefusalLayer {
    RefusalLayer(())
}

/// See [`layer`].
#[derive(Clone, Copy, Debug)]
pub struct RefusalLayer(());

impl<S> Layer<S> for RefusalLayer {
    type Service = Refusal<S>;

    fn layer(&self, inner: S) -> Refusal<S> {
        Refusal { inner }
    }
}

/// A service whose every error says why: see [`layer`].
#[derive(Clone, Debug)]
pub struct Refusal<S> {
    inner: S,
}

impl<S, Q, R> Service<http::Request<Q>> for Refusal<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = RefusalFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        RefusalFuture {
            call: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The answer; an error among them with its reason.
    pub struct RefusalFuture<F> {
        #[pin]
        call: F,
    }
}

impl<F, R: Default, E> Future for RefusalFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let answer = ready!(self.project().call.poll(cx));
        Poll::Ready(answer.map(|answer| match explained(answer.headers()) {
            Some(status) => status.into_http(),
            None => answer,
        }))
    }
}

/// The error of these headers with its reason, if it has none yet. An answer that goes well has
/// no status in its headers, so that it costs one look.
fn explained(headers: &HeaderMap) -> Option<Status> {
    headers.get(Status::GRPC_STATUS)?;
    let bare = Status::from_header_map(headers)?;
    if bare.code() == Code::Ok || !bare.details().is_empty() {
        return None;
    }
    let (code, reason) = match (bare.code(), bare.message()) {
        (Code::OutOfRange, text) if text.contains("message length too large") => {
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
        }
        (Code::Internal, text) if text.contains("failed to decode Protobuf") => {
            (Code::InvalidArgument, "MALFORMED_MESSAGE")
        }
        (code, _) => (code, status::code_name(code)),
    };
    let message = match (bare.message(), code) {
        ("", Code::Unimplemented) => "there is no such method",
        (said, _) => said,
    };
    let mut status: Status = Problem::new(code, reason, message).into();
    *status.metadata_mut() = bare.metadata().clone();
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt as _;

    fn after(status: Status) -> Option<Status> {
        explained(status.into_http::<()>().headers())
    }

    #[test]
    fn a_refusal_of_the_transport_gets_the_code_and_the_reason_that_callers_expect() {
        let large = "Error, decoded message length too large: found 9 bytes, the limit is: 1 bytes";
        for (bare, code, reason) in [
            (
                Status::out_of_range(large),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
            ),
            (
                Status::internal("failed to decode Protobuf message: invalid tag"),
                Code::InvalidArgument,
                "MALFORMED_MESSAGE",
            ),
            (
                Status::unimplemented(""),
                Code::Unimplemented,
                "UNIMPLEMENTED",
            ),
            (
                Status::permission_denied("no"),
                Code::PermissionDenied,
                "PERMISSION_DENIED",
            ),
        ] {
            let status = after(bare).expect("explained");
            assert_eq!(status.code(), code);
            assert!(!status.message().is_empty());
            let details = status.get_error_details();
            assert_eq!(details.error_info().expect("a reason").reason, reason);
        }
    }

    #[test]
    fn metadata_of_a_refusal_stays() {
        let mut bare = Status::aborted("no");
        bare.metadata_mut()
            .insert("larder-source", "db".parse().expect("ascii"));
        let status = after(bare).expect("explained");
        assert_eq!(status.metadata().get("larder-source").expect("kept"), "db");
    }

    #[test]
    fn an_error_that_says_why_and_a_success_are_left_alone() {
        assert!(after(status::not_found("profile", "a")).is_none());
        assert!(explained(http::Response::new(()).headers()).is_none());
    }
}
