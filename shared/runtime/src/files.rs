//! How many connections there is room for in the files that the system lets this process open.
//!
//! Each connection is a file. A process that has no file left can neither take a connection nor
//! reach its database, so the ports of a process together leave some.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is kept for everything that is no connection of a caller: databases, Redis, other
/// services, logs. At least so many files, or an eighth.
const KEPT: u64 = 256;
/// More than any process of ours can use.
const PLENTY: u64 = 1 << 20;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A file that is a caller's connection.
pub(crate) struct File(());

impl File {
    /// `None` if there is no room for it.
    pub(crate) fn take() -> Option<Self> {
        let file = Self(());
        // Who comes too many leaves again at once, by dropping `file`.
        (OPEN.fetch_add(1, Ordering::Relaxed) < room()).then_some(file)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For how many connections there is room. The first who asks has the limit raised as far as the
/// system allows it.
pub(crate) fn room() -> usize {
    static ROOM: OnceLock<usize> = OnceLock::new();
    *ROOM.get_or_init(|| beside_kept(raised()))
}

/// Says so where there is less room than a port may want.
pub(crate) fn check(wanted: usize) {
    if room() < wanted {
        tracing::warn!(
            files.connections = room(),
            "the system lets this process open files for that many connections, on all its ports \
             together, and --max-connections (LARDER_MAX_CONNECTIONS) is {wanted}: raise the hard \
             limit on open files (ulimit -Hn), or lower the setting"
        );
    }
}

fn raised() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(PLENTY).min(PLENTY);
    let current = limit.current.unwrap_or(PLENTY);
    if current >= most {
        return current;
    }
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => current,
    }
}

fn beside_kept(limit: u64) -> usize {
    let kept = (limit / 8).max(KEPT.min(limit / 2));
    usize::try_from(limit - kept).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_what_is_no_connection() {
        assert_eq!(beside_kept(1024), 768);
        assert_eq!(beside_kept(20_000), 17_500);
        assert_eq!(beside_kept(1 << 20), 917_504);
        assert_eq!(beside_kept(100), 50);
        assert!(room() > 0);
    }
}
