//! What a measurement has counted.

use crate::target::Tier;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;

/// Longer than any call may take, with what it can wait for its turn.
const MOST_MICROS: u64 = 600_000_000;

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    /// A read was answered from there; and this is how much newer what was known was, if older
    /// than it may be.
    Read(Tier, bool),
    /// A write returned.
    Written,
    /// The call failed.
    Failed(Status),
}

/// What became of requests in one piece of the time.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Reads that memory answered.
    pub l1: u64,
    /// Reads that the shared tier answered.
    pub l2: u64,
    /// Reads that the database answered.
    pub db: u64,
    /// Reads with a marked answer, or with one that does not say.
    pub other: u64,
    /// Writes that returned.
    pub writes: u64,
    /// Calls that failed.
    pub failed: u64,
}

/// Counts of one caller, or of all together.
pub struct Tally {
    /// Microseconds until reads were answered, from when they were due.
    pub reads: Histogram<u64>,
    /// The same of writes.
    pub writes: Histogram<u64>,
    /// Microseconds of all calls from when they were sent, which leaves out how late that was.
    pub calls: Histogram<u64>,
    /// Everything, and over time.
    pub total: Slot,
    /// One after the other, of `slot` each.
    pub slots: Vec<Slot>,
    /// How long a slot is.
    pub slot: Duration,
    /// Unmarked answers that were older than they may be.
    pub too_old: u64,
    /// Requests that were due and never sent.
    pub unsent: u64,
    /// Calls that failed, by their code.
    pub failures: BTreeMap<String, u64>,
    /// What one of them said.
    pub failure: Option<String>,
}

impl Tally {
    /// Nothing, yet.
    pub fn new(slot: Duration) -> Self {
        let micros = || Histogram::new_with_max(MOST_MICROS, 3).expect("within its limits");
        Self {
            reads: micros(),
            writes: micros(),
            calls: micros(),
            total: Slot::default(),
            slots: Vec::new(),
            slot,
            too_old: 0,
            unsent: 0,
            failures: BTreeMap::new(),
            failure: None,
        }
    }

    /// A request ended: so long after the beginning, after it was due, and after it was sent. The
    /// latency of a call that failed is left out: a quick refusal is no quick answer.
    pub fn note(&mut self, at: Duration, late: Duration, call: Duration, ended: Ended) {
        let nth = (at.as_nanos() / self.slot.as_nanos().max(1)) as usize;
        if self.slots.len() <= nth {
            self.slots.resize(nth + 1, Slot::default());
        }
        for slot in [&mut self.total, &mut self.slots[nth]] {
            slot.note(&ended);
        }
        match ended {
            Ended::Read(_, too_old) => {
                self.too_old += u64::from(too_old);
                self.reads.saturating_record(micros(late));
                self.calls.saturating_record(micros(call));
            }
            Ended::Written => {
                self.writes.saturating_record(micros(late));
                self.calls.saturating_record(micros(call));
            }
            Ended::Failed(status) => {
                let code = format!("{:?}", status.code());
                *self.failures.entry(code).or_default() += 1;
                self.failure
                    .get_or_insert_with(|| status.message().to_owned());
            }
        }
    }

    /// A request was due that long ago and was never sent. What it would have been is not asked:
    /// most are reads, and it counts as one that was answered now, which flatters.
    pub fn never_sent(&mut self, late: Duration) {
        self.unsent += 1;
        self.reads.saturating_record(micros(late));
    }

    /// Adds what others counted; `after` so much of their time had passed here.
    pub fn add(&mut self, other: Self, after: usize) {
        // All are made with the same limits, so that everything fits.
        _ = self.reads.add(other.reads);
        _ = self.writes.add(other.writes);
        _ = self.calls.add(other.calls);
        self.total.add(other.total);
        let length = after + other.slots.len();
        if self.slots.len() < length {
            self.slots.resize(length, Slot::default());
        }
        let places = self.slots[after..].iter_mut().zip(other.slots);
        places.for_each(|(sum, slot)| sum.add(slot));
        self.too_old += other.too_old;
        self.unsent += other.unsent;
        for (code, count) in other.failures {
            *self.failures.entry(code).or_default() += count;
        }
        self.failure = self.failure.take().or(other.failure);
    }
}

impl Slot {
    fn note(&mut self, ended: &Ended) {
        let count = match ended {
            Ended::Read(Tier::L1, _) => &mut self.l1,
            Ended::Read(Tier::L2, _) => &mut self.l2,
            Ended::Read(Tier::Database, _) => &mut self.db,
            Ended::Read(Tier::Stale | Tier::Unknown, _) => &mut self.other,
            Ended::Written => &mut self.writes,
            Ended::Failed(_) => &mut self.failed,
        };
        *count += 1;
    }

    fn add(&mut self, other: Self) {
        self.l1 += other.l1;
        self.l2 += other.l2;
        self.db += other.db;
        self.other += other.other;
        self.writes += other.writes;
        self.failed += other.failed;
    }

    /// Reads that were answered.
    pub fn reads(&self) -> u64 {
        self.l1 + self.l2 + self.db + self.other
    }

    /// Requests that came to a good end.
    pub fn done(&self) -> u64 {
        self.reads() + self.writes
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_ends_is_counted_in_its_time_and_in_whole() {
        let mut tally = Tally::new(10 * MS);
        tally.note(5 * MS, MS, MS, Ended::Read(Tier::L1, false));
        tally.note(25 * MS, 9 * MS, MS, Ended::Read(Tier::Database, true));
        let mut sum = Tally::new(10 * MS);
        sum.note(MS, MS, MS, Ended::Written);
        sum.note(MS, MS, MS, Ended::Failed(Status::internal("why")));
        sum.add(tally, 2);
        let at = |nth: usize| (sum.slots[nth].l1, sum.slots[nth].db, sum.slots[nth].writes);
        assert_eq!((at(0), at(2), at(4)), ((0, 0, 1), (1, 0, 0), (0, 1, 0)));
        assert_eq!((sum.total.reads(), sum.total.done()), (2, 3));
        assert_eq!((sum.too_old, sum.reads.len(), sum.writes.len()), (1, 2, 1));
        assert_eq!(sum.failures["Internal"], 1);
        assert_eq!(sum.failure.as_deref(), Some("why"));
    }
}
