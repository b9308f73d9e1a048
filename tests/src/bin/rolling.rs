//! Rollouts and killed replicas under load, with everything that callers are answered judged.
//!
//! ```text
//! cargo run --release -p larder-tests --bin rolling -- --requests 100000
//! cargo run --release -p larder-tests --bin rolling -- killed
//! ```

use anyhow::{Context as _, Result, bail, ensure};
use larder_tests::binary;
use larder_tests::rolling::{How, Part, Plan, header, roll};
use std::path::PathBuf;
use std::time::Duration;

/// A drain that takes longer is too long.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// A system that always asks its database would pass all else.
const LEAST_SHARE: f64 = 0.5;

const HELP: &str = "rolling [graceful|killed] [--requests N] [--replicas N] [--callers N]
        [--rest-ms N] [--writes SHARE] [--calm-ms N] [--settle-seconds N] [--binary PATH]

Replaces every replica of every service and every gateway, one after the other, until there were so
many requests; `graceful` asks them to end once a new one is ready, `killed` kills them.";

struct Settings {
    plan: Plan,
    binary: Option<PathBuf>,
}

impl Settings {
    /// Nothing where help was asked for.
    fn read() -> Result<Option<Self>> {
        let mut settle = None;
        let mut settings = Self {
            plan: Plan {
                how: How::Asked,
                parts: Part::ALL.to_vec(),
                replicas: 2,
                requests: 100_000,
                callers: 8,
                rest: Duration::from_millis(4),
                writes: 0.05,
                calm: Duration::from_secs(2),
                args: Vec::new(),
                of_services: Vec::new(),
            },
            binary: None,
        };
        let plan = &mut settings.plan;
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "graceful" => plan.how = How::Asked,
                "killed" => plan.how = How::Killed,
                "--help" => return Ok(None),
                _ => {
                    let value = args
                        .next()
                        .with_context(|| format!("{arg} needs a value"))?;
                    match arg.as_str() {
                        "--requests" => plan.requests = value.parse()?,
                        "--replicas" => plan.replicas = value.parse()?,
                        "--callers" => plan.callers = value.parse()?,
                        "--rest-ms" => plan.rest = Duration::from_millis(value.parse()?),
                        "--writes" => plan.writes = value.parse()?,
                        "--calm-ms" => plan.calm = Duration::from_millis(value.parse()?),
                        "--settle-seconds" => settle = Some(value),
                        "--binary" => settings.binary = Some(std::path::absolute(value)?),
                        _ => bail!("there is no {arg}; see --help"),
                    }
                }
            }
        }
        plan.args
            .extend(settle.map(|seconds| format!("--settle-seconds={seconds}")));
        Ok(Some(settings))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(Settings { plan, binary }) = Settings::read()? else {
        println!("{HELP}");
        return Ok(());
    };
    let binary = binary.map_or_else(binary::beside, Ok)?;
    println!("{}", header());
    let outcome = roll(&binary, &plan, |step| println!("{step}")).await?;
    let seconds = |span: Option<Duration>| {
        span.map_or_else(
            || "–".to_owned(),
            |span| format!("{:.1} s", span.as_secs_f64()),
        )
    };
    let (tally, failed) = (&outcome.tally, outcome.failures.values().sum::<u64>());
    println!(
        "\n{} requests, {failed} failed, {} made again, {} writes acknowledged, {} of unknown outcome; \
         {} reads judged, {} stale; {:.1} % from cache; longest drain {}; back after at most {}",
        outcome.requests,
        outcome.again,
        tally.writes,
        outcome.ambiguous,
        tally.reads,
        tally.violations,
        tally.share_cached() * 100.0,
        seconds(outcome.longest_drain()),
        seconds(outcome.slowest_recovery()),
    );
    for (what, times) in &outcome.failures {
        println!("    {times} × {what}");
    }
    outcome.check(plan.how)?;
    ensure!(
        tally.share_cached() > LEAST_SHARE,
        "the caches were not used"
    );
    let longest = outcome.longest_drain().unwrap_or_default();
    ensure!(longest < LONGEST_DRAIN, "a drain took {longest:?}");
    Ok(())
}
