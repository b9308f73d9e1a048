//! Starts real servers for tests, on free ports and in private folders, and ends them.
//!
//! It owns the life of child processes, and knows nothing of what runs in them: no crate of this
//! project is used here, so each of them may use it in its tests.
//!
//! In reading order: [`process`] (a child that cannot outlive the test), [`redis`] and
//! [`postgres`] (servers made of it), [`sentinel`] and [`cluster`] (many of them), [`proxy`] (a bad
//! network on demand), [`history`] (the judge of what was read and written meanwhile), [`http`] (requests as bytes),
//! [`data`], [`pki`] (certificates).
//!
//! What a test needs and the machine does not have is an error that says what to install; a
//! test never passes because it silently did nothing.
//!
//! Starting, stopping and restarting block the calling thread for some tens of milliseconds.
//! A test whose own tasks must go on meanwhile uses a runtime of several threads.

pub mod cluster;
pub mod data;
pub mod history;
pub mod http;
pub mod pki;
pub mod port;
pub mod postgres;
pub mod process;
pub mod program;
pub mod proxy;
pub mod redis;
pub mod sentinel;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Waits until `ready` says so, asking every few milliseconds; an error that says `what` was
/// waited for once `deadline` has passed.
pub async fn wait_until(
    what: &str,
    deadline: Duration,
    mut ready: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        // The question itself has the deadline too: it may be put to a server that is stopped.
        let left = deadline.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, ready()).await {
            Ok(true) => return Ok(()),
            Ok(false) if begun.elapsed() < deadline => {}
            _ => bail!("not within {deadline:?}: {what}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As [`wait_until`], for those who have no runtime.
pub(crate) fn wait_blocking(
    what: &str,
    deadline: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    while !ready()? {
        if begun.elapsed() >= deadline {
            bail!("not within {deadline:?}: {what}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

const POLL: Duration = Duration::from_millis(5);
