//! The database goes away and comes back.

use anyhow::Result;
use larder_testkit::{postgres, wait_until};
use larder_tests::scene::{
    MAX_STALENESS, SOON, create_product, price, set_price, shown_within_bound,
};
use larder_tests::{Kind, Setup};
use std::time::{Duration, Instant};
use tonic::Code;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_nothing_is_served_as_if_it_were_fresh() -> Result<()> {
    let server = postgres::start()?;
    let suite = Setup::new(LARDER).database(server.url()).start().await?;
    let (here, there) = (suite.products(1), suite.products(2));
    create_product(&here, "tea", 1).await?;
    wait_until("a copy in memory", SOON, async || {
        price(&there, "tea", &[])
            .await
            .is_ok_and(|(_, said)| said.source == "l1")
    })
    .await?;
    server.stop()?;
    // Past Δ an answer is marked with its age, or it is none.
    wait_until("the end of proofs", SOON, async || {
        let seen = price(&there, "tea", &[]).await;
        seen.map_or(true, |(_, said)| said.source == "stale")
    })
    .await?;
    // It is still asked: the other replicas would know no more.
    assert_eq!(suite.replica(Kind::Products, 2).readiness().await?.0, 200);
    match price(&there, "tea", &[]).await {
        Ok((seen, said)) => {
            assert_eq!((seen, said.source.as_str()), (1, "stale"));
            assert!(said.age.is_some_and(|age| age > MAX_STALENESS), "{said:?}");
        }
        Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
    }
    let written = set_price(&here, "tea", 2)
        .await
        .expect_err("there is no database");
    assert_eq!(written.code(), Code::Unavailable, "{written}");
    server.restart()?;
    wait_until("a write", SOON, async || {
        set_price(&here, "tea", 3).await.is_ok()
    })
    .await?;
    let seen = async || Ok(price(&there, "tea", &[]).await?.0 == 3);
    shown_within_bound("the price", Instant::now(), seen).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_not_waited_for_beyond_the_deadline() -> Result<()> {
    let server = postgres::start()?;
    let proxy = larder_testkit::proxy::Proxy::start(server.address())?;
    let url = format!("postgres://postgres@{}/", proxy.address());
    let suite = Setup::new(LARDER).database(url).start().await?;
    create_product(&suite.products(1), "tea", 1).await?;
    proxy.stall();
    let began = Instant::now();
    let outcome = price(&suite.products(2), "coffee", &[]).await;
    assert!(
        outcome.is_err(),
        "there is no such product, and nobody to say so"
    );
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    proxy.pass();
    wait_until("an answer", SOON, async || {
        let seen = price(&suite.products(2), "coffee", &[]).await;
        seen.is_err_and(|status| status.code() == Code::NotFound)
    })
    .await
}
