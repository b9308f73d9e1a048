//! What a caller may ask for, and what the policy promises.

use crate::support;

use larder::policy::{OnWrite, Policy};
use larder::remote::hub::Faults;
use larder::stats::{Miss, Outcome};
use larder::{Origin, Read, Target, Token};
use std::time::Duration;
use support::{Tells, World, line, members, row, text, token_of};

#[tokio::test]
async fn a_hit_is_counted_and_so_is_every_other_end_of_a_read() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (first, second) = (world.node().await, world.node().await);
    first.get(&row("1")).await;
    first.get(&row("1")).await;
    world.stored(&row("1")).await;
    second.get(&row("1")).await;
    let (stats, other) = (first.rows.stats(), second.rows.stats());
    assert_eq!(
        (stats.reads(Outcome::Load), stats.reads(Outcome::L1)),
        (1, 1)
    );
    assert_eq!((other.reads(Outcome::L2), other.loads()), (1, 0));
    assert_eq!(stats.misses(Miss::Cold), 1);
    assert_eq!(stats.entries, 1);
}

#[tokio::test]
async fn a_strong_read_sees_what_no_proof_has_shown_yet() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.database.put("1", Some(("a", "new")));
    assert_eq!(node.get(&row("1")).await, "old", "within the bound");
    let strong = node.answer(&row("1"), &Read::strong()).await;
    assert_eq!(
        (text(&strong).as_str(), strong.origin),
        ("new", Origin::Source)
    );
}

#[tokio::test]
async fn a_bound_of_ones_own_is_kept_tighter_and_looser() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.pass(300);
    let tight = node
        .answer(&row("1"), &Read::within(Duration::from_millis(200)))
        .await;
    assert_eq!(tight.origin, Origin::Source);
    world.pass(5_000);
    let loose = node
        .answer(&row("1"), &Read::within(Duration::from_secs(10)))
        .await;
    assert_eq!(
        (loose.origin, loose.age),
        (Origin::L1, Duration::from_secs(5))
    );
}

#[tokio::test]
async fn any_takes_what_there_is_and_says_how_old() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.pass(60_000);
    let any = node.answer(&row("1"), &Read::any()).await;
    assert_eq!(
        (any.origin, any.age),
        (Origin::Stale, Duration::from_secs(60))
    );
}

#[tokio::test]
async fn a_token_is_honoured_before_its_hint_and_its_round_have_come() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    node.get(&row("1")).await;
    node.get(&members("b")).await;
    let written = world.database.put("1", Some(("b", "new")));
    let read = Read::bounded().reflecting([token_of(&node, &written)]);
    let answer = node.answer(&row("1"), &read).await;
    assert_eq!(
        (text(&answer).as_str(), answer.origin),
        ("new", Origin::Source)
    );
    assert_eq!(
        text(&node.answer(&members("b"), &read).await),
        "1",
        "any key, any list"
    );
}

#[tokio::test]
async fn a_token_costs_no_load_once_its_hint_or_its_round_has_come() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (writer, by_hint, by_round) = (world.node().await, world.node().await, world.node().await);
    for node in [&by_hint, &by_round] {
        node.get(&members("z")).await;
    }
    let written = world.database.put("1", Some(("b", "new")));
    let token = writer.source.wrote(written).await;
    by_hint.heard(1).await;
    by_round.prove().await;
    let read = Read::bounded().reflecting([token]);
    for node in [&by_hint, &by_round] {
        assert_eq!(node.answer(&members("z"), &read).await.origin, Origin::L1);
        assert_eq!(text(&node.answer(&row("1"), &read).await), "new");
    }
}

#[tokio::test]
async fn a_token_of_another_source_is_ignored_and_one_of_another_epoch_asks_the_source() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    let written = world.database.put("2", Some(("a", "two")));
    let own = token_of(&node, &written);
    let foreign = Token {
        source: own.source ^ 1,
        ..own
    };
    let read = Read::bounded().reflecting([foreign]);
    assert_eq!(node.answer(&row("1"), &read).await.origin, Origin::L1);
    node.prove().await;
    let mut epoch = own.epoch;
    epoch.timeline += 1;
    let read = Read::bounded().reflecting([Token { epoch, ..own }]);
    assert_eq!(node.answer(&row("1"), &read).await.origin, Origin::Source);
}

#[tokio::test]
async fn many_keys_cost_one_load_and_come_in_their_order() {
    let world = World::new();
    for id in ["1", "2", "3"] {
        world.database.put(id, Some(("a", id)));
    }
    let (first, second) = (world.node().await, world.node().await);
    first.get(&row("2")).await;
    let keys = ["3", "1", "nobody", "2", "1"].map(row);
    for node in [&first, &second] {
        let answers = node.rows.get_many(&keys, &Read::bounded()).await.unwrap();
        let texts: Vec<String> = answers.iter().map(text).collect();
        assert_eq!(texts, ["3", "1", "absent", "2", "1"]);
        first.settled().await;
    }
    assert_eq!((first.loader.loads(), second.loader.loads()), (2, 0));
}

#[tokio::test]
async fn invalidation_reaches_a_process_that_hears_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (operator, deaf) = (world.node().await, world.node().await);
    world.hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    let key = row("1");
    for target in [
        Target::Key(&key),
        Target::Tag("rows.collection", "a"),
        Target::Keyspace,
    ] {
        for node in [&operator, &deaf] {
            node.get(&members("a")).await;
            node.get(&key).await;
        }
        let watched = if matches!(target, Target::Tag(..)) {
            members("a")
        } else {
            key.clone()
        };
        assert_eq!(
            deaf.answer(&watched, &Read::bounded()).await.origin,
            Origin::L1
        );
        operator
            .rows
            .invalidate(target)
            .await
            .unwrap()
            .expect("a journal gives a token");
        operator.settled().await;
        deaf.prove().await;
        let after = deaf.answer(&watched, &Read::bounded()).await.origin;
        assert_ne!(after, Origin::L1, "{target:?}");
    }
}

#[tokio::test]
async fn a_put_stores_what_was_written_for_everybody() {
    let mut world = World::new();
    world.policy.on_write = OnWrite::Put;
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    reader.get(&row("1")).await;
    let written = world.database.put("1", Some(("a", "new")));
    writer
        .rows
        .wrote(&[row("1")], Some(written))
        .await
        .expect("a token");
    writer.settled().await;
    reader.heard(1).await;
    let answer = reader.answer(&row("1"), &Read::bounded()).await;
    assert_eq!((text(&answer).as_str(), answer.origin), ("new", Origin::L2));
}

#[tokio::test]
async fn a_push_puts_what_was_written_into_every_memory() {
    let mut world = World::new();
    world.policy.on_write = OnWrite::Push;
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    reader.get(&row("1")).await;
    let loads = reader.loader.loads();
    let written = world.database.put("1", Some(("a", "new")));
    writer
        .rows
        .wrote(&[row("1")], Some(written))
        .await
        .expect("a token");
    reader.heard(1).await;
    let answer = reader.answer(&row("1"), &Read::bounded()).await;
    assert_eq!((text(&answer).as_str(), answer.origin), ("new", Origin::L1));
    assert_eq!(reader.loader.loads(), loads);
}

#[tokio::test]
async fn spreading_fills_every_memory_before_anybody_asks() {
    let world = World::new();
    for id in ["1", "2"] {
        world.database.put(id, Some(("a", id)));
    }
    let (first, second) = (world.node().await, world.node().await);
    let keys = ["1", "2", "nobody"].map(row);
    assert_eq!(first.rows.spread(&keys).await.unwrap(), 2);
    support::until(|| second.rows.peek(&row("nobody"), &Read::bounded()).is_some()).await;
    for key in &keys {
        assert_eq!(
            second.answer(key, &Read::bounded()).await.origin,
            Origin::L1
        );
    }
    assert_eq!((first.loader.loads(), second.loader.loads()), (1, 0));
}

#[tokio::test]
async fn past_its_soft_ttl_a_copy_is_served_and_renewed_behind() {
    let mut world = World::new();
    world.policy.soft_ttl = Duration::from_secs(10);
    let node = world.node().await;
    node.get(&row("1")).await;
    world.pass(10_000);
    node.prove().await;
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L1
    );
    node.settled().await;
    assert_eq!(node.loader.loads(), 2);
    node.answer(&row("1"), &Read::bounded()).await;
    node.settled().await;
    assert_eq!(node.loader.loads(), 2, "it is fresh again");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_takes_long_is_not_waited_for() {
    let mut world = World::new();
    world.policy.soft_ttl = Duration::from_secs(10);
    world.policy.while_revalidate = false;
    let node = world.node().await;
    node.get(&row("1")).await;
    world.pass(10_000);
    node.prove().await;
    node.loader.hold();
    let answer = node.answer(&row("1"), &Read::bounded()).await;
    assert_eq!(answer.origin, Origin::L1, "the soft deadline passed");
    node.loader.release();
    node.settled().await;
    assert_eq!(node.loader.loads(), 2, "and the renewal finished behind");
}

#[tokio::test]
async fn past_its_hard_ttl_a_copy_is_never_served() {
    let mut world = World::new();
    world.policy = Policy {
        hard_ttl: Duration::from_secs(20),
        soft_ttl: Duration::from_secs(20),
        ..world.policy
    };
    let node = world.node().await;
    node.get(&row("1")).await;
    world.pass(60_000);
    node.prove().await;
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::Source
    );
}

#[tokio::test]
async fn bytes_that_are_no_value_of_ours_are_dropped_and_the_source_is_asked() {
    use larder::remote::{Item, Remote as _};
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (writer, reader) = (world.node().await, world.node().await);
    writer.get(&row("1")).await;
    world.stored(&row("1")).await;
    let key = "larder:v1:rows:r1".to_owned();
    let good = world.hub.get(std::slice::from_ref(&key)).await.unwrap()[0]
        .clone()
        .unwrap();
    let mut corrupt = good.to_vec();
    corrupt[3] ^= 1;
    let bad = [
        corrupt,
        good[..good.len() - 1].to_vec(),
        b"foreign".to_vec(),
        Vec::new(),
    ];
    for (count, value) in bad.into_iter().enumerate() {
        let ttl = Duration::from_secs(60);
        world
            .hub
            .set(&[Item {
                key: key.clone(),
                value: value.into(),
                ttl,
            }])
            .await
            .unwrap();
        let fresh = world.node().await;
        let answer = fresh.answer(&row("1"), &Read::bounded()).await;
        assert_eq!(
            (text(&answer).as_str(), answer.origin),
            ("one", Origin::Source),
            "{count}"
        );
        assert!(fresh.rows.stats().misses(Miss::RemoteCorrupt) > 0);
        fresh.settled().await;
    }
    assert_eq!(
        reader.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L2,
        "mended"
    );
}

#[tokio::test]
async fn without_a_remote_tier_everything_is_answered_from_the_source() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    world.hub.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    assert_eq!(reader.get(&row("1")).await, "old");
    writer
        .source
        .wrote(world.database.put("1", Some(("a", "new"))))
        .await;
    reader.prove().await;
    assert_eq!(reader.get(&row("1")).await, "new");
    assert_eq!(writer.source.stats().hints_lost, 1);
}

#[tokio::test]
async fn a_source_without_a_feed_has_values_that_live_for_the_bound_and_hints_that_end_them() {
    let mut world = World::new();
    world.tells = Tells::Nothing;
    world.database.put("1", Some(("a", "old")));
    let (first, second) = (world.without_feed(), world.without_feed());
    for node in [&first, &second] {
        node.get(&row("1")).await;
    }
    world.database.put("1", Some(("a", "new")));
    assert_eq!(second.get(&row("1")).await, "old");
    first
        .source
        .invalidate(&[line("rows", "r1")])
        .await
        .unwrap();
    second.heard(1).await;
    assert_eq!(second.get(&row("1")).await, "new");
    world.database.put("1", Some(("a", "newer")));
    world.pass(1_001);
    assert_eq!(second.get(&row("1")).await, "newer");
}

#[tokio::test]
async fn a_value_too_large_is_answered_and_not_kept() {
    let mut world = World::new();
    world.policy.largest_bytes = 1_000;
    let large = "x".repeat(2_000);
    world.database.put("1", Some(("a", &large)));
    let node = world.node().await;
    assert_eq!(node.get(&row("1")).await, large);
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::Source
    );
}

#[tokio::test]
async fn a_memo_holds_for_as_long_as_all_of_its_parts_do() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    world.database.put("2", Some(("a", "two")));
    let node = world.node().await;
    let memo: larder::Memo<&str, String> = node.larder.memo(1 << 20);
    let read = Read::bounded();
    let make = async || {
        let (one, two) = (
            node.answer(&row("1"), &read).await,
            node.answer(&row("2"), &read).await,
        );
        let page = format!("{} {}", text(&one), text(&two));
        let parts = vec![node.rows.part(&one), node.rows.part(&two)];
        memo.put("page", parts, page, 10);
    };
    make().await;
    let page = || {
        memo.get(&"page", &read, |made, age| (made.clone(), age))
            .map(|(page, _)| page)
    };
    assert_eq!(page().as_deref(), Some("one two"));
    node.source
        .wrote(world.database.put("2", Some(("a", "changed"))))
        .await;
    assert_eq!(page(), None);
    make().await;
    assert_eq!(page().as_deref(), Some("one changed"));
    world.pass(1_001);
    assert_eq!(page(), None, "nothing proves it any more");
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused_by_field() {
    let check = |policy: Policy| policy.check().unwrap_err().field;
    let defaults = Policy::default;
    assert_eq!(
        check(Policy {
            hard_ttl: Duration::ZERO,
            ..defaults()
        }),
        "hard_ttl"
    );
    assert_eq!(
        check(Policy {
            soft_ttl: Duration::from_secs(7200),
            ..defaults()
        }),
        "soft_ttl"
    );
    assert_eq!(
        check(Policy {
            jitter: 1.5,
            ..defaults()
        }),
        "jitter"
    );
}
