//! How often somebody may ask.

use super::{Network, Quota, Shown, word};
use clap::{Args, ValueEnum};
use http::HeaderName;
use std::num::NonZeroU32;

/// How often somebody may ask, and who somebody is. Nobody is limited unless it is said.
#[derive(Args, Clone, Debug)]
pub struct Limiting {
    /// What one address may ask: `100/s`, `6000/min`. All replicas count together. An IPv6
    /// network of 64 bits counts as one address [default: no limit].
    #[arg(long, env = "LARDER_RATE_LIMIT_IP", value_name = "N/UNIT")]
    pub rate_limit_ip: Option<Quota>,
    /// How much of that may come at once [default: as many as its N].
    #[arg(long, env = "LARDER_RATE_BURST_IP", value_name = "N")]
    pub rate_burst_ip: Option<NonZeroU32>,
    /// What one user may ask. Nobody checks here that users are who they say they are, so this
    /// only ever adds to the limit of the address [default: no limit].
    #[arg(long, env = "LARDER_RATE_LIMIT_USER", value_name = "N/UNIT")]
    pub rate_limit_user: Option<Quota>,
    /// How much of that may come at once [default: as many as its N].
    #[arg(long, env = "LARDER_RATE_BURST_USER", value_name = "N")]
    pub rate_burst_user: Option<NonZeroU32>,
    /// The header that a user is known by. Only its hash is kept.
    #[arg(
        long,
        env = "LARDER_RATE_LIMIT_USER_HEADER",
        value_name = "NAME",
        default_value = "authorization"
    )]
    pub rate_limit_user_header: HeaderName,
    /// What becomes of limits while the remote tier is away.
    #[arg(long, env = "LARDER_RATE_LIMIT_AWAY", value_enum, default_value_t = Away::Alone)]
    pub rate_limit_away: Away,
    /// Networks of proxies that are believed when they say whom they ask for, separated by commas:
    /// `10.0.0.0/8,::1` [default: none].
    #[arg(
        long,
        env = "LARDER_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say it. The other one is not looked at: a proxy that writes one
    /// passes on whatever its client wrote into the other.
    #[arg(long, env = "LARDER_TRUSTED_HEADER", value_enum, default_value_t = Trusted::XForwardedFor)]
    pub trusted_header: Trusted,
}

/// What becomes of limits while the remote tier is away.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Away {
    /// Each process goes on with the whole limit, and knows only of what it let pass itself: n
    /// processes let n times as much pass.
    Alone,
    /// Whoever is limited is turned away.
    Refuse,
}

/// The header in which proxies say whom they ask for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trusted {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

impl Default for Limiting {
    /// No limits.
    fn default() -> Self {
        Self {
            rate_limit_ip: None,
            rate_burst_ip: None,
            rate_limit_user: None,
            rate_burst_user: None,
            rate_limit_user_header: http::header::AUTHORIZATION,
            rate_limit_away: Away::Alone,
            trusted_proxies: Vec::new(),
            trusted_header: Trusted::XForwardedFor,
        }
    }
}

impl Limiting {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let quota = |quota: &Option<Quota>| quota.map_or("none".to_owned(), |q| q.to_string());
        let burst = |burst: &Option<NonZeroU32>, quota: &Option<Quota>| {
            let burst = burst.map(NonZeroU32::get);
            let burst = burst.or(quota.map(|quota| quota.count()));
            burst.map_or("none".to_owned(), |burst| burst.to_string())
        };
        let proxies: Vec<_> = self
            .trusted_proxies
            .iter()
            .map(Network::to_string)
            .collect();
        let (ip, user) = (&self.rate_limit_ip, &self.rate_limit_user);
        shown
            .line("rate-limit-ip", quota(ip))
            .line("rate-burst-ip", burst(&self.rate_burst_ip, ip))
            .line("rate-limit-user", quota(user))
            .line("rate-burst-user", burst(&self.rate_burst_user, user))
            .line("rate-limit-user-header", &self.rate_limit_user_header)
            .line("rate-limit-away", word(self.rate_limit_away))
            .line("trusted-proxies", proxies.join(","))
            .line("trusted-header", word(self.trusted_header))
    }
}
