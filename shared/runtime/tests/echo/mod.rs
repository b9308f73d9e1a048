//! A service without contracts: it answers with what it is sent, in several ways.
#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use larder_runtime::client::{Client, Limits, streamed};
use larder_runtime::places::Places;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::{self, Server};
use larder_runtime::tasks::Tasks;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;

/// `/echo.Echo/Say` answers at once, `Held` when the gate has room, `Never` never, `Ticks` with
/// the message a hundred times and then waits, `Repeat` with the message a thousand times.
#[derive(Clone)]
pub struct Echo {
    pub gate: Arc<Semaphore>,
    /// How many unary calls came in whole, which is when a handler begins to work.
    pub heard: Arc<AtomicUsize>,
}

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/echo.Echo/Say" => grpc.unary(Unary(echo, Manner::Say), request).await,
                "/echo.Echo/Held" => grpc.unary(Unary(echo, Manner::Held), request).await,
                "/echo.Echo/Never" => grpc.unary(Unary(echo, Manner::Never), request).await,
                "/echo.Echo/Ticks" => grpc.server_streaming(Ticks(100, true), request).await,
                "/echo.Echo/Repeat" => grpc.server_streaming(Ticks(1000, false), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

enum Manner {
    Say,
    Held,
    Never,
}

struct Unary(Echo, Manner);

impl UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Answer<Bytes> {
        let message = request.into_inner();
        let gate = self.0.gate.clone();
        self.0.heard.fetch_add(1, Ordering::Relaxed);
        match self.1 {
            Manner::Say => Box::pin(async { Ok(Response::new(message)) }),
            Manner::Held => Box::pin(async move {
                drop(gate.acquire().await);
                Ok(Response::new(message))
            }),
            Manner::Never => Box::pin(std::future::pending()),
        }
    }
}

struct Ticks(usize, bool);

impl ServerStreamingService<Bytes> for Ticks {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let ticks = stream::iter(std::iter::repeat_n(Ok(request.into_inner()), self.0));
        let ticks = match self.1 {
            true => ticks.chain(stream::pending()).boxed(),
            false => ticks.boxed(),
        };
        Box::pin(async { Ok(Response::new(ticks)) })
    }
}

/// A server with an echo, and what holds it.
pub struct Running {
    pub address: SocketAddr,
    pub gate: Arc<Semaphore>,
    pub heard: Arc<AtomicUsize>,
    pub readiness: Readiness,
    pub tasks: Tasks,
    pub stop: CancellationToken,
    pub metrics: Arc<larder_runtime::metrics::Metrics>,
    pub places: Vec<Places>,
    pub served: tokio::task::JoinHandle<Result<(), server::Error>>,
}

pub async fn serve(limits: server::Limits) -> Running {
    serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await
}

pub async fn serve_at(address: SocketAddr, limits: server::Limits) -> Running {
    let (readiness, tasks, stop) = (Readiness::new(), Tasks::new(), CancellationToken::new());
    let gate = Arc::new(Semaphore::new(0));
    let heard = Arc::new(AtomicUsize::new(0));
    let echo = Echo {
        gate: gate.clone(),
        heard: heard.clone(),
    };
    let server = Server::bind(address, limits, &readiness, &[])
        .await
        .expect("a port is free")
        .add_service(echo);
    let address = server.address().expect("bound");
    let (metrics, places) = (server.metrics(), server.places());
    let (owned, stopped) = (tasks.clone(), stop.clone().cancelled_owned());
    let served = tokio::spawn(async move { server.serve(&owned, stopped).await });
    Running {
        address,
        gate,
        heard,
        readiness,
        tasks,
        stop,
        metrics,
        places,
        served,
    }
}

impl Running {
    /// A way to it that does not give up before the test does.
    pub fn client(&self) -> Client {
        let limits = Limits {
            call: SOON,
            connect: SOON,
            ..Limits::default()
        };
        Client::new("--echo", &format!("http://{}", self.address), limits).expect("an address")
    }

    /// How many calls it was sent.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(self) {
        self.stop.cancel();
        let served = tokio::time::timeout(SOON, self.served)
            .await
            .expect("in time");
        served.expect("no panic").expect("no error");
    }
}

pub async fn call(client: Client, method: &'static str, message: Bytes) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(client);
    grpc.ready().await.expect("infallible");
    let path = http::uri::PathAndQuery::from_static(method);
    let answer = grpc
        .unary(Request::new(message), path, ProstCodec::default())
        .await;
    answer.map(Response::into_inner)
}

pub async fn open(client: Client, method: &'static str, message: Bytes) -> Streaming<Bytes> {
    let mut grpc = tonic::client::Grpc::new(client);
    grpc.ready().await.expect("infallible");
    let path = http::uri::PathAndQuery::from_static(method);
    let answer = grpc
        .server_streaming(streamed(message), path, ProstCodec::default())
        .await;
    answer.expect("a stream").into_inner()
}
