//! One load per key and process, one in the cluster, and what becomes of flights that go wrong.

use crate::support;

use larder::remote::Remote as _;
use larder::stats::Outcome;
use larder::{Error, Origin, Read};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Tells, World, row, text, until};

#[tokio::test]
async fn a_thousand_callers_of_a_cold_key_in_four_processes_cost_one_load() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(world.node().await);
    }
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..1_000 {
        let rows = nodes[caller % 4].rows.clone();
        callers.spawn(async move { text(&rows.get(&row("1"), &Read::bounded()).await.unwrap()) });
    }
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer.unwrap(), "one");
    }
    let loads: usize = nodes.iter().map(|node| node.loader.loads()).sum();
    assert_eq!(loads, 1);
}

#[tokio::test]
async fn a_leader_who_leaves_hands_over_to_those_who_wait() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    let rows = node.rows.clone();
    let joiner =
        tokio::spawn(async move { text(&rows.get(&row("1"), &Read::bounded()).await.unwrap()) });
    tokio::task::yield_now().await;
    leader.abort();
    let _ = leader.await;
    node.loader.release();
    assert_eq!(joiner.await.unwrap(), "one");
    assert_eq!(node.loader.loads(), 1, "the same load, carried on");
    assert_eq!(node.rows.stats().reads(Outcome::Joined), 1);
}

#[tokio::test]
async fn a_flight_that_everybody_left_leaves_the_way_free() {
    let world = World::new();
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    leader.abort();
    let _ = leader.await;
    node.loader.release();
    node.settled().await;
    assert_eq!(node.get(&row("1")).await, "absent");
    assert_eq!(node.loader.loads(), 2);
}

#[tokio::test]
async fn a_load_that_is_to_be_finished_is_kept_though_everybody_left() {
    let mut world = World::new();
    world.policy.finish_loads = true;
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    leader.abort();
    let _ = leader.await;
    node.loader.release();
    until(|| node.rows.peek(&row("1"), &Read::bounded()).is_some()).await;
    world.stored(&row("1")).await;
    assert_eq!(node.get(&row("1")).await, "one");
    assert_eq!(node.loader.loads(), 1, "the one that was begun");
}

#[tokio::test]
async fn who_comes_after_everybody_left_joins_the_load_that_is_being_finished() {
    let mut world = World::new();
    world.policy.finish_loads = true;
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    leader.abort();
    let _ = leader.await;
    let rows = node.rows.clone();
    let late =
        tokio::spawn(async move { text(&rows.get(&row("1"), &Read::bounded()).await.unwrap()) });
    tokio::task::yield_now().await;
    node.loader.release();
    assert_eq!(late.await.unwrap(), "one");
    assert_eq!(node.loader.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_to_be_finished_ends_at_its_deadline() {
    let mut world = World::new();
    world.policy.finish_loads = true;
    let node = world.node().await;
    let began = tokio::time::Instant::now();
    let leader = node.held(&row("1")).await;
    leader.abort();
    let _ = leader.await;
    assert!(!node.larder.is_settled());
    node.settled().await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_copy_that_goes_soft_in_two_processes_is_renewed_by_one_load() {
    let mut world = World::new();
    world.policy.soft_ttl = Duration::from_secs(10);
    world.policy.max_staleness = Duration::from_secs(3_600);
    world.database.put("1", Some(("a", "one")));
    let (here, there) = (world.node().await, world.node().await);
    assert_eq!(here.get(&row("1")).await, "one");
    world.stored(&row("1")).await;
    assert_eq!(there.get(&row("1")).await, "one");
    assert_eq!((here.loader.loads(), there.loader.loads()), (1, 0));

    world.pass(11_000);
    // Both answer at once, and both would renew; whoever has the lock is held in its loader.
    let renewing = here.held(&row("1")).await;
    assert_eq!(renewing.await.unwrap(), "one");
    there.loader.hold();
    assert_eq!(there.get(&row("1")).await, "one");
    here.loader.release();
    here.settled().await;
    there.settled().await;
    assert_eq!((here.loader.loads(), there.loader.loads()), (2, 0));
    // What one has loaded, the other has too, and it is good for another soft TTL.
    world.pass(9_000);
    for node in [&here, &there] {
        assert_eq!(node.get(&row("1")).await, "one");
        node.settled().await;
    }
    assert_eq!((here.loader.loads(), there.loader.loads()), (2, 0));
}

#[tokio::test]
async fn a_loader_that_fails_or_panics_poisons_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let read = Read::bounded();
    node.loader.failing.store(true, Ordering::SeqCst);
    assert!(matches!(
        node.rows.get(&row("1"), &read).await,
        Err(Error::Load { .. })
    ));
    node.loader.failing.store(false, Ordering::SeqCst);
    node.loader.panicking.store(true, Ordering::SeqCst);
    assert!(matches!(
        node.rows.get(&row("1"), &read).await,
        Err(Error::BrokenLoader { .. })
    ));
    node.loader.panicking.store(false, Ordering::SeqCst);
    node.settled().await;
    assert_eq!(node.get(&row("1")).await, "one");
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_never_answers_costs_its_deadline() {
    let world = World::new();
    let node = world.node().await;
    node.loader.hold();
    let began = tokio::time::Instant::now();
    let error = node
        .rows
        .get(&row("1"), &Read::bounded())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LoadDeadline { .. }), "{error}");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_callers_deadline_ends_its_wait_and_not_the_load_of_others() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let patient = node.held(&row("1")).await;
    let deadline = Some(tokio::time::Instant::now() + Duration::from_millis(50));
    let read = Read {
        deadline,
        ..Read::bounded()
    };
    let error = node.rows.get(&row("1"), &read).await.unwrap_err();
    assert!(matches!(error, Error::CallerDeadline { .. }));
    node.loader.release();
    assert_eq!(patient.await.unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_owner_died_costs_a_bounded_wait() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let lock = ["larder:lock:rows:r1".to_owned()];
    world
        .hub
        .lock(&lock, 1, Duration::from_secs(3_600))
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    let answer = node.answer(&row("1"), &Read::bounded()).await;
    assert_eq!(
        (text(&answer).as_str(), answer.origin),
        ("one", Origin::Source)
    );
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(2) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn where_loads_are_long_a_lock_that_cannot_be_asked_for_is_asked_for_again() {
    let mut world = World::new();
    world.policy.lock_wait = Duration::from_secs(60);
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let lock = ["larder:lock:rows:r1".to_owned()];
    world
        .hub
        .lock(&lock, 1, Duration::from_secs(3_600))
        .await
        .unwrap();
    world.hub.set_faults(larder::remote::hub::Faults {
        slow: true,
        ..Default::default()
    });
    let rows = node.rows.clone();
    let waiting =
        tokio::spawn(async move { text(&rows.get(&row("1"), &Read::bounded()).await.unwrap()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.hub.set_faults(Default::default());
    // The breaker tries again.
    world.pass(1_000);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.loader.loads(), 0, "somebody else is loading it");
    world.hub.unlock(&lock, 1).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "one");
    assert_eq!(node.loader.loads(), 1);
}

#[tokio::test]
async fn loads_that_wait_for_their_turn_keep_back_neither_a_value_nor_a_lock_of_one_that_landed() {
    let mut world = World::new();
    world.policy.finish_loads = true;
    world.policy.turn_wait = Duration::from_secs(60);
    world.policy.lock_wait = Duration::from_secs(60);
    let node = world.node().await;
    node.loader.hold();
    // More than there are places for work behind answers.
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let mut reads = tokio::task::JoinSet::new();
    for name in &names {
        let (rows, key) = (node.rows.clone(), row(name));
        reads.spawn(async move { rows.get(&key, &Read::bounded()).await.map(drop) });
    }
    until(|| node.loader.loads() == 64).await;
    for _ in 0..64 {
        node.loader.release();
    }
    while let Some(read) = reads.join_next().await {
        read.unwrap().unwrap();
    }
    node.settled().await;
    let locks = names.iter().map(|name| format!("larder:lock:rows:r{name}"));
    let locks: Vec<String> = locks.collect();
    let life = Duration::from_secs(1);
    let free = world.hub.lock(&locks, 1, life).await.unwrap();
    let kept = free.iter().filter(|free| !**free).count();
    assert_eq!(kept, 0, "locks that nobody holds any more");
    for name in &names {
        world.stored(&row(name)).await;
    }
}

#[tokio::test]
async fn a_larder_that_is_closed_gives_its_locks_back() {
    let mut world = World::new();
    world.policy.finish_loads = true;
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    leader.abort();
    let _ = leader.await;
    node.larder.close(Duration::from_secs(5)).await;
    let lock = ["larder:lock:rows:r1".to_owned()];
    let won = world.hub.lock(&lock, 1, Duration::from_secs(1)).await;
    assert_eq!(won.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_asks_the_owner_leaves_the_lock_to_it() {
    let mut world = World::new();
    world.tells = Tells::Owner;
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    let lock = ["larder:lock:rows:r1".to_owned()];
    world
        .hub
        .lock(&lock, 1, Duration::from_secs(3_600))
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(node.get(&row("1")).await, "one");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn an_answer_that_may_not_be_kept_is_no_answer_for_who_called_later() {
    let mut world = World::new();
    world.tells = Tells::Owner;
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;
    let leader = node.held(&row("1")).await;
    world.database.put("1", Some(("a", "new")));
    node.prove().await;
    world.pass(1);
    let rows = node.rows.clone();
    let joiner =
        tokio::spawn(async move { text(&rows.get(&row("1"), &Read::bounded()).await.unwrap()) });
    tokio::task::yield_now().await;
    node.loader.release();
    assert_eq!(leader.await.unwrap(), "old");
    assert_eq!(joiner.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_remote_tier_that_hangs_costs_its_timeout_and_then_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    world.hub.set_faults(larder::remote::hub::Faults {
        slow: true,
        ..Default::default()
    });
    let began = tokio::time::Instant::now();
    assert_eq!(node.get(&row("1")).await, "one");
    assert!(
        began.elapsed() <= Duration::from_millis(150),
        "{:?}",
        began.elapsed()
    );
    for id in 0..10 {
        node.get(&row(&id.to_string())).await;
    }
    let began = tokio::time::Instant::now();
    node.get(&row("last")).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "the breaker is open");
}

#[tokio::test(start_paused = true)]
async fn locks_that_nobody_was_asked_for_are_not_given_back() {
    let world = World::new();
    let node = world.node().await;
    world.hub.set_faults(larder::remote::hub::Faults {
        slow: true,
        ..Default::default()
    });
    for id in 0..10 {
        node.get(&row(&id.to_string())).await;
    }
    node.settled().await;
    let began = tokio::time::Instant::now();
    for id in 10..600 {
        node.get(&row(&id.to_string())).await;
    }
    node.settled().await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(50), "kept busy for {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_found_away_ends_the_loads_under_way_and_is_not_asked_until_it_is_back() {
    let mut world = World::new();
    world.policy.fail_safe = true;
    world.database.put("1", Some(("a", "last")));
    let node = world.polling().await;
    node.get(&row("1")).await;
    let loads = node.loader.loads();

    node.loader.hold();
    let (rows, key) = (node.rows.clone(), row("2"));
    let waiting = tokio::spawn(async move { rows.get(&key, &Read::bounded()).await });
    node.loader.has_read.notified().await;
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(3_000);
    let began = tokio::time::Instant::now();
    let ended = waiting.await.expect("no panic");
    assert!(ended.expect_err("nothing is known").is_unavailable());
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        let answer = node.answer(&row("1"), &Read::bounded()).await;
        assert_eq!(answer.origin, Origin::Stale);
    }
    let refused = node.rows.get(&row("2"), &Read::bounded()).await;
    assert!(refused.expect_err("nothing is known").is_unavailable());
    assert!(began.elapsed() < Duration::from_millis(5), "at once");
    assert_eq!(node.loader.loads(), loads + 1);

    node.loader.release();
    world.database.away.store(false, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    until(|| node.rows.peek(&row("1"), &Read::bounded()).is_some()).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(node.get(&row("2")).await, "absent");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_answers_again_is_asked_again_though_its_rounds_prove_nothing() {
    for standby in [false, true] {
        let world = World::new();
        for id in ["1", "2"] {
            world.database.put(id, Some(("a", "one")));
        }
        let node = world.polling().await;
        world.database.away.store(true, Ordering::SeqCst);
        until(|| node.source.stats().round_errors >= 2).await;
        let refused = node.rows.get(&row("1"), &Read::bounded()).await;
        assert!(refused.expect_err("it is away").is_unavailable());

        world.database.standby.store(standby, Ordering::SeqCst);
        if !standby {
            world.database.lose(1);
        }
        world.database.away.store(false, Ordering::SeqCst);
        let errors = node.source.stats().round_errors;
        until(|| node.source.stats().round_errors > errors + 1).await;
        let answer = node.answer(&row("1"), &Read::bounded()).await;
        assert_eq!(
            (text(&answer).as_str(), answer.origin),
            ("one", Origin::Source)
        );
    }
}

#[test]
fn a_flight_that_ends_with_its_runtime_ends_quietly() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rows = runtime.block_on(async {
        let world = World::new();
        let node = world.node().await;
        node.loader.hold();
        node.rows
    });
    let (key, read) = (row("1"), Read::bounded());
    let mut flight = Box::pin(rows.get(&key, &read));
    runtime.block_on(async {
        // Far enough to hold the advisory lock and to wait in its loader.
        let waited = tokio::time::timeout(Duration::from_millis(20), flight.as_mut()).await;
        assert!(waited.is_err(), "it is held");
    });
    drop(runtime);
    drop(flight);
}
