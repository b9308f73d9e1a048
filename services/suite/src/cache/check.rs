//! `check`: copies against the source, on all replicas at once, with a bar of their progress.

use super::find::all_answered;
use crate::output::Output;
use crate::progress::bar;
use anyhow::bail;
use clap::Args;
use futures_util::future::join_all;
use indicatif::ProgressBar;
use larder_proto::cache::v1::{CheckRequest, CheckResponse, Inconsistency, Tier};
use larder_runtime::client::streamed;
use larder_survey::{Failure, Replica, Replicas};
use serde::Serialize;
use std::fmt;
use tonic::Status;

/// The settings of `larder cache check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Only these keyspaces. Without any: all but those whose loads are heavy computations.
    keyspaces: Vec<String>,
    /// At most so many keys of each keyspace and replica.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    /// At most so many keys in a second and replica.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Only tell what is wrong; drop nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Copies were found that would have been served and were wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0} copies would have been served and were wrong")]
pub struct Inconsistent(u64);

/// What was found.
#[derive(Serialize, Default)]
struct Report {
    checked: u64,
    same: u64,
    explained: u64,
    undecided: u64,
    inconsistent: u64,
    found: Vec<Found>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct Found {
    replica: String,
    keyspace: String,
    key: String,
    tier: &'static str,
    cached: String,
    actual: String,
    repaired: bool,
}

impl Found {
    fn of(replica: &str, wrong: Inconsistency) -> Self {
        let said = |value: Option<larder_proto::cache::v1::ValueSummary>| match value {
            Some(value) if value.found => {
                let hash = format!("{:016x}", value.fingerprint);
                let version = value.version.map(|version| format!("version {version}, "));
                version.unwrap_or_default() + &hash
            }
            _ => "absent".to_owned(),
        };
        Self {
            replica: replica.to_owned(),
            tier: match wrong.tier() {
                Tier::L2 => "l2",
                Tier::L1 | Tier::Unspecified => "l1",
            },
            keyspace: wrong.keyspace,
            key: wrong.key,
            cached: said(wrong.cached),
            actual: said(wrong.actual),
            repaired: wrong.repaired,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.found {
            let Found {
                replica,
                keyspace,
                key,
                tier,
                cached,
                actual,
                ..
            } = found;
            let done = if found.repaired { "dropped" } else { "left" };
            writeln!(
                f,
                "{replica}: {keyspace} {key} in {tier} is {cached}; the source has {actual}; {done}"
            )?;
        }
        writeln!(
            f,
            "{} keys compared: {} the same, {} explained by writes, {} undecided, {} wrong copies",
            self.checked, self.same, self.explained, self.undecided, self.inconsistent
        )
    }
}

/// One replica's check, to its end.
async fn follow(
    replica: &Replica,
    request: CheckRequest,
    bar: &ProgressBar,
) -> (CheckResponse, Option<Status>) {
    let mut last = CheckResponse::default();
    let mut stream = match replica.client.clone().check(streamed(request)).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (last, Some(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(mut message)) => {
                bar.inc_length(message.total.saturating_sub(last.total));
                bar.inc(message.checked.saturating_sub(last.checked));
                let mut found = std::mem::take(&mut last.found);
                found.append(&mut message.found);
                last = CheckResponse { found, ..message };
            }
            Ok(None) if last.done => return (last, None),
            Ok(None) => return (last, Some(Status::unavailable("the check was cut short"))),
            Err(status) => return (last, Some(status)),
        }
    }
}

pub async fn check(replicas: &Replicas, asked: Check, output: Output) -> anyhow::Result<()> {
    let plans = replicas.having(&asked.keyspaces).await?;
    let bar = bar(0, "comparing");
    let checks = plans.iter().map(|(replica, keyspaces)| {
        let request = CheckRequest {
            keyspaces: keyspaces.clone(),
            sample: asked.sample,
            keys_per_second: asked.rate,
            dry_run: asked.dry_run,
        };
        follow(replica, request, &bar)
    });
    let checks = join_all(checks).await;
    bar.finish_and_clear();
    let mut report = Report::default();
    for ((replica, _), (last, status)) in plans.iter().zip(checks) {
        report.checked += last.checked;
        report.same += last.same;
        report.explained += last.explained;
        report.undecided += last.undecided;
        report.inconsistent += last.inconsistent;
        let found = last.found.into_iter();
        report
            .found
            .extend(found.map(|wrong| Found::of(&replica.name, wrong)));
        report
            .failures
            .extend(status.map(|status| Failure::of(&replica.name, &status)));
    }
    output.print(&report)?;
    if report.inconsistent > 0 {
        bail!(Inconsistent(report.inconsistent));
    }
    all_answered(&report.failures)
}
