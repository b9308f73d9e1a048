//! The suite on its embedded defaults: three services, two replicas each, in one process.

use anyhow::Result;
use larder_proto::products::v1::GetProductRequest;
use larder_testkit::process::Signal;
use larder_testkit::wait_until;
use larder_tests::scene::{
    self, SOON, comments, create_comment, create_product, create_profile, name, price, rename,
    set_price, showing, shown_within_bound,
};
use larder_tests::{Kind, Setup, asking};
use std::net::TcpListener;
use std::time::Instant;
use tonic::Code;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");

#[tokio::test]
async fn every_replica_answers_with_what_was_written_on_another() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    create_profile(&suite.profiles(1), "ada", "Ada").await?;
    let made = create_product(&suite.products(1), "tea", 350).await?;
    create_comment(&suite.comments(1), ("tea", "ada"), "Good.").await?;
    assert_eq!(made.version, Some(1));
    for replica in 1..=2 {
        let since = Instant::now();
        shown_within_bound("the profile", since, async || {
            Ok(name(&suite.profiles(replica), "ada", &[])
                .await
                .is_ok_and(|(name, _)| name == "Ada"))
        })
        .await?;
        shown_within_bound("the product", since, async || {
            Ok(price(&suite.products(replica), "tea", &[])
                .await
                .is_ok_and(|(price, _)| price == 350))
        })
        .await?;
        shown_within_bound("the comment", since, async || {
            let (comments, _) = comments(&suite.comments(replica), "tea", &[]).await?;
            Ok(comments == [("Ada".to_owned(), "Good.".to_owned())])
        })
        .await?;
        let asked = asking(
            GetProductRequest {
                id: "coffee".to_owned(),
            },
            &[],
        );
        let status = suite
            .products(replica)
            .get_product(asked)
            .await
            .expect_err("there is none");
        assert_eq!(status.code(), Code::NotFound);
    }
    Ok(())
}

#[tokio::test]
async fn a_read_that_shows_the_token_sees_the_write_on_any_replica_at_once() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    let (here, there) = (suite.products(1), suite.products(2));
    create_product(&here, "tea", 0).await?;
    for round in 1..=100 {
        // A copy of the old value lies in the other replica's memory.
        price(&there, "tea", &[]).await?;
        let written = set_price(&here, "tea", round).await?;
        let (seen, said) = price(&there, "tea", &showing(&written.token)).await?;
        assert_eq!(seen, round, "{said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_read_without_a_token_sees_the_write_about_a_round_trip_later() -> Result<()> {
    const ROUNDS: i64 = 50;
    let suite = Setup::new(LARDER).start().await?;
    let (here, there) = (suite.products(1), suite.products(2));
    create_product(&here, "tea", 0).await?;
    let replica = suite.replica(Kind::Products, 2);
    let hints = async || {
        replica
            .count("larder_hints_total", &["outcome=\"applied\""])
            .await
    };
    let before = hints().await?;
    for round in 1..=ROUNDS {
        price(&there, "tea", &[]).await?;
        set_price(&here, "tea", round).await?;
        let seen = async || Ok(price(&there, "tea", &[]).await?.0 == round);
        shown_within_bound("the price", Instant::now(), seen).await?;
    }
    // It was a hint that brought the news, and not the poll that comes every 100 ms anyway.
    let heard = hints().await? - before;
    assert!(
        heard >= ROUNDS as u64 * 2 / 3,
        "{heard} of {ROUNDS} hints brought news"
    );
    Ok(())
}

#[tokio::test]
async fn a_second_read_comes_from_memory_and_says_so() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    let products = suite.products(2);
    create_product(&suite.products(1), "tea", 350).await?;
    let mut last = scene_said(&products).await?;
    wait_until("an answer from memory", SOON, async || {
        last = scene_said(&products).await.unwrap_or_default();
        last.source == "l1"
    })
    .await?;
    assert_eq!(last.version, Some(1));
    assert!(
        last.age.is_some_and(|age| age <= scene::MAX_STALENESS),
        "{last:?}"
    );
    let (_, said) = price(&products, "tea", &[("larder-freshness", "strong")]).await?;
    assert_eq!(said.source, "db");
    Ok(())
}

async fn scene_said(
    products: &larder_proto::products::v1::product_service_client::ProductServiceClient<
        tonic::transport::Channel,
    >,
) -> Result<larder_tests::Said> {
    Ok(price(products, "tea", &[]).await?.1)
}

#[tokio::test]
async fn a_renamed_profile_shows_in_the_lists_of_comments() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    create_profile(&suite.profiles(1), "ada", "Ada 0").await?;
    create_product(&suite.products(1), "tea", 350).await?;
    create_comment(&suite.comments(1), ("tea", "ada"), "Good.").await?;
    let author = async |replica: u8, token: &Option<String>| {
        let (list, _) = comments(&suite.comments(replica), "tea", &showing(token)).await?;
        anyhow::Ok(
            list.into_iter()
                .map(|(author, _)| author)
                .collect::<Vec<_>>(),
        )
    };
    let since = Instant::now();
    shown_within_bound("the comment", since, async || {
        Ok(author(2, &None).await? == ["Ada 0"])
    })
    .await?;
    for round in 1..=20 {
        // Both hold the list, and the name, in memory.
        author(1, &None).await?;
        author(2, &None).await?;
        let new = format!("Ada {round}");
        let renamed = rename(&suite.profiles(1), "ada", &new).await?;
        let returned = Instant::now();
        assert_eq!(author(1, &renamed.token).await?, [new.as_str()]);
        let seen = async || Ok(author(2, &None).await? == [new.as_str()]);
        shown_within_bound("the new name", returned, seen).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_suite_ends_in_order_and_comes_back_with_what_it_knew() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = format!("sqlite://{}", folder.path().display());
    let suite = Setup::new(LARDER).database(&database).start().await?;
    create_product(&suite.products(1), "tea", 350).await?;
    let replica = suite.replica(Kind::Products, 1);
    suite.process().signal(Signal::TERM)?;
    wait_until("its end", SOON, async || !suite.process().is_alive()).await?;
    assert!(
        suite.process().end()?.success(),
        "{}",
        suite.process().log()
    );
    TcpListener::bind(replica.grpc)?;
    let suite = Setup::new(LARDER).database(&database).start().await?;
    assert_eq!(price(&suite.products(2), "tea", &[]).await?.0, 350);
    Ok(())
}

#[tokio::test]
async fn the_addresses_are_printed_when_everything_is_ready() -> Result<()> {
    let suite = Setup::new(LARDER)
        .args(["--output", "json"])
        .start()
        .await?;
    let address = suite.replica(Kind::Comments, 2).grpc.to_string();
    wait_until("the table", SOON, async || {
        suite.process().log().contains(&address)
    })
    .await
}
