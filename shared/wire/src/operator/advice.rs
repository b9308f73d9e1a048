//! What follows from a keyspace's counters, in words: why its reads miss, and what could be done.

use larder::AnyKeyspace;
use larder::stats::{MISSES, Miss, OUTCOMES, Outcome, Stats};
use larder_proto::cache::v1 as wire;

/// A share of the misses from which on their cause is worth a sentence.
const WORTH_A_WORD: f64 = 0.1;

pub(super) fn advice(keyspace: &dyn AnyKeyspace) -> wire::Advice {
    let stats = keyspace.stats();
    let reads: u64 = OUTCOMES.iter().map(|&outcome| stats.reads(outcome)).sum();
    let hits = stats.reads(Outcome::L1);
    let capacity_bytes = keyspace.policy().capacity_bytes;
    let misses = shares(&stats);
    let mut advice = wire::Advice {
        keyspace: keyspace.name().to_owned(),
        capacity_bytes,
        hit_ratio: (reads > 0).then(|| hits as f64 / reads as f64),
        ..wire::Advice::default()
    };
    advice.sentences = sentences(&advice, &misses, &stats);
    advice.misses = misses;
    advice
}

/// Why memory did not answer, the most frequent cause first. What the remote tier then had, and
/// callers that wanted the source whatever memory had, are another matter.
fn shares(stats: &Stats) -> Vec<wire::Share> {
    let local = MISSES.iter().filter(|miss| {
        !miss.name().starts_with("remote_") && !matches!(miss, Miss::Strong | Miss::Token)
    });
    let counts: Vec<_> = local.map(|&miss| (miss, stats.misses(miss))).collect();
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let share = |(miss, count): (Miss, u64)| wire::Share {
        name: miss.name().to_owned(),
        share: count as f64 / total as f64,
    };
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    let mut shares: Vec<_> = some.map(share).collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares
}

fn sentences(advice: &wire::Advice, misses: &[wire::Share], stats: &Stats) -> Vec<String> {
    let Some(ratio) = advice.hit_ratio else {
        return vec!["nobody has read it yet".to_owned()];
    };
    let (mib, capacity) = (mebibytes(stats.bytes), mebibytes(advice.capacity_bytes));
    let mut said = vec![format!(
        "it holds {mib:.1} of {capacity:.1} MiB, and memory answers {:.1} % of the reads",
        100.0 * ratio
    )];
    for share in misses.iter().filter(|share| share.share >= WORTH_A_WORD) {
        let what = match share.name.as_str() {
            "cold" => "keys that were never read before, or long ago",
            "evicted" => "keys that were dropped for room: it needs more memory",
            "moved" => "writes",
            "expired" => "its TTL: a longer one costs nothing, since writes are known",
            "unproven" => "proofs that came late: its source is slow to say what changed",
            other => other,
        };
        said.push(format!(
            "{:.0} % of the misses are due to {what}",
            100.0 * share.share
        ));
    }
    said
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
