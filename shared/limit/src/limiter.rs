//! One limit, of which every process knows what the others let pass.

use crate::counts::Counts;
use crate::gather::Gather;
use crate::refused::{Refusal, Refused};
use crate::subject::Subject;
use larder::clock::Clock;
use larder::remote::guard::{self, Guard};
use larder::remote::hub::{self, Hub};
use larder::remote::{Error, Rate, Remote, Throttled};
use larder_runtime::config::Away;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a process remembers of its own while the remote tier is away.
const ALONE: hub::Limits = hub::Limits {
    size_bytes: 16 << 20,
    entries: 100_000,
};

/// How a limit is called and what it allows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What all names in the remote tier begin with.
    pub namespace: String,
    /// What it counts: `ip`, `user`. It is a part of names in the remote tier, a label of metrics
    /// and the name of the policy that callers are told.
    pub scope: &'static str,
    /// How much may pass.
    pub rate: Rate,
    /// What becomes of it while the remote tier is away.
    pub away: Away,
}

/// Decides who passes. Clones are the same limit in the same process.
///
/// 1. A subject that was refused is refused here until the moment it was told. By then nobody
///    can have been let through, so none who would pass is refused.
/// 2. Otherwise the remote tier is asked, for all who ask about the subject at once in one call.
/// 3. While it is away, the setting decides: each process by itself, or nobody.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    settings: Settings,
    remote: Guard,
    clock: Clock,
    alone: Arc<Hub>,
    is_away: AtomicBool,
    refused: Refused,
    gather: Arc<Gather<Answer>>,
    counts: Counts,
}

/// What those who asked together are told.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Shared(Throttled),
    Alone(Throttled),
    Away,
}

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on.
    Passed(Standing),
    /// Come back later.
    Refused(Standing),
    /// Nobody could say, and the setting is to refuse then.
    Away,
}

/// How a caller stands with a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The limit's name.
    pub scope: &'static str,
    /// How many may pass at once.
    pub burst: u32,
    /// In which time so many come back.
    pub window: Duration,
    /// How many more may pass now.
    pub remaining: u32,
    /// When one more may pass; zero while some remain.
    pub retry_after: Duration,
    /// When all of the burst may.
    pub reset_after: Duration,
}

impl Limiter {
    /// A limit that is kept in `remote`, which it guards by itself.
    pub fn new(settings: Settings, remote: Arc<dyn Remote>) -> Self {
        Self::with_clock(settings, remote, Clock::machine())
    }

    /// The same, on this clock.
    pub fn with_clock(settings: Settings, remote: Arc<dyn Remote>, clock: Clock) -> Self {
        let limits = guard::Limits::default();
        Self(Arc::new(Inner {
            remote: Guard::with_clock(remote, limits, clock.clone()),
            alone: Hub::with(clock.clone(), ALONE),
            is_away: AtomicBool::new(false),
            refused: Refused::default(),
            gather: Arc::default(),
            counts: Counts::default(),
            clock,
            settings,
        }))
    }

    /// Its name.
    pub fn scope(&self) -> &'static str {
        self.0.settings.scope
    }

    /// What it has decided so far.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Through which it asks the remote tier.
    pub fn guard(&self) -> &Guard {
        &self.0.remote
    }

    /// Whether limits are each process's own at the moment, or nobody passes.
    pub fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Relaxed)
    }

    /// The refusal of a subject that was told to wait and has not; it costs the remote tier
    /// nothing.
    pub fn refused(&self, subject: &Subject) -> Option<Standing> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let refusal = inner.refused.get(subject, now)?;
        inner.counts.refused_here();
        Some(inner.standing(&Throttled {
            granted: 0,
            remaining: 0,
            retry_after: refusal.until.since(now),
            reset_after: refusal.reset.since(now),
        }))
    }

    /// Whether one more may pass, which then counts.
    pub async fn ask(&self, subject: Subject) -> Verdict {
        if let Some(standing) = self.refused(&subject) {
            return Verdict::Refused(standing);
        }
        self.ask_remote(subject).await
    }

    /// The same for who is not [`refused`](Self::refused).
    pub(crate) async fn ask_remote(&self, subject: Subject) -> Verdict {
        let inner = self.0.clone();
        let ask = async move |wanted| inner.decide(subject, wanted).await;
        let (answer, place) = self.0.gather.ask(subject, ask).await;
        let counts = &self.0.counts;
        match answer {
            Answer::Shared(told) if place < told.granted => {
                counts.passed();
                Verdict::Passed(self.0.standing(&told))
            }
            Answer::Shared(told) => {
                counts.refused();
                Verdict::Refused(self.0.standing(&told))
            }
            Answer::Alone(told) if place < told.granted => {
                counts.passed_alone();
                Verdict::Passed(self.0.standing(&told))
            }
            Answer::Alone(told) => {
                counts.refused_alone();
                Verdict::Refused(self.0.standing(&told))
            }
            Answer::Away => {
                counts.away();
                Verdict::Away
            }
        }
    }
}

impl Inner {
    /// Decides for so many who ask together.
    async fn decide(&self, subject: Subject, wanted: u32) -> Answer {
        let Settings {
            namespace,
            scope,
            rate,
            away,
        } = &self.settings;
        let key = format!("{namespace}:limit:{scope}:{subject}");
        // From before the question on, so that what is refused here is never refused longer than
        // it would be there.
        let asked = self.clock.now();
        match self.remote.throttle(&key, rate, wanted).await {
            Ok(told) => {
                self.set_away(None);
                if told.granted < wanted {
                    let until = asked.after(told.retry_after);
                    let reset = asked.after(told.reset_after);
                    self.refused.note(subject, Refusal { until, reset });
                }
                Answer::Shared(told)
            }
            Err(error) => {
                self.set_away(Some(&error));
                match away {
                    Away::Refuse => Answer::Away,
                    // A hub inside this process does not fail.
                    Away::Alone => match self.alone.throttle(&key, rate, wanted).await {
                        Ok(told) => Answer::Alone(told),
                        Err(_) => Answer::Away,
                    },
                }
            }
        }
    }

    /// Says once what changed. One call that failed is no change; that the guard has lost its
    /// patience is.
    fn set_away(&self, error: Option<&Error>) {
        let is_away = match error {
            None => false,
            Some(Error::BreakerOpen) => true,
            Some(_) => return,
        };
        if self.is_away.load(Ordering::Relaxed) == is_away
            || self.is_away.swap(is_away, Ordering::Relaxed) == is_away
        {
            return;
        }
        let scope = self.settings.scope;
        match (is_away, self.settings.away) {
            (true, Away::Alone) => tracing::warn!(
                limit.scope = scope,
                "the remote tier is away: each process limits by itself"
            ),
            (true, Away::Refuse) => tracing::warn!(
                limit.scope = scope,
                "the remote tier is away: whoever is limited is turned away"
            ),
            (false, _) => tracing::info!(limit.scope = scope, "the limit is shared again"),
        }
    }

    fn standing(&self, told: &Throttled) -> Standing {
        Standing {
            scope: self.settings.scope,
            burst: self.settings.rate.burst(),
            window: self.settings.rate.window(),
            remaining: told.remaining,
            retry_after: told.retry_after,
            reset_after: told.reset_after,
        }
    }
}
