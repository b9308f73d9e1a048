//! The memory orders of the digest, by loom: every interleaving of a writer and a reader, and
//! every value that a machine weaker than ours may let the reader see.

use larder::clock::Stamp;
use larder::digest::{Atomic, Memory, Step};
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{self, Relaxed};

/// Loom's atomic, with the orders that the digest asks for, or with one of them forgotten.
struct Watched<const FORGOTTEN: u8>(AtomicU64);

const NONE: u8 = 0;
const STORES: u8 = 1;
const MAXIMA: u8 = 2;
const LOADS: u8 = 3;

impl<const FORGOTTEN: u8> Watched<FORGOTTEN> {
    fn order(which: u8, order: Ordering) -> Ordering {
        if which == FORGOTTEN { Relaxed } else { order }
    }
}

impl<const FORGOTTEN: u8> From<u64> for Watched<FORGOTTEN> {
    fn from(number: u64) -> Self {
        Self(AtomicU64::new(number))
    }
}

impl<const FORGOTTEN: u8> Atomic for Watched<FORGOTTEN> {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(Self::order(LOADS, order))
    }

    fn store(&self, number: u64, order: Ordering) {
        self.0.store(number, Self::order(STORES, order));
    }

    fn fetch_max(&self, number: u64, order: Ordering) {
        self.0.fetch_max(number, Self::order(MAXIMA, order));
    }
}

const ASKED_AT: Stamp = Stamp::from_nanos(7);

/// What a round of two lines does, and then another of one.
fn write<const FORGOTTEN: u8>(memory: &Memory<Watched<FORGOTTEN>>) {
    let raise = |cell, seq| Step::Raise {
        cell,
        xid: seq,
        seq,
    };
    memory.take(raise(0, 1));
    memory.take(raise(1, 1));
    memory.take(Step::Publish(1));
    memory.take(Step::Prove(ASKED_AT));
    memory.take(raise(0, 2));
    memory.take(Step::Publish(2));
}

/// A hit: who sees the proof sees the cells that it vouches for.
fn a_proof_shows_the_cells<const FORGOTTEN: u8>() {
    loom::model(|| {
        let memory = Arc::new(Memory::<Watched<FORGOTTEN>>::new(2));
        let writer = loom::thread::spawn({
            let memory = memory.clone();
            move || write(&memory)
        });
        if memory.proven_at() == ASKED_AT {
            assert!(memory.moved(0, &[], 0), "the first cell");
            assert!(memory.moved(1, &[], 0), "the second cell");
        }
        writer.join().expect("the writer ends");
    });
}

/// A load: who notes a position sees the cells as they were when it was published.
fn a_position_shows_the_cells<const FORGOTTEN: u8>() {
    loom::model(|| {
        let memory = Arc::new(Memory::<Watched<FORGOTTEN>>::new(2));
        let writer = loom::thread::spawn({
            let memory = memory.clone();
            move || write(&memory)
        });
        let captured = memory.applied();
        if captured > 0 {
            assert!(memory.moved(0, &[], captured - 1), "the first cell");
            assert!(memory.touched(0) >= captured, "the first cell");
            assert!(memory.touched(1) >= 1, "the second cell");
        }
        writer.join().expect("the writer ends");
    });
}

#[test]
fn who_sees_a_proof_sees_the_cells() {
    a_proof_shows_the_cells::<NONE>();
}

#[test]
fn who_sees_a_position_sees_the_cells() {
    a_position_shows_the_cells::<NONE>();
}

#[test]
#[should_panic(expected = "cell")]
fn a_proof_that_is_not_released_is_caught() {
    a_proof_shows_the_cells::<MAXIMA>();
}

#[test]
#[should_panic(expected = "cell")]
fn a_proof_that_is_not_acquired_is_caught() {
    a_proof_shows_the_cells::<LOADS>();
}

#[test]
#[should_panic(expected = "cell")]
fn a_position_that_is_not_released_is_caught() {
    a_position_shows_the_cells::<STORES>();
}

#[test]
#[should_panic(expected = "cell")]
fn a_position_that_is_not_acquired_is_caught() {
    a_position_shows_the_cells::<LOADS>();
}
