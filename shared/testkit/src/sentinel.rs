//! A primary with replicas, and three sentinels that watch over them.

use crate::redis::{self, ADMIN, LOGIN, Redis};
use crate::{wait_blocking, wait_until};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;

/// What the sentinels call the primary.
pub const NAME: &str = "main";

/// How they are to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    replicas: usize,
    down_after: Duration,
    args: Vec<String>,
}

/// Starts a primary with two replicas, and three sentinels.
pub fn start() -> Result<Sentinel> {
    Setup::default().start()
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 2,
            down_after: Duration::from_secs(1),
            args: Vec::new(),
        }
    }
}

impl Setup {
    /// How many replicas the primary has.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// How long the primary may be silent before it is replaced.
    pub fn down_after(mut self, span: Duration) -> Self {
        self.down_after = span;
        self
    }

    /// Adds arguments of each `redis-server` that is no sentinel.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts them and waits until the sentinels know of everybody, so that a failover can begin.
    pub fn start(self) -> Result<Sentinel> {
        let server = || {
            redis::Setup::default()
                .args(["--repl-diskless-sync-delay", "0"])
                .user(&format!("user {REPLICATOR} on >{REPLICATOR} ~* &* +@all"))
                .args(["--masteruser", REPLICATOR, "--masterauth", REPLICATOR])
                .args(self.args.clone())
                .reserve()
        };
        let servers = (0..=self.replicas).map(|_| server());
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let primary = servers[0].address();
        start_as(&servers, primary)?;
        let sentinel = || {
            redis::Setup::default()
                .sentinel(self.config(primary))
                .start()
        };
        let sentinels = (0..3).map(|_| sentinel()).collect::<Result<Vec<_>>>()?;
        let started = Sentinel { servers, sentinels };
        started.wait_watched(self.replicas)?;
        Ok(started)
    }

    fn config(&self, primary: SocketAddr) -> String {
        let (host, port) = (primary.ip(), primary.port());
        let down_after = self.down_after.as_millis();
        format!(
            "sentinel monitor {NAME} {host} {port} 2\n\
             sentinel auth-user {NAME} {ADMIN}\n\
             sentinel auth-pass {NAME} {ADMIN}\n\
             sentinel down-after-milliseconds {NAME} {down_after}\n\
             sentinel failover-timeout {NAME} 2000\n\
             sentinel parallel-syncs {NAME} 2\n"
        )
    }
}

/// Replicas come as a user of their own, who can be shut out.
const REPLICATOR: &str = "replicator";

const PATIENCE: Duration = Duration::from_secs(30);

/// Servers under the eyes of sentinels. Dropping it ends all of them.
#[derive(Debug)]
pub struct Sentinel {
    // Before the servers: nobody shall see them end.
    sentinels: Vec<Redis>,
    servers: Vec<Redis>,
}

impl Sentinel {
    /// The address for clients.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|s| s.address().to_string())
            .collect();
        format!("redis-sentinel://{LOGIN}@{}/{NAME}", hosts.join(","))
    }

    /// The three that watch.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Those that are watched, whatever they are at the moment.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The primary, as most sentinels say.
    pub fn primary(&self) -> Result<&Redis> {
        let mut said: Vec<String> = Vec::new();
        for sentinel in &self.sentinels {
            let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
            said.extend(answer.ok().map(|lines| lines.replace('\n', ":")));
        }
        said.sort();
        let agreed = said.windows(2).find(|pair| pair[0] == pair[1]);
        let address: SocketAddr = agreed.context("the sentinels do not agree")?[0].parse()?;
        let mut servers = self.servers.iter();
        servers
            .find(|server| server.address() == address)
            .with_context(|| format!("the primary {address} is none of ours"))
    }

    /// SIGKILL to the primary; the sentinels will promote a replica. Its address is returned.
    pub fn kill_primary(&self) -> Result<SocketAddr> {
        let primary = self.primary()?;
        primary.stop()?;
        Ok(primary.address())
    }

    /// Starts a server that was killed, empty, as a replica of the primary that there is now.
    pub fn bring_back(&self, killed: SocketAddr) -> Result<()> {
        let mut servers = self.servers.iter();
        let server = servers.find(|server| server.address() == killed);
        let server = server.with_context(|| format!("{killed} is none of ours"))?;
        let primary = self.primary()?.address();
        let (host, port) = (primary.ip().to_string(), primary.port().to_string());
        server.restart_as(&["--replicaof", &host, &port])
    }

    /// Replicas get nothing from the primary any more. What is written to it from now on is lost
    /// with the next failover; what they got before is not.
    pub fn cut_replication(&self) -> Result<()> {
        let primary = self.primary()?;
        primary.command(&["ACL", "SETUSER", REPLICATOR, "off"])?;
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"])?;
        wait_blocking("a primary without replicas", PATIENCE, || {
            let info = primary.command(&["INFO", "replication"])?;
            Ok(info.contains("connected_slaves:0"))
        })
    }

    /// Waits until the sentinels agree on a primary that is not at `old`, and it says so itself.
    pub async fn wait_for_another(&self, old: SocketAddr, deadline: Duration) -> Result<()> {
        wait_until("another primary", deadline, async || {
            self.primary().is_ok_and(|primary| {
                let role = primary.command(&["ROLE"]);
                primary.address() != old && role.is_ok_and(|role| role.starts_with("master"))
            })
        })
        .await
    }

    /// Waits until all servers run, and all but the primary are its replicas and in step.
    pub async fn wait_replicated(&self, deadline: Duration) -> Result<()> {
        wait_until("replicas in step", deadline, async || {
            let Ok(primary) = self.primary() else {
                return false;
            };
            let follows = format!("master_port:{}\r", primary.address().port());
            self.servers.iter().all(|server| {
                let info = server.command(&["INFO", "replication"]);
                let is_in_step = |info: String| {
                    info.contains(&follows) && info.contains("master_link_status:up")
                };
                server.address() == primary.address() || info.is_ok_and(is_in_step)
            })
        })
        .await
    }

    /// SIGKILL to all servers, not to the sentinels.
    pub fn stop(&self) -> Result<()> {
        self.servers.iter().try_for_each(Redis::stop)
    }

    /// Stops the servers that run, and starts all of them empty, as what the sentinels take them
    /// for.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        start_as(&self.servers, self.primary()?.address())
    }

    /// SIGSTOP to all servers, not to the sentinels.
    pub fn pause(&self) -> Result<()> {
        self.servers.iter().try_for_each(Redis::pause)
    }

    /// SIGCONT to all servers.
    pub fn resume(&self) -> Result<()> {
        self.servers.iter().try_for_each(Redis::resume)
    }

    fn wait_watched(&self, replicas: usize) -> Result<()> {
        wait_blocking("sentinels that know everybody", PATIENCE, || {
            Ok(self.sentinels.iter().all(|sentinel| {
                let about = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                about.is_ok_and(|about| {
                    let lines: Vec<_> = about.lines().collect();
                    let is = |name: &str, value: usize| {
                        let mut pairs = lines.chunks_exact(2);
                        pairs.any(|pair| pair[0] == name && pair[1] == value.to_string())
                    };
                    is("num-slaves", replicas) && is("num-other-sentinels", 2)
                })
            }))
        })
    }
}

/// Starts the one at `primary` as that, and the others as its replicas.
fn start_as(servers: &[Redis], primary: SocketAddr) -> Result<()> {
    let (host, port) = (primary.ip().to_string(), primary.port().to_string());
    // The primary first: replicas that find nobody try again only a second later.
    let mut ordered: Vec<_> = servers.iter().collect();
    ordered.sort_by_key(|server| server.address() != primary);
    for server in ordered {
        match server.address() == primary {
            true => server.restart()?,
            false => server.restart_as(&["--replicaof", &host, &port])?,
        }
    }
    let replicas = servers.iter().filter(|server| server.address() != primary);
    for replica in replicas {
        wait_blocking("a replica in step", PATIENCE, || {
            let info = replica.command(&["INFO", "replication"])?;
            Ok(info.contains("master_link_status:up"))
        })?;
    }
    Ok(())
}
