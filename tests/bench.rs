//! `larder bench`, on the built program: what it measures, what it writes, and what it refuses.

use anyhow::{Context as _, Result};
use larder_testkit::{postgres, redis};
use larder_tests::command::{self, Finished};
use std::path::Path;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const LIMIT: Duration = Duration::from_secs(120);
/// Elements of HTML that have no end.
const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];

async fn bench(folder: &Path, args: &[&str]) -> Result<Finished> {
    let small = ["bench", "--output", "json"];
    command::run(LARDER, folder, &[&small, args].concat(), LIMIT).await
}

/// As little as shows everything.
const TINY: [&str; 10] = [
    "--seconds",
    "0.5",
    "--warm-up",
    "0.2",
    "--rounds",
    "1",
    "--products",
    "200",
    "--callers",
    "4",
];

fn report(finished: &Finished) -> Result<serde_json::Value> {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    Ok(serde_json::from_str(&finished.printed)?)
}

/// Every element that begins ends, in order.
fn is_well_formed(page: &str) -> Result<()> {
    let mut open = Vec::new();
    let mut rest = page;
    while let Some((_, tag)) = rest.split_once('<') {
        let (inside, after) = tag.split_once('>').context("a tag that does not end")?;
        let name = inside.split([' ', '\n']).next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(name) => anyhow::ensure!(open.pop() == Some(name), "</{name}> after {open:?}"),
            None if VOID.contains(&name) => {}
            None => open.push(name),
        }
        rest = after;
    }
    anyhow::ensure!(open.is_empty(), "{open:?} do not end");
    Ok(())
}

#[tokio::test]
async fn a_run_tells_all_modes_apart_and_writes_a_page_that_loads_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = ["--report", "report.html", "--picture", "picture.svg"];
    let finished = bench(folder.path(), &[&TINY[..], &files].concat()).await?;
    let report = report(&finished)?;
    assert_eq!(report["version"], 1);
    assert_eq!(report["stopped_early"], false);
    let scenarios = report["scenarios"].as_array().context("scenarios")?;
    assert_eq!(scenarios.len(), 3);
    for scenario in scenarios {
        let modes = scenario["modes"].as_array().context("modes")?;
        let names: Vec<_> = modes
            .iter()
            .filter_map(|mode| mode["mode"].as_str())
            .collect();
        assert_eq!(names, ["none", "l2", "both"]);
        let count = |mode: usize, tier: &str| modes[mode]["served"][tier].as_u64();
        for mode in modes {
            assert_eq!(mode["reads_too_old"], 0, "{mode}");
            assert_eq!(mode["served"]["failed"], 0, "{mode}");
            assert!(mode["requests"].as_u64() > Some(0), "{mode}");
            assert!(mode["queries_per_second"].as_f64() > Some(0.0), "{mode}");
        }
        assert_eq!((count(0, "l1"), count(0, "l2")), (Some(0), Some(0)));
        assert_eq!(count(1, "l1"), Some(0));
        assert!(count(1, "l2") > Some(0) && count(2, "l1") > Some(0));
        let writes = scenario["write_share"].as_f64() > Some(0.0);
        assert_eq!(count(2, "writes") > Some(0), writes);
        assert_eq!(scenario["ratios"].as_array().map(Vec::len), Some(2));
    }
    let page = std::fs::read_to_string(folder.path().join("report.html"))?;
    is_well_formed(&page)?;
    for foreign in [
        "http:", "https:", "<script", "<link", "@import", "url(", "NaN", "inf\"",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for part in [
        "read-mostly",
        "read-only",
        "storm",
        "<polyline",
        "<polygon",
        "seed",
        "cores",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let picture = std::fs::read_to_string(folder.path().join("picture.svg"))?;
    is_well_formed(&picture)?;
    assert!(picture.contains("prefers-color-scheme"), "{picture}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_on_redis_and_postgres_stars_what_is_secret() -> Result<()> {
    let redis = redis::Setup::default().password("hushhush").start()?;
    let database = postgres::fresh_database()?;
    let (secret, database) = (redis.url(), database.url());
    let folder = tempfile::tempdir()?;
    let seams = ["--remote", &secret, "--database", &database];
    let more = [
        "--rate",
        "200",
        "--scenarios",
        "storm",
        "--report",
        "page.html",
    ];
    let args = [&TINY[..], &more, &seams].concat();
    let finished = bench(folder.path(), &args).await?;
    let page = std::fs::read_to_string(folder.path().join("page.html"))?;
    assert!(!page.contains("hushhush"), "a secret is shown");
    assert!(!finished.printed.contains("hushhush"), "{finished:?}");
    let report = report(&finished)?;
    for mode in report["scenarios"][0]["modes"]
        .as_array()
        .context("modes")?
    {
        let (asked, unsent) = (mode["requests"].as_u64(), mode["unsent"].as_u64());
        assert_eq!(asked.zip(unsent).map(|(a, u)| a + u), Some(100), "{mode}");
        assert_eq!(mode["reads_too_old"], 0, "{mode}");
    }
    assert!(report["environment"]["PostgreSQL"].is_string());
    Ok(())
}

#[tokio::test]
async fn a_trace_decides_what_is_asked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let keys: Vec<u8> = (0..5_000_u32)
        .flat_map(|n| (n % 37).to_be_bytes())
        .collect();
    std::fs::write(folder.path().join("trace"), keys)?;
    let args = [
        "--trace",
        "trace",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.2",
        "--rounds",
        "1",
        "--scenarios",
        "read-only",
        "--modes",
        "both",
        "--requests",
        "50",
    ];
    let report = report(&bench(folder.path(), &args).await?)?;
    let mode = &report["scenarios"][0]["modes"][0];
    assert_eq!(mode["requests"], 50);
    assert_eq!(report["settings"]["trace"], "trace");
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name_before_anything_starts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (args, named) in [
        (&["--rate", "0"][..], "--rate"),
        (&["--callers", "0"], "--callers"),
        (&["--zipf", "-1"], "--zipf"),
        (&["--seconds", "nan"], "--seconds"),
        (&["--rounds", "0"], "--rounds"),
        (&["--trace", "nowhere"], "--trace"),
        (&["--trace", "nowhere", "--zipf", "1"], "--zipf"),
        (&["--target", "127.0.0.1:1", "--modes", "l2"], "--modes"),
        (&["--target", "nowhere"], "--target"),
        (&["--report", "no/such/folder/page.html"], "--report"),
        (&["--picture", "."], "--picture"),
    ] {
        let finished = bench(folder.path(), args).await?;
        assert_ne!(finished.code, Some(0), "{args:?}");
        assert!(finished.said.contains(named), "{args:?}: {}", finished.said);
        assert!(!finished.said.contains("panicked"), "{finished:?}");
        assert!(finished.printed.is_empty(), "{finished:?}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path())?.count(),
        0,
        "nothing is left"
    );
    Ok(())
}
