//! The gateway in front of a suite's services, in the same process.

use crate::services::{Kind, Ports, Running};
use larder::remote::Remote;
use larder_gateway::backends::Addresses;
use larder_gateway::settings::Options;
use larder_gateway::{ADMIN_PORT, Gateway, HTTP_PORT};
use larder_runtime::listen::listen;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::Limits;
use larder_runtime::tasks::Tasks;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A gateway that runs.
pub struct Front {
    /// Where HTTP is.
    pub http: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    pub(crate) readiness: Readiness,
    tasks: Tasks,
}

impl Front {
    /// Starts it in front of these replicas.
    pub async fn start(
        running: &[Running],
        remote: Arc<dyn Remote>,
        ports: Ports,
        options: &Options,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let backends = options.backends(&addresses(running), None)?;
        let (http, admin) = (
            take(ports, HTTP_PORT).await?,
            take(ports, ADMIN_PORT).await?,
        );
        let gateway = Gateway::on(http, admin, options.parts(backends, None, remote, limits)?);
        let (http, admin) = (gateway.http_address()?, gateway.admin_address()?);
        let (readiness, tasks) = (gateway.readiness(), Tasks::new());
        let stop = tasks.stopping().clone().cancelled_owned();
        tasks.spawn("gateway", gateway.serve(stop));
        Ok(Self {
            http,
            admin,
            readiness,
            tasks,
        })
    }

    /// Ends it, in order, at most within so long.
    pub async fn end(self, limit: Duration) {
        if let Err(error) = self.tasks.close(limit).await {
            tracing::warn!(error = %error, "the gateway was left behind");
        }
    }
}

async fn take(ports: Ports, base: u16) -> anyhow::Result<TcpListener> {
    let address = ports.at(base)?;
    Ok(listen("--port-offset (LARDER_PORT_OFFSET)", address).await?)
}

/// Where the replicas of each service are.
fn addresses(running: &[Running]) -> Addresses {
    let each = |kind, port: fn(&Running) -> SocketAddr| {
        let of_kind = running.iter().filter(|running| running.kind == kind);
        let urls: Vec<_> = of_kind
            .map(|running| format!("http://{}", port(running)))
            .collect();
        urls.join(",")
    };
    let grpc = |kind| each(kind, |running| running.grpc);
    let admin = |kind| each(kind, |running| running.admin);
    Addresses {
        profiles: grpc(Kind::Profiles),
        profiles_admin: admin(Kind::Profiles),
        products: grpc(Kind::Products),
        products_admin: admin(Kind::Products),
        comments: grpc(Kind::Comments),
        comments_admin: admin(Kind::Comments),
        reports: grpc(Kind::Reports),
        reports_admin: admin(Kind::Reports),
    }
}
