//! Products that are loaded before a crowd asks for them, on both engines.

use crate::support;

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_host::on_both;
use larder_host::trial::{Home, SOON, fields, reason};
use larder_proto::products::v1::*;
use larder_testkit::wait_until;
use support::{Node, kettle, priced, source};
use tonic::{Code, Status};

on_both!(
    a_launch_ends_when_all_its_products_are_loaded_or_missing,
    what_is_launched_is_loaded_once_and_by_no_other_replica,
    a_category_of_many_pages_is_launched_whole,
    a_launch_of_an_unknown_category_is_empty,
    what_is_wrong_with_a_launch_is_said_by_its_field,
);

fn of(category: &str) -> LaunchProductsRequest {
    LaunchProductsRequest {
        category: category.to_owned(),
        ..LaunchProductsRequest::default()
    }
}

fn these<'a>(ids: impl IntoIterator<Item = &'a str>) -> LaunchProductsRequest {
    LaunchProductsRequest {
        ids: ids.into_iter().map(str::to_owned).collect(),
        ..LaunchProductsRequest::default()
    }
}

/// Launches, and says how it went; the answers lead to the last one, and only that is the end.
async fn launch(node: &Node, launch: LaunchProductsRequest) -> Result<[u64; 3], Status> {
    let mut answers = node.client.clone().launch_products(launch).await?;
    let answers = answers.get_mut();
    let mut last: Option<LaunchProductsResponse> = None;
    while let Some(next) = answers.message().await? {
        if let Some(last) = last {
            assert!(last.loaded + last.missing < last.total, "it was the end");
            assert!(last.loaded <= next.loaded && last.missing <= next.missing);
            assert_eq!(last.total, next.total);
        }
        last = Some(next);
    }
    let last = last.expect("an answer");
    assert_eq!(last.loaded + last.missing, last.total);
    Ok([last.loaded, last.missing, last.total])
}

/// A counter or gauge of the keyspace of products.
async fn counted(node: &Node, metric: &str) -> Result<u64> {
    let (_, page) = node.replica.admin("/metrics").await?;
    let series = format!("{metric}{{keyspace=\"products\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&*series));
    Ok(value.context("no such series")?.parse()?)
}

/// Loads, one for each call of the loader.
async fn loads(node: &Node) -> Result<u64> {
    counted(node, "larder_load_seconds_count").await
}

/// Writes so many products into a category, past the service.
fn many(home: &Home, category: &str, count: usize) -> Result<()> {
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO products (id, title, category, price_cents) \
         SELECT '{category}-' || i, 'one of many', '{category}', i % 7 FROM n"
    );
    home.by_hand("products", &rows).map(drop)
}

async fn a_launch_ends_when_all_its_products_are_loaded_or_missing(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    node.create(priced("vise", "tools", 4999)).await?;
    let ids = ["kettle", "nobody", "vise", "kettle", "nothing", "nowhere"];
    assert_eq!(launch(&node, these(ids)).await?, [2, 3, 5]);
    assert_eq!(launch(&node, of("tools")).await?, [1, 0, 1]);
    Ok(())
}

async fn what_is_launched_is_loaded_once_and_by_no_other_replica(home: Home) -> Result<()> {
    const PRODUCTS: usize = 150;
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::on(&home, &hub).await?;
    many(&home, "tea", PRODUCTS)?;
    many(&home, "tools", 1)?;
    let total = PRODUCTS as u64;
    assert_eq!(launch(&here, of("tea")).await?, [total, 0, total]);
    // One load for each batch of 64.
    assert_eq!(loads(&here).await?, 3);
    let spread = async || {
        let kept = counted(&there, "larder_entries").await;
        kept.is_ok_and(|kept| kept == total)
    };
    wait_until("the products in the other replica's memory", SOON, spread).await?;
    for node in [&here, &there] {
        for number in 1..=PRODUCTS {
            let product = node.get(&format!("tea-{number}")).await?;
            assert_ne!(source(product.metadata()), "db");
        }
    }
    assert_eq!((loads(&here).await?, loads(&there).await?), (3, 0));
    // Nothing else was loaded.
    assert_eq!(source(there.get("tools-1").await?.metadata()), "db");
    // They are still what they were, so a second launch loads nothing.
    assert_eq!(launch(&there, of("tea")).await?, [total, 0, total]);
    assert_eq!(loads(&there).await?, 1);
    Ok(())
}

async fn a_category_of_many_pages_is_launched_whole(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    many(&home, "tea", 2500)?;
    many(&home, "tools", 1000)?;
    assert_eq!(launch(&node, of("tea")).await?, [2500, 0, 2500]);
    assert_eq!(launch(&node, of("tools")).await?, [1000, 0, 1000]);
    Ok(())
}

async fn a_launch_of_an_unknown_category_is_empty(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    assert_eq!(launch(&node, of("unknown")).await?, [0, 0, 0]);
    assert_eq!(loads(&node).await?, 0);
    Ok(())
}

async fn what_is_wrong_with_a_launch_is_said_by_its_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let both = LaunchProductsRequest {
        ids: vec!["kettle".to_owned()],
        category: "kitchen".to_owned(),
        ..LaunchProductsRequest::default()
    };
    for (field, wrong) in [
        ("ids", LaunchProductsRequest::default()),
        ("category", both),
        ("category", of("a\0b")),
        ("ids", these(["kettle"; 1001])),
        ("ids[1]", these(["kettle", "No"])),
    ] {
        let refused = launch(&node, wrong).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
        assert_eq!(fields(&refused), [field], "{refused}");
        assert_eq!(reason(&refused), "INVALID_FIELD");
    }
    Ok(())
}
