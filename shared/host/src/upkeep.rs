//! What goes on behind the answers until the end: pruning, the check of the triggers, the
//! comparison of a few copies with the source, and the gate that opens with the first proof.

use crate::base::Base;
use crate::error::told;
use crate::open::jittered;
use crate::parts::Timing;
use larder::feed::{self, Line};
use larder::{Source, Tag};
use larder_journal::Problem;
use larder_runtime::readiness::Gate;
use std::time::Duration;

/// Keys of one keyspace that are compared before it is another's turn.
const TURN: usize = 64;

/// Starts the tasks; they end with the process's.
pub(crate) fn start(base: &Base, sources: &[Source], gate: Gate, timing: &Timing) {
    let watch = watch(base.clone(), gate, timing.watch, timing.patience);
    spawn(base, "prune", prune(base.clone(), timing.prune));
    spawn(base, "check triggers", check(base.clone(), timing.check));
    spawn(base, "watch the database", watch);
    // Who never asks the feed has a reason, and a comparison would ask it.
    if let (Some(pause), Some(_)) = (timing.compare_every, timing.poll) {
        let compare = compare(base.clone(), sources.to_vec(), pause);
        spawn(base, "compare copies with the source", compare);
    }
}

fn spawn(base: &Base, name: &'static str, forever: impl Future<Output = ()> + Send + 'static) {
    let stopping = base.tasks().stopping().clone();
    base.tasks().spawn(name, async move {
        stopping.run_until_cancelled(forever).await;
    });
}

/// First after a part of the interval, so that replicas which started together do it one after
/// the other.
async fn prune(base: Base, interval: Duration) {
    loop {
        tokio::time::sleep(jittered(interval)).await;
        match base.journal().prune().await {
            Ok(pruned) => {
                let (dropped, marked) = (pruned.dropped, pruned.marked);
                tracing::debug!(journal.dropped = dropped, journal.marked = marked, "pruned");
            }
            // The next attempt drops what this one left.
            Err(error) => {
                let reason = told(&error);
                tracing::debug!(reason, "the journal could not be pruned");
            }
        }
    }
}

async fn check(base: Base, interval: Duration) {
    loop {
        tokio::time::sleep(jittered(interval)).await;
        look_at_triggers(&base).await;
    }
}

/// What is not journalled is not served, and triggers may be of a later release: until they can be
/// looked at, they are doubted.
pub(crate) async fn look_at_triggers_first(base: &Base) {
    if !look_at_triggers(base).await {
        base.doubt.note(1);
    }
}

/// Doubts the source while its triggers are not as they should be. False where that cannot be seen.
async fn look_at_triggers(base: &Base) -> bool {
    match base.journal().check().await {
        Ok(problems) if problems.is_empty() => trust_again(base).await,
        Ok(problems) => doubt(base, &problems),
        // That the database is away is said by whoever watches it.
        Err(error) => {
            let reason = told(&error);
            tracing::debug!(reason, "the triggers could not be checked");
            return false;
        }
    }
    true
}

/// Compares copies with the source, one key at a time, and has those that are wrong dropped. The
/// keyspaces take turns; of each, some keys are chosen by chance.
async fn compare(base: Base, sources: Vec<Source>, pause: Duration) {
    loop {
        tokio::time::sleep(jittered(pause)).await;
        for keyspace in sources.iter().flat_map(Source::keyspaces) {
            if !keyspace.policy().sampled {
                continue;
            }
            for key in keyspace.clone().sample(TURN).await {
                tokio::time::sleep(pause).await;
                // What is not journalled is not served: see `doubt.rs`.
                if !base.doubt.is_raised() {
                    keyspace.clone().check(vec![key], true).await;
                }
            }
        }
    }
}

/// From now on reads go to the source, and other services get nothing: see `doubt.rs`.
fn doubt(base: &Base, problems: &[Problem]) {
    if !base.doubt.note(problems.len()) {
        return;
    }
    for problem in problems {
        tracing::error!(
            journal.table = problem.table,
            journal.trigger = problem.trigger,
            journal.flaw = ?problem.flaw,
            cache.keyspaces = problem.keyspaces.join(","),
            "changes are not journalled: nothing cached is served until the trigger is repaired"
        );
    }
}

/// The triggers are as they should be. What changed while they were not is unknown, so that
/// everything cached before, anywhere, goes first.
async fn trust_again(base: &Base) {
    if !base.doubt.is_raised() {
        return;
    }
    let everything = Line {
        collection: Tag::WHOLE.into(),
        key: Tag::WHOLE.into(),
    };
    let moved = async {
        base.source().invalidate(&[everything]).await?;
        base.source().prove().await
    };
    match moved.await {
        Ok(()) => {
            base.doubt.note(0);
            tracing::info!("changes are journalled again");
        }
        Err(error) => {
            let reason = told(&error);
            tracing::warn!(reason, "what was cached could not be invalidated yet");
        }
    }
}

/// Opens the gate with the first proof, for good.
///
/// A database that stalls stalls for all replicas. If each of them left then, nobody would be asked
/// any more, and answers that are still there, marked with their age, would become none. From its
/// first proof on a process can say what it has, or UNAVAILABLE and when to come back. That proofs end
/// and go on is logged by the source and told by its metrics.
async fn watch(base: Base, gate: Gate, interval: Duration, patience: Duration) {
    loop {
        match base.source().stats().proven_age {
            Some(age) if age <= patience => return gate.open(),
            _ => gate.shut(&reason(&base, patience).await),
        }
        tokio::time::sleep(interval).await;
    }
}

/// Why the feed does not answer: it is asked what the poller asks.
async fn reason(base: &Base, patience: Duration) -> String {
    let asked = tokio::time::timeout(patience, base.source().round(None));
    let cause = match asked.await {
        Ok(Ok(_)) => "it answers again".to_owned(),
        Ok(Err(error)) => told(&error),
        Err(_) => told(&feed::Error::Unavailable(std::sync::Arc::new(Silent))),
    };
    format!("no proof for more than {patience:?}: {cause}")
}

#[derive(Debug, thiserror::Error)]
#[error("it does not answer")]
struct Silent;
