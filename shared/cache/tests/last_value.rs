//! What is answered when the source cannot be asked, or only a standby can: a last value, marked, or an
//! error, and never an age that nobody can vouch for.

use crate::support::{Tells, World, row, text, token_of};
use larder::policy::Policy;
use larder::{Origin, Read};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn an_unreachable_source_leaves_the_last_value_marked_or_an_error() {
    for fail_safe in [true, false] {
        let mut world = World::new();
        world.policy.fail_safe = fail_safe;
        world.database.put("1", Some(("a", "last")));
        let node = world.node().await;
        node.get(&row("1")).await;
        world.database.away.store(true, Ordering::SeqCst);
        world.pass(3_000);
        let read = node.rows.get(&row("1"), &Read::bounded()).await;
        match read {
            Ok(answer) => {
                assert!(fail_safe);
                assert_eq!(
                    (answer.origin, answer.age),
                    (Origin::Stale, Duration::from_secs(3))
                );
            }
            Err(error) => assert!(!fail_safe && error.is_unavailable()),
        }
        world.database.away.store(false, Ordering::SeqCst);
        world.pass(1_000);
        assert_eq!(
            node.answer(&row("1"), &Read::bounded()).await.origin,
            Origin::Source
        );
    }
}

/// 1. A row was changed behind the journal's back: its copy has not moved, and rounds prove it.
/// 2. The source is too busy for those who want it from there.
/// 3. The last value would be marked, but as one that is a moment old.
#[tokio::test(start_paused = true)]
async fn who_wants_nothing_stale_gets_an_error_in_place_of_the_last_value() {
    let mut world = World::new();
    world.policy.fail_safe = true;
    world.database.put("1", Some(("a", "last")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.database.slip("1", "hidden");
    world.pass(3_000);
    node.prove().await;
    node.loader.hold();
    let last = node.answer(&row("1"), &Read::strong()).await;
    assert_eq!((last.origin, last.age), (Origin::Stale, Duration::ZERO));
    let read = Read::strong().never_stale();
    let refused = node.rows.get(&row("1"), &read).await;
    assert!(refused.expect_err("a last value").is_unavailable());
    let refused = node.rows.get_many(&[row("1")], &read).await;
    assert!(refused.expect_err("a last value").is_unavailable());

    world.pass(3_000);
    let any = node.answer(&row("1"), &Read::any()).await;
    assert_eq!(any.origin, Origin::Stale);
    let refused = node.rows.get(&row("1"), &Read::any().never_stale()).await;
    assert!(refused.expect_err("whatever there is").is_unavailable());
}

#[tokio::test]
async fn past_its_hard_ttl_a_copy_is_no_last_value_either() {
    let mut world = World::new();
    world.policy = Policy {
        hard_ttl: Duration::from_secs(20),
        soft_ttl: Duration::from_secs(20),
        fail_safe: true,
        ..world.policy
    };
    world.database.put("1", Some(("a", "last")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(19_000);
    let last = node.answer(&row("1"), &Read::bounded()).await;
    assert_eq!(last.origin, Origin::Stale);
    world.pass(1_000);
    let refused = node.rows.get(&row("1"), &Read::bounded()).await;
    assert!(refused.expect_err("too old").is_unavailable());
}

#[tokio::test]
async fn what_a_standby_shows_is_no_answer_where_it_is_behind() {
    for fail_safe in [true, false] {
        let mut world = World::new();
        world.tells = Tells::Standby;
        world.policy.fail_safe = fail_safe;
        world.database.put("1", Some(("a", "old")));
        let node = world.node().await;
        assert_eq!(node.get(&row("1")).await, "old");
        *node.loader.lags.lock().unwrap() = Some(world.database.snapshot());
        world.database.put("1", Some(("a", "new")));
        world.pass(3_000);
        node.prove().await;
        match node.rows.get(&row("1"), &Read::bounded()).await {
            Ok(last) => {
                assert!(fail_safe);
                assert_eq!(
                    (last.origin, last.age),
                    (Origin::Stale, Duration::from_secs(3))
                );
            }
            Err(error) => assert!(!fail_safe && error.is_unavailable()),
        }
        *node.loader.lags.lock().unwrap() = None;
        let answer = node.answer(&row("1"), &Read::bounded()).await;
        assert_eq!(
            (text(&answer).as_str(), answer.origin),
            ("new", Origin::Source)
        );
    }
}

/// What it shows is judged as what lies in the remote tier.
#[tokio::test]
async fn a_standby_answers_no_more_than_the_last_proof_vouches_for() {
    let mut world = World::new();
    world.tells = Tells::Standby;
    world.tiers = larder::Tiers::None;
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let bounded = Read::bounded();
    world.pass(900);
    let answer = node.answer(&row("1"), &bounded).await;
    assert_eq!(
        (answer.origin, answer.age),
        (Origin::Source, Duration::from_millis(900))
    );
    let written = world.database.put("2", Some(("a", "two")));
    let token = token_of(&node, &written);
    let reflecting = bounded.clone().reflecting([token]);
    for read in [&Read::strong(), &reflecting] {
        let refused = node.rows.get(&row("1"), read).await;
        assert!(
            refused.expect_err("not proven").is_unavailable(),
            "{read:?}"
        );
    }
    node.prove().await;
    assert_eq!(
        node.answer(&row("1"), &reflecting).await.origin,
        Origin::Source
    );
    world.pass(1_001);
    let refused = node.rows.get(&row("1"), &bounded).await;
    assert!(refused.expect_err("proven too long ago").is_unavailable());
}

#[tokio::test]
async fn a_last_value_is_not_told_to_another_process() {
    let mut world = World::new();
    world.policy.fail_safe = true;
    world.database.put("1", Some(("a", "last")));
    let node = world.node().await;
    node.get(&row("1")).await;
    let rows = || node.source.find("rows").expect("the keyspace");
    let told = rows().tell(vec!["r1".to_owned()], Read::bounded()).await;
    assert!(told.expect("a value")[0].label.is_some());
    // 1. The source goes away, and here its last value is served, marked.
    // 2. Another service asks for it, and would take it for one that was just loaded.
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(3_000);
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::Stale
    );
    let told = rows().tell(vec!["r1".to_owned()], Read::bounded()).await;
    assert!(told.expect_err("a last value").is_unavailable());
}
