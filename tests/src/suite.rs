//! `larder up` as a process.

use crate::block::Block;
use crate::metrics;
use anyhow::{Context as _, Result};
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_testkit::process::{Process, Program, Signal};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// How long a suite may take to be ready on a busy machine.
pub const READY: Duration = Duration::from_secs(30);

/// How a suite is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    replicas: u8,
    remote: String,
    database: Option<String>,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Setup {
    /// The binary, on embedded defaults, two replicas of each service.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let remote = "hub:".to_owned();
        Self {
            binary: binary.into(),
            replicas: 2,
            remote,
            database: None,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// So many replicas of each service.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas;
        self
    }

    /// On this remote tier.
    pub fn remote(mut self, url: impl Into<String>) -> Self {
        self.remote = url.into();
        self
    }

    /// On this database.
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// With these arguments besides.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Starts it and waits until every replica is ready.
    pub async fn start(self) -> Result<Suite> {
        let suite = self.launch()?;
        suite.ready().await?;
        Ok(suite)
    }

    /// Starts it. Nothing of the environment of the tests reaches it.
    pub fn launch(self) -> Result<Suite> {
        let block = Block::reserve()?;
        let folder = tempfile::Builder::new().prefix("larder-suite-").tempdir()?;
        let database = self.database.clone();
        let database = database.unwrap_or_else(|| format!("sqlite://{}", folder.path().display()));
        let program = Program::new(&self.binary)
            .args(["up", "--replicas", &self.replicas.to_string()])
            .args(["--port-offset", &block.offset.to_string()])
            .args([
                "--remote",
                &self.remote,
                "--database",
                &database,
                "--log",
                "info",
            ])
            .args(&self.args)
            .folder(folder.path())
            .farewell(Signal::TERM, Duration::from_secs(40));
        let env = self.env.into_iter();
        let program = env.fold(program, |program, (name, value)| program.env(name, value));
        let process = program.spawn().context("starting larder up")?;
        Ok(Suite {
            process,
            replicas: self.replicas,
            folder,
            block,
        })
    }
}

/// A suite that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Suite {
    process: Process,
    replicas: u8,
    folder: tempfile::TempDir,
    block: Block,
}

/// The services that own entities, in the order of their ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Who people are.
    Profiles = 1,
    /// What is for sale.
    Products = 2,
    /// What people say about it.
    Comments = 3,
}

/// The service of reports, which owns none, and is the last.
const REPORTS: u16 = 4;
/// The gateway's ports.
const HTTP: u16 = 8080;
const HTTP_ADMIN: u16 = 9501;

/// One replica of one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replica {
    /// Where gRPC is.
    pub grpc: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
}

impl Suite {
    /// A replica, counted from 1.
    pub fn replica(&self, kind: Kind, replica: u8) -> Replica {
        self.at(kind as u16, replica)
    }

    /// The replica that is started last.
    pub fn last(&self) -> Replica {
        self.at(REPORTS, self.replicas)
    }

    fn at(&self, service: u16, replica: u8) -> Replica {
        assert!(
            (1..=self.replicas).contains(&replica),
            "there is no replica {replica}"
        );
        let at = |base: u16| {
            let port = base + 100 * service + u16::from(replica) + self.block.offset;
            (Ipv4Addr::LOCALHOST, port).into()
        };
        Replica {
            grpc: at(7000),
            admin: at(9000),
        }
    }

    /// A replica of profiles, counted from 1.
    pub fn profiles(&self, replica: u8) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.replica(Kind::Profiles, replica).channel())
    }

    /// A replica of products, counted from 1.
    pub fn products(&self, replica: u8) -> ProductServiceClient<Channel> {
        ProductServiceClient::new(self.replica(Kind::Products, replica).channel())
    }

    /// A replica of comments, counted from 1.
    pub fn comments(&self, replica: u8) -> CommentServiceClient<Channel> {
        CommentServiceClient::new(self.replica(Kind::Comments, replica).channel())
    }

    /// A replica of reports, counted from 1.
    pub fn reports(&self, replica: u8) -> ReportServiceClient<Channel> {
        ReportServiceClient::new(self.at(REPORTS, replica).channel())
    }

    /// Where HTTP is.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, HTTP + self.block.offset).into()
    }

    /// The gateway's admin port.
    pub fn http_admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, HTTP_ADMIN + self.block.offset).into()
    }

    /// Waits until every replica is ready, and the gateway.
    pub async fn ready(&self) -> Result<()> {
        self.process.wait_ready(self.http_admin(), READY).await?;
        for service in 1..=REPORTS {
            for replica in 1..=self.replicas {
                self.process
                    .wait_ready(self.at(service, replica).admin, READY)
                    .await?;
            }
        }
        Ok(())
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The folder that it runs in, where its files are unless it was told otherwise.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The offset of its ports.
    pub fn port_offset(&self) -> u16 {
        self.block.offset
    }
}

impl Replica {
    /// A channel to it, which connects with its first call.
    pub fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc));
        let endpoint = endpoint.expect("an address is a URL");
        endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .connect_lazy()
    }

    /// What it counts: the sum of the samples of this name whose labels hold all of `labels`.
    pub async fn count(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let (status, page) = metrics::get(self.admin, "/metrics").await?;
        anyhow::ensure!(status == 200, "/metrics answers {status}");
        Ok(metrics::sum(&page, name, labels))
    }

    /// What `/ready` says, with its status.
    pub async fn readiness(&self) -> Result<(u16, String)> {
        metrics::get(self.admin, "/ready").await
    }
}
