//! Work that does not belong to one caller: every task has a name and an owner that waits for it.
//!
//! Dropping a gRPC handler's future, which is what a caller that hangs up does, must not stop
//! what follows a commit. Such work is [`run`](Tasks::run) here.

use futures_util::FutureExt as _;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Why a task has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// It panicked; the log says where and why.
    #[error("the task {0} panicked")]
    Panicked(&'static str),
    /// The process ended before the task did.
    #[error("the task {0} was abandoned")]
    Abandoned(&'static str),
    /// These did not end before the deadline of [`Tasks::close`], each as often as it is named.
    #[error("still running: {}", .0.join(", "))]
    Unfinished(Vec<&'static str>),
}

/// The owner of tasks. Clones own the same tasks.
#[derive(Clone, Default, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Tasks {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. One that runs until the end of the process watches
    /// [`stopping`](Self::stopping).
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.tracker.spawn(self.watched(name, task)));
    }

    /// Starts a task and waits for its result. Whoever stops waiting does not stop the task.
    pub async fn run<F>(&self, name: &'static str, task: F) -> Result<F::Output, Error>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.tracker.spawn(self.watched(name, task)).await {
            Ok(outcome) => outcome.ok_or(Error::Panicked(name)),
            Err(_) => Err(Error::Abandoned(name)),
        }
    }

    /// Cancelled when the tasks should end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Asks all tasks to end and waits for them, at most so long.
    pub async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.stopping.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(deadline, self.tracker.wait()).await;
        ended.map_err(|_| Error::Unfinished(self.names()))
    }

    /// Runs a task in its caller's span, counts it, and has its panic logged.
    fn watched<F: Future>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let listed = Listed::new(name, self.running.clone());
        let task = AssertUnwindSafe(task.in_current_span()).catch_unwind();
        async move {
            let outcome = task.await;
            drop(listed);
            outcome
                .inspect_err(|panic| {
                    tracing::error!(
                        task.name = name,
                        task.panic = said(panic),
                        "a task panicked"
                    );
                })
                .ok()
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let running = lock(&self.running);
        running
            .iter()
            .flat_map(|(name, count)| std::iter::repeat_n(*name, *count))
            .collect()
    }
}

/// A task in the list of those that run.
struct Listed {
    name: &'static str,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Listed {
    fn new(name: &'static str, running: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *lock(&running).entry(name).or_default() += 1;
        Self { name, running }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
        }
    }
}

/// The map is whole whatever happened to whoever held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic said.
fn said(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing readable")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn work_goes_on_when_its_caller_stops_waiting() {
        let tasks = Tasks::new();
        let (go, gate) = oneshot::channel::<()>();
        let (done, seen) = oneshot::channel();
        let mut call = Box::pin(tasks.run("write", async move {
            gate.await.expect("the gate opens");
            done.send(()).expect("somebody looks");
        }));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        go.send(()).expect("the task waits");
        tokio::time::timeout(SOON, seen)
            .await
            .expect("in time")
            .expect("the work was done");
        assert_eq!(tasks.close(SOON).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_the_tasks_own_and_is_told_to_whoever_waits() {
        let tasks = Tasks::new();
        let outcome: Result<(), _> = tasks.run("odd", async { panic!("on purpose") }).await;
        assert_eq!(outcome, Err(Error::Panicked("odd")));
        assert_eq!(tasks.run("even", async { 2 }).await, Ok(2));
        assert_eq!(tasks.close(SOON).await, Ok(()));
    }

    #[tokio::test]
    async fn closing_ends_those_that_listen() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        tasks.spawn("listener", async move { stopping.cancelled().await });
        assert_eq!(tasks.close(SOON).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_at_its_deadline_and_names_who_is_left() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        tasks.spawn("deaf", std::future::pending());
        tasks.spawn("quick", async {});
        let outcome = tasks.close(Duration::from_secs(1)).await;
        assert_eq!(outcome, Err(Error::Unfinished(vec!["deaf", "deaf"])));
    }
}
