//! One endpoint: its connection, how much it is asked, and whether it should be.

use super::connect::{Noticed, connect};
use super::place::Origin;
use super::{Limits, jittered};
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::trace;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service as _, ServiceExt as _};

/// A pause between two questions to an endpoint that is away is at most so many times the first.
const LONGEST_REST: u32 = 8;

/// One process.
pub(super) struct Peer {
    pub(super) origin: Arc<Origin>,
    pub(super) address: SocketAddr,
    channel: Channel,
    under_way: AtomicUsize,
    /// Found away, and not heard of since.
    away: AtomicBool,
    /// A task sees whether it answers.
    tried: AtomicBool,
    /// No name has it any more.
    gone: AtomicBool,
    own: Weak<Peer>,
    around: Around,
}

/// What endpoints of one client share.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) limits: Limits,
    pub(super) tls: Option<Tls>,
    pub(super) tasks: Tasks,
    /// Has names looked up.
    pub(super) nudge: Arc<Notify>,
}

/// A call under way; to drop it is to end it.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// It is connected when it is first needed. `None` where the origin is no URL.
    pub(super) fn new(
        origin: Arc<Origin>,
        address: SocketAddr,
        around: Around,
    ) -> Option<Arc<Self>> {
        let uris = (origin.uri()?, format!("http://{address}").parse().ok()?);
        Some(Arc::new_cyclic(|own: &Weak<Self>| Self {
            channel: channel(uris, origin.clone(), address, &around, own.clone()),
            origin,
            address,
            under_way: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            tried: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            own: own.clone(),
            around,
        }))
    }

    /// How many calls it is at.
    pub(super) fn load(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether it should not be asked while there are others.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    pub(super) async fn call(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Error> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.under_way);
        trace::asks(self.address);
        // A clone for each call, as a channel's readiness is for one call only.
        let mut channel = self.channel.clone();
        channel.ready().await?.call(request).await
    }

    /// From now on it is not asked, until it has answered; which is tried at once.
    pub(super) fn leave(&self) {
        if self.gone.load(Ordering::Acquire) || self.away.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::debug!(client.endpoint = %self.address, "an endpoint is away");
        self.around.nudge.notify_one();
        self.try_until_it_answers();
    }

    /// A call was answered, so that it is there.
    pub(super) fn answered(&self) {
        // A look costs less than a write that all cores see.
        if self.is_away() {
            self.away.store(false, Ordering::Release);
        }
    }

    /// A new one: it is asked once it has answered, so that no call waits for its connection.
    pub(super) fn join(&self) {
        self.away.store(true, Ordering::Release);
        self.try_until_it_answers();
    }

    /// No name has it any more. Calls under way end as they would have.
    pub(super) fn remove(&self) {
        self.gone.store(true, Ordering::Release);
    }

    fn try_until_it_answers(&self) {
        if self.tried.swap(true, Ordering::AcqRel) {
            return;
        }
        let (peer, tasks) = (self.own.clone(), &self.around.tasks);
        let (stopping, rest) = (tasks.stopping().clone(), self.around.limits.rest);
        tasks.spawn("try an endpoint", async move {
            stopping
                .run_until_cancelled(try_until_it_answers(peer, rest))
                .await;
        });
    }

    /// Whether it takes calls: it answers, and does not say that it should not be asked.
    async fn answers(&self) -> bool {
        let asked = HealthCheckRequest::default();
        let mut health = HealthClient::new(self.channel.clone());
        let bound = self.around.limits.connect + self.around.limits.rest;
        match tokio::time::timeout(bound, health.check(asked)).await {
            Ok(Ok(answer)) => answer.into_inner().status() != ServingStatus::NotServing,
            Ok(Err(status)) => is_an_answer(&status),
            Err(_) => false,
        }
    }
}

/// Whether somebody is there who only does not tell how he is: a port without health, or one
/// where not everybody may ask.
fn is_an_answer(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unimplemented | Code::NotFound | Code::PermissionDenied | Code::Unauthenticated
    )
}

async fn try_until_it_answers(peer: Weak<Peer>, rest: Duration) {
    let mut pause = rest;
    loop {
        let Some(peer) = peer.upgrade() else { return };
        if peer.gone.load(Ordering::Acquire) {
            return;
        }
        if peer.answers().await {
            peer.tried.store(false, Ordering::Release);
            peer.away.store(false, Ordering::Release);
            tracing::debug!(client.endpoint = %peer.address, "an endpoint is there");
            return;
        }
        drop(peer);
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(rest * LONGEST_REST);
    }
}

/// TLS is made here, by [`connect`]. Whatever features the transport has, it must not want to make it too:
/// it is told a plain address to connect to, and the true origin for what calls say.
fn channel(
    (uri, plain): (Uri, Uri),
    origin: Arc<Origin>,
    address: SocketAddr,
    around: &Around,
    peer: Weak<Peer>,
) -> Channel {
    let (limits, tls) = (around.limits, around.tls.clone());
    let endpoint = Endpoint::from(plain)
        .origin(uri)
        .connect_timeout(limits.connect)
        .http2_keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (origin, tls, peer) = (origin.clone(), tls.clone(), peer.clone());
        async move {
            let stream = connect(&origin, address, tls.as_ref()).await?;
            Ok::<_, std::io::Error>(TokioIo::new(Noticed::new(stream, peer)))
        }
    }))
}
