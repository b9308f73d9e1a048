//! What the process, or whoever runs several services in one, brings.

use crate::error::Error;
use crate::heat;
use larder::remote::{self, Remote, Trust};
use larder::{SealKey, Tiers};
use larder_runtime::config::{Address, Common, Limiting, Migrate, Name, Operators, RedisPem};
use larder_runtime::tls::Tls;
use larder_runtime::{listen, server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Everything that a service needs to start, beside itself.
pub struct Parts {
    /// The remote tier. Replicas in one process share one hub.
    pub remote: Arc<dyn Remote>,
    /// The suite's database: a folder of SQLite files or a PostgreSQL server. The service's own
    /// is made of it: see [`database_url`](crate::database_url).
    pub database: Address,
    /// The port of gRPC.
    pub grpc: Port,
    /// The admin port.
    pub admin: Port,
    /// The port of health checks without TLS, if there is one.
    pub health: Option<Port>,
    /// By what it is known, and whom it believes; without it links are plain and open.
    pub tls: Option<Tls>,
    /// Who may call gRPC, where callers are known by their certificates.
    pub callers: Vec<Name>,
    /// Who may look into it and change what is cached.
    pub operators: Operators,
    /// The bounds of the gRPC server.
    pub limits: server::Limits,
    /// Which tiers of the cache are used.
    pub tiers: Tiers,
    /// How often somebody may call.
    pub limiting: Limiting,
    /// What all names in the remote tier begin with.
    pub namespace: String,
    /// What seals values and hints in the remote tier, if anything does.
    pub seal: Option<SealKey>,
    /// Connections, and how long they are waited for.
    pub connections: larder_db::Options,
    /// Who brings the tables up to date.
    pub migrate: Migrate,
    /// What the journal keeps and for how long.
    pub journal: larder_journal::Settings,
    /// What is done how often in the background.
    pub timing: Timing,
}

/// A port to listen on.
#[derive(Debug)]
pub enum Port {
    /// At this address.
    At(SocketAddr),
    /// One that was taken already.
    Taken(TcpListener),
}

/// What is done how often, behind the answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often the source's feed is asked; `None` for never, which is for tests.
    pub poll: Option<Duration>,
    /// How often old lines of the journal are pruned.
    pub prune: Duration,
    /// How often the triggers are looked at.
    pub check: Duration,
    /// How often one key that is in memory is compared with the source; `None` for never.
    pub compare_every: Option<Duration>,
    /// How long a start may bring what other replicas read most into memory before it is ready;
    /// `None` for not at all.
    pub warm: Option<Duration>,
    /// How often this replica tells what is read most; `None` for never.
    pub share: Option<Duration>,
    /// How often it is seen whether there is a first proof.
    pub watch: Duration,
    /// How old the first proof may be; the process is not ready before it.
    pub patience: Duration,
    /// How long somebody else may take to bring the tables up to date.
    pub schema: Duration,
    /// The longest pause between two attempts to open the database.
    pub longest_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: Some(larder::source::POLL_EVERY),
            prune: Duration::from_secs(60),
            check: Duration::from_secs(60),
            compare_every: None,
            warm: None,
            share: None,
            watch: Duration::from_millis(250),
            patience: Duration::from_secs(5),
            schema: Duration::from_secs(600),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// Starts warm, in at most so long, and has others start warm; neither where it is `None`.
    pub fn warm_for(&mut self, limit: Option<Duration>) {
        self.warm = limit;
        self.share = limit.map(|_| heat::SHARE_EVERY);
    }
}

impl Parts {
    /// On this remote tier and this database, on free ports of loopback; the rest as by default.
    pub fn new(remote: Arc<dyn Remote>, database: Address) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            remote,
            database,
            grpc: Port::At(any),
            admin: Port::At(any),
            health: None,
            tls: None,
            callers: Vec::new(),
            operators: Operators::default(),
            limits: server::Limits::default(),
            tiers: Tiers::default(),
            limiting: Limiting::default(),
            namespace: "larder".to_owned(),
            seal: None,
            connections: larder_db::Options::default(),
            migrate: Migrate::default(),
            journal: larder_journal::Settings::default(),
            timing: Timing::default(),
        }
    }

    /// As a binary was told; the ports are the defaults of this service. Opens the remote tier,
    /// which need not be there. `tls` is of the same settings, and may be that of clients too. Must
    /// be called on a tokio runtime.
    pub fn of(
        common: &Common,
        tls: Option<Tls>,
        grpc_port: u16,
        admin_port: u16,
    ) -> Result<Self, Error> {
        let RedisPem { ca, own } = common.seams.redis_tls.read()?;
        let remote = remote::open_trusting(common.seams.remote.expose(), &Trust { ca, own });
        let remote = remote.map_err(Error::Remote)?;
        let mut parts = Self::new(remote, common.seams.database.clone());
        parts.seal = common.sealing.key()?.map(SealKey::new);
        parts.timing.compare_every = common.upkeep.compare_every();
        parts.timing.warm_for(common.upkeep.warm());
        Ok(Self {
            grpc: Port::At(common.listen.grpc(grpc_port)),
            admin: Port::At(common.listen.admin(admin_port)),
            health: common.guarding.health_addr.map(Port::At),
            tls,
            callers: common.guarding.callers.clone(),
            operators: common.operators.clone(),
            limits: common.serving.limits(),
            limiting: common.limiting.clone(),
            migrate: common.migrating.migrate,
            ..parts
        })
    }
}

impl Port {
    pub(crate) async fn take(self, setting: &'static str) -> Result<TcpListener, listen::Error> {
        match self {
            Self::At(address) => listen::listen(setting, address).await,
            Self::Taken(listener) => Ok(listener),
        }
    }
}
