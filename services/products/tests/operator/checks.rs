//! Copies that are wrong are found by holding them against the source, and nothing else is.

use super::title;
use crate::support::{Node, kettle, priced};
use anyhow::{Context as _, Result, ensure};
use larder::remote::hub::Hub;
use larder_host::on_both;
use larder_host::trial::{Home, Replica, SOON};
use larder_proto::cache::v1::{CheckRequest, CheckResponse};
use larder_testkit::wait_until;
use std::time::Duration;

on_both!(
    a_row_changed_behind_the_journal_is_found_and_repaired_by_a_check,
    a_row_changed_behind_the_journal_is_repaired_in_the_background,
    under_writes_of_every_kind_no_check_finds_anything,
);

/// Runs a check to its end: the last message, with all that was found.
pub async fn check(replica: &Replica, request: CheckRequest) -> Result<CheckResponse> {
    let mut stream = replica.operator().check(request).await?.into_inner();
    let (mut found, mut last) = (Vec::new(), None);
    while let Some(mut message) = stream.message().await? {
        found.append(&mut message.found);
        last = Some(message);
    }
    let last = last.context("it said nothing")?;
    ensure!(last.done, "it did not come to its end: {last:?}");
    Ok(CheckResponse { found, ..last })
}

fn renamed(title: &str) -> String {
    format!("UPDATE products SET title = '{title}' WHERE id = 'kettle'")
}

async fn a_row_changed_behind_the_journal_is_found_and_repaired_by_a_check(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    let (node, other) = (Node::on(&home, &hub).await?, Node::on(&home, &hub).await?);
    node.create(kettle()).await?;
    node.create(priced("pan", "kitchen", 900)).await?;
    for id in ["kettle", "pan"] {
        node.get(id).await?;
        other.get(id).await?;
    }
    let all = check(&node.replica, CheckRequest::default()).await?;
    assert_eq!(
        (all.total, all.checked, all.inconsistent),
        (2, 2, 0),
        "{all:?}"
    );

    home.behind_the_journal("products", "products", &renamed("The other kettle"))?;
    assert_eq!(
        title(&node).await?,
        "The kettle",
        "nothing tells that it is wrong"
    );
    let dry = CheckRequest {
        dry_run: true,
        ..CheckRequest::default()
    };
    let told = check(&node.replica, dry).await?;
    assert!(told.inconsistent >= 1 && told.found.iter().all(|found| !found.repaired));
    assert_eq!(title(&node).await?, "The kettle", "it was only to be told");

    let repaired = check(&node.replica, CheckRequest::default()).await?;
    let found: Vec<_> = repaired
        .found
        .iter()
        .map(|found| (&*found.key, found.repaired))
        .collect();
    assert!(
        !found.is_empty() && found.iter().all(|found| *found == ("kettle", true)),
        "{found:?}"
    );
    assert_eq!(title(&node).await?, "The other kettle");
    let elsewhere = async || {
        title(&other)
            .await
            .is_ok_and(|title| title == "The other kettle")
    };
    wait_until("the other process to follow", SOON, elsewhere).await?;

    let clean = check(&node.replica, CheckRequest::default()).await?;
    assert_eq!((clean.inconsistent, clean.same), (0, 2));
    let (_, metrics) = node.replica.admin("/metrics").await?;
    let wrong = metrics.lines().find(|line| {
        line.starts_with("larder_inconsistencies_total{keyspace=\"products\",tier=\"l1\"}")
    });
    assert_eq!(
        wrong.and_then(|line| line.split(' ').nth(1)),
        Some("2"),
        "told and repaired"
    );
    node.replica.stop().await?;
    other.replica.stop().await
}

async fn a_row_changed_behind_the_journal_is_repaired_in_the_background(home: Home) -> Result<()> {
    let mut parts = home.parts(&Hub::new());
    parts.timing.compare_every = Some(Duration::from_millis(5));
    let node = Node::of(parts).await?;
    node.create(kettle()).await?;
    assert_eq!(title(&node).await?, "The kettle");
    home.behind_the_journal("products", "products", &renamed("The other kettle"))?;
    let repaired = async || {
        title(&node)
            .await
            .is_ok_and(|title| title == "The other kettle")
    };
    wait_until("the right title", SOON, repaired).await?;
    node.replica.stop().await
}

async fn under_writes_of_every_kind_no_check_finds_anything(home: Home) -> Result<()> {
    const IDS: [&str; 4] = ["kettle", "pan", "pot", "lid"];
    let hub = Hub::new();
    let (node, other) = (Node::on(&home, &hub).await?, Node::on(&home, &hub).await?);
    for id in IDS {
        node.create(priced(id, "kitchen", 0)).await?;
    }
    let mut writes = Box::pin(async {
        for n in 0..120_i64 {
            let id = IDS[n as usize % IDS.len()];
            let writer = if n % 2 == 0 { &node } else { &other };
            if n % 20 == 7 {
                let sql = format!("UPDATE products SET stock = {n} WHERE id = '{id}'");
                home.by_hand("products", &sql)?;
            } else if n % 9 == 4 {
                writer.delete(id, None).await?;
                writer.create(priced(id, "kitchen", n)).await?;
            } else {
                writer
                    .update(priced(id, "kitchen", n), Some(&["price_cents"]), None)
                    .await?;
            }
        }
        anyhow::Ok(())
    });
    let (mut checked, mut wrong) = (0, Vec::new());
    let mut done = false;
    while !done {
        let reads = async {
            for id in IDS {
                let _ = futures_util::join!(node.get(id), other.get(id));
            }
            let fast = CheckRequest {
                keys_per_second: 10_000,
                ..CheckRequest::default()
            };
            futures_util::try_join!(
                check(&node.replica, fast.clone()),
                check(&other.replica, fast)
            )
        };
        let mut reads = std::pin::pin!(reads);
        // The writes go on while the check does.
        let (one, two) = loop {
            tokio::select! {
                outcome = &mut writes, if !done => {
                    outcome?;
                    done = true;
                }
                checks = &mut reads => break checks?,
            }
        };
        checked += one.checked + two.checked;
        wrong.extend(one.found.into_iter().chain(two.found));
    }
    drop(writes);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(checked > 20, "{checked} keys are no check");
    node.replica.stop().await?;
    other.replica.stop().await
}
