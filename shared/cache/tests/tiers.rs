//! A cache without its memory, and without anything: what an answer costs changes, and what it
//! promises does not.

use crate::support;

use futures_util::FutureExt as _;
use larder::policy::{OnWrite, Policy};
use larder::remote::Remote as _;
use larder::{Origin, Read, Tiers};
use std::time::Duration;
use support::{World, members, row, text, until};

const ALL: [Tiers; 3] = [Tiers::Both, Tiers::RemoteOnly, Tiers::None];

fn world(tiers: Tiers) -> World {
    World {
        tiers,
        ..World::new()
    }
}

#[tokio::test]
async fn a_read_keeps_its_promises_in_every_mode() {
    for tiers in ALL {
        let world = world(tiers);
        world.database.put("1", Some(("a", "old")));
        let (writer, reader) = (world.node().await, world.node().await);
        for node in [&writer, &reader] {
            assert_eq!(node.get(&row("1")).await, "old", "{tiers:?}");
            assert_eq!(node.get(&members("b")).await, "", "{tiers:?}");
            assert_eq!(node.get(&row("2")).await, "absent", "{tiers:?}");
            node.settled().await;
        }
        let written = world.database.put("1", Some(("b", "new")));
        let token = writer.source.wrote(written).await;
        let own = Read::bounded().reflecting([token]);
        for node in [&writer, &reader] {
            let answer = node.answer(&row("1"), &own).await;
            assert_eq!(text(&answer), "new", "{tiers:?}");
            assert_eq!(text(&node.answer(&members("b"), &own).await), "1");
        }
        let strong = reader.answer(&row("1"), &Read::strong()).await;
        assert_eq!(
            (text(&strong).as_str(), strong.origin),
            ("new", Origin::Source)
        );
        // A write that nobody told of is shown once Δ is over, by whatever is asked then.
        world.database.put("1", None);
        world.pass(1_001);
        let late = reader.answer(&row("1"), &Read::bounded()).await;
        assert_eq!(text(&late), "absent", "{tiers:?}");
        assert!(late.age <= Duration::from_secs(1), "{tiers:?}");
    }
}

#[tokio::test]
async fn without_memory_the_remote_tier_answers_and_nothing_is_kept() {
    let world = world(Tiers::RemoteOnly);
    world.database.put("1", Some(("a", "one")));
    let (first, second) = (world.node().await, world.node().await);
    first.get(&row("1")).await;
    world.stored(&row("1")).await;
    for node in [&first, &second, &first] {
        let answer = node.answer(&row("1"), &Read::bounded()).await;
        assert_eq!((text(&answer).as_str(), answer.origin), ("one", Origin::L2));
        assert!(node.rows.peek(&row("1"), &Read::any()).is_none());
        assert_eq!(node.rows.stats().entries, 0);
    }
    assert_eq!((first.loader.loads(), second.loader.loads()), (1, 0));
    let memo = first.larder.memo::<u8, u8>(1 << 20);
    memo.put(1, Vec::new(), 1, 1);
    assert_eq!(memo.get(&1, &Read::bounded(), |made, _| *made), None);
}

#[tokio::test]
async fn without_memory_a_value_past_its_soft_ttl_is_renewed_behind_the_answer() {
    let world = World {
        policy: Policy {
            soft_ttl: Duration::from_secs(10),
            jitter: 0.0,
            ..Policy::default()
        },
        ..world(Tiers::RemoteOnly)
    };
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.stored(&row("1")).await;
    world.pass(11_000);
    node.prove().await;
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L2
    );
    until(|| node.loader.loads() == 2).await;
    node.settled().await;
    node.get(&row("1")).await;
    node.settled().await;
    assert_eq!(node.loader.loads(), 2, "once, as it is good again");
}

#[tokio::test]
async fn without_a_cache_every_read_is_a_load_of_its_own() {
    let world = world(Tiers::None);
    world.database.put("1", Some(("a", "one")));
    world.database.put("2", Some(("a", "two")));
    let node = world.node().await;
    let first = node.held(&row("1")).await;
    let second = node.held(&row("1")).await;
    assert_eq!(node.loader.loads(), 2, "neither waits for the other");
    node.loader.release();
    node.loader.release();
    for read in [first, second] {
        assert_eq!(read.await.expect("it ends"), "one");
    }
    for _ in 0..3 {
        let answer = node.answer(&row("1"), &Read::any()).await;
        assert_eq!(answer.origin, Origin::Source);
    }
    assert_eq!(node.loader.loads(), 5);
    let many = [row("1"), row("2"), row("1")];
    let answers = node.rows.get_many(&many, &Read::bounded()).await;
    let texts: Vec<_> = answers.expect("answers").iter().map(text).collect();
    assert_eq!(texts, ["one", "two", "one"]);
    assert_eq!(node.loader.loads(), 6, "a batch is one load");
    assert_eq!(node.rows.stats().entries, 0);
}

#[tokio::test]
async fn without_a_cache_the_remote_tier_is_neither_asked_nor_told() {
    let world = World {
        policy: Policy {
            on_write: OnWrite::Push,
            jitter: 0.0,
            ..Policy::default()
        },
        ..world(Tiers::None)
    };
    let mut heard = world.hub.subscribe("larder:hints:rows");
    world.database.put("1", Some(("a", "one")));
    let bare = world.node().await;
    let written = world.database.put("1", Some(("a", "two")));
    let token = bare.rows.wrote(&[row("1")], Some(written)).await;
    assert!(token.is_some(), "the writer has its receipt all the same");
    assert_eq!(bare.get(&row("1")).await, "two");
    bare.settled().await;
    assert_eq!(bare.loader.loads(), 1, "a write renews nothing");
    let names = ["larder:v1:rows:r1".to_owned()];
    assert_eq!(world.hub.get(&names).await.expect("the hub"), [None]);
    let message = std::iter::from_fn(|| heard.recv().now_or_never().flatten())
        .find(|event| matches!(event, larder::remote::Event::Message(_)));
    assert!(message.is_none(), "{message:?}");
}
