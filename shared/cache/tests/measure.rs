//! What a keyspace says of its own reads.

use crate::support;

use larder::Read;
use larder::stats::Miss;
use larder::{AnyKeyspace, Hot};
use std::sync::Arc;
use support::{Node, World, row};

/// The keyspace of the rows, as an operator finds it.
fn operated(node: &Node) -> Arc<dyn AnyKeyspace> {
    let mut keyspaces = node.source.keyspaces().into_iter();
    keyspaces
        .find(|keyspace| keyspace.name() == node.rows.name())
        .expect("the rows")
}

fn reads_of(hot: &[Hot], key: &str) -> u64 {
    let of_key = |hot: &&Hot| hot.key.ends_with(key);
    hot.iter().find(of_key).map_or(0, |hot| hot.reads)
}

#[tokio::test]
async fn the_hottest_keys_come_first_with_about_their_reads() {
    let world = World::new();
    for id in 0..20 {
        world.database.put(&format!("{id:02}"), Some(("a", "text")));
    }
    let node = world.node().await;
    for _ in 0..100 {
        for id in 0..20 {
            for _ in 0..(20 - id) {
                node.get(&row(&format!("{id:02}"))).await;
            }
        }
    }
    let hot = operated(&node).hot(5);
    assert_eq!(hot, node.rows.hot(5));
    assert_eq!(hot.len(), 5);
    assert!(hot[0].key.as_str() <= "r04", "{hot:?}");
    let all = node.rows.hot(usize::MAX);
    let most = reads_of(&all, "00");
    assert!((1_500..2_500).contains(&most), "{most} for 2,000 reads");
    let sum: u64 = all.iter().map(|hot| hot.reads).sum();
    assert!((18_000..24_000).contains(&sum), "{sum} for 21,000 reads");
}

#[tokio::test]
async fn what_nobody_asked_for_is_not_hot() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    world.database.put("2", Some(("a", "two")));
    let node = world.node().await;
    node.rows.warm(&[row("1"), row("2")]).await.unwrap();
    assert_eq!(node.rows.hot(9), []);
    assert!(node.rows.peek(&row("3"), &Read::bounded()).is_none());
    assert_eq!(node.rows.hot(9), [], "a `get` follows, which counts");
    assert!(node.rows.peek(&row("2"), &Read::bounded()).is_some());
    assert_eq!(reads_of(&node.rows.hot(9), "2"), 1);
}

#[tokio::test]
async fn what_other_processes_ask_for_is_read_here() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let text = {
        let mut text = String::new();
        larder::Key::write(&row("1"), &mut text);
        text
    };
    let told = operated(&node).tell(vec![text.clone()], Read::bounded());
    assert_eq!(told.await.unwrap().len(), 1);
    let hot = node.rows.hot(9);
    assert_eq!((hot[0].key.as_str(), hot[0].reads), (text.as_str(), 1));
}

#[tokio::test]
async fn a_key_that_left_for_room_is_no_first_read() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    world.database.put("2", Some(("a", "two")));
    let node = world.without_feed();
    let tiny = node
        .source
        .keyspace("tiny", support::Through(node.loader.clone()));
    let policy = larder::Policy {
        capacity_bytes: 700,
        ..larder::Policy::default()
    };
    let tiny = tiny.policy(policy).open().unwrap();
    for id in ["1", "2", "1"] {
        tiny.get(&row(id), &Read::bounded()).await.unwrap();
        // Moka settles its books in batches.
        tiny.stats();
    }
    let stats = tiny.stats();
    assert_eq!(
        (stats.misses(Miss::Cold), stats.misses(Miss::Evicted)),
        (2, 1)
    );
}

#[tokio::test]
async fn advice_names_the_capacity_that_would_do_and_the_cause_of_the_misses() {
    let world = World::new();
    let node = world.without_feed();
    let cut = node
        .source
        .keyspace("cut", support::Through(node.loader.clone()));
    let policy = larder::Policy {
        capacity_bytes: 32 << 10,
        ..larder::Policy::default()
    };
    let cut = cut.policy(policy).open().unwrap();
    for n in 0..4_000 {
        let id = (n % 200).to_string();
        cut.get(&row(&id), &Read::bounded()).await.unwrap();
    }
    let advice = cut.advice();
    assert_eq!(advice.reads, 4_000);
    assert!(advice.hit_ratio < 0.05, "{advice:?}");
    assert_eq!(advice.causes[0].miss, Miss::Evicted, "{advice:?}");
    let most = advice.outlooks.last().unwrap().hit_ratio;
    assert!((0.93..0.97).contains(&most), "19 of 20: {advice:?}");
    // 200 absences of 400 bytes each.
    let knee = advice.knee.capacity_bytes;
    assert!((78 << 10..110 << 10).contains(&knee), "{advice:?}");
    assert!(
        advice.words[0].ends_with("KiB would hit 95 %, you have 32 KiB at 0 %."),
        "{advice:?}"
    );
    cut.warm(&[row("a"), row("b")]).await.unwrap();
    assert_eq!(cut.advice().reads, 4_000, "nobody asked");
}
