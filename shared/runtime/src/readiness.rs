//! Whether this process should get calls, and if not, why.
//!
//! What a process needs before it can answer is a [`Gate`] with a reason. It is ready while
//! every gate is open and it does not drain; `/ready` says so with the reasons, gRPC health by
//! name: `""`, `readiness` and every service for now, `startup` for whether it was ever ready,
//! `liveness` for that there is anybody at all.

use crate::exposition::{Metric, Page};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The metric.
pub const READY: Metric = Metric::gauge("larder_ready", "Whether the process should get calls.");

/// The gates of this process. Clones are of the same process.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Default, Debug)]
struct State {
    /// Why each gate is shut; `None` for one that is open.
    gates: BTreeMap<&'static str, Option<String>>,
    draining: bool,
    /// It was ready once.
    started: bool,
}

/// Something that this process needs in order to answer.
#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Without a gate, and so ready.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// A gate, shut for this reason.
    pub fn gate(&self, name: &'static str, reason: &str) -> Gate {
        let gate = Gate {
            name,
            state: self.state.clone(),
        };
        gate.shut(reason);
        gate
    }

    /// Why this process is not ready, each with the gate's name; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        self.state.borrow().reasons()
    }

    /// Whether it is ready, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        page.count(READY, &[], self.state.borrow().is_ready().into());
    }

    /// From now on, and for good, not ready.
    pub fn drain(&self) {
        self.state.send_modify(|state| {
            state.started |= state.is_ready();
            state.draining = true;
        });
    }

    /// Tells gRPC health how things are at the first [`HealthFeed::next`], and whenever they have
    /// changed at each further one.
    pub(crate) fn feed(&self, reporter: HealthReporter, services: Vec<&'static str>) -> HealthFeed {
        let mut state = self.state.subscribe();
        state.mark_changed();
        HealthFeed {
            state,
            reporter,
            services,
        }
    }
}

impl State {
    fn reasons(&self) -> Vec<String> {
        let gates = self.gates.iter();
        let shut = gates.filter_map(|(name, why)| Some(format!("{name}: {}", why.as_ref()?)));
        self.draining
            .then(|| "draining".to_owned())
            .into_iter()
            .chain(shut)
            .collect()
    }

    fn is_ready(&self) -> bool {
        !self.draining && self.gates.values().all(Option::is_none)
    }
}

impl Gate {
    /// What this gate stands for is there.
    pub fn open(&self) {
        self.set(None);
    }

    /// What this gate stands for is not there.
    pub fn shut(&self, reason: &str) {
        self.set(Some(reason));
    }

    /// Logs and tells changes only, so that a check may call it as often as it likes.
    fn set(&self, reason: Option<&str>) {
        self.state.send_if_modified(|state| {
            let before = state.gates.get(self.name).map(|why| why.as_deref());
            if before == Some(reason) {
                return false;
            }
            match (before.flatten(), reason) {
                (None, Some(why)) if state.started => {
                    tracing::warn!(gate.name = self.name, gate.reason = why, "not ready");
                }
                (_, Some(why)) => {
                    tracing::debug!(gate.name = self.name, gate.reason = why, "not ready");
                }
                (_, None) => tracing::info!(gate.name = self.name, "gate open"),
            }
            state.gates.insert(self.name, reason.map(str::to_owned));
            state.started |= state.is_ready();
            true
        });
    }
}

/// Carries changes of readiness to gRPC health.
pub(crate) struct HealthFeed {
    state: watch::Receiver<State>,
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl HealthFeed {
    /// Waits for a change and reports it. False when there will be no more.
    pub(crate) async fn next(&mut self) -> bool {
        if self.state.changed().await.is_err() {
            return false;
        }
        let (ready, started) = {
            let state = self.state.borrow_and_update();
            (state.is_ready(), state.started || state.is_ready())
        };
        let names = ["", "readiness"]
            .into_iter()
            .chain(self.services.iter().copied());
        let statuses = names.map(|name| (name, ready));
        for (name, serving) in statuses.chain([("startup", started), ("liveness", true)]) {
            let status = match serving {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            self.reporter.set_service_status(name, status).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_gate_is_open() {
        let readiness = Readiness::new();
        let database = readiness.gate("database", "not opened yet");
        let feed = readiness.gate("feed", "no round yet");
        assert_eq!(
            readiness.reasons(),
            ["database: not opened yet", "feed: no round yet"]
        );
        database.open();
        assert_eq!(readiness.reasons(), ["feed: no round yet"]);
        feed.open();
        assert!(readiness.reasons().is_empty());
        database.shut("connection refused");
        assert_eq!(readiness.reasons(), ["database: connection refused"]);
    }

    #[test]
    fn a_drain_is_for_good() {
        let readiness = Readiness::new();
        let gate = readiness.gate("database", "not opened yet");
        readiness.drain();
        gate.open();
        assert_eq!(readiness.reasons(), ["draining"]);
    }
}
