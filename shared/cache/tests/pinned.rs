//! Keys that a crowd is expected for: they stay in memory, are filled ahead, and a write to them
//! makes no reader load.

use crate::support;

use larder::check::Finding;
use larder::{Policy, Read};
use std::time::Duration;
use support::{Node, World, row, until};

/// Fills and pins a row in a process.
async fn ready(node: &Node, ids: &[&str]) -> larder::Pinned<support::Wanted, bytes::Bytes> {
    let keys: Vec<_> = ids.iter().map(|id| row(id)).collect();
    let pinned = node.rows.pin(keys.into());
    let filled = node.rows.fill(pinned.keys(), Duration::ZERO).await;
    assert_eq!(filled.expect("the database is there").found, ids.len());
    node.settled().await;
    pinned
}

/// 1. The writer holds the lock, and commits.
/// 2. A round reaches the reader; its copy has moved, and it asks.
/// 3. The writer stores the value, and sends its hint.
#[tokio::test]
async fn a_write_to_a_pinned_key_makes_no_reader_load() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    let _here = ready(&writer, &["a"]).await;
    let _there = ready(&reader, &["a"]).await;
    let loads = reader.loader.loads();

    let writing = writer.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "new")));
    reader.prove().await;
    let rows = reader.rows.clone();
    let asked = tokio::spawn(async move { rows.get(&row("a"), &Read::bounded()).await });
    // It has looked at the remote tier by now, and found the lock taken, over and over.
    until(|| reader.rows.stats().misses(larder::stats::Miss::RemoteLabel) >= 3).await;
    writing.wrote(Some(written)).await.expect("a token");
    let answer = asked.await.expect("no panic").expect("an answer");
    assert_eq!(support::text(&answer), "new");
    assert_eq!(
        reader.loader.loads(),
        loads,
        "it waited, and loaded nothing"
    );
}

/// An older transaction under way makes the label of what was written too weak for the round that
/// follows; the writer loads until it is not, and the readers wait.
#[tokio::test]
async fn an_older_transaction_under_way_makes_no_reader_load_either() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    let _here = ready(&writer, &["a"]).await;
    let _there = ready(&reader, &["a"]).await;
    let loads = reader.loader.loads();

    let older = world.database.begin();
    let writing = writer.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "new")));
    writing.wrote(Some(written)).await.expect("a token");
    reader.heard(1).await;
    assert_eq!(reader.get(&row("a")).await, "new");
    // The round moves it a second time, and its label shows too little to rescue it.
    world.database.commit(older);
    reader.prove().await;
    assert_eq!(reader.get(&row("a")).await, "new");
    assert_eq!(reader.loader.loads(), loads);
    // By then the writer is done, and what the reader has stays.
    writer.settled().await;
    reader.prove().await;
    assert_eq!(reader.get(&row("a")).await, "new");
    assert_eq!(reader.loader.loads(), loads);
}

/// 1. The writer holds the lock, and commits.
/// 2. A reader in its own process finds the copy moved, and its flight waits for the lock.
/// 3. The writer, who loads the same key, does not wait for that flight.
#[tokio::test]
async fn a_writer_does_not_wait_for_a_reader_that_waits_for_it() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let node = world.node().await;
    let _pinned = ready(&node, &["a"]).await;
    let loads = node.loader.loads();
    let writing = node.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "new")));
    node.prove().await;
    let rows = node.rows.clone();
    let asked = tokio::spawn(async move { rows.get(&row("a"), &Read::bounded()).await });
    until(|| node.rows.stats().misses(larder::stats::Miss::RemoteLabel) >= 3).await;
    writing.wrote(Some(written)).await.expect("a token");
    let answer = asked.await.expect("no panic").expect("an answer");
    assert_eq!(support::text(&answer), "new");
    assert_eq!(node.loader.loads(), loads + 1, "the writer's own");
}

#[tokio::test]
async fn a_small_value_that_is_written_travels_with_its_hint() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    let _here = ready(&writer, &["a"]).await;
    let _there = ready(&reader, &["a"]).await;
    let writing = writer.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "new")));
    writing.wrote(Some(written)).await.expect("a token");
    let in_memory = || {
        let answer = reader.rows.peek(&row("a"), &Read::bounded());
        answer.is_some_and(|answer| support::text(&answer) == "new")
    };
    until(in_memory).await;
}

#[tokio::test]
async fn a_write_that_is_given_up_gives_the_lock_back() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let node = world.node().await;
    let pinned = ready(&node, &["a"]).await;
    drop(node.rows.writing(&[row("a")]).await);
    node.settled().await;
    world.database.put("a", Some(("c", "by hand")));
    node.prove().await;
    let started = std::time::Instant::now();
    assert_eq!(node.get(&row("a")).await, "by hand");
    assert!(
        started.elapsed() < world.policy.lock_wait / 2,
        "nobody held it"
    );
    drop(pinned);
}

#[tokio::test]
async fn what_is_pinned_stays_when_memory_is_full_of_others() {
    let mut world = World::new();
    world.policy = Policy {
        capacity_bytes: 8 << 10,
        ..world.policy
    };
    for number in 0..100 {
        let id = format!("n{number}");
        world.database.put(&id, Some(("c", "text")));
    }
    let node = world.node().await;
    // Memory is full of what is asked for often, and would not let newcomers in.
    for _ in 0..20 {
        for number in 0..15 {
            node.get(&row(&format!("n{number}"))).await;
        }
        node.rows.stats();
    }
    let pinned = ready(&node, &["n90", "n91", "n92", "n93", "n94"]).await;
    for number in 15..80 {
        node.get(&row(&format!("n{number}"))).await;
        node.rows.stats();
    }
    let loads = node.loader.loads();
    for key in pinned.keys().iter() {
        assert!(node.rows.peek(key, &Read::bounded()).is_some(), "{key:?}");
    }
    assert_eq!(node.loader.loads(), loads);
    drop(pinned);
    let kept = ["n90", "n91", "n92", "n93", "n94"];
    let kept = kept.map(|id| node.rows.peek(&row(id), &Read::bounded()).is_some());
    assert!(kept.contains(&false), "nobody holds them any more");
}

#[tokio::test]
async fn what_is_held_twice_is_let_go_with_the_last() {
    let world = World::new();
    world.database.put("a", Some(("c", "old")));
    let node = world.node().await;
    let first = ready(&node, &["a"]).await;
    let second = ready(&node, &["a"]).await;
    drop(first);
    let writing = node.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "new")));
    writing.wrote(Some(written)).await;
    assert!(node.rows.peek(&row("a"), &Read::bounded()).is_some());
    drop(second);
    let writing = node.rows.writing(&[row("a")]).await;
    let written = world.database.put("a", Some(("c", "newer")));
    writing.wrote(Some(written)).await;
    assert!(
        node.rows.peek(&row("a"), &Read::bounded()).is_none(),
        "evicted, as the policy says"
    );
}

#[tokio::test]
async fn a_fill_renews_what_would_not_last() {
    let world = World::new();
    world.database.put("a", Some(("c", "text")));
    let (here, there) = (world.node().await, world.node().await);
    let keys = [row("a")];
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(
        here.rows
            .fill(&keys, minutes(5))
            .await
            .expect("filled")
            .found,
        1
    );
    world.stored(&keys[0]).await;
    world.pass(200_000);
    here.prove().await;
    there.prove().await;
    // Good for 400 s of its 600 s yet.
    assert_eq!(
        here.rows
            .fill(&keys, minutes(5))
            .await
            .expect("filled")
            .found,
        1
    );
    assert_eq!(
        there
            .rows
            .fill(&keys, minutes(5))
            .await
            .expect("filled")
            .found,
        1
    );
    assert_eq!((here.loader.loads(), there.loader.loads()), (1, 0));
    world.pass(200_000);
    here.prove().await;
    there.prove().await;
    assert_eq!(
        here.rows
            .fill(&keys, minutes(5))
            .await
            .expect("filled")
            .found,
        1
    );
    here.settled().await;
    assert_eq!(
        there
            .rows
            .fill(&keys, minutes(5))
            .await
            .expect("filled")
            .found,
        1
    );
    assert_eq!((here.loader.loads(), there.loader.loads()), (2, 0));
    // What no value can promise is not asked for again and again.
    assert_eq!(
        here.rows
            .fill(&keys, minutes(60))
            .await
            .expect("filled")
            .found,
        1
    );
    assert_eq!(here.loader.loads(), 2);
}

/// A wrong value is removed where it is pinned too, and the key stays pinned for the right one.
#[tokio::test]
async fn a_repair_lets_a_pinned_entry_go() {
    let world = World::new();
    world.database.put("a", Some(("c", "wrong")));
    let node = world.node().await;
    let _pinned = ready(&node, &["a"]).await;
    world.hub.clear();
    world.database.slip("a", "right");
    let rows = node.source.find("rows").expect("it is open");
    let checked = rows.check(vec!["ra".into()], true).await;
    assert!(
        matches!(checked[0].finding, Finding::Inconsistent(_)),
        "{checked:?}"
    );
    assert_eq!(node.get(&row("a")).await, "right");
    assert_eq!(node.get(&row("a")).await, "right");
}
