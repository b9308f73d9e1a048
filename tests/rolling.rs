//! A rollout under load, shortly, on real processes, with everything that callers are answered judged.
//!
//! Longer, of every service, and with a table of what was measured: `cargo run --release -p larder-tests
//! --bin rolling`; see RESULTS.md.

use anyhow::{Result, ensure};
use larder_tests::rolling::{How, Part, Plan, roll};
use std::path::Path;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");

/// Two replicas of products and two gateways, and so little load that other tests have room beside it.
fn plan(how: How) -> Plan {
    Plan {
        how,
        parts: vec![Part::Products, Part::Gateway],
        replicas: 2,
        requests: 1,
        callers: 3,
        rest: Duration::from_millis(5),
        writes: 0.05,
        calm: Duration::from_millis(200),
        args: vec!["--settle-seconds=1".to_owned()],
        of_services: vec!["--warm-seconds=1".to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_under_load_fails_no_request_and_shows_nothing_stale() -> Result<()> {
    let outcome = roll(Path::new(LARDER), &plan(How::Asked), |step| {
        eprintln!("{step}")
    })
    .await?;
    eprintln!(
        "{} requests, {} made again",
        outcome.requests, outcome.again
    );
    outcome.check(How::Asked)?;
    ensure!(outcome.requests > 500, "{} requests", outcome.requests);
    let longest = outcome.longest_drain().unwrap_or_default();
    ensure!(
        longest < Duration::from_secs(10),
        "a drain took {longest:?}"
    );
    Ok(())
}
