//! The console: what it shows of real replicas, to whom, and what it does for whom.

use crate::shop;
use crate::support;

use anyhow::{Context as _, Result, ensure};
use larder_gateway::access;
use larder_host::trial::Home;
use larder_runtime::config::Operators;
use larder_testkit::http::raw;
use larder_testkit::wait_until;
use serde_json::Value;
use shop::{Shop, kettle, thing};
use std::net::SocketAddr;
use support::{Answer, Json as _, SOON, ask};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "a-token-of-the-test";
const SHOWN: (&str, &str) = ("authorization", "Bearer a-token-of-the-test");
const WRONG: (&str, &str) = ("authorization", "Bearer a-token-of-the-tesu");
const MARK: (&str, &str) = ("larder-console", "1");

/// A request to the admin port as a browser on this machine makes it.
async fn at(
    shop: &Shop,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let admin = shop.gate.admin;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n");
    for (name, value) in more {
        head += &format!("{name}: {value}\r\n");
    }
    let length = body.len();
    raw(
        admin,
        &format!("{head}content-length: {length}\r\n\r\n{body}"),
    )
    .await
}

async fn get(shop: &Shop, path: &str, more: &[(&str, &str)]) -> Result<Answer> {
    at(shop, "GET", path, more, "").await
}

async fn state(shop: &Shop, more: &[(&str, &str)]) -> Result<Value> {
    let answer = get(shop, "/console/state", more).await?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.json()
}

/// A shop whose kettle was read, behind a gateway with this token, if there is one.
async fn open(token: Option<&NamedTempFile>) -> Result<Shop> {
    let operators = Operators {
        admin_token_file: token.map(|file| file.path().to_owned()),
        ..Operators::default()
    };
    let access = access(&operators, None)?;
    let shop = Shop::with(Home::sqlite()?, |parts| parts.access = access).await?;
    shop.stock(kettle()).await?;
    read_kettle(&shop).await?;
    Ok(shop)
}

async fn read_kettle(shop: &Shop) -> Result<()> {
    let answer = shop.get("/v1/products/kettle", &[]).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

fn token() -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    std::fs::write(&file, TOKEN)?;
    Ok(file)
}

/// Reads a stream of events until one of its lines is so.
async fn until(
    admin: SocketAddr,
    more: &[(&str, &str)],
    found: impl Fn(&Value) -> bool,
    meanwhile: impl AsyncFn() -> Result<()>,
) -> Result<Value> {
    let mut stream = TcpStream::connect(admin).await?;
    let mut head = format!("GET /console/events HTTP/1.1\r\nhost: {admin}\r\n");
    for (name, value) in more {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let reading = async {
        loop {
            // What is done meanwhile may come before the watch has begun: it is done again.
            let read = tokio::time::timeout(SOON / 15, stream.read(&mut buffer));
            match read.await {
                Ok(read) => text += std::str::from_utf8(&buffer[..read?])?,
                Err(_) => meanwhile().await?,
            }
            ensure!(
                "HTTP/1.1 200".starts_with(text.get(..12).unwrap_or_default()),
                "{text}"
            );
            let messages = text.lines().filter_map(|line| line.strip_prefix("data: "));
            for message in messages.filter_map(|text| serde_json::from_str::<Value>(text).ok()) {
                let lines = message["lines"].as_array().context("lines")?;
                if let Some(line) = lines.iter().find(|line| found(line)) {
                    return Ok(line.clone());
                }
            }
        }
    };
    tokio::time::timeout(SOON, reading)
        .await
        .context("no such event")?
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_whole_by_itself_and_on_the_admin_port_alone() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    let page = get(&shop, "/console", &[]).await?;
    ensure!(page.status == 200, "{page:?}");
    let policy = page.header("content-security-policy");
    ensure!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    ensure!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let mut parts = vec![page];
    for (before, after) in [("href=\"/", "\""), ("src=\"/", "\""), ("from \"./", "\"")] {
        let mut n = 0;
        while let Some(part) = parts.get(n) {
            let names: Vec<_> = part.body.split(before).skip(1).collect();
            let names = names
                .iter()
                .filter_map(|rest| Some(rest.split_once(after)?.0));
            let names: Vec<_> = names.map(|name| name.replace("console/", "")).collect();
            for name in names {
                let found = get(&shop, &format!("/console/{name}"), &[]).await?;
                ensure!(found.status == 200, "{name}: {found:?}");
                assert_eq!(found.header("x-content-type-options"), "nosniff");
                if !parts.iter().any(|part| part.body == found.body) {
                    parts.push(found);
                }
            }
            n += 1;
        }
    }
    assert_eq!(parts.len(), 8, "the page, its style and six scripts");
    for part in &parts {
        let text = &part.body;
        ensure!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
        ensure!(
            !text.contains("innerHTML") && !text.contains("style=\""),
            "{text}"
        );
    }
    let public = shop
        .get("/console", &[("accept", "application/json")])
        .await?;
    assert_eq!(public.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_shown_with_its_numbers_and_one_that_is_away_as_away() -> Result<()> {
    let shop = open(None).await?;
    let told = state(&shop, &[]).await?;
    let replicas = told["replicas"].as_array().context("replicas")?;
    let named = |service: &str| {
        let name = |replica: &&Value| {
            replica["name"]
                .as_str()
                .is_some_and(|n| n.starts_with(service))
        };
        replicas
            .iter()
            .find(name)
            .with_context(|| format!("{service} in {told}"))
    };
    assert_eq!(replicas.len(), 4, "{told}");
    let away = named("reports 127.0.0.1:1")?;
    ensure!(
        away["error"]
            .as_str()
            .is_some_and(|why| why.starts_with("UNAVAILABLE")),
        "{away}"
    );
    let products = named("products")?;
    assert_eq!(products["error"], Value::Null);
    let keyspaces = products["keyspaces"].as_array().context("keyspaces")?;
    let of = keyspaces
        .iter()
        .find(|of| of["keyspace"] == "products")
        .context("products")?;
    let reads = of["reads"].as_object().context("reads")?;
    ensure!(
        reads.values().filter_map(Value::as_u64).sum::<u64>() > 0,
        "{of}"
    );
    assert_eq!(of["max_staleness_seconds"], 1.0);
    let source = &products["sources"][0];
    ensure!(
        source["proven_age_seconds"]
            .as_f64()
            .is_some_and(|age| age < 1.0),
        "{source}"
    );
    let buckets = source["propagation"].as_array().context("propagation")?;
    ensure!(
        buckets.len() > 2
            && buckets
                .last()
                .is_some_and(|last| last["most_seconds"].is_null())
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_says_nothing_holds_nobody_up_for_long() -> Result<()> {
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut parts = support::nowhere();
    parts.backends = support::backends(&format!("http://{}", silent.local_addr()?));
    let gate = support::Gate::start(parts).await?;
    let begun = std::time::Instant::now();
    let asked = (0..20).map(|_| ask(gate.admin, "GET", "/console/state", &[], ""));
    for answer in futures_util::future::join_all(asked).await {
        let told = answer?.json()?;
        let replicas = told["replicas"].as_array().context("replicas")?;
        assert_eq!(replicas.len(), 4, "{told}");
        for replica in replicas {
            let why = replica["error"].as_str().unwrap_or_default();
            ensure!(why.starts_with("DEADLINE_EXCEEDED"), "{replica}");
        }
    }
    // Two seconds, whoever asks: not two for each of those who do.
    ensure!(begun.elapsed() < SOON / 3, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_that_arrives_is_counted_in_the_histogram() -> Result<()> {
    let shop = open(None).await?;
    let counted = async || {
        shop.name("ada", "Ada").await?;
        let told = state(&shop, &[]).await?;
        let replicas = told["replicas"].as_array().context("replicas")?;
        let comments = replicas.iter().find(|of| {
            of["name"]
                .as_str()
                .is_some_and(|n| n.starts_with("comments"))
        });
        let sources = comments.context("comments")?["sources"]
            .as_array()
            .context("sources")?;
        let profiles = sources
            .iter()
            .find(|of| of["source"] == "profiles")
            .context("profiles")?;
        let buckets = profiles["propagation"].as_array().context("propagation")?;
        anyhow::Ok(
            buckets
                .iter()
                .filter_map(|of| of["count"].as_u64())
                .sum::<u64>()
                > 0,
        )
    };
    wait_until("a hint in the histogram", SOON, async || {
        counted().await.unwrap_or(false)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_numbers_are_shown_and_no_key_and_nothing_is_changed() -> Result<()> {
    let token = token()?;
    let shop = open(Some(&token)).await?;
    let hot = async || Ok::<_, anyhow::Error>(state(&shop, &[SHOWN]).await?["hot"].to_string());
    wait_until("a hot key", SOON, async || {
        let read = read_kettle(&shop).await.is_ok();
        read && hot().await.is_ok_and(|hot| hot.contains("kettle"))
    })
    .await?;
    let open = state(&shop, &[]).await?;
    assert_eq!(
        (&open["authorised"], &open["hot"]),
        (&false.into(), &Value::Null)
    );
    ensure!(!open.to_string().contains("kettle"), "{open}");

    let look = "/console/inspect?keyspace=products&key=kettle&source=1";
    let seen = get(&shop, look, &[SHOWN]).await?;
    let places = seen.json()?;
    assert_eq!(places["consistent"], true, "{places}");
    ensure!(
        !seen.body.contains("The kettle"),
        "values are never shown: {}",
        seen.body
    );
    let drop = r#"{"keyspace":"products","key":"kettle"}"#;
    for (shown, status, reason) in [
        (&[][..], 401, "CREDENTIALS_MISSING"),
        (&[WRONG], 401, "TOKEN_WRONG"),
    ] {
        let looked = get(&shop, look, shown).await?;
        let marked = [shown, &[MARK]].concat();
        let dropped = at(&shop, "POST", "/console/invalidate", &marked, drop).await?;
        for refused in [looked, dropped] {
            assert_eq!(
                (refused.status, &refused.json()?["reason"]),
                (status, &reason.into())
            );
        }
    }
    let wrong = get(&shop, "/console/state", &[WRONG]).await?;
    assert_eq!(wrong.status, 401, "whoever shows a wrong token is told so");
    let wrong = get(&shop, "/console/events", &[WRONG]).await?;
    assert_eq!(wrong.status, 401);

    let loads = async || shop.reprice("kettle", 1).await.map(drop_token);
    let moved = |line: &Value| line["kind"] == "moved";
    let shown = until(shop.gate.admin, &[SHOWN], moved, loads).await?;
    ensure!(
        shown["tags"]
            .as_array()
            .is_some_and(|tags| !tags.is_empty()),
        "{shown}"
    );
    let hidden = until(shop.gate.admin, &[], moved, loads).await?;
    ensure!(hidden["tag_count"].as_u64() > Some(0), "{hidden}");
    assert_eq!(
        (&hidden["tags"], &hidden["keys"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    Ok(())
}

fn drop_token(_: String) {}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_dropped_in_every_process_for_whoever_may() -> Result<()> {
    let shop = open(None).await?;
    let look = async || {
        get(&shop, "/console/inspect?keyspace=products&key=kettle", &[])
            .await?
            .json()
    };
    let served = async || {
        let seen = look().await?;
        let places = seen["places"].as_array().context("places")?;
        let l1 = places.iter().filter(|place| place["place"] == "l1");
        anyhow::Ok(l1.filter(|place| place["verdict"] == "served").count())
    };
    wait_until("a copy in memory", SOON, async || {
        read_kettle(&shop).await.is_ok() && served().await.is_ok_and(|served| served > 0)
    })
    .await?;
    let drop = r#"{"keyspace":"products","key":"kettle"}"#;
    let dropped = at(&shop, "POST", "/console/invalidate", &[MARK], drop).await?;
    ensure!(dropped.status == 200, "{dropped:?}");
    ensure!(
        dropped.json()?["tokens"]["products"].is_string(),
        "{dropped:?}"
    );
    assert_eq!(served().await?, 0);

    for (body, status) in [
        (r#"{"keyspace":"nothing","key":"kettle"}"#, 404),
        (r#"{"keyspace":"products","tag":"kettle"}"#, 400),
        ("", 400),
        (&format!("\"{}\"", "x".repeat(9000))[..], 413),
    ] {
        let refused = at(&shop, "POST", "/console/invalidate", &[MARK], body).await?;
        assert_eq!(refused.status, status, "{body}: {refused:?}");
    }
    for query in [
        "",
        "keyspace=products",
        "key=kettle",
        "keyspace=&key=kettle",
    ] {
        let refused = get(&shop, &format!("/console/inspect?{query}"), &[]).await?;
        assert_eq!(refused.status, 400, "{query}");
    }
    let long = format!(
        "/console/inspect?keyspace=products&key={}",
        "k".repeat(2000)
    );
    ensure!(get(&shop, &long, &[]).await?.status >= 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_asks_through_its_visitors_browser() -> Result<()> {
    let shop = open(None).await?;
    let look = "/console/inspect?keyspace=products&key=kettle";
    let drop = r#"{"keyspace":"products","key":"kettle"}"#;
    for other in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for path in ["/console/state", "/console/events", look] {
            assert_eq!(
                get(&shop, path, &[other]).await?.status,
                403,
                "{path} {other:?}"
            );
        }
        let dropped = at(&shop, "POST", "/console/invalidate", &[MARK, other], drop).await?;
        assert_eq!(dropped.status, 403, "{other:?}");
    }
    let form = at(&shop, "POST", "/console/invalidate", &[], drop).await?;
    assert_eq!(form.status, 403, "what any form can send");
    // A name of somebody else's that leads to this machine: `ask` calls the port `larder`. Where there
    // is no token, to show one makes nobody known.
    let admin = shop.gate.admin;
    for shown in [&[][..], &[SHOWN], &[("authorization", "x")]] {
        let refused = ask(admin, "GET", look, shown, "").await?;
        assert_eq!(
            (refused.status, &refused.json()?["reason"]),
            (403, &"HOST_UNKNOWN".into()),
            "{shown:?}"
        );
    }
    let numbers = ask(admin, "GET", "/console/state", &[], "").await?.json()?;
    assert_eq!(numbers["hot"], Value::Null);
    let dropped = ask(admin, "POST", "/console/invalidate", &[MARK], drop).await?;
    assert_eq!(dropped.status, 403);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn few_look_on_at_once_and_they_hear_of_a_replica_that_goes_away() -> Result<()> {
    let mut shop = open(None).await?;
    let admin = shop.gate.admin;
    let mut viewers = Vec::new();
    let ask = format!("GET /console/events HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    for _ in 0..4 {
        let mut viewer = TcpStream::connect(admin).await?;
        viewer.write_all(ask.as_bytes()).await?;
        let mut begun = [0; 12];
        viewer.read_exact(&mut begun).await?;
        assert_eq!(&begun, b"HTTP/1.1 200");
        viewers.push(viewer);
    }
    let refused = get(&shop, "/console/events", &[]).await?;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    drop(viewers);
    let away = |line: &Value| {
        let products = line["replica"]
            .as_str()
            .is_some_and(|name| name.starts_with("products"));
        products && line["kind"] == "away"
    };
    let moved = |line: &Value| line["kind"] == "moved";
    let reprice = async || shop.reprice("kettle", 2).await.map(drop_token);
    wait_until("a place", SOON, async || {
        until(admin, &[], moved, reprice).await.is_ok()
    })
    .await?;
    let things = shop.things.take().context("it runs")?;
    let (told, stopped) = tokio::join!(until(admin, &[], away, async || Ok(())), things.stop());
    stopped?;
    ensure!(
        told?["outcome"]
            .as_str()
            .is_some_and(|why| why.starts_with("UNAVAILABLE"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_look_on_leave_places_to_those_who_may_see_keys() -> Result<()> {
    let token = token()?;
    let shop = open(Some(&token)).await?;
    let admin = shop.gate.admin;
    let look = async |more: &str| -> Result<(TcpStream, String)> {
        let ask = format!("GET /console/events HTTP/1.1\r\nhost: {admin}\r\n{more}\r\n");
        let mut viewer = TcpStream::connect(admin).await?;
        viewer.write_all(ask.as_bytes()).await?;
        let mut begun = [0; 12];
        viewer.read_exact(&mut begun).await?;
        Ok((viewer, String::from_utf8_lossy(&begun).into_owned()))
    };
    let (mut held, mut answers) = (Vec::new(), Vec::new());
    for more in ["", "", "", &format!("{}: {}\r\n", SHOWN.0, SHOWN.1)] {
        let (viewer, answer) = look(more).await?;
        held.push(viewer);
        answers.push(answer);
    }
    let (well, full) = ("HTTP/1.1 200", "HTTP/1.1 503");
    assert_eq!(answers, [well, well, full, well]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_waits_for_no_viewer() -> Result<()> {
    let shop = open(None).await?;
    shop.stock(thing("pan", "kitchen", 1)).await?;
    let admin = shop.gate.admin;
    let mut viewer = TcpStream::connect(admin).await?;
    let ask = format!("GET /console/events HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    viewer.write_all(ask.as_bytes()).await?;
    viewer.read_exact(&mut [0; 12]).await?;
    shop.gate.stop().await?;
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, viewer.read_to_end(&mut rest)).await??;
    Ok(())
}

#[test]
fn what_the_page_takes_for_live_is_what_went_on_between_two_answers() -> Result<()> {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/console/rates.test.mjs");
    let Ok(tested) = std::process::Command::new("node")
        .args(["--test", tests])
        .output()
    else {
        let missing = "node is missing";
        ensure!(std::env::var_os("CI").is_none(), missing);
        eprintln!("skipped: {missing}");
        return Ok(());
    };
    ensure!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&tested.stdout)
    );
    Ok(())
}
