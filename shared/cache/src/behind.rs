//! What an answer does not wait for. Each kind has places of its own: however many loads wait for
//! their turn, a value that was loaded is stored, and a lock is given back.
//! Test: `flights.rs`, `loads_that_wait_for_their_turn_keep_back_neither_a_value_nor_a_lock_…`.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of each kind, so much may be under way at once.
const PLACES: usize = 256;

/// A kind of work behind answers, and what it costs that there is no place for it.
#[derive(Clone, Copy)]
pub(crate) enum Behind {
    /// A renewal, or a load that is finished without callers: it is left out.
    Load,
    /// A value on its way into a tier: it is not kept.
    Store,
    /// A lock on its way back: it runs out.
    Unlock,
}

/// The places of all kinds.
pub(crate) struct Places([Arc<Semaphore>; 3]);

impl Default for Places {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::new(Semaphore::new(PLACES))))
    }
}

impl Places {
    /// A place, until it is dropped; `None` where all are taken.
    pub(crate) fn take(&self, kind: Behind) -> Option<OwnedSemaphorePermit> {
        self.0[kind as usize].clone().try_acquire_owned().ok()
    }

    /// Whether nobody has one.
    pub(crate) fn are_free(&self) -> bool {
        let free = |places: &Arc<Semaphore>| places.available_permits() == PLACES;
        self.0.iter().all(free)
    }
}
