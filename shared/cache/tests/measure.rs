//! What a keyspace says of its own reads.

mod support;

use larder::Read;
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
