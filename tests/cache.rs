//! `larder cache`: what an operator sees of a running suite and does to it, on both engines.

use anyhow::{Context as _, Result, ensure};
use larder_host::on_both;
use larder_host::trial::Home;
use larder_proto::products::v1::GetProductRequest;
use larder_testkit::process::{Program, Signal};
use larder_testkit::{postgres, redis, wait_until};
use larder_tests::command::{self, Finished};
use larder_tests::scene::{
    SOON, comments, create_comment, create_product, create_profile, price, set_price,
};
use larder_tests::{Kind, Setup, Suite, asking};
use serde_json::Value;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const LIMIT: Duration = Duration::from_secs(60);

on_both!(
    what_an_operator_asks_of_a_running_suite_is_answered,
    a_wrong_copy_is_found_and_repaired_and_the_exit_code_says_so,
);

/// A suite that repairs nothing by itself.
async fn suite(home: &Home) -> Result<Suite> {
    Setup::new(LARDER)
        .database(home.address().expose())
        .args(["--compare-per-second", "0"])
        .start()
        .await
}

async fn run(suite: &Suite, args: &[&str]) -> Result<Finished> {
    let offset = suite.port_offset().to_string();
    let all = [&["cache"], args, &["--port-offset", &offset]].concat();
    command::run(LARDER, suite.folder(), &all, LIMIT).await
}

/// What a command says in JSON.
async fn json(suite: &Suite, args: &[&str]) -> Result<Value> {
    let finished = run(suite, &[args, &["--output", "json"]].concat()).await?;
    ensure!(finished.code == Some(0), "{args:?}: {finished:?}");
    Ok(serde_json::from_str(&finished.printed)?)
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// Whether it is of a replica of the products.
fn is_of_products(value: &Value) -> bool {
    let replica = value["replica"].as_str();
    replica.is_some_and(|replica| replica.starts_with("products-"))
}

fn rows_of_products(table: &Value) -> usize {
    let rows = list(table, "rows").iter();
    rows.filter(|row| is_of_products(row)).count()
}

/// Reads a product on both replicas until both answer from memory.
async fn held(suite: &Suite, id: &str) -> Result<()> {
    for replica in [1, 2] {
        let held = async || {
            let read = price(&suite.products(replica), id, &[]).await;
            read.is_ok_and(|(_, said)| said.source == "l1")
        };
        wait_until("a copy in memory", SOON, held).await?;
    }
    Ok(())
}

async fn what_an_operator_asks_of_a_running_suite_is_answered(home: Home) -> Result<()> {
    let suite = suite(&home).await?;
    create_product(&suite.products(1), "tea", 350).await?;
    held(&suite, "tea").await?;

    let seen = json(&suite, &["inspect", "products", "tea"]).await?;
    let places = list(&seen, "places");
    // The reports hold copies of products too.
    let of = |place: &str| {
        let own = places.iter().filter(|place| is_of_products(place));
        own.filter(|p| p["place"] == place).collect::<Vec<_>>()
    };
    assert_eq!(
        (of("l1").len(), of("l2").len(), of("source").len()),
        (2, 2, 2),
        "{seen}"
    );
    assert!(
        of("l1")
            .iter()
            .all(|p| p["verdict"] == "served" && p["version"] == 1),
        "{seen}"
    );
    assert!(
        of("l2")
            .iter()
            .all(|p| p["ttl_seconds"].as_f64() > Some(3_000.0)),
        "{seen}"
    );
    assert_eq!(seen["consistent"], true, "{seen}");
    let human = run(&suite, &["inspect", "products", "tea"]).await?;
    assert!(
        human.printed.contains("products-2") && human.printed.contains("served"),
        "{human:?}"
    );

    let told = json(&suite, &["invalidate", "products", "tea"]).await?;
    let token = told["tokens"]["products"].as_str().context("a token")?;
    let asked = asking(
        GetProductRequest {
            id: "tea".to_owned(),
        },
        &[("larder-token", token)],
    );
    let read = suite.products(2).get_product(asked).await?;
    let source = read.metadata().get("larder-source").context("a source")?;
    assert_ne!(source, "l1", "memory was told that it is gone");
    json(&suite, &["invalidate", "--tag", "products.category/none"]).await?;
    json(&suite, &["invalidate", "--all"]).await?;
    let gone = async || {
        let seen = json(&suite, &["inspect", "products", "tea", "--skip-source"]).await;
        seen.is_ok_and(|seen| {
            list(&seen, "places")
                .iter()
                .all(|p| p["verdict"] != "served")
        })
    };
    wait_until("copies that nobody serves", SOON, gone).await?;

    let warmed = json(&suite, &["warm", "products", "tea", "coffee"]).await?;
    assert_eq!(rows_of_products(&warmed), 2, "{warmed}");
    assert!(
        list(&warmed, "rows")
            .iter()
            .all(|row| row["found"] == 1 && row["absent"] == 1)
    );
    let (_, said) = price(&suite.products(2), "tea", &[]).await?;
    assert_eq!(said.source, "l1");

    for _ in 0..1_000 {
        price(&suite.products(1), "tea", &[]).await?;
    }
    let stats = json(&suite, &["stats", "products"]).await?;
    assert_eq!(rows_of_products(&stats), 2, "{stats}");
    assert!(
        list(&stats, "rows")
            .iter()
            .any(|row| row["reads"]["l1"].as_u64() > Some(900)),
        "{stats}"
    );
    let all = run(&suite, &["stats"]).await?;
    assert!(
        all.printed.contains("profiles-1") && all.printed.contains("comments.list"),
        "{all:?}"
    );
    let hot = json(&suite, &["hot", "--limit", "1"]).await?;
    assert_eq!(list(&hot, "rows")[0]["key"], "tea", "{hot}");
    let advice = json(&suite, &["advise", "products"]).await?;
    assert!(
        !list(&list(&advice, "rows")[0], "sentences").is_empty(),
        "{advice}"
    );

    for (args, said) in [
        (
            &["inspect", "teapots", "tea"][..],
            "there is no keyspace teapots; there are comments",
        ),
        (
            &["inspect", "products", "No Tea"],
            "products-1: INVALID_ARGUMENT: key",
        ),
        (
            &["invalidate", "--source", "teapots"],
            "there is no source teapots",
        ),
        (&["invalidate", "--tag", "kitchen"], "not COLLECTION/KEY"),
        (&["stats", "teapots"], "there is no keyspace teapots"),
        (
            &["stats", "--admin", "127.0.0.1:1"],
            "127.0.0.1:1: UNAVAILABLE",
        ),
    ] {
        let finished = run(&suite, args).await?;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.said.contains(said), "{finished:?}");
    }
    Ok(())
}

async fn a_wrong_copy_is_found_and_repaired_and_the_exit_code_says_so(home: Home) -> Result<()> {
    let suite = suite(&home).await?;
    create_product(&suite.products(1), "tea", 350).await?;
    held(&suite, "tea").await?;
    // The comments' replicas hold copies of profiles, which their owner is asked about.
    create_profile(&suite.profiles(1), "ada", "Ada").await?;
    create_comment(&suite.comments(1), ("tea", "ada"), "Good.").await?;
    let shown = async || comments(&suite.comments(1), "tea", &[]).await.is_ok();
    wait_until("the comment", SOON, shown).await?;
    let copies = json(&suite, &["stats", "profiles"]).await?;
    let copies = list(&copies, "rows")
        .iter()
        .filter(|row| row["replica"] == "comments-1");
    assert_eq!(
        copies
            .map(|row| row["entries"].as_u64())
            .collect::<Vec<_>>(),
        [Some(1)]
    );
    let clean = json(&suite, &["check"]).await?;
    assert_eq!(
        (&clean["inconsistent"], &clean["undecided"]),
        (&0.into(), &0.into()),
        "{clean}"
    );
    assert!(clean["checked"].as_u64() >= Some(2), "{clean}");

    let sql = "UPDATE products SET price_cents = 777 WHERE id = 'tea'";
    home.behind_the_journal("products", "products", sql)?;
    for replica in [1, 2] {
        assert_eq!(
            price(&suite.products(replica), "tea", &[]).await?.0,
            350,
            "served, and wrong"
        );
    }
    let dry = run(&suite, &["check", "products", "--dry-run"]).await?;
    assert_eq!(dry.code, Some(3), "{dry:?}");
    assert!(
        dry.printed.contains("products tea in l1") && dry.printed.contains("left"),
        "{dry:?}"
    );
    let found = run(&suite, &["check", "--output", "json"]).await?;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(
        found.said.contains("would have been served and were wrong"),
        "{found:?}"
    );
    let report: Value = serde_json::from_str(&found.printed)?;
    let wrong = list(&report, "found");
    assert!(!wrong.is_empty(), "{report}");
    assert!(
        wrong
            .iter()
            .all(|found| found["key"] == "tea" && found["repaired"] == true),
        "{report}"
    );
    for replica in [1, 2] {
        let right = async || {
            let read = price(&suite.products(replica), "tea", &[]).await;
            read.is_ok_and(|(cents, _)| cents == 777)
        };
        wait_until("the right price", SOON, right).await?;
    }
    assert_eq!(json(&suite, &["check"]).await?["inconsistent"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_all_replicas_are_watched_until_it_is_interrupted() -> Result<()> {
    let (redis, database) = (redis::start()?, postgres::fresh_database()?);
    let setup = Setup::new(LARDER)
        .remote(redis.url())
        .database(database.url());
    let suite = setup.start().await?;
    let offset = suite.port_offset().to_string();
    let watch = Program::new(LARDER)
        .args([
            "cache",
            "watch",
            "products",
            "--output",
            "json",
            "--port-offset",
            &offset,
        ])
        .folder(suite.folder())
        .spawn()?;
    create_product(&suite.products(1), "tea", 350).await?;
    // It may begin to watch after some of these.
    let seen = async || {
        let _ = set_price(&suite.products(1), "tea", 351).await;
        let _ = price(&suite.products(2), "tea", &[]).await;
        let log = watch.log();
        let event = |replica: &str, kind: &str, more: &str| {
            log.lines().any(|line| {
                line.contains(&format!("\"replica\":\"{replica}\""))
                    && line.contains(&format!("\"kind\":\"{kind}\""))
                    && line.contains(more)
            })
        };
        event("products-1", "moved", "\"origin\":\"own\"")
            && event("products-2", "moved", "\"origin\":\"hint\"")
            && event("products-1", "loaded", "\"keys\":[\"tea\"]")
    };
    wait_until("events of both replicas", SOON, seen).await?;
    watch.signal(Signal::INT)?;
    let ended = async || !watch.is_alive();
    wait_until("the watcher to end", SOON, ended).await?;
    assert!(watch.end()?.success());
    let admin = suite.replica(Kind::Products, 1).admin.to_string();
    let named = run(&suite, &["stats", "--admin", &admin]).await?;
    assert!(named.printed.contains(&admin), "{named:?}");
    Ok(())
}
