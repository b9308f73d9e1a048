//! What somebody with many followers comments on is warm before they come.

use crate::support;

use anyhow::{Context as _, Result};
use larder::remote::hub::Faults;
use larder_host::on_both;
use larder_host::trial::{Home, SOON};
use larder_testkit::wait_until;
use support::{House, Node, OLD, by, note};

on_both!(
    a_comment_of_somebody_with_many_followers_is_warm_in_every_replica,
    a_lost_hint_loses_no_warmth,
    a_comment_inserted_by_hand_is_warm_too,
    a_comment_of_somebody_with_fewer_followers_loads_no_page,
    with_0_nothing_is_looked_for,
);

/// As many followers as make a crowd, unless something else is said.
const CROWD: i64 = 10_000;

/// A house in which Ada has just enough followers and Bob one too few, and two more replicas; all
/// have begun to look.
async fn house(home: Home) -> Result<(House, [Node; 2])> {
    let house = House::new(home).await?;
    house.people.create_followed("ada", "Ada", CROWD).await?;
    let fewer = CROWD - 1;
    house.people.create_followed("bob", "Bob", fewer).await?;
    let others = [house.another().await?, house.another().await?];
    for node in [&house.comments, &others[0], &others[1]] {
        counted(node, "larder_crowd_looks_total", 1).await?;
    }
    Ok((house, others))
}

/// The value of a line of /metrics that begins so; 0 where there is none.
async fn metric(node: &Node, name: &str) -> Result<u64> {
    let (_, text) = node.replica.admin("/metrics").await?;
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.map(|value| value.trim().parse::<u64>());
    values.sum::<Result<_, _>>().context("a number")
}

/// Waits until it is so much at least.
async fn counted(node: &Node, name: &str, least: u64) -> Result<()> {
    let there = async || metric(node, name).await.is_ok_and(|value| value >= least);
    wait_until(&format!("{name} of {least}"), SOON, there).await
}

/// Waits until a page was warmed, and looks at it for the first time: it is there as it should be.
async fn warm(node: &Node, ids: &[&str], names: &[&str]) -> Result<()> {
    counted(node, "larder_crowd_pages_warmed_total", 1).await?;
    let page = node.names("kettle", &OLD).await?;
    let names = names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(page, (names, "l1".to_owned()));
    assert_eq!(node.ids("kettle").await?, ids);
    assert_eq!(metric(node, "larder_crowd_pages_failed_total").await?, 0);
    assert_eq!(
        metric(node, "larder_crowd_comments_dropped_total").await?,
        0
    );
    Ok(())
}

async fn a_comment_of_somebody_with_many_followers_is_warm_in_every_replica(
    home: Home,
) -> Result<()> {
    let (house, others) = house(home).await?;
    // One has the page from before, the others have never been asked.
    house.comments.create(by("b", "kettle", "bob")).await?;
    assert_eq!(others[0].ids("kettle").await?, ["b"]);
    house.comments.create(note("a")).await?;
    for node in [&house.comments, &others[0], &others[1]] {
        warm(node, &["a", "b"], &["Ada", "Bob"]).await?;
        let profile = node.get_asking("a", &OLD).await?.into_inner();
        assert_eq!(profile.author_display_name, "Ada");
    }
    Ok(())
}

async fn a_lost_hint_loses_no_warmth(home: Home) -> Result<()> {
    let (house, others) = house(home).await?;
    house.hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    house.comments.create(note("a")).await?;
    for node in [&house.comments, &others[0], &others[1]] {
        warm(node, &["a"], &["Ada"]).await?;
    }
    Ok(())
}

async fn a_comment_inserted_by_hand_is_warm_too(home: Home) -> Result<()> {
    let (house, others) = house(home).await?;
    house.home.by_hand(
        "comments",
        "INSERT INTO comments (id, product_id, author_id, body) \
         VALUES ('a', 'kettle', 'ada', 'It boils.')",
    )?;
    for node in [&house.comments, &others[0], &others[1]] {
        warm(node, &["a"], &["Ada"]).await?;
    }
    Ok(())
}

async fn a_comment_of_somebody_with_fewer_followers_loads_no_page(home: Home) -> Result<()> {
    let (house, others) = house(home).await?;
    house.comments.create(by("b", "kettle", "bob")).await?;
    // What comes later is warm, so that the first has been considered.
    house.comments.create(by("a", "pot", "ada")).await?;
    for node in [&house.comments, &others[0], &others[1]] {
        counted(node, "larder_crowd_pages_warmed_total", 1).await?;
        let (_, text) = node.replica.admin("/metrics").await?;
        let of_pages = "larder_reads_total{keyspace=\"comments.list\",";
        let lines = text.lines().filter(|line| line.starts_with(of_pages));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        let reads = values.sum::<u64>();
        assert_eq!(reads, 1, "of the pot alone");
        assert_eq!(node.names("pot", &OLD).await?.1, "l1");
        assert_ne!(node.names("kettle", &OLD).await?.1, "l1");
    }
    Ok(())
}

async fn with_0_nothing_is_looked_for(home: Home) -> Result<()> {
    let (house, others) = house(home).await?;
    let (parts, url) = (house.home.parts(&house.hub), house.people.url());
    let off = Node::with(parts, &url, |comments| comments.crowd_followers(0)).await?;
    off.create(note("a")).await?;
    for node in [&house.comments, &others[0]] {
        warm(node, &["a"], &["Ada"]).await?;
    }
    for name in ["looks", "pages_warmed"] {
        let name = format!("larder_crowd_{name}_total");
        assert_eq!(metric(&off, &name).await?, 0);
    }
    assert_ne!(off.names("kettle", &OLD).await?.1, "l1");
    Ok(())
}
