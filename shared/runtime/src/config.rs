//! The settings that every process has: flag, then environment, then default.
//!
//! A binary flattens [`Common`] into its own parser and parses once, before anything is opened;
//! nothing else reads the environment. What cannot be understood stops the start with the name
//! of its setting.

use crate::server;
use clap::{Args, ValueEnum};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

mod address;
mod connecting;
mod exporting;
mod guarding;
mod limiting;
mod migrating;
mod network;
mod quota;
mod redis_tls;
mod sealing;

pub use address::{Address, Secret};
pub use connecting::Connecting;
pub use exporting::{Exporting, Protocol, Sampler};
pub use guarding::{Certificates, Guarding, Name, NotName, Operators};
pub use limiting::{Away, Limiting, Trusted};
pub use migrating::{Migrate, Migrating};
pub use network::{Network, NotNetwork};
pub use quota::{NotQuota, Quota};
pub use redis_tls::{RedisPem, RedisTls, Unreadable};
pub use sealing::{NoSealKey, Sealing};

/// Settings that contradict each other or what is there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// `--embedded deny`, and yet a seam is embedded.
    #[error("{setting} is {address}, which is embedded, and --embedded (LARDER_EMBEDDED) is deny")]
    Embedded {
        /// The setting of the seam.
        setting: &'static str,
        /// What it is.
        address: Address,
    },
}

/// Everything that every service's process can be told.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// What is behind the two seams.
    #[command(flatten)]
    pub seams: Seams,
    /// By what it is known, and whom it believes.
    #[command(flatten)]
    pub certificates: Certificates,
    /// Who may call it.
    #[command(flatten)]
    pub guarding: Guarding,
    /// Who may look into it.
    #[command(flatten)]
    pub operators: Operators,
    /// How it serves and how it ends.
    #[command(flatten)]
    pub serving: Serving,
    /// What it does beside its answers.
    #[command(flatten)]
    pub upkeep: Upkeep,
    /// How often somebody may ask.
    #[command(flatten)]
    pub limiting: Limiting,
    /// Who brings its tables up to date.
    #[command(flatten)]
    pub migrating: Migrating,
    /// What its entries and hints are sealed with.
    #[command(flatten)]
    pub sealing: Sealing,
    /// What it logs.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Where a process listens.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Address of gRPC: `host:port`, or `:port` for every interface [default: the service's own
    /// port on loopback].
    #[arg(long, env = "GRPC_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub grpc_addr: Option<SocketAddr>,
    /// Address of the admin port, written in the same way; LARDER_ADMIN_ADDR is read too.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub admin_addr: Option<SocketAddr>,
    /// Only here so that its variable is read.
    #[arg(long, env = "LARDER_ADMIN_ADDR", value_parser = listen_address, hide = true)]
    pub larder_admin_addr: Option<SocketAddr>,
}

/// What is behind the two seams, the remote tier and the database.
#[derive(Args, Clone, Debug)]
pub struct Seams {
    /// The shared tier: `hub:` inside this process, `redis://host`, `redis-sentinel://a,b,c/name`,
    /// or `redis-cluster://a,b,c`; with `rediss` for `redis` over TLS.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "hub:",
        hide_env_values = true
    )]
    pub remote: Address,
    /// Whom it believes to be Redis.
    #[command(flatten)]
    pub redis_tls: RedisTls,
    /// The database: `sqlite://folder`, `postgres://`; with `?sslmode=verify-full&sslrootcert=FILE`
    /// over TLS, to whoever has a certificate of its name and of that CA.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://larder-data",
        hide_env_values = true
    )]
    pub database: Address,
    /// Whether a seam may be embedded in this process; with `deny` the start fails if one is.
    #[arg(long, env = "LARDER_EMBEDDED", value_enum, default_value_t = Embedded::Allow)]
    pub embedded: Embedded,
}

/// Whether seams may be embedded.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Embedded {
    /// A laptop.
    Allow,
    /// Production.
    Deny,
}

/// How a process serves, and how it ends.
#[derive(Args, Clone, Debug)]
pub struct Serving {
    /// Seconds from the wish to end until the end, whatever is still running.
    #[arg(
        long,
        env = "LARDER_DRAIN_SECONDS",
        value_name = "N",
        default_value_t = 25
    )]
    pub drain_seconds: u32,
    /// Of these, the first so many seconds in which calls are still taken, until everybody
    /// knows that this process is not ready.
    #[arg(
        long,
        env = "LARDER_SETTLE_SECONDS",
        value_name = "N",
        default_value_t = 0
    )]
    pub settle_seconds: u32,
    /// Calls served at once; more are turned away.
    #[arg(
        long,
        env = "LARDER_MAX_CALLS",
        value_name = "N",
        default_value_t = 2048
    )]
    pub max_calls: usize,
    /// Milliseconds that a call takes at most, whatever its caller allows.
    #[arg(
        long,
        env = "LARDER_CALL_TIMEOUT_MS",
        value_name = "N",
        default_value_t = 30_000
    )]
    pub call_timeout_ms: u64,
    /// What each port keeps and waits for.
    #[command(flatten)]
    pub connecting: Connecting,
}

/// What a process does beside its answers.
#[derive(Args, Clone, Copy, Debug)]
pub struct Upkeep {
    /// Cached copies that each process compares with the source in a second, to find those that
    /// are wrong; 0 for none.
    #[arg(
        long,
        env = "LARDER_COMPARE_PER_SECOND",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(0..=1000)
    )]
    pub compare_per_second: u32,
    /// Seconds that a start may take to bring what other replicas read most into memory before it is
    /// ready; 0 for a cold start, and for not telling others.
    #[arg(
        long,
        env = "LARDER_WARM_SECONDS",
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(0..=60)
    )]
    pub warm_seconds: u32,
}

impl Upkeep {
    /// How often one copy is compared; `None` for never.
    pub fn compare_every(&self) -> Option<Duration> {
        Duration::from_secs(1).checked_div(self.compare_per_second)
    }

    /// How long a start may warm; `None` for not at all.
    pub fn warm(&self) -> Option<Duration> {
        (self.warm_seconds > 0).then(|| Duration::from_secs(self.warm_seconds.into()))
    }
}

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
pub struct Logging {
    /// How log lines look.
    #[arg(long, env = "LARDER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Which lines are logged: `info,larder=debug`.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Where traces and metrics are sent.
    #[command(flatten)]
    pub exporting: Exporting,
}

impl Logging {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let shown = shown
            .line("log-format", word(self.log_format))
            .line("log", &self.log);
        self.exporting.show(shown)
    }
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For a person.
    Human,
    /// One JSON object to a line.
    Json,
}

impl Listen {
    /// The address of gRPC, with this port on loopback as the default.
    pub fn grpc(&self, port: u16) -> SocketAddr {
        self.grpc_addr.unwrap_or(loopback(port))
    }

    /// The address of the admin port, with this port on loopback as the default.
    pub fn admin(&self, port: u16) -> SocketAddr {
        self.admin_addr
            .or(self.larder_admin_addr)
            .unwrap_or(loopback(port))
    }
}

impl Seams {
    /// Fails if a seam is embedded and must not be. To be called before anything is opened.
    pub fn check(&self) -> Result<(), Error> {
        let seams = [
            ("--remote (REDIS_URL)", &self.remote, "hub"),
            ("--database (DATABASE_URL)", &self.database, "sqlite"),
        ];
        let embedded = seams
            .into_iter()
            .find(|(_, address, own)| address.scheme() == *own);
        match (self.embedded, embedded) {
            (Embedded::Deny, Some((setting, address, _))) => Err(Error::Embedded {
                setting,
                address: address.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Serving {
    /// The same, for the server.
    pub fn limits(&self) -> server::Limits {
        server::Limits {
            drain: Duration::from_secs(self.drain_seconds.into()),
            settle: Duration::from_secs(self.settle_seconds.into()),
            calls: self.max_calls,
            call: Duration::from_millis(self.call_timeout_ms),
            bounds: self.connecting.bounds(),
            ..server::Limits::default()
        }
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let shown = shown
            .line("drain-seconds", self.drain_seconds)
            .line("settle-seconds", self.settle_seconds)
            .line("max-calls", self.max_calls)
            .line("call-timeout-ms", self.call_timeout_ms);
        self.connecting.show(shown)
    }
}

impl Common {
    /// The settings as they are understood, secrets starred; a service with settings of its own
    /// adds them with [`Shown::line`]. The ports are the defaults of this service.
    pub fn shown(&self, grpc_port: u16, admin_port: u16) -> Shown {
        let shown = Shown::default()
            .line("grpc-addr", self.listen.grpc(grpc_port))
            .line("admin-addr", self.listen.admin(admin_port))
            .line("remote", &self.seams.remote);
        let shown = (self.seams.redis_tls.show(shown))
            .line("database", &self.seams.database)
            .line("embedded", word(self.seams.embedded));
        let shown = self.migrating.show(shown);
        let shown = (self.serving.show(shown))
            .line("compare-per-second", self.upkeep.compare_per_second)
            .line("warm-seconds", self.upkeep.warm_seconds);
        let shown = self.certificates.show(shown);
        let shown = self.operators.show(self.guarding.show(shown));
        self.logging
            .show(self.sealing.show(self.limiting.show(shown)))
    }
}

/// What `--print-config` prints: a line for each setting.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct Shown(Vec<(&'static str, String)>);

impl Shown {
    /// Adds a setting. Its `Display` must not tell a secret: see [`Address`] and [`Secret`].
    pub fn line(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

/// The word by which an enum is set.
fn word(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// `host:port` with a numeric host or `localhost`, or `:port`; for the command line.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.split_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    full.parse()
        .map_err(|_| "expected host:port, with a numeric host, or :port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    #[derive(Parser, Debug)]
    struct Config {
        #[command(flatten)]
        common: Common,
    }

    /// Without the environment, which differs from one machine to the next.
    fn parsed(flags: &[&str]) -> Result<Common, clap::Error> {
        let command = Config::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from(["larder"].iter().chain(flags))?;
        Config::from_arg_matches(&matches).map(|config| config.common)
    }

    #[test]
    fn everything_has_a_default_that_works_on_a_laptop() {
        let common = parsed(&[]).expect("defaults");
        assert_eq!(common.listen.grpc(7101).to_string(), "127.0.0.1:7101");
        assert_eq!(common.listen.admin(9101).to_string(), "127.0.0.1:9101");
        assert_eq!(common.seams.remote.expose(), "hub:");
        assert_eq!(common.seams.check(), Ok(()));
        assert_eq!(common.serving.limits().drain, Duration::from_secs(25));
    }

    #[test]
    fn a_bad_value_names_its_setting() {
        for (flag, value) in [
            ("--grpc-addr", "nowhere"),
            ("--admin-addr", "127.0.0.1:http"),
            ("--remote", ""),
            ("--database", "no-scheme"),
            ("--embedded", "maybe"),
            ("--migrate", "never"),
            ("--drain-seconds", "-1"),
            ("--warm-seconds", "61"),
            ("--log-format", "xml"),
            ("--rate-limit-ip", "100"),
            ("--rate-burst-ip", "0"),
            ("--rate-limit-user", "100/fortnight"),
            ("--rate-limit-user-header", "my header"),
            ("--rate-limit-away", "panic"),
            ("--trusted-proxies", "10.0.0.0/8,10.0.0.1/8"),
            ("--trusted-header", "via"),
            ("--callers", "gateway,*"),
            ("--admin-callers", "two words"),
            ("--health-addr", "nowhere"),
            ("--max-connections", "many"),
            ("--max-head-bytes", "80"),
            ("--keepalive-ms", "0"),
            ("--write-timeout-ms", "0"),
        ] {
            let error = parsed(&[&format!("{flag}={value}")]).expect_err(flag);
            assert!(error.to_string().contains(flag), "{error}");
        }
    }

    #[test]
    fn a_seam_that_is_embedded_and_must_not_be_is_named() {
        let real = [
            "--embedded=deny",
            "--remote=redis://r",
            "--database=postgres://d",
        ];
        assert_eq!(parsed(&real).expect("flags").seams.check(), Ok(()));
        let error = |flags: &[&str]| {
            parsed(flags)
                .expect("flags")
                .seams
                .check()
                .expect_err("embedded")
                .to_string()
        };
        assert!(
            error(&["--embedded=deny", "--database=postgres://d"])
                .starts_with("--remote (REDIS_URL) is hub:")
        );
        assert!(
            error(&["--embedded=deny", "--remote=redis://r"])
                .starts_with("--database (DATABASE_URL) is sqlite:")
        );
    }

    #[test]
    fn addresses_may_leave_out_or_name_the_host() {
        for (text, expected) in [
            (":7101", "0.0.0.0:7101"),
            ("localhost:7101", "127.0.0.1:7101"),
            ("10.1.2.3:7101", "10.1.2.3:7101"),
            ("[::1]:7101", "[::1]:7101"),
        ] {
            assert_eq!(listen_address(text).expect(text).to_string(), expected);
        }
    }

    #[test]
    fn what_is_printed_is_what_counts_and_secrets_are_starred() {
        let flags = [
            "--remote=redis://:hush@r:6379",
            "--grpc-addr=:1",
            "--larder-admin-addr=:2",
            "--rate-limit-ip=100/s",
            "--trusted-proxies=10.0.0.0/8,::1",
        ];
        let text = parsed(&flags).expect("flags").shown(7101, 9101).to_string();
        for line in [
            "grpc-addr = 0.0.0.0:1\n",
            "admin-addr = 0.0.0.0:2\n",
            "remote = redis://:***@r:6379\n",
            "migrate = auto\n",
            "warm-seconds = 3\n",
            "max-connections = 16384\n",
            "head-timeout-ms = 20000\n",
            "rate-limit-ip = 100/s\n",
            "rate-burst-ip = 100\n",
            "rate-limit-user = none\n",
            "trusted-proxies = 10.0.0.0/8,::1/128\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("hush"));
    }
}
