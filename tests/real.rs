//! Four processes on one Redis and one PostgreSQL.

use anyhow::Result;
use larder_testkit::{postgres, redis, wait_until};
use larder_tests::scene::{
    SOON, comments, create_comment, create_product, create_profile, name, price, rename, set_price,
    showing, shown_within_bound,
};
use larder_tests::{Kind, Setup, Suite};
use std::time::Instant;
use tonic::Code;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const PROCESSES: usize = 4;

/// Processes that share their servers.
struct Fleet {
    // Before the servers, which end last.
    suites: Vec<Suite>,
    redis: redis::Redis,
    database: postgres::Database,
}

impl Fleet {
    async fn start() -> Result<Self> {
        let (redis, database) = (redis::start()?, postgres::fresh_database()?);
        let launch = |_| {
            let setup = Setup::new(LARDER).replicas(1).remote(redis.url());
            setup.database(database.url()).launch()
        };
        let suites: Vec<Suite> = (0..PROCESSES).map(launch).collect::<Result<_>>()?;
        for suite in &suites {
            suite.ready().await?;
        }
        Ok(Self {
            suites,
            redis,
            database,
        })
    }

    /// Runs SQL in the database of a service, as a person at a terminal would.
    fn psql(&self, service: &str, sql: &str) -> Result<String> {
        let name = format!("{}_{service}", self.database.name());
        self.database
            .server()
            .psql(&format!("\\connect {name}\n{sql}"))
    }

    /// The sum over all processes of what they count.
    async fn count(&self, kind: Kind, name: &str, labels: &[&str]) -> Result<u64> {
        let mut sum = 0;
        for suite in &self.suites {
            sum += suite.replica(kind, 1).count(name, labels).await?;
        }
        Ok(sum)
    }

    /// Waits until every process has a copy of this price in its memory.
    async fn warm(&self, id: &str, expected: i64) -> Result<()> {
        for suite in &self.suites {
            let products = suite.products(1);
            wait_until("a copy in memory", SOON, async || {
                let seen = price(&products, id, &[]).await;
                seen.is_ok_and(|(price, said)| price == expected && said.source == "l1")
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until every process shows this price, no later than Δ after `since`.
    async fn shows(&self, id: &str, expected: i64, since: Instant) -> Result<()> {
        for suite in &self.suites {
            let products = suite.products(1);
            let seen = async || Ok(price(&products, id, &[]).await?.0 == expected);
            shown_within_bound("the price", since, seen).await?;
        }
        Ok(())
    }
}

impl Fleet {
    /// Makes a profile by hand, so that nothing but the journal knows of it, and waits until every
    /// process has heard: the second round that ends from now on began after the commit.
    async fn insert_profile(&self, id: &str) -> Result<()> {
        let row = "INSERT INTO profiles (id, display_name, bio, avatar_url, followers)";
        self.psql(
            "profiles",
            &format!("{row} VALUES ('{id}', 'Ada', '', '', 0)"),
        )?;
        for suite in &self.suites {
            let replica = suite.replica(Kind::Profiles, 1);
            let rounds = || replica.count("larder_rounds_total", &["source=\"profiles\""]);
            let before = rounds().await?;
            wait_until("a round", SOON, async || {
                rounds().await.is_ok_and(|rounds| rounds >= before + 2)
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until every process takes profiles that another one has put into Redis.
    async fn shares_profiles(&self) -> Result<()> {
        let mut number = 0;
        for suite in &self.suites[1..] {
            wait_until("an answer from Redis", SOON, async || {
                number += 1;
                let id = format!("shared-{number}");
                let made = self.insert_profile(&id).await.is_ok();
                let first = name(&self.suites[0].profiles(1), &id, &[]).await.is_ok();
                let second = name(&suite.profiles(1), &id, &[]).await;
                made && first && second.is_ok_and(|(_, said)| said.source == "l2")
            })
            .await?;
        }
        Ok(())
    }
}

const PROFILES: &str = "keyspace=\"profiles\"";
const APPLIED: &str = "outcome=\"applied\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_one_process_is_seen_on_all() -> Result<()> {
    const ROUNDS: i64 = 20;
    let fleet = Fleet::start().await?;
    create_product(&fleet.suites[0].products(1), "tea", 0).await?;
    let hints = async || {
        fleet
            .count(Kind::Products, "larder_hints_total", &[APPLIED])
            .await
    };
    let before = hints().await?;
    for round in 1..=ROUNDS {
        fleet.warm("tea", round - 1).await?;
        let writer = &fleet.suites[round as usize % PROCESSES];
        let written = set_price(&writer.products(1), "tea", round).await?;
        let since = Instant::now();
        for suite in &fleet.suites {
            let (seen, said) = price(&suite.products(1), "tea", &showing(&written.token)).await?;
            assert_eq!(seen, round, "{said:?}");
        }
        fleet.shows("tea", round, since).await?;
    }
    // The news came by hints, most of them ahead of the poll: at a third of the processes they
    // may come second on a busy machine.
    let heard = hints().await? - before;
    let told = ROUNDS as u64 * (PROCESSES as u64 - 1);
    assert!(
        heard >= told * 2 / 3,
        "{heard} of {told} hints brought news"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_profile_shows_in_the_lists_of_comments_of_all() -> Result<()> {
    let fleet = Fleet::start().await?;
    let first = &fleet.suites[0];
    create_profile(&first.profiles(1), "ada", "Ada 0").await?;
    create_comment(&first.comments(1), ("tea", "ada"), "Good.").await?;
    for round in 0..=5 {
        let new = format!("Ada {round}");
        let renamed = rename(&first.profiles(1), "ada", &new).await?;
        let since = Instant::now();
        for suite in &fleet.suites {
            let client = suite.comments(1);
            let (list, said) = comments(&client, "tea", &showing(&renamed.token)).await?;
            assert!(
                list.iter().all(|(author, _)| *author == new),
                "{list:?} {said:?}"
            );
            let seen = async || {
                let (list, _) = comments(&client, "tea", &[]).await?;
                Ok(list.len() == 1 && list[0].0 == new)
            };
            shown_within_bound("the new name", since, seen).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_changed_by_hand_is_evicted_everywhere() -> Result<()> {
    let fleet = Fleet::start().await?;
    create_product(&fleet.suites[0].products(1), "tea", 1).await?;
    for round in 2..=6 {
        fleet.warm("tea", round - 1).await?;
        let sql = format!("UPDATE products SET price_cents = {round} WHERE id = 'tea'");
        fleet.psql("products", &sql)?;
        fleet.shows("tea", round, Instant::now()).await?;
    }
    fleet.psql("products", "DELETE FROM products")?;
    let since = Instant::now();
    for suite in &fleet.suites {
        let products = suite.products(1);
        let gone = async || {
            let seen = price(&products, "tea", &[]).await;
            Ok(seen.is_err_and(|status| status.code() == Code::NotFound))
        };
        shown_within_bound("the absence", since, gone).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_reads_go_on_and_evictions_come_by_the_poll() -> Result<()> {
    let fleet = Fleet::start().await?;
    create_product(&fleet.suites[0].products(1), "tea", 0).await?;
    fleet.warm("tea", 0).await?;
    fleet.redis.stop()?;
    for round in 1..=5 {
        let began = Instant::now();
        set_price(&fleet.suites[0].products(1), "tea", round).await?;
        let since = Instant::now();
        fleet.shows("tea", round, since).await?;
        fleet.warm("tea", round).await?;
        assert!(
            began.elapsed() < SOON,
            "a write and its reads took {:?}",
            began.elapsed()
        );
    }
    let refused = fleet
        .count(Kind::Products, "larder_reads_total", &["outcome=\"error\""])
        .await?;
    assert_eq!(refused, 0);
    // Empty and back again: hints arrive once more, ahead of the poll.
    fleet.redis.restart()?;
    let before = fleet
        .count(Kind::Products, "larder_hints_total", &[APPLIED])
        .await?;
    let mut round = 5;
    wait_until("a hint", SOON, async || {
        round += 1;
        let written = set_price(&fleet.suites[0].products(1), "tea", round).await;
        let after = fleet
            .count(Kind::Products, "larder_hints_total", &[APPLIED])
            .await;
        written.is_ok() && after.is_ok_and(|after| after > before)
    })
    .await?;
    fleet.shows("tea", round, Instant::now()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reads_of_one_cold_key_are_one_load() -> Result<()> {
    const READS: usize = 1000;
    let fleet = Fleet::start().await?;
    fleet.shares_profiles().await?;
    let clients: Vec<_> = fleet.suites.iter().map(|suite| suite.profiles(1)).collect();
    let count = async |name, label| fleet.count(Kind::Profiles, name, &[PROFILES, label]).await;
    for round in 0..3 {
        let id = format!("ada-{round}");
        fleet.insert_profile(&id).await?;
        let loads = count("larder_load_seconds_count", "").await?;
        let failed = fleet
            .count(Kind::Profiles, "larder_remote_errors_total", &[])
            .await?;
        let mut reads = tokio::task::JoinSet::new();
        for number in 0..READS {
            let (client, id) = (clients[number % PROCESSES].clone(), id.clone());
            reads.spawn(async move { name(&client, &id, &[]).await.map(|(name, _)| name) });
        }
        let names = tokio::time::timeout(SOON, reads.join_all()).await?;
        assert!(
            names
                .iter()
                .all(|name| name.as_deref().is_ok_and(|name| name == "Ada"))
        );
        let loads = count("larder_load_seconds_count", "").await? - loads;
        // A machine so busy that Redis misses a deadline, be it for a value, a lock or a store, is
        // a shared tier that is away.
        let errors = fleet
            .count(Kind::Profiles, "larder_remote_errors_total", &[])
            .await?;
        let failed = errors - failed;
        assert!(
            loads == 1 || loads <= 1 + failed,
            "{loads} loads, Redis failed {failed} times"
        );
    }
    Ok(())
}
