//! Transactions that have written and are still under way, as rounds tell of them.
//!
//! A snapshot names those that wrote before one that has ended. Until the oldest of them has, no
//! label can show that it reflects all that came before, so that values which changed since are
//! loaded anew: somebody should hear of one that stays open.

use crate::clock::Stamp;
use crate::feed::Round;
use crate::snapshot::{Epoch, Xid};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Those that the last round saw, each with the moment at which a round first did. As many as the
/// database has under way.
#[derive(Default)]
pub(crate) struct Writers(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    epoch: Option<Epoch>,
    /// In the order of their numbers, which is that of their begin.
    writers: Vec<(Xid, Stamp)>,
}

impl Writers {
    /// Takes what a round that was asked for at `asked_at` says.
    pub(crate) fn note(&self, round: &Round, asked_at: Stamp) {
        let under_way = round.snapshot.in_progress();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.epoch != Some(round.epoch) {
            seen.writers.clear();
            seen.epoch = Some(round.epoch);
        }
        if under_way.is_empty() {
            seen.writers.clear();
            return;
        }
        let since = |xid: &Xid| {
            let known = seen.writers.binary_search_by_key(xid, |(xid, _)| *xid);
            known.map_or(asked_at, |place| seen.writers[place].1)
        };
        seen.writers = under_way.iter().map(|xid| (*xid, since(xid))).collect();
    }

    /// For how long the oldest has been seen.
    pub(crate) fn oldest(&self, now: Stamp) -> Option<Duration> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, since) = seen.writers.first()?;
        Some(now.since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    fn round(timeline: u32, under_way: &[Xid]) -> Round {
        Round {
            epoch: Epoch {
                system: 1,
                timeline,
            },
            snapshot: Snapshot::new(1, 100, under_way.to_vec()).expect("in bounds"),
            low_marked: 0,
            low_dropped: 0,
            changes: Vec::new(),
        }
    }

    fn at(seconds: u64) -> Stamp {
        Stamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_oldest_writer_is_as_old_as_rounds_have_seen_it() {
        let writers = Writers::default();
        let oldest = |second| writers.oldest(at(second)).map(|age| age.as_secs());
        assert_eq!(oldest(9), None);
        writers.note(&round(1, &[7]), at(10));
        writers.note(&round(1, &[7, 9]), at(12));
        assert_eq!(oldest(15), Some(5));
        // The next is as old as it is, not as new as the first one's end.
        writers.note(&round(1, &[9, 11]), at(16));
        assert_eq!(oldest(18), Some(6));
        writers.note(&round(1, &[]), at(19));
        assert_eq!(oldest(20), None);
    }

    #[test]
    fn numbers_of_another_life_of_the_database_are_others() {
        let writers = Writers::default();
        writers.note(&round(1, &[7]), at(10));
        writers.note(&round(2, &[7]), at(20));
        assert_eq!(writers.oldest(at(21)), Some(Duration::from_secs(1)));
    }
}
