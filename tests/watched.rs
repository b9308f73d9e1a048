//! What a suite tells those who watch it.

use anyhow::{Context as _, Result, ensure};
use larder_runtime::config::Certificates;
use larder_runtime::exposition::Page;
use larder_runtime::tls::Tls;
use larder_testkit::pki::Authority;
use larder_tests::scene::{create_comment, create_product, create_profile};
use larder_tests::{Kind, Setup, Suite, metrics};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const DOCUMENT: &str = include_str!("../METRICS.md");

/// A metric: its type and its labels.
type Shape = (String, BTreeSet<String>);

/// A suite with everything on that has metrics of its own.
async fn suite() -> Result<Suite> {
    let setup = Setup::new(LARDER).replicas(1);
    let setup = setup.args(["--rate-limit-ip", "100000/s"]);
    let suite = setup.start().await?;
    create_profile(&suite.profiles(1), "ada", "Ada").await?;
    create_product(&suite.products(1), "tea", 350).await?;
    create_comment(&suite.comments(1), ("tea", "ada"), "Good.").await?;
    larder_testkit::http::ask(suite.http(), "GET", "/products/tea", &[], "").await?;
    Ok(suite)
}

/// What every admin port of a suite says.
async fn pages(suite: &Suite) -> Result<Vec<(SocketAddr, String)>> {
    let kinds = [Kind::Profiles, Kind::Products, Kind::Comments];
    let services = kinds.map(|kind| suite.replica(kind, 1).admin);
    let mut pages = Vec::new();
    for admin in services
        .into_iter()
        .chain([suite.last().admin, suite.http_admin()])
    {
        let (status, page) = metrics::get(admin, "/metrics").await?;
        ensure!(status == 200, "{admin} answers {status}");
        pages.push((admin, page));
    }
    Ok(pages)
}

/// What a process adds that has certificates, which one with everything in it has not.
fn with_tls() -> Result<String> {
    let folder = Authority::new()?.folder("suite")?;
    let file = |name| Some(folder.path().join(name));
    let files = Certificates {
        tls_cert: file("cert"),
        tls_key: file("key"),
        tls_ca: file("ca"),
    };
    let tls = Tls::open(&files)?.context("certificates")?;
    Ok(Page::of(|page| tls.measure(page)).text())
}

/// The metrics of a page in the text format.
fn told(page: &str, told: &mut BTreeMap<String, Shape>) -> Result<()> {
    let mut kind = ("", "");
    for line in page.lines() {
        if let Some(named) = line.strip_prefix("# TYPE ") {
            kind = named.split_once(' ').context(line.to_owned())?;
            let shape = told.entry(kind.0.to_owned()).or_default();
            shape.0 = kind.1.to_owned();
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, labels)| labels);
            let names = labels.split("\",").filter_map(|one| one.split_once("=\""));
            let names = names.map(|(name, _)| name.to_owned());
            let shape = told.entry(kind.0.to_owned()).or_default();
            shape.1.extend(names.filter(|name| name != "le"));
        }
    }
    Ok(())
}

/// The metrics of the page that describes them.
fn described() -> Result<BTreeMap<String, Shape>> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, ..] = cells[..] else {
            anyhow::bail!("a row of four cells: {row}")
        };
        let labels = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty());
        let labels = labels.map(str::to_owned).collect();
        Ok((name.trim_matches('`').to_owned(), (kind.to_owned(), labels)))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_describes_what_a_suite_tells_and_nothing_else() -> Result<()> {
    let suite = suite().await?;
    let mut all = BTreeMap::new();
    for (_, page) in pages(&suite).await? {
        told(&page, &mut all)?;
    }
    told(&with_tls()?, &mut all)?;
    let described = described()?;
    for (name, (kind, labels)) in &all {
        let (said, named) = described
            .get(name)
            .with_context(|| format!("{name} is not in METRICS.md"))?;
        assert_eq!(said, kind, "{name}");
        assert_eq!(named, labels, "{name}");
    }
    for name in described.keys() {
        ensure!(all.contains_key(name), "nobody tells {name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say_about_the_metrics() -> Result<()> {
    let suite = suite().await?;
    for (admin, page) in pages(&suite).await? {
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut promtool = promtool.context("promtool: apt-get install prometheus")?;
        let mut input = promtool.stdin.take().context("its input")?;
        input.write_all(page.as_bytes()).await?;
        drop(input);
        let output = promtool.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success() && said.is_empty(),
            "{admin}: {said}"
        );
    }
    Ok(())
}
