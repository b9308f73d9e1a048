//! The advisory locks of one flight.

use crate::behind::Behind;
use crate::entry::Value;
use crate::key::Key;
use crate::keyspace::Inner;
use crate::remote::{self, Remote as _};
use std::sync::Arc;
use std::time::Duration;

/// How often they are given back, if that fails at first, and the pause before it is tried again.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Advisory locks that this flight holds. Dropped, also when everybody has left the flight, they
/// are given back; if that fails again and again, they run out.
pub(crate) struct Held<K: Key, V: Value> {
    keyspace: Arc<Inner<K, V>>,
    owner: u64,
    locks: Vec<String>,
}

impl<K: Key, V: Value> Held<K, V> {
    /// What came of asking for these locks: those that were taken, and where nobody answered, all
    /// of them, as they may have been. None where nobody was asked: to give those back would keep
    /// places behind the answers busy, as many as there are misses in an outage.
    /// Test: `locks_that_nobody_was_asked_for_are_not_given_back`.
    pub(crate) fn new(
        keyspace: &Arc<Inner<K, V>>,
        owner: u64,
        locks: Vec<String>,
        won: &Result<Vec<bool>, remote::Error>,
    ) -> Self {
        let locks = match won {
            Ok(won) => {
                let locks = locks.into_iter().zip(won).filter(|(_, won)| **won);
                locks.map(|(lock, _)| lock).collect()
            }
            Err(remote::Error::BreakerOpen) => Vec::new(),
            Err(_) => locks,
        };
        Self {
            keyspace: keyspace.clone(),
            owner,
            locks,
        }
    }
}

impl<K: Key, V: Value> Drop for Held<K, V> {
    fn drop(&mut self) {
        if self.locks.is_empty() {
            return;
        }
        let (keyspace, owner) = (self.keyspace.clone(), self.owner);
        let locks = std::mem::take(&mut self.locks);
        self.keyspace
            .source()
            .core
            .spawn_behind(Behind::Unlock, async move {
                for _ in 0..ATTEMPTS {
                    if let Ok(()) = keyspace.source().core.remote.unlock(&locks, owner).await {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
    }
}
