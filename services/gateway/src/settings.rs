//! What the gateway's process can be told.

use crate::backends::{Addresses, Backends};
use crate::{Parts, pages};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use larder::remote::{self, Remote, Trust};
use larder_runtime::config::{
    Address, Certificates, Embedded, Limiting, Logging, Operators, RedisPem, RedisTls, Secret,
    Serving, Shown, listen_address,
};
use larder_runtime::listen::{self, listen};
use larder_runtime::server::Limits;
use larder_runtime::tls::Tls;
use larder_runtime::token::Token;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// The shortest secret.
const LEAST_SECRET: usize = 16;

/// Everything that the gateway's process can be told.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where the services are.
    #[command(flatten)]
    pub services: Addresses,
    /// The shared tier: `hub:` inside this process, or Redis, as the services write it.
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
    /// Whether the shared tier may be embedded in this process; with `deny` the start fails if it is.
    #[arg(long, env = "LARDER_EMBEDDED", value_enum, default_value_t = Embedded::Allow)]
    pub embedded: Embedded,
    /// What it offers, and to whom.
    #[command(flatten)]
    pub options: Options,
    /// By what it is known to the services and at its admin port, and whom it believes. Its HTTP is
    /// without TLS, which ends at the proxy in front.
    #[command(flatten)]
    pub certificates: Certificates,
    /// How it serves and how it ends.
    #[command(flatten)]
    pub serving: Serving,
    /// What it logs.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// What the gateway offers, and to whom; also where it runs beside the services in one process.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What those who have cached copies dropped sign with, at least 16 bytes; without it,
    /// /hooks/invalidate takes nothing.
    #[arg(
        long,
        env = "LARDER_HOOK_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub hook_secret: Option<Secret>,
    /// How often somebody may ask. Behind a proxy, `--trusted-proxies` must name it, or all
    /// visitors are counted as one.
    #[command(flatten)]
    pub limiting: Limiting,
    /// How pages name themselves, and how long others may keep them.
    #[command(flatten)]
    pub pages: pages::Settings,
    /// Who may do what at the admin port. Where the gateway has no certificate to show, it shows the
    /// token to the services when it has their caches drop something.
    #[command(flatten)]
    pub operators: Operators,
}

/// Where the gateway listens.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Address of HTTP: `host:port`, or `:port` for every interface [default: port 8080 on
    /// loopback].
    #[arg(long, env = "HTTP_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub http_addr: Option<SocketAddr>,
    /// Address of the admin port, written in the same way; LARDER_ADMIN_ADDR is read too.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub admin_addr: Option<SocketAddr>,
    /// Only here so that its variable is read.
    #[arg(long, env = "LARDER_ADMIN_ADDR", value_parser = listen_address, hide = true)]
    pub larder_admin_addr: Option<SocketAddr>,
    /// Address of a port without TLS that answers gRPC health checks and nothing else, for probes
    /// that have no certificate [default: none].
    #[arg(long, env = "LARDER_HEALTH_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub health_addr: Option<SocketAddr>,
}

impl Listen {
    /// The addresses of HTTP and of the admin port, with these ports on loopback as the defaults.
    pub fn addresses(&self, http: u16, admin: u16) -> (SocketAddr, SocketAddr) {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let told = self.admin_addr.or(self.larder_admin_addr);
        (
            self.http_addr.unwrap_or(loopback(http)),
            told.unwrap_or(loopback(admin)),
        )
    }

    /// Takes both ports.
    pub async fn take(
        &self,
        http: u16,
        admin: u16,
    ) -> Result<(TcpListener, TcpListener), listen::Error> {
        let (http, admin) = self.addresses(http, admin);
        Ok((
            listen("--http-addr (HTTP_ADDR)", http).await?,
            listen("--admin-addr", admin).await?,
        ))
    }

    /// Takes the port of health checks, if there is to be one.
    pub async fn take_health(&self) -> Result<Option<TcpListener>, listen::Error> {
        match self.health_addr {
            Some(address) => listen("--health-addr (LARDER_HEALTH_ADDR)", address)
                .await
                .map(Some),
            None => Ok(None),
        }
    }
}

impl Options {
    /// Fails where something cannot be used. A secret that can be guessed is none; its value is
    /// never printed.
    pub fn check(&self) -> Result<()> {
        match &self.hook_secret {
            Some(secret) if secret.expose().len() < LEAST_SECRET => {
                bail!("--hook-secret (LARDER_HOOK_SECRET) is shorter than {LEAST_SECRET} bytes")
            }
            _ => Ok(()),
        }
    }

    /// The way to services at these addresses, with what there is to show them.
    pub fn backends(&self, addresses: &Addresses, tls: Option<&Tls>) -> Result<Backends> {
        let file = self.operators.admin_token_file.as_deref();
        let file = file.filter(|_| !tls.is_some_and(Tls::shows_itself));
        let token = file.map(Token::open).transpose()?;
        Ok(Backends::over(addresses, tls, token)?)
    }

    /// The parts of a gateway with these; an error where a rate is none.
    pub fn parts(
        &self,
        backends: Backends,
        tls: Option<Tls>,
        remote: Arc<dyn Remote>,
        limits: Limits,
    ) -> Result<Parts> {
        Ok(Parts {
            access: crate::access(&self.operators, tls.as_ref())?,
            tls,
            backends,
            rates: rates(&self.limiting, &remote)?,
            remote,
            hook_secret: self.hook_secret.clone(),
            limits,
            pages: self.pages.clone(),
        })
    }

    /// Adds them to what is printed; `http` is where it listens.
    pub fn shown(&self, shown: Shown, http: SocketAddr) -> Shown {
        let secret = self.hook_secret.as_ref();
        let secret = secret.map_or_else(String::new, Secret::to_string);
        let shown = self.operators.show(shown);
        self.limiting
            .show(shown)
            .line("hook-secret", secret)
            .line("public-url", self.pages.site(http))
            .line("currency", self.pages.currency.as_str())
            .line("page-max-age-seconds", self.pages.page_max_age_seconds)
            .line("page-stale-seconds", self.pages.page_stale_seconds)
    }
}

impl Settings {
    /// Fails where settings contradict each other. To be called before anything is opened,
    /// on a tokio runtime.
    pub fn check(&self) -> Result<()> {
        if self.embedded == Embedded::Deny && self.remote.scheme() == "hub" {
            bail!(
                "--remote (REDIS_URL) is {}, which is embedded, and --embedded (LARDER_EMBEDDED) \
                 is deny",
                self.remote
            );
        }
        self.options.check()?;
        let tls = Tls::open(&self.certificates)?;
        self.options.backends(&self.services, tls.as_ref())?;
        Ok(())
    }

    /// What the gateway is made of. Opens the remote tier, which need not be there. Must be called
    /// on a tokio runtime.
    pub fn parts(&self) -> Result<Parts> {
        let RedisPem { ca, own } = self.redis_tls.read()?;
        let remote = remote::open_trusting(self.remote.expose(), &Trust { ca, own });
        let remote = remote.context("--remote (REDIS_URL) cannot be used")?;
        let tls = Tls::open(&self.certificates)?;
        let backends = self.options.backends(&self.services, tls.as_ref())?;
        let limits = self.serving.limits();
        self.options.parts(backends, tls, remote, limits)
    }

    /// The settings as they are understood; the ports are the defaults.
    pub fn shown(&self, http: u16, admin: u16) -> Shown {
        let (http, admin) = self.listen.addresses(http, admin);
        let health = self.listen.health_addr;
        let health = health.map_or("none".to_owned(), |address| address.to_string());
        let word = |text: String| text.to_lowercase();
        let shown = Shown::default()
            .line("http-addr", http)
            .line("admin-addr", admin)
            .line("health-addr", health)
            .line("profiles", &self.services.profiles)
            .line("profiles-admin", &self.services.profiles_admin)
            .line("products", &self.services.products)
            .line("products-admin", &self.services.products_admin)
            .line("comments", &self.services.comments)
            .line("comments-admin", &self.services.comments_admin)
            .line("reports", &self.services.reports)
            .line("reports-admin", &self.services.reports_admin)
            .line("remote", &self.remote);
        let shown = self.redis_tls.show(shown);
        let shown = self.certificates.show(shown);
        let shown = self.options.shown(shown, http);
        let shown = shown.line("embedded", word(format!("{:?}", self.embedded)));
        self.logging.show(self.serving.show(shown))
    }
}

/// The limits that all gateways on a remote tier share.
pub fn rates(
    limiting: &Limiting,
    remote: &Arc<dyn Remote>,
) -> Result<Option<larder_limit::Limits>, larder_limit::Error> {
    larder_limit::Limits::of(limiting, remote, "larder:gateway")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    #[derive(Parser)]
    struct Config {
        #[command(flatten)]
        settings: Settings,
    }

    /// Without the environment, which differs from one machine to the next.
    fn parsed(flags: &[&str]) -> Settings {
        let command = Config::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from(["gateway"].iter().chain(flags));
        let config = Config::from_arg_matches(&matches.expect("flags"));
        config.expect("flags").settings
    }

    #[tokio::test]
    async fn everything_has_a_default_that_works_on_a_laptop() {
        Config::command().debug_assert();
        let settings = parsed(&[]);
        settings.check().expect("defaults");
        let shown = settings.shown(8080, 9501).to_string();
        for line in [
            "http-addr = 127.0.0.1:8080\n",
            "remote = hub:\n",
            "hook-secret = \n",
        ] {
            assert!(shown.contains(line), "{line} is missing in {shown}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named_and_no_secret_is_told() {
        for (flag, setting) in [
            ("--hook-secret=hush", "--hook-secret"),
            ("--embedded=deny", "--remote"),
            ("--products=nowhere", "--products"),
            ("--reports-admin=", "--reports-admin"),
        ] {
            let error = parsed(&[flag]).check().expect_err(flag).to_string();
            assert!(
                error.starts_with(setting) && !error.contains("hush"),
                "{error}"
            );
        }
        let secret = "--hook-secret=hush-hush-hush-hush";
        let shown = parsed(&[secret]).shown(8080, 9501).to_string();
        assert!(
            shown.contains("hook-secret = ***\n") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
