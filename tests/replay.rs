//! `larder replay`, on a real access trace where there is one, and on traces that are none.

use anyhow::{Context as _, Result};
use larder_testkit::{data, postgres, redis};
use larder_tests::command::{self, Finished};
use larder_tests::{Kind, Setup};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const LIMIT: Duration = Duration::from_secs(150);

/// The real trace, or where it is not there one that is skewed like it; as a file.
fn trace(folder: &Path) -> Result<std::path::PathBuf> {
    let keys = data::trace("web12.trace.xz").unwrap_or_else(|| {
        // A few are asked for often, and many once.
        (1..=60_000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761) % (n % 3000 + 1))
            .collect()
    });
    let path = folder.join("trace");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    keys.iter()
        .try_for_each(|key| file.write_all(&key.to_be_bytes()))?;
    file.flush()?;
    Ok(path)
}

async fn replay(args: &[&str]) -> Result<Finished> {
    let folder = tempfile::tempdir()?;
    let trace = trace(folder.path())?;
    let trace = trace.to_str().context("a path of ASCII")?;
    let all = [
        &["replay", trace, "--output", "json", "--write-share", "0.02"],
        args,
    ]
    .concat();
    command::run(LARDER, folder.path(), &all, LIMIT).await
}

/// A number in the report: the first one of this name.
fn number(report: &str, name: &str) -> Result<f64> {
    let (_, rest) = report
        .split_once(&format!("\"{name}\":"))
        .context(name.to_owned())?;
    let end = rest.find([',', '}']).context("no end")?;
    Ok(rest[..end].parse()?)
}

/// Holds a report against the promise, and against doing nothing but asking the database.
fn promise_is_kept(finished: &Finished, requests: f64) -> Result<()> {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = &finished.printed;
    assert_eq!(number(report, "requests")?, requests, "{report}");
    assert_eq!(
        number(report, "reads_older_than_max_staleness")?,
        0.0,
        "{report}"
    );
    assert_eq!(number(report, "reads_older_than_told")?, 0.0, "{report}");
    assert!(
        number(report, "reads_checked")? > 0.9 * requests,
        "{report}"
    );
    assert!(number(report, "writes")? > 0.015 * requests, "{report}");
    assert!(number(report, "watched")? > 0.0, "{report}");
    assert!(number(report, "share_from_cache")? > 0.2, "{report}");
    assert!(number(report, "loads")? > 0.0, "{report}");
    eprintln!("{report}");
    Ok(())
}

#[tokio::test]
async fn no_read_of_a_replay_on_embedded_defaults_is_too_old() -> Result<()> {
    promise_is_kept(&replay(&["--limit", "6000"]).await?, 6_000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_of_a_replay_on_redis_and_postgres_is_too_old() -> Result<()> {
    let (redis, database) = (redis::start()?, postgres::fresh_database()?);
    let (remote, database) = (redis.url(), database.url());
    let args = [
        "--limit",
        "6000",
        "--remote",
        &remote,
        "--database",
        &database,
    ];
    promise_is_kept(&replay(&args).await?, 6_000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_run_already_can_be_replayed_against() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    let [one, two] = [1, 2].map(|replica| suite.replica(Kind::Products, replica).grpc);
    let targets = format!("{one},http://{two}");
    promise_is_kept(
        &replay(&["--limit", "3000", "--targets", &targets]).await?,
        3_000.0,
    )
}

#[tokio::test]
async fn replicas_that_are_not_there_are_an_error() -> Result<()> {
    let port = larder_testkit::port::Port::reserve()?;
    let finished = replay(&["--targets", &port.address().to_string()]).await?;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.said.contains("looking for the products"),
        "{finished:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_whole_trace_is_an_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let whole = trace(folder.path())?;
    let cut = folder.path().join("cut");
    let bytes = std::fs::read(&whole)?;
    std::fs::write(&cut, &bytes[..bytes.len() - 1])?;
    let letter = folder.path().join("letter");
    std::fs::write(&letter, "Dear reader, this is no trace.\n")?;
    let none = folder.path().join("none");
    for (path, named) in [(cut, "cut short"), (letter, "text"), (none, "cannot read")] {
        let path = path.to_str().context("a path of ASCII")?;
        let finished = command::run(LARDER, folder.path(), &["replay", path], LIMIT).await?;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(
            finished.said.contains(named) && finished.said.contains(path),
            "{finished:?}"
        );
        assert!(!finished.said.contains("panicked"), "{finished:?}");
    }
    Ok(())
}
