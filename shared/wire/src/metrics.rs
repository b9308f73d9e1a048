//! The cache's counters as Prometheus text, under the names that dashboards rely on.

use larder::check::Checks;
use larder::remote::guard::Counters;
use larder::stats::{
    EVICTIONS, LOAD_BUCKETS, MISSES, OUTCOMES, PROPAGATION_BUCKETS, SourceStats, Stats,
};
use larder::{AnyKeyspace, Larder, Source};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The counters of these sources, of all their keyspaces, and of the remote tier that they share.
pub fn render(larder: &Larder, sources: &[Source]) -> String {
    let keyspaces: Vec<Arc<dyn AnyKeyspace>> = sources.iter().flat_map(Source::keyspaces).collect();
    let stats: Vec<(&str, Stats)> = keyspaces
        .iter()
        .map(|keyspace| (keyspace.name(), keyspace.stats()))
        .collect();
    let mut page = Page::default();
    page.keyspaces(&stats);
    for keyspace in &keyspaces {
        page.checks(keyspace.name(), keyspace.checks());
    }
    for source in sources {
        page.source(source.name(), &source.stats());
    }
    let (entries, hints) = larder.seal_refusals();
    for (kind, count) in [("entry", entries), ("hint", hints)] {
        let labels = format!("kind=\"{kind}\"");
        page.count("larder_seal_refusals_total", &labels, count);
    }
    for (kind, counters) in larder.remote().counters_by_kind() {
        page.remote(kind, &counters);
    }
    page.finish()
}

/// Lines by family: all samples of one metric must stand together.
#[derive(Default)]
struct Page(Vec<(&'static str, &'static str, String)>);

impl Page {
    fn line(&mut self, family: &'static str, kind: &'static str, line: std::fmt::Arguments<'_>) {
        let index = self.0.iter().position(|(name, _, _)| *name == family);
        let index = index.unwrap_or_else(|| {
            self.0.push((family, kind, String::new()));
            self.0.len() - 1
        });
        let _ = writeln!(self.0[index].2, "{line}");
    }

    fn count(&mut self, family: &'static str, labels: &str, value: u64) {
        self.line(
            family,
            "counter",
            format_args!("{family}{{{labels}}} {value}"),
        );
    }

    fn gauge(&mut self, family: &'static str, labels: &str, value: f64) {
        self.line(
            family,
            "gauge",
            format_args!("{family}{{{labels}}} {value}"),
        );
    }

    fn histogram(
        &mut self,
        family: &'static str,
        labels: &str,
        (bounds, buckets, sum): (&[f64], &[u64], Duration),
    ) {
        let mut total = 0;
        for (index, count) in buckets.iter().enumerate() {
            total += count;
            let bound = bounds
                .get(index)
                .map_or_else(|| "+Inf".into(), f64::to_string);
            let line = format_args!("{family}_bucket{{{labels},le=\"{bound}\"}} {total}");
            self.line(family, "histogram", line);
        }
        let sum = sum.as_secs_f64();
        self.line(
            family,
            "histogram",
            format_args!("{family}_sum{{{labels}}} {sum}"),
        );
        self.line(
            family,
            "histogram",
            format_args!("{family}_count{{{labels}}} {total}"),
        );
    }

    fn keyspaces(&mut self, all: &[(&str, Stats)]) {
        for (name, stats) in all {
            let with = |key: &str, value: &str| format!("keyspace=\"{name}\",{key}=\"{value}\"");
            for &outcome in OUTCOMES {
                let labels = with("outcome", outcome.name());
                self.count("larder_reads_total", &labels, stats.reads(outcome));
            }
            for &miss in MISSES {
                self.count(
                    "larder_misses_total",
                    &with("cause", miss.name()),
                    stats.misses(miss),
                );
            }
            for &cause in EVICTIONS {
                let labels = with("cause", cause.name());
                self.count("larder_evictions_total", &labels, stats.evictions(cause));
            }
            let labels = format!("keyspace=\"{name}\"");
            self.count("larder_rescues_total", &labels, stats.rescues);
            self.count("larder_load_errors_total", &labels, stats.load_errors);
            self.gauge("larder_entries", &labels, stats.entries as f64);
            self.gauge("larder_bytes", &labels, stats.bytes as f64);
            let loads = (&LOAD_BUCKETS[..], &stats.load_buckets[..], stats.load_time);
            self.histogram("larder_load_seconds", &labels, loads);
        }
    }

    fn checks(&mut self, name: &str, checks: Checks) {
        let with = |key: &str, value: &str| format!("keyspace=\"{name}\",{key}=\"{value}\"");
        for (tier, count) in [
            ("l1", checks.inconsistent_l1),
            ("l2", checks.inconsistent_l2),
        ] {
            self.count("larder_inconsistencies_total", &with("tier", tier), count);
        }
        for (outcome, count) in [
            ("same", checks.same),
            ("explained", checks.explained),
            ("undecided", checks.undecided),
        ] {
            self.count("larder_checks_total", &with("outcome", outcome), count);
        }
    }

    fn source(&mut self, name: &str, stats: &SourceStats) {
        let labels = format!("source=\"{name}\"");
        let with = |key: &str, value: &str| format!("{labels},{key}=\"{value}\"");
        self.count("larder_rounds_total", &labels, stats.rounds);
        self.count("larder_round_errors_total", &labels, stats.round_errors);
        self.count("larder_round_lines", &labels, stats.round_lines);
        self.count("larder_feed_gaps_total", &labels, stats.gaps);
        for (outcome, count) in [
            ("applied", stats.hints_applied),
            ("known", stats.hints_known),
            ("foreign", stats.hints_foreign),
            ("malformed", stats.hints_malformed),
            ("lost", stats.hints_lost),
        ] {
            self.count("larder_hints_total", &with("outcome", outcome), count);
        }
        for (origin, count) in [
            ("own", stats.moved_own),
            ("hint", stats.moved_hint),
            ("round", stats.moved_round),
        ] {
            self.count("larder_invalidations_total", &with("origin", origin), count);
        }
        if let Some(age) = stats.proven_age {
            self.gauge("larder_proven_age_seconds", &labels, age.as_secs_f64());
        }
        let propagation = (
            &PROPAGATION_BUCKETS[..],
            &stats.propagation[..],
            stats.propagation_time,
        );
        self.histogram("larder_propagation_seconds", &labels, propagation);
    }

    fn remote(&mut self, kind: &str, counters: &Counters) {
        let labels = format!("call=\"{kind}\"");
        self.count("larder_remote_calls_total", &labels, counters.calls);
        for (cause, count) in [
            ("failed", counters.failures),
            ("timed_out", counters.timeouts),
            ("refused", counters.refused),
        ] {
            let labels = format!("{labels},cause=\"{cause}\"");
            self.count("larder_remote_errors_total", &labels, count);
        }
    }

    fn finish(self) -> String {
        let mut text = String::new();
        for (family, kind, lines) in self.0 {
            let _ = write!(text, "# TYPE {family} {kind}\n{lines}");
        }
        text
    }
}
