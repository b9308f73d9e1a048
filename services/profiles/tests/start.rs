//! How a service starts, waits, goes on without what it can do without, and ends.

use crate::support;

use anyhow::{Context as _, Result};
use larder::remote;
use larder::remote::hub::Hub;
use larder_host::trial::{Home, Replica, SOON, reason, retry_after, said};
use larder_host::{Error, Host, Opening, Parts, Port, on_both};
use larder_profiles::Profiles;
use larder_proto::cache::v1::GetRoundRequest;
use larder_proto::cache::v1::feed_service_client::FeedServiceClient;
use larder_proto::profiles::v1::GetProfileRequest;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_runtime::client::Client;
use larder_runtime::config::Migrate;
use larder_testkit::{postgres, wait_until};
use std::sync::Arc;
use std::time::Duration;
use support::{Node, ada, named, source};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

on_both!(
    an_older_release_starts_beside_a_later_schema_and_says_so,
    a_migration_that_was_applied_with_other_words_ends_the_start,
    triggers_of_a_later_release_that_do_less_cost_the_cache_and_not_the_truth,
    a_service_that_does_not_migrate_waits_until_somebody_has,
    a_service_that_nobody_migrates_for_ends_in_time_and_says_why,
    a_trigger_that_is_off_costs_the_cache_and_not_the_truth,
    a_service_ends_when_it_is_asked_to,
    the_metrics_are_of_the_calls_and_of_the_cache,
);

async fn a_service_ends_when_it_is_asked_to(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    node.replica.stop().await
}

async fn an_older_release_starts_beside_a_later_schema_and_says_so(home: Home) -> Result<()> {
    Node::alone(&home).await?.replica.stop().await?;
    home.by_hand("profiles", "ALTER TABLE profiles ADD COLUMN colour TEXT")?;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (99, 'later', true, 'x', 0)";
    home.by_hand("profiles", newer)?;
    for migrate in [Migrate::Auto, Migrate::Wait] {
        let mut parts = home.parts(&Hub::new());
        parts.migrate = migrate;
        let node = Node::of(parts).await?;
        let (_, metrics) = node.replica.admin("/metrics").await?;
        let line = "larder_schema_ahead{source=\"profiles\"} 99\n";
        assert!(metrics.contains(line), "{metrics}");
        node.create(named(&format!("{migrate:?}").to_lowercase(), "Ada"))
            .await?;
        node.replica.stop().await?;
    }
    Ok(())
}

async fn a_migration_that_was_applied_with_other_words_ends_the_start(home: Home) -> Result<()> {
    Node::alone(&home).await?.replica.stop().await?;
    home.by_hand(
        "profiles",
        "UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 1",
    )?;
    let mut replica = Replica::start(Profiles, home.parts(&Hub::new())).await?;
    let error = replica.end().await.expect_err("another schema").to_string();
    assert!(
        error.contains("migration 1 was applied with other words"),
        "{error}"
    );
    Ok(())
}

async fn triggers_of_a_later_release_that_do_less_cost_the_cache_and_not_the_truth(
    home: Home,
) -> Result<()> {
    Node::alone(&home).await?.replica.stop().await?;
    home.by_hand(
        "profiles",
        "UPDATE journal_state SET revision = revision + 1",
    )?;
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    assert_eq!(source(node.get("ada").await?.metadata()), "l1");
    node.replica.stop().await?;
    home.by_hand(
        "profiles",
        match home {
            Home::Postgres(_) => "DROP TRIGGER larder_journal_rows ON profiles",
            Home::Sqlite(_) => "DROP TRIGGER larder_journal_profiles_update",
        },
    )?;
    let node = Node::alone(&home).await?;
    for name in ["Countess", "Enchantress"] {
        let change = format!("UPDATE profiles SET display_name = '{name}' WHERE id = 'ada'");
        home.by_hand("profiles", &change)?;
        let answer = node.get("ada").await?;
        assert_eq!(answer.get_ref().display_name, name);
        assert_eq!(source(answer.metadata()), "db");
    }
    node.replica.stop().await
}

async fn a_service_that_does_not_migrate_waits_until_somebody_has(home: Home) -> Result<()> {
    let mut parts = home.parts(&Hub::new());
    parts.migrate = Migrate::Wait;
    parts.timing.longest_pause = Duration::from_millis(200);
    let waiting = Replica::start(Profiles, parts).await?;
    let says_why = async || {
        let ready = waiting.admin("/ready").await;
        ready.is_ok_and(|(status, text)| status == 503 && text.contains("does not create it"))
    };
    wait_until("the reason on /ready", SOON, says_why).await?;
    let opening = Opening::of(&home.parts(&Hub::new()));
    opening.journal(&Profiles).await?.database().close().await;
    let ready = async || {
        waiting
            .admin("/ready")
            .await
            .is_ok_and(|(status, _)| status == 200)
    };
    wait_until("readiness", SOON, ready).await?;
    let client = ProfileServiceClient::new(waiting.client());
    let node = Node {
        client,
        replica: waiting,
    };
    node.create(ada()).await?;
    node.replica.stop().await
}

async fn a_service_that_nobody_migrates_for_ends_in_time_and_says_why(home: Home) -> Result<()> {
    let mut parts = home.parts(&Hub::new());
    parts.migrate = Migrate::Wait;
    parts.timing.schema = Duration::from_millis(200);
    let mut replica = Replica::start(Profiles, parts).await?;
    let error = replica.end().await.expect_err("nobody comes").to_string();
    assert!(
        error.contains("profiles") && error.contains("does not create it"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_setting() -> Result<()> {
    let home = Home::sqlite()?;
    let first = Replica::start(Profiles, home.parts(&Hub::new())).await?;
    let mut parts = home.parts(&Hub::new());
    parts.grpc = Port::At(first.grpc);
    let Err(Error::Listen(error)) = Host::bind(Profiles, parts).await else {
        panic!("two on one port");
    };
    let text = error.to_string();
    assert!(
        text.contains("--grpc-addr") && text.contains(&first.grpc.port().to_string()),
        "{text}"
    );
    let mut parts = home.parts(&Hub::new());
    parts.admin = Port::At(first.admin);
    let Err(error) = Host::bind(Profiles, parts).await else {
        panic!("two on one port")
    };
    assert!(error.to_string().contains("--admin-addr"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_no_retry_mends_ends_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("profiles.db"),
        "no database, but a note. ".repeat(400),
    )?;
    let damaged = format!("sqlite://{}", folder.path().display());
    for (address, said) in [
        (damaged.as_str(), "damaged"),
        ("mysql://hush@nowhere/x", "--database"),
    ] {
        let parts = Parts::new(Hub::new(), address.parse()?);
        let mut replica = Replica::start(Profiles, parts).await?;
        let error = replica.end().await.expect_err(said).to_string();
        assert!(error.contains(said) && !error.contains("hush"), "{error}");
    }
    Ok(())
}

/// A server that is stopped until the test starts it.
fn away() -> Result<postgres::Database> {
    let database = postgres::start()?.fresh_database()?;
    database.server().stop()?;
    Ok(database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_for_its_database_and_says_so() -> Result<()> {
    let database = away()?;
    let mut parts = Parts::new(Hub::new(), database.url().parse()?);
    parts.timing.longest_pause = Duration::from_millis(200);
    let replica = Replica::start(Profiles, parts).await?;

    assert_eq!(replica.admin("/live").await?.0, 200);
    let refused = async || {
        let ready = replica.admin("/ready").await;
        ready.is_ok_and(|(status, text)| {
            status == 503 && text.contains("database: ") && text.contains("cannot be reached")
        })
    };
    wait_until("the reason on /ready", SOON, refused).await?;
    let mut health = HealthClient::new(replica.client());
    let asked = || HealthCheckRequest {
        service: "larder.profiles.v1.ProfileService".into(),
    };
    assert_eq!(
        health.check(asked()).await?.get_ref().status,
        2,
        "NOT_SERVING"
    );
    let node = Node {
        client: ProfileServiceClient::new(replica.client()),
        replica,
    };
    let status = node.get("ada").await.expect_err("no database");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "STARTING")
    );
    assert!(retry_after(&status).is_some());
    let mut feed = FeedServiceClient::new(node.replica.client());
    let round = feed.get_round(GetRoundRequest {
        source: "profiles".into(),
        since: None,
    });
    assert_eq!(
        round.await.expect_err("no database").code(),
        Code::Unavailable
    );
    assert_eq!(node.replica.admin("/metrics").await?.0, 200);

    database.server().restart()?;
    let ready = async || {
        node.replica
            .admin("/ready")
            .await
            .is_ok_and(|(status, _)| status == 200)
    };
    wait_until("readiness", SOON, ready).await?;
    assert_eq!(
        node.get("ada").await.expect_err("nobody yet").code(),
        Code::NotFound
    );
    node.create(ada()).await?;
    let serving = async || {
        health
            .check(asked())
            .await
            .is_ok_and(|health| health.get_ref().status == 1)
    };
    wait_until("SERVING", SOON, serving).await?;
    node.replica.stop().await
}

/// What every health name says: `startup`, `readiness`, `liveness`, nothing, and the service's.
async fn health(client: Client) -> Result<[bool; 5]> {
    let service = "larder.profiles.v1.ProfileService";
    let mut all = [false; 5];
    for (said, name) in all
        .iter_mut()
        .zip(["startup", "readiness", "liveness", "", service])
    {
        let service = name.to_owned();
        let mut health = HealthClient::new(client.clone());
        let answer = health.check(HealthCheckRequest { service }).await?;
        *said = answer.get_ref().status == 1;
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_health_name_says_what_it_should_through_all_of_a_life() -> Result<()> {
    let database = away()?;
    let mut parts = Parts::new(Hub::new(), database.url().parse()?);
    parts.timing.longest_pause = Duration::from_millis(200);
    parts.timing.patience = Duration::from_millis(500);
    parts.timing.warm_for(Some(Duration::from_secs(1)));
    parts.connections.acquire_timeout = Duration::from_millis(500);
    parts.limits.settle = Duration::from_secs(1);
    let replica = Replica::start(Profiles, parts).await?;
    let client = replica.client();
    let says = async |what, expected: [bool; 5]| {
        wait_until(what, SOON, async || {
            health(client.clone())
                .await
                .is_ok_and(|said| said == expected)
        })
        .await
    };
    let (starting, ready) = ([false, false, true, false, false], [true; 5]);
    says("starting", starting).await?;
    let (_, why) = replica.admin("/ready").await?;
    assert!(
        why.contains("database: ") && why.contains("warming: "),
        "{why}"
    );

    database.server().restart()?;
    says("ready", ready).await?;
    let node = Node {
        client: ProfileServiceClient::new(client.clone()),
        replica,
    };
    node.create(ada()).await?;
    node.get("ada").await?;

    database.server().stop()?;
    let stale = async || {
        let answer = node.get("ada").await;
        answer.is_ok_and(|answer| source(answer.metadata()) == "stale")
    };
    wait_until("the last value, marked", SOON, stale).await?;
    assert_eq!(health(client.clone()).await?, ready, "the database is away");

    let draining = [true, false, true, false, false];
    let (ended, drained) = tokio::join!(node.replica.stop(), says("draining", draining));
    drained?;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_its_database_ends_when_it_is_asked_to() -> Result<()> {
    let database = away()?;
    let parts = Parts::new(Hub::new(), database.url().parse()?);
    Replica::start(Profiles, parts).await?.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_service_answers_what_it_has_and_says_how_old_it_is() -> Result<()> {
    let database = postgres::start()?.fresh_database()?;
    let mut parts = Parts::new(Hub::new(), database.url().parse()?);
    parts.timing.patience = Duration::from_millis(500);
    parts.connections.acquire_timeout = Duration::from_millis(500);
    let node = Node::of(parts).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    node.list(0, "").await?;
    database.server().stop()?;

    let stale = async || {
        let answer = node.get("ada").await;
        answer.is_ok_and(|answer| {
            let age = said(answer.metadata(), "larder-age-ms").parse::<u64>();
            source(answer.metadata()) == "stale" && age.is_ok_and(|age| age >= 1000)
        })
    };
    wait_until("the last value, marked", SOON, stale).await?;
    let stale = async || {
        let answer = node.list(0, "").await;
        answer.is_ok_and(|answer| source(answer.metadata()) == "stale")
    };
    wait_until("the last page, marked", SOON, stale).await?;
    for status in [
        node.get("nobody").await.err(),
        node.update(named("ada", "Countess"), None, None)
            .await
            .err(),
        node.create(named("b", "B")).await.err(),
        node.delete("ada", None).await.err(),
    ] {
        let status = status.context("without a database")?;
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(retry_after(&status).is_some());
    }
    // All replicas lose it at once: if they left, what they have would be no answer any more.
    assert_eq!(node.replica.admin("/ready").await?.0, 200);
    assert_eq!(node.replica.admin("/live").await?.0, 200);

    database.server().restart()?;
    let written = async || {
        node.update(named("ada", "Countess"), None, None)
            .await
            .is_ok()
    };
    wait_until("a write", SOON, written).await?;
    // Until the next proof, what is left of before may still be told, and says that it is.
    let mut unmarked = None;
    wait_until("an answer that is not marked", SOON, async || {
        let answer = node.get("ada").await.ok();
        unmarked = answer.filter(|answer| source(answer.metadata()) != "stale");
        unmarked.is_some()
    })
    .await?;
    let unmarked = unmarked.context("it was waited for")?;
    assert_eq!(unmarked.get_ref().display_name, "Countess");
    node.replica.stop().await
}

async fn a_trigger_that_is_off_costs_the_cache_and_not_the_truth(home: Home) -> Result<()> {
    let mut parts = home.parts(&Hub::new());
    parts.timing.check = Duration::from_millis(100);
    let node = Node::of(parts).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    assert_eq!(source(node.get("ada").await?.metadata()), "l1");
    let flaws = async |count: usize| {
        let metrics = node.replica.admin("/metrics").await;
        let line = format!("larder_trigger_flaws{{source=\"profiles\"}} {count}\n");
        metrics.is_ok_and(|(_, text)| text.contains(&line))
    };
    let (off, on) = match home {
        Home::Postgres(_) => (
            "ALTER TABLE profiles DISABLE TRIGGER larder_journal_rows".to_owned(),
            "ALTER TABLE profiles ENABLE ALWAYS TRIGGER larder_journal_rows".to_owned(),
        ),
        Home::Sqlite(_) => {
            let sql = "SELECT sql FROM sqlite_schema WHERE name = 'larder_journal_profiles_update'";
            let on = home.by_hand("profiles", sql)?;
            ("DROP TRIGGER larder_journal_profiles_update".to_owned(), on)
        }
    };
    home.by_hand("profiles", &off)?;
    home.by_hand(
        "profiles",
        "UPDATE profiles SET display_name = 'Unseen' WHERE id = 'ada'",
    )?;
    wait_until("the alarm", SOON, async || flaws(1).await).await?;
    for _ in 0..2 {
        let answer = node.get("ada").await?;
        assert_eq!(answer.get_ref().display_name, "Unseen");
        assert_eq!(source(answer.metadata()), "db");
    }
    let mut feed = FeedServiceClient::new(node.replica.client());
    let round = || GetRoundRequest {
        source: "profiles".into(),
        since: None,
    };
    let status = feed
        .get_round(round())
        .await
        .expect_err("no rounds without triggers");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "CHANGES_UNKNOWN")
    );

    home.by_hand(
        "profiles",
        "UPDATE profiles SET display_name = 'Hidden' WHERE id = 'ada'",
    )?;
    home.by_hand("profiles", &on)?;
    wait_until("the end of the alarm", SOON, async || flaws(0).await).await?;
    assert_eq!(node.get("ada").await?.get_ref().display_name, "Hidden");
    assert_eq!(source(node.get("ada").await?.metadata()), "l1");
    feed.get_round(round()).await?;
    Ok(())
}

/// 1. A trigger is off, and a row changes: its copy has not moved.
/// 2. The database is so busy that a load of the row gets no turn, or no answer in time.
/// 3. The last value would be marked as one that was proven a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_trigger_is_off_no_last_value_stands_in_for_a_busy_database() -> Result<()> {
    let home = Arc::new(Home::postgres()?);
    let mut parts = home.parts(&Hub::new());
    parts.timing.check = Duration::from_millis(100);
    let node = Node::of(parts).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    home.by_hand(
        "profiles",
        "ALTER TABLE profiles DISABLE TRIGGER larder_journal_rows;
         UPDATE profiles SET display_name = 'Unseen' WHERE id = 'ada'",
    )?;
    wait_until("doubt", SOON, async || {
        let answer = node.get("ada").await;
        answer.is_ok_and(|answer| source(answer.metadata()) == "db")
    })
    .await?;

    let busy = tokio::task::spawn_blocking({
        let home = home.clone();
        let sql = "BEGIN; LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(30)";
        move || home.by_hand("profiles", sql)
    });
    let mut crowd = tokio::task::JoinSet::new();
    let refused = async {
        loop {
            // More of them than loads at once.
            for n in crowd.len()..16 {
                let (mut client, id) = (node.client.clone(), format!("nobody-{n}"));
                let request = GetProfileRequest { id };
                crowd.spawn(async move { client.get_profile(request).await });
            }
            match node.get("ada").await {
                Ok(answer) => assert_eq!(source(answer.metadata()), "db"),
                Err(refused) => return refused,
            }
        }
    };
    let refused = tokio::time::timeout(SOON, refused).await?;
    let codes = [Code::ResourceExhausted, Code::Unavailable];
    assert!(codes.contains(&refused.code()), "{refused}");

    let done = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE wait_event = 'PgSleep' AND datname = current_database()";
    home.by_hand("profiles", done)?;
    busy.await?.expect_err("it was ended");
    crowd.shutdown().await;
    let answer = node.get("ada").await?;
    assert_eq!(answer.get_ref().display_name, "Unseen");
    node.replica.stop().await
}

async fn the_metrics_are_of_the_calls_and_of_the_cache(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    node.get("ada").await?;
    let (status, text) = node.replica.admin("/metrics").await?;
    assert_eq!(status, 200);
    for line in [
        "larder_reads_total{keyspace=\"profiles\",outcome=\"l1\"} 1\n",
        "larder_reads_total{keyspace=\"profiles\",outcome=\"load\"} 1\n",
        "larder_proven_age_seconds{source=\"profiles\"}",
        "larder_trigger_flaws{source=\"profiles\"} 0\n",
        "rpc_server_call_duration_seconds_count{",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_and_serves_without_the_remote_tier() -> Result<()> {
    let home = Home::sqlite()?;
    let mut parts = home.parts(&Hub::new());
    // Nobody listens there.
    parts.remote = remote::open("redis://127.0.0.1:1")?;
    let node = Node::of(parts).await?;
    let created = node.create(ada()).await?;
    assert_eq!(node.get("ada").await?.get_ref(), created.get_ref());
    assert_eq!(source(node.get("ada").await?.metadata()), "l1");
    home.by_hand(
        "profiles",
        "UPDATE profiles SET display_name = 'Countess' WHERE id = 'ada'",
    )?;
    let seen = async || {
        node.get("ada")
            .await
            .is_ok_and(|answer| answer.get_ref().display_name == "Countess")
    };
    wait_until("the change", SOON, seen).await?;
    node.replica.stop().await
}
