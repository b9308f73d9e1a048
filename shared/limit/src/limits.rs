//! All limits of a port: the address that asks, and the user that it says it asks for.

use crate::counts;
use crate::forwarded::{Malformed, Proxies};
use crate::limiter::{Limiter, Settings, Standing, Verdict};
use crate::subject::Subject;
use http::{HeaderMap, HeaderName};
use larder::remote::guard::Guard;
use larder::remote::{Rate, Remote, rate};
use larder_runtime::config::{Limiting, Quota};
use larder_runtime::exposition::Page;
use larder_runtime::status::{self, Problem};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::{Code, Status};

/// The reason of a refusal: somebody asks too often.
pub const RATE_LIMITED: &str = "RATE_LIMITED";
/// The reason of a refusal: nobody can say whether somebody does.
pub const LIMITS_AWAY: &str = "RATE_LIMITS_AWAY";

/// When those who are turned away because nobody could say should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// A setting that is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{setting}")]
pub struct Error {
    /// The setting, with its variable.
    pub setting: &'static str,
    /// What is wrong with it.
    #[source]
    pub source: rate::Error,
}

/// The limits of a port. Clones are the same limits in the same process.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    proxies: Proxies,
    address: Option<Limiter>,
    user: Option<(HeaderName, Limiter)>,
    malformed: AtomicU64,
}

/// How a caller stands with each limit that was asked.
pub type Standings = SmallVec<[Standing; 2]>;

/// Why a call is turned away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is one too many.
    Limited(Box<Limited>),
    /// Nobody could say whether it is, and nobody passes then.
    Away {
        /// When it makes sense to come again.
        retry_after: Duration,
    },
    /// A trusted proxy passed on rubbish, so that nobody knows who asks.
    Malformed(Malformed),
}

/// What whoever asks too often is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limited {
    /// How they stand with all limits that were asked.
    pub standings: Standings,
    /// The limits that it is too many for.
    pub violated: SmallVec<[&'static str; 2]>,
    /// When it makes sense to come again.
    pub retry_after: Duration,
}

impl Limits {
    /// As a process was told; nothing where nobody is limited. What counts is kept in `remote`
    /// under names that begin with `namespace`: whoever shares both shares the limits.
    pub fn of(
        settings: &Limiting,
        remote: &Arc<dyn Remote>,
        namespace: &str,
    ) -> Result<Option<Self>, Error> {
        let limiter = |scope, setting, quota: Option<Quota>, burst| {
            let Some(quota) = quota else { return Ok(None) };
            let rate = rate(quota, burst).map_err(|source| Error { setting, source })?;
            let settings = Settings {
                namespace: namespace.to_owned(),
                scope,
                rate,
                away: settings.rate_limit_away,
            };
            Ok(Some(Limiter::new(settings, remote.clone())))
        };
        let address = limiter(
            "ip",
            "--rate-limit-ip (LARDER_RATE_LIMIT_IP)",
            settings.rate_limit_ip,
            settings.rate_burst_ip,
        )?;
        let user = limiter(
            "user",
            "--rate-limit-user (LARDER_RATE_LIMIT_USER)",
            settings.rate_limit_user,
            settings.rate_burst_user,
        )?;
        if address.is_none() && user.is_none() {
            return Ok(None);
        }
        let header = settings.rate_limit_user_header.clone();
        Ok(Some(Self(Arc::new(Inner {
            proxies: Proxies::new(&settings.trusted_proxies, settings.trusted_header),
            address,
            user: user.map(|user| (header, user)),
            malformed: AtomicU64::new(0),
        }))))
    }

    /// Lets a request pass, which then counts, or says why not. `peer` is whom the connection is
    /// from; those of whom that is not known are counted as one.
    ///
    /// A request that one limit lets pass and the other refuses has counted with the first: both
    /// are asked at once, so that two limits cost no more time than one.
    pub async fn admit(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Standings, Refusal> {
        let asked = self.asked(peer, headers).map_err(|malformed| {
            self.0.malformed.fetch_add(1, Ordering::Relaxed);
            Refusal::Malformed(malformed)
        })?;
        let refused = asked
            .iter()
            .filter_map(|(limiter, subject)| limiter.refused(subject).map(Verdict::Refused));
        let refused: SmallVec<[Verdict; 2]> = refused.collect();
        if !refused.is_empty() {
            return judged(&refused);
        }
        match &asked[..] {
            [] => Ok(Standings::new()),
            [(limiter, subject)] => judged(&[limiter.ask_remote(*subject).await]),
            [(one, first), (other, second), ..] => {
                let both =
                    futures_util::future::join(one.ask_remote(*first), other.ask_remote(*second));
                let (first, second) = both.await;
                judged(&[first, second])
            }
        }
    }

    /// What they have decided so far, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        let malformed = self.0.malformed.load(Ordering::Relaxed);
        counts::measure(page, self.limiters(), malformed);
    }

    /// Through which they ask the remote tier.
    pub fn guards(&self) -> impl Iterator<Item = &Guard> {
        self.limiters().map(Limiter::guard)
    }

    fn limiters(&self) -> impl Iterator<Item = &Limiter> {
        let user = self.0.user.as_ref().map(|(_, limiter)| limiter);
        self.0.address.iter().chain(user)
    }

    /// The limits that concern a request, and whom each counts.
    fn asked(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<SmallVec<[(&Limiter, Subject); 2]>, Malformed> {
        let mut asked = SmallVec::new();
        if let Some(limiter) = &self.0.address {
            let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let client = self.0.proxies.client(peer, headers)?;
            asked.push((limiter, Subject::address(client)));
        }
        if let Some((header, limiter)) = &self.0.user
            && headers.contains_key(header)
        {
            let shown = headers.get_all(header).iter().map(|value| value.as_bytes());
            asked.push((limiter, Subject::user(shown)));
        }
        Ok(asked)
    }
}

/// What whoever is turned away is told, in the words of gRPC.
impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Limited(limited) => {
                let violated = &limited.violated;
                let message = format!(
                    "too many requests for the limit per {}",
                    violated.join(" and per ")
                );
                Problem::new(Code::ResourceExhausted, RATE_LIMITED, message)
                    .with("limits", violated.join(","))
                    .retry_after(limited.retry_after)
                    .into()
            }
            Refusal::Away { retry_after } => {
                let message = "rate limits cannot be asked at the moment";
                status::unavailable(LIMITS_AWAY, message, *retry_after)
            }
            Refusal::Malformed(malformed) => {
                status::invalid(malformed.0, "is not what a proxy should write")
            }
        }
    }
}

fn rate(quota: Quota, burst: Option<NonZeroU32>) -> Result<Rate, rate::Error> {
    let burst = burst.map_or(quota.count(), NonZeroU32::get);
    Rate::new(quota.count(), quota.per(), burst)
}

/// A request passes when every limit lets it. That it is one too many is said before that
/// somebody could not be asked.
fn judged(verdicts: &[Verdict]) -> Result<Standings, Refusal> {
    let mut standings = Standings::new();
    let mut violated = SmallVec::new();
    let (mut retry_after, mut is_away) = (Duration::ZERO, false);
    for verdict in verdicts {
        match verdict {
            Verdict::Passed(standing) => standings.push(*standing),
            Verdict::Refused(standing) => {
                standings.push(*standing);
                violated.push(standing.scope);
                retry_after = retry_after.max(standing.retry_after);
            }
            Verdict::Away => is_away = true,
        }
    }
    match (violated.is_empty(), is_away) {
        (true, false) => Ok(standings),
        (true, true) => Err(Refusal::Away {
            retry_after: COME_BACK,
        }),
        (false, _) => Err(Refusal::Limited(Box::new(Limited {
            standings,
            violated,
            retry_after,
        }))),
    }
}
