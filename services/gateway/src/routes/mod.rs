//! JSON over the services' contracts.
//!
//! Reading order: `table.rs` says which path is which method, `ask.rs` makes the message of a
//! request, `answer.rs` the answer of a message, and `openapi.rs` describes all of it.

mod answer;
mod ask;
mod openapi;
pub mod table;

use crate::State;
use crate::backends::{self, Backends};
use crate::headers::asking;
use crate::layers::read_body;
use crate::problem::Problem;
use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, get, on};
use http::HeaderMap;
use http::uri::PathAndQuery;
use larder_proto::Raw;
use larder_runtime::deadline::Deadline;
use prost::Message as _;
use table::{ROUTES, Route};
use tonic::Status;
use tonic_prost::ProstCodec;

/// The longest body: a thousand orders, and an entity many times over.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// The routes of JSON.
pub fn routes() -> Router<State> {
    let own = Router::new().route("/openapi.json", get(openapi::serve));
    ROUTES.iter().fold(own, |router, route| {
        let filter = MethodFilter::try_from(route.http.clone()).expect("a usual method");
        let handle =
            async |state: axum::extract::State<State>, path: RawPathParams, request: Request| {
                let answered = answer_to(route, &state.backends, &path, request).await;
                answered.unwrap_or_else(|problem| problem.into_response())
            };
        router.route(route.path, on(filter, handle))
    })
}

async fn answer_to(
    route: &'static Route,
    backends: &Backends,
    path: &RawPathParams,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let body = read_body(body, MOST_BYTES).await?;
    let path: Vec<_> = path
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let message = ask::message(route, &path, head.uri.query(), &head.headers, &body)?;
    let message = Raw::from(bytes::Bytes::from(message.encode_to_vec()));
    let deadline = head.extensions.get::<Deadline>().copied();
    let call = || {
        let request = asking(message.clone(), &head.headers, deadline);
        call(route, backends, request)
    };
    let answered = match route.is_safe() {
        true => backends::read(call).await,
        false => call().await,
    };
    match answered {
        Ok(answered) => answer::of(route, &head.headers, answered),
        Err(status) => Err(answer::refused(&head.headers, status)),
    }
}

/// One call of the service.
async fn call(
    route: &Route,
    backends: &Backends,
    request: tonic::Request<Raw>,
) -> Result<tonic::Response<Raw>, Status> {
    let rpc = &route.rpc;
    let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
    let path = PathAndQuery::try_from(path).map_err(|_| larder_runtime::status::internal())?;
    let mut grpc = tonic::client::Grpc::new(backends.client(route.backend));
    match grpc.ready().await {
        Ok(()) => {}
        Err(never) => match never {},
    }
    let codec = ProstCodec::<Raw, Raw>::default();
    match rpc.is_client_streaming() {
        true => {
            let alone = request.map(|message| futures_util::stream::iter([message]));
            grpc.client_streaming(alone, path, codec).await
        }
        false => grpc.unary(request, path, codec).await,
    }
}

/// See [`crate::fuzzed`].
pub(crate) fn tried(query: Option<&str>, headers: &HeaderMap, body: &[u8]) {
    for route in ROUTES.iter() {
        let path = match route.path.contains("{id}") {
            true => vec![("id".to_owned(), "kettle".to_owned())],
            false => Vec::new(),
        };
        let _ = ask::message(route, &path, query, headers, body);
    }
}
