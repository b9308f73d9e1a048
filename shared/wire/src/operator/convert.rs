//! What the cache says, as messages.

use crate::convert::label_out;
use larder::advice::Outlook;
use larder::check::{Tier, Wrong};
use larder::inspect::{AtSource, InMemory, InRemote, Inspection, Summary};
use larder::policy::{Eviction, OnWrite, Policy};
use larder::stats::{EVICTIONS, MISSES, Miss, OUTCOMES, PROPAGATION_BUCKETS, SourceStats};
use larder::{Advice, AnyKeyspace, Hot};
use larder_proto::cache::v1 as wire;
use std::error::Error;
use std::time::Duration;

/// Longer than any of ours is not told apart from for ever.
pub(super) fn span(span: Duration) -> prost_types::Duration {
    span.try_into().unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

pub(super) fn keyspace(keyspace: &dyn AnyKeyspace, owned: bool) -> wire::Keyspace {
    let stats = keyspace.stats();
    wire::Keyspace {
        name: keyspace.name().to_owned(),
        source: keyspace.source().name().to_owned(),
        owned,
        policy: Some(policy(keyspace.policy())),
        entries: stats.entries,
        bytes: stats.bytes,
    }
}

fn policy(policy: &Policy) -> wire::Policy {
    let on_write = match policy.on_write {
        OnWrite::Evict => "evict",
        OnWrite::Put => "put",
        OnWrite::Push => "push",
    };
    let eviction = match policy.eviction {
        Eviction::TinyLfu => "tiny_lfu",
        Eviction::Lru => "lru",
    };
    wire::Policy {
        max_staleness: Some(span(policy.max_staleness)),
        soft_ttl: Some(span(policy.soft_ttl)),
        hard_ttl: Some(span(policy.hard_ttl)),
        absent_ttl: Some(span(policy.absent_ttl)),
        fail_safe: policy.fail_safe,
        on_write: on_write.to_owned(),
        eviction: eviction.to_owned(),
        capacity_bytes: policy.capacity_bytes,
        sampled: policy.sampled,
    }
}

fn counts<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<wire::Count> {
    let count = |(name, count): (&str, u64)| wire::Count {
        name: name.to_owned(),
        count,
    };
    counts.into_iter().map(count).collect()
}

pub(super) fn stats(keyspace: &dyn AnyKeyspace) -> wire::KeyspaceStats {
    let (stats, checks) = (keyspace.stats(), keyspace.checks());
    wire::KeyspaceStats {
        keyspace: keyspace.name().to_owned(),
        source: keyspace.source().name().to_owned(),
        reads: counts(OUTCOMES.iter().map(|&o| (o.name(), stats.reads(o)))),
        misses: counts(MISSES.iter().map(|&m| (m.name(), stats.misses(m)))),
        evictions: counts(EVICTIONS.iter().map(|&e| (e.name(), stats.evictions(e)))),
        checks: counts([
            ("same", checks.same),
            ("explained", checks.explained),
            ("undecided", checks.undecided),
            ("inconsistent_l1", checks.inconsistent_l1),
            ("inconsistent_l2", checks.inconsistent_l2),
        ]),
        rescues: stats.rescues,
        loads: stats.loads(),
        load_errors: stats.load_errors,
        load_time: Some(span(stats.load_time)),
        entries: stats.entries,
        bytes: stats.bytes,
        capacity_bytes: keyspace.policy().capacity_bytes,
    }
}

pub(super) fn source_stats(name: &str, stats: &SourceStats) -> wire::SourceStats {
    wire::SourceStats {
        source: name.to_owned(),
        rounds: stats.rounds,
        round_errors: stats.round_errors,
        round_lines: stats.round_lines,
        gaps: stats.gaps,
        hints: counts([
            ("applied", stats.hints_applied),
            ("known", stats.hints_known),
            ("foreign", stats.hints_foreign),
            ("malformed", stats.hints_malformed),
            ("lost", stats.hints_lost),
        ]),
        invalidations: counts([
            ("own", stats.moved_own),
            ("hint", stats.moved_hint),
            ("round", stats.moved_round),
        ]),
        proven_age: stats.proven_age.map(span),
        propagation: buckets(&PROPAGATION_BUCKETS, &stats.propagation),
    }
}

/// A histogram whose last bucket has no bound.
fn buckets(bounds: &[f64], counts: &[u64]) -> Vec<wire::Bucket> {
    let bounds = bounds.iter().copied().map(Duration::from_secs_f64);
    let bounds = bounds.map(|bound| Some(span(bound))).chain([None]);
    bounds
        .zip(counts)
        .map(|(most, &count)| wire::Bucket { most, count })
        .collect()
}

fn summary(value: Summary) -> wire::ValueSummary {
    wire::ValueSummary {
        found: value.found,
        version: value.version,
        fingerprint: value.fingerprint,
        bytes: value.bytes as u64,
    }
}

fn verdict(verdict: Result<(), Miss>) -> String {
    let word = match verdict {
        Ok(()) => "served",
        Err(miss) => miss.name(),
    };
    word.to_owned()
}

/// An error with its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn inspection(keyspace: String, seen: Inspection) -> wire::InspectResponse {
    let (l2, l2_error) = match seen.l2 {
        Ok(copy) => (copy.map(in_remote), String::new()),
        Err(error) => (None, told(&error)),
    };
    let (from_source, source_error) = match seen.source {
        None => (None, String::new()),
        Some(Ok(copy)) => (Some(at_source(copy)), String::new()),
        Some(Err(error)) => (None, told(&error)),
    };
    wire::InspectResponse {
        keyspace,
        key: seen.key,
        l1: seen.l1.map(in_memory),
        l2,
        l2_error,
        from_source,
        source_error,
    }
}

fn in_memory(copy: InMemory) -> wire::MemoryCopy {
    wire::MemoryCopy {
        value: Some(summary(copy.value)),
        verdict: verdict(copy.verdict),
        age: Some(span(copy.age)),
        soft_left: Some(span(copy.soft_left)),
        hard_left: Some(span(copy.hard_left)),
        captured: copy.captured,
        applied: copy.applied,
        label_xmin: copy.label.map(|label| label.snapshot.xmin()),
        weight_bytes: copy.weight_bytes as u64,
        tags: copy.tags.into_iter().map(|tag| tag.0).collect(),
    }
}

fn in_remote(copy: InRemote) -> wire::RemoteCopy {
    wire::RemoteCopy {
        value: copy.value.map(summary),
        verdict: verdict(copy.verdict),
        soft_left: Some(span(copy.soft_left)),
        hard_left: Some(span(copy.hard_left)),
        ttl: copy.ttl.map(span),
        label: copy.label.as_ref().map(label_out),
        stored_bytes: copy.stored_bytes as u64,
        tags: copy.tags.into_iter().map(|tag| tag.0).collect(),
        name: copy.name,
    }
}

fn at_source(copy: AtSource) -> wire::SourceCopy {
    wire::SourceCopy {
        value: Some(summary(copy.value)),
        label: copy.label.as_ref().map(label_out),
        took: Some(span(copy.took)),
    }
}

pub(super) fn inconsistency(keyspace: &str, key: &str, wrong: &Wrong) -> wire::Inconsistency {
    let tier = match wrong.tier {
        Tier::L1 => wire::Tier::L1,
        Tier::L2 => wire::Tier::L2,
    };
    wire::Inconsistency {
        keyspace: keyspace.to_owned(),
        key: key.to_owned(),
        tier: tier.into(),
        cached: Some(summary(wrong.cached)),
        actual: Some(summary(wrong.actual)),
        repaired: wrong.repaired,
    }
}

pub(super) fn hot_key(keyspace: &str, hot: Hot) -> wire::HotKey {
    wire::HotKey {
        keyspace: keyspace.to_owned(),
        key: hot.key,
        reads: hot.reads,
        error: hot.error,
    }
}

pub(super) fn advice(keyspace: &str, advice: Advice) -> wire::Advice {
    let misses = advice.causes.iter().map(|cause| wire::Share {
        name: cause.miss.name().to_owned(),
        share: cause.share,
    });
    wire::Advice {
        keyspace: keyspace.to_owned(),
        capacity_bytes: advice.capacity_bytes,
        hit_ratio: (advice.reads > 0).then_some(advice.hit_ratio),
        curve: advice.outlooks.into_iter().map(outlook).collect(),
        misses: misses.collect(),
        sentences: advice.words,
        sampled_reads: advice.reads,
        knee: Some(outlook(advice.knee)),
    }
}

fn outlook(outlook: Outlook) -> wire::CurvePoint {
    wire::CurvePoint {
        capacity_bytes: outlook.capacity_bytes,
        hit_ratio: outlook.hit_ratio,
    }
}
