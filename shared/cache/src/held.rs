//! The advisory locks of one flight.

use crate::entry::Value;
use crate::key::Key;
use crate::keyspace::Inner;
use crate::remote::Remote as _;
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
    pub(crate) fn new(
        keyspace: &Arc<Inner<K, V>>,
        owner: u64,
        locks: Vec<String>,
        won: &[bool],
    ) -> Self {
        let locks = locks.into_iter().zip(won).filter(|(_, won)| **won);
        let locks = locks.map(|(lock, _)| lock).collect();
        Self {
            keyspace: keyspace.clone(),
            owner,
            locks,
        }
    }

    /// Those that may be held, since nobody answered.
    pub(crate) fn perhaps(keyspace: &Arc<Inner<K, V>>, owner: u64, locks: Vec<String>) -> Self {
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
        self.keyspace.source().core.spawn_behind(async move {
            for _ in 0..ATTEMPTS {
                if let Ok(()) = keyspace.source().core.remote.unlock(&locks, owner).await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}
