//! The operator's side: what is said of a key in all places, that wrong copies are found and
//! repaired and right ones are never taken for wrong, and that watchers see what goes on.

use crate::support;

use larder::check::{Checked, Finding, Tier, Wrong};
use larder::inspect::Inspection;
use larder::operate::NoKey;
use larder::remote::Remote as _;
use larder::remote::hub::Faults;
use larder::stats::Miss;
use larder::watch::{Event, Mover, Seen, Watcher, What};
use larder::{AnyKeyspace, Policy, Read, Tag};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Node, Tells, World, members, row, until};

fn untyped(node: &Node) -> Arc<dyn AnyKeyspace> {
    node.source.find("rows").expect("it is open")
}

async fn inspect(node: &Node, key: &str) -> Inspection {
    untyped(node).inspect(key, true).expect("a key").await
}

async fn check(node: &Node, keys: &[&str], repair: bool) -> Vec<Finding> {
    let keys = keys.iter().map(ToString::to_string).collect();
    let checked = untyped(node).check(keys, repair).await;
    checked
        .into_iter()
        .map(|checked: Checked| checked.finding)
        .collect()
}

async fn check_one(node: &Node, key: &str) -> Finding {
    check(node, &[key], true).await.remove(0)
}

fn tiers(finding: &Finding) -> Vec<(Tier, bool)> {
    match finding {
        Finding::Inconsistent(wrong) => wrong
            .iter()
            .map(|wrong: &Wrong| (wrong.tier, wrong.repaired))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_seen_in_all_three_places_and_looking_fills_none() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (node, other) = (world.node().await, world.node().await);

    let nowhere = inspect(&node, "r1").await;
    assert_eq!(nowhere.key, "r1");
    assert_eq!((nowhere.l1, nowhere.l2.unwrap()), (None, None));
    let source = nowhere.source.expect("asked").expect("it answers");
    assert!(source.value.found && source.label.is_some());
    node.settled().await;
    let again = inspect(&node, "r1").await;
    assert_eq!(
        (again.l1, again.l2.unwrap()),
        (None, None),
        "looking filled something"
    );

    node.get(&row("1")).await;
    world.stored(&row("1")).await;
    world.pass(400);
    node.prove().await;
    let everywhere = inspect(&node, "r1").await;
    let l1 = everywhere.l1.expect("it was read");
    assert_eq!(l1.verdict, Ok(()));
    assert_eq!((l1.age, l1.value), (Duration::ZERO, source.value));
    assert_eq!(l1.hard_left, Duration::from_millis(3_600_000 - 400));
    assert_eq!(l1.soft_left, Duration::from_millis(600_000 - 400));
    assert!(l1.tags.contains(&Tag::of("rows", "1")));
    let l2 = everywhere.l2.unwrap().expect("it was stored");
    assert_eq!((l2.verdict, l2.value), (Ok(()), Some(source.value)));
    assert_eq!(l2.ttl, Some(l2.hard_left));
    assert_eq!(l2.name, "larder:v1:rows:r1");

    let elsewhere = inspect(&other, "r1").await;
    assert_eq!(elsewhere.l1, None, "another process's memory");
    assert!(elsewhere.l2.unwrap().is_some());
}

#[tokio::test]
async fn a_copy_that_is_not_served_says_why() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.stored(&row("1")).await;

    world.pass(1_001);
    let unproven = inspect(&node, "r1").await;
    let l1 = unproven.l1.expect("it is there");
    assert_eq!(l1.verdict, Err(Miss::Unproven));
    assert_eq!(l1.age, Duration::from_millis(1_001));
    assert_eq!(
        unproven.l2.unwrap().expect("it is there").verdict,
        Err(Miss::RemoteUnproven)
    );

    world.database.put("1", Some(("a", "two")));
    node.prove().await;
    let moved = inspect(&node, "r1").await;
    let (l1, l2) = (
        moved.l1.expect("it is there"),
        moved.l2.unwrap().expect("it is there"),
    );
    assert_eq!(
        (l1.verdict, l2.verdict),
        (Err(Miss::Moved), Err(Miss::RemoteLabel))
    );
    assert!(l1.captured < l1.applied);
    let source = moved.source.expect("asked").expect("it answers");
    assert!(!l1.value.agrees(&source.value));

    world.pass(3_600_000);
    let expired = inspect(&node, "r1").await;
    assert_eq!(expired.l1.expect("it is there").verdict, Err(Miss::Expired));
    assert_eq!(expired.l2.unwrap(), None, "its life there is over too");
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_and_the_rest_is_shown() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.hub.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    world.database.away.store(true, Ordering::SeqCst);
    let seen = inspect(&node, "r1").await;
    assert!(seen.l1.is_some());
    assert!(seen.l2.is_err());
    assert!(seen.source.expect("asked").is_err());
    assert!(matches!(untyped(&node).inspect("x1", true), Err(NoKey)));
}

#[tokio::test]
async fn copies_that_say_what_the_source_says_are_the_same() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    node.get(&row("2")).await;
    world.stored(&row("1")).await;
    world.stored(&row("2")).await;
    let findings = check(&node, &["r1", "r2", "r3"], true).await;
    assert_eq!(findings, [Finding::Same, Finding::Same, Finding::Same]);
    assert_eq!(untyped(&node).checks().same, 3);
    assert_eq!(node.get(&row("1")).await, "one");
    assert_eq!(
        node.rows.stats().loads(),
        2,
        "a check is no load of the cache"
    );
}

#[tokio::test]
async fn a_write_that_is_not_known_yet_explains_a_difference() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.stored(&row("1")).await;
    // Its hint is lost, and no round was taken since: the copy is served, as it may be.
    world.database.put("1", Some(("a", "new")));
    assert_eq!(node.get(&row("1")).await, "old");
    assert_eq!(check_one(&node, "r1").await, Finding::Explained);
    assert_eq!(
        node.get(&row("1")).await,
        "new",
        "the check brought the news"
    );
}

#[tokio::test]
async fn a_row_that_was_changed_behind_the_journal_is_found_in_both_tiers_and_repaired() {
    let world = World::new();
    world.database.put("1", Some(("a", "before")));
    let (node, other) = (world.node().await, world.node().await);
    node.get(&row("1")).await;
    world.stored(&row("1")).await;
    other.get(&row("1")).await;
    world.database.slip("1", "after");
    node.prove().await;
    assert_eq!(
        node.get(&row("1")).await,
        "before",
        "nothing tells that it is wrong"
    );

    let told = check(&node, &["r1"], false).await.remove(0);
    assert_eq!(tiers(&told), [(Tier::L1, false), (Tier::L2, false)]);
    assert_eq!(
        node.get(&row("1")).await,
        "before",
        "it was only to be told"
    );

    assert_eq!(
        tiers(&check_one(&node, "r1").await),
        [(Tier::L1, true), (Tier::L2, true)]
    );
    assert_eq!(node.get(&row("1")).await, "after");
    other.prove().await;
    assert_eq!(
        other.get(&row("1")).await,
        "after",
        "its key was moved everywhere"
    );
    assert_eq!(check_one(&node, "r1").await, Finding::Same);
    let checks = untyped(&node).checks();
    assert_eq!((checks.inconsistent_l1, checks.inconsistent_l2), (2, 2));
}

#[tokio::test]
async fn a_value_planted_in_the_remote_tier_is_found_before_memory_has_it() {
    let world = World::new();
    world.database.put("1", Some(("a", "planted")));
    let (node, planter) = (world.node().await, world.node().await);
    planter.get(&row("1")).await;
    world.stored(&row("1")).await;
    world.database.slip("1", "right");
    assert_eq!(tiers(&check_one(&node, "r1").await), [(Tier::L2, true)]);
    assert_eq!(
        world.hub.get(&["larder:v1:rows:r1".into()]).await.unwrap(),
        [None]
    );
    assert_eq!(node.get(&row("1")).await, "right");
}

#[tokio::test]
async fn a_value_that_is_wrong_in_memory_alone_is_dropped_there() {
    let world = World::new();
    world.database.put("1", Some(("a", "wrong")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.stored(&row("1")).await;
    world.hub.clear();
    world.database.slip("1", "right");
    let before = world.database.snapshot();
    assert_eq!(tiers(&check_one(&node, "r1").await), [(Tier::L1, true)]);
    assert_eq!(node.get(&row("1")).await, "right");
    assert_eq!(
        world.database.snapshot(),
        before,
        "nobody else was bothered"
    );
}

#[tokio::test]
async fn a_wrong_absence_is_found_like_a_wrong_value() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    assert_eq!(node.get(&row("2")).await, "absent");
    node.settled().await;
    world.database.put("2", Some(("a", "two")));
    assert_eq!(
        check_one(&node, "r2").await,
        Finding::Explained,
        "it was written since"
    );
    node.get(&row("2")).await;
    node.settled().await;
    assert_eq!(check_one(&node, "r2").await, Finding::Same);
}

#[tokio::test]
async fn nothing_is_said_while_the_source_does_not_answer_or_proves_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.database.slip("1", "another");
    world.database.away.store(true, Ordering::SeqCst);
    assert_eq!(check_one(&node, "r1").await, Finding::Undecided);
    let foreign = world.without_feed();
    world.database.away.store(false, Ordering::SeqCst);
    foreign.loader.database.slip("1", "one");
    foreign.get(&row("1")).await;
    world.database.slip("1", "two");
    assert_eq!(check_one(&foreign, "r1").await, Finding::Undecided);
}

/// 1. A copy is right, and of a later state than the standby shows.
/// 2. The check reads the standby, whose answer differs.
/// 3. Its label does not show what the copy reflects, so that nothing is said.
#[tokio::test]
async fn an_answer_of_a_lagging_standby_accuses_nobody() {
    let mut world = World::new();
    world.database.put("1", Some(("a", "old")));
    let lagging = world.database.snapshot();
    let primary = world.node().await;
    world.database.put("1", Some(("a", "new")));
    primary.prove().await;
    primary.get(&row("1")).await;
    world.stored(&row("1")).await;

    world.tells = Tells::Standby;
    let node = world.node().await;
    assert_eq!(node.get(&row("1")).await, "new", "from the remote tier");
    *node.loader.lags.lock().unwrap() = Some(lagging);
    assert_eq!(check_one(&node, "r1").await, Finding::Undecided);
    *node.loader.lags.lock().unwrap() = None;
    assert_eq!(check_one(&node, "r1").await, Finding::Same);
    world.database.slip("1", "newest");
    assert_eq!(
        tiers(&check_one(&node, "r1").await),
        [(Tier::L1, true), (Tier::L2, true)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_storm_of_writes_no_right_copy_is_taken_for_wrong() {
    let world = Arc::new(World::new());
    let nodes = [world.polling().await, world.polling().await];
    let ids: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    for id in &ids {
        world.database.put(id, Some(("a", "0")));
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = Vec::new();
    for (seed, source) in nodes.iter().map(|node| node.source.clone()).enumerate() {
        let (world, ids, stop) = (world.clone(), ids.clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut n = seed;
            while !stop.is_cancelled() {
                n += 1;
                let collection = if n % 3 == 0 { "a" } else { "b" };
                let text = n.to_string();
                let id = &ids[n * 7 % ids.len()];
                let content = (n % 11 != 0).then_some((collection, &*text));
                // Two at once, which commit out of order; some hints are never sent.
                let (low, high) = (world.database.begin(), world.database.begin());
                world.database.write(high, id, content);
                let written = world.database.commit(high);
                tokio::task::yield_now().await;
                world.database.commit(low);
                if n % 2 == 0 {
                    source.wrote(written).await;
                }
                world.pass(1);
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut keys: Vec<String> = ids.iter().map(|id| format!("r{id}")).collect();
    keys.extend(["ma".into(), "mb".into()]);
    for round in 0..100 {
        for node in &nodes {
            for id in &ids {
                node.get(&row(id)).await;
            }
            node.get(&members(if round % 2 == 0 { "a" } else { "b" }))
                .await;
            for checked in untyped(node).check(keys.clone(), false).await {
                let wrong = matches!(checked.finding, Finding::Inconsistent(_));
                assert!(!wrong, "{checked:?}");
            }
        }
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    let checks = untyped(&nodes[0]).checks();
    assert!(
        checks.same > 0 && checks.explained > 0,
        "the storm was none: {checks:?}"
    );
}

#[tokio::test]
async fn a_sample_is_of_keys_in_memory_each_once() {
    let world = World::new();
    let node = world.node().await;
    for n in 0..40 {
        world.database.put(&n.to_string(), Some(("a", "x")));
        node.get(&row(&n.to_string())).await;
    }
    let mut sample = untyped(&node).sample(10).await;
    sample.sort();
    sample.dedup();
    assert_eq!(sample.len(), 10);
    assert_eq!(untyped(&node).sample(100).await.len(), 40);
    let warmed = untyped(&node)
        .warm(vec!["r1".into(), "r99".into(), "no key".into()])
        .await;
    let warmed = warmed.unwrap();
    assert_eq!((warmed.found, warmed.absent), (1, 1));
}

async fn next(watcher: &mut Watcher, wanted: impl Fn(&What) -> bool) -> Arc<Event> {
    let found = async {
        loop {
            match watcher.next().await.expect("the larder is there") {
                Seen::Event(event) if wanted(&event.what) => return event,
                Seen::Event(_) => {}
                Seen::Lost(lost) => panic!("{lost} events were lost"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("the event")
}

#[tokio::test]
async fn a_watcher_sees_what_moved_and_who_told_what_was_loaded_and_what_was_wrong() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (node, writer) = (world.node().await, world.node().await);
    let mut watcher = node.larder.watch();

    node.get(&row("1")).await;
    let loaded = next(&mut watcher, |what| matches!(what, What::Loaded { .. })).await;
    assert_eq!(loaded.keyspace.as_deref(), Some("rows"));
    assert!(matches!(&loaded.what, What::Loaded { keys, failed: false, .. } if keys == &["r1"]));

    let moved =
        |by| move |what: &What| matches!(what, What::Moved { by: mover, .. } if *mover == by);
    let written = world.database.put("1", Some(("a", "two")));
    writer.source.wrote(written).await;
    let hint = next(&mut watcher, moved(Mover::Hint)).await;
    let of_row = |tags: &[Tag]| tags.contains(&Tag::of("rows", "1"));
    assert!(matches!(&hint.what, What::Moved { tags, count: 2, .. } if of_row(tags)));
    let written = world.database.put("1", Some(("a", "three")));
    node.source.wrote(written).await;
    next(&mut watcher, moved(Mover::Own)).await;
    node.prove().await;
    next(&mut watcher, moved(Mover::Round)).await;

    node.get(&row("1")).await;
    world.database.slip("1", "four");
    check_one(&node, "r1").await;
    let wrong = next(&mut watcher, |what| {
        matches!(what, What::Inconsistent { .. })
    })
    .await;
    assert!(matches!(&wrong.what, What::Inconsistent { key, tier: Tier::L1 } if key == "r1"));
}

#[tokio::test]
async fn a_watcher_sees_a_source_go_and_come_back_and_entries_that_make_room() {
    let mut world = World::new();
    world.policy = Policy {
        capacity_bytes: 2_000,
        ..world.policy
    };
    let node = world.polling().await;
    let mut watcher = node.larder.watch();
    world.database.away.store(true, Ordering::SeqCst);
    let stopped = |goes_on| move |what: &What| *what == What::Proof { goes_on };
    next(&mut watcher, stopped(false)).await;
    next(&mut watcher, |what| *what == What::Breaker { open: true }).await;
    world.database.away.store(false, Ordering::SeqCst);
    next(&mut watcher, |what| *what == What::Breaker { open: false }).await;
    next(&mut watcher, stopped(true)).await;
    for n in 0..40 {
        node.get(&row(&n.to_string())).await;
    }
    node.rows.stats();
    next(&mut watcher, |what| matches!(what, What::Evicted { .. })).await;
}

#[tokio::test]
async fn a_slow_watcher_is_told_how_much_it_lost_and_a_gone_one_costs_nothing() {
    let world = World::new();
    let node = world.node().await;
    let mut watcher = node.larder.watch();
    for n in 0..1_500 {
        world.database.put("1", Some(("a", &n.to_string())));
        node.prove().await;
    }
    let Some(Seen::Lost(lost)) = watcher.next().await else {
        panic!("nothing was lost");
    };
    let mut seen = 0;
    while watcher.try_next().is_some() {
        seen += 1;
    }
    assert_eq!(lost + seen, 1_500);
    until(|| node.larder.is_settled()).await;
    assert!(node.rows.get(&row("1"), &Read::bounded()).await.is_ok());
}
