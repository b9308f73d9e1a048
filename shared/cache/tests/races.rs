//! The races of the protocol, replayed step by step, with time under control.

use crate::support;

use larder::{Origin, Read};
use support::{World, members, row};

#[tokio::test]
async fn a_late_old_value_in_memory_is_never_served() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;

    let late = node.held(&row("1")).await;
    let written = world.database.put("1", Some(("a", "new")));
    node.source.wrote(written).await;
    node.loader.release();
    assert_eq!(
        late.await.unwrap(),
        "old",
        "it read before the write; that is its answer"
    );

    assert_eq!(node.get(&row("1")).await, "new");
}

#[tokio::test]
async fn a_late_old_value_in_the_remote_tier_is_never_taken() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (slow, writer) = (world.node().await, world.node().await);

    let late = slow.held(&row("1")).await;
    let written = world.database.put("1", Some(("a", "new")));
    writer.source.wrote(written).await;
    assert_eq!(writer.get(&row("1")).await, "new");
    slow.loader.release();
    late.await.unwrap();
    slow.settled().await;

    let reader = world.node().await;
    assert_eq!(reader.get(&row("1")).await, "new");
    slow.prove().await;
    assert_eq!(slow.get(&row("1")).await, "new");
}

#[tokio::test]
async fn who_joins_a_flight_after_a_write_does_not_get_what_it_read_before() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;

    let leader = node.held(&row("1")).await;
    let written = world.database.put("1", Some(("a", "new")));
    node.source.wrote(written).await;
    world.pass(1);
    let rows = node.rows.clone();
    let joiner = tokio::spawn(async move {
        support::text(&rows.get(&row("1"), &Read::bounded()).await.unwrap())
    });
    tokio::task::yield_now().await;
    node.loader.release();

    assert_eq!(leader.await.unwrap(), "old");
    assert_eq!(joiner.await.unwrap(), "new");
}

#[tokio::test]
async fn a_low_transaction_that_commits_late_is_missed_by_nobody() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);

    let (low, high) = (world.database.begin(), world.database.begin());
    world.database.write(low, "1", Some(("a", "one")));
    world.database.write(high, "2", Some(("a", "two")));
    let written = world.database.commit(high);
    first.source.wrote(written).await;
    assert_eq!(
        first.get(&members("a")).await,
        "2",
        "the other is not committed yet"
    );

    world.database.commit(low);
    first.prove().await;
    second.prove().await;
    assert_eq!(first.get(&members("a")).await, "1,2");
    assert_eq!(second.get(&members("a")).await, "1,2");
}

#[tokio::test]
async fn a_row_that_moves_leaves_one_collection_and_enters_the_other() {
    let world = World::new();
    world.database.put("1", Some(("a", "x")));
    let (writer, reader) = (world.node().await, world.node().await);
    assert_eq!(reader.get(&members("a")).await, "1");
    assert_eq!(reader.get(&members("b")).await, "");

    let written = world.database.put("1", Some(("b", "x")));
    writer.source.wrote(written).await;
    reader.heard(1).await;
    assert_eq!(reader.get(&members("a")).await, "");
    assert_eq!(reader.get(&members("b")).await, "1");
}

#[tokio::test]
async fn an_absence_ends_when_the_row_is_inserted_and_returns_when_it_is_deleted() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    assert_eq!(reader.get(&row("1")).await, "absent");
    assert_eq!(reader.get(&row("1")).await, "absent");
    assert_eq!(
        reader.loader.loads(),
        1,
        "an absence is cached like any value"
    );

    for (count, content) in [Some(("a", "one")), None, Some(("a", "two"))]
        .iter()
        .enumerate()
    {
        writer.source.wrote(world.database.put("1", *content)).await;
        reader.heard(count as u64 + 1).await;
        let expected = content.map_or("absent", |(_, text)| text);
        assert_eq!(reader.get(&row("1")).await, expected);
    }
}

#[tokio::test]
async fn a_round_that_follows_its_hint_costs_no_second_load() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    reader.get(&row("1")).await;

    writer
        .source
        .wrote(world.database.put("1", Some(("a", "new"))))
        .await;
    reader.heard(1).await;
    assert_eq!(reader.get(&row("1")).await, "new");
    let loads = reader.loader.loads();
    reader.prove().await;
    assert_eq!(reader.get(&row("1")).await, "new");
    assert_eq!(reader.loader.loads(), loads);
    assert_eq!(reader.rows.stats().rescues, 1);
}

#[tokio::test]
async fn a_hint_that_comes_after_its_round_moves_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    world.hub.set_faults(larder::remote::hub::Faults {
        hold: true,
        ..Default::default()
    });

    writer
        .source
        .wrote(world.database.put("1", Some(("a", "new"))))
        .await;
    reader.prove().await;
    assert_eq!(reader.get(&row("1")).await, "new");
    world.hub.set_faults(Default::default());
    reader.heard(1).await;
    assert_eq!(reader.source.stats().hints_known, 1);
    assert_eq!(
        reader.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L1
    );
}

#[tokio::test]
async fn a_lost_hint_costs_until_the_next_round_and_a_doubled_one_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let (writer, reader) = (world.node().await, world.node().await);
    reader.get(&row("1")).await;

    world.hub.set_faults(larder::remote::hub::Faults {
        lose_every: 1,
        ..Default::default()
    });
    writer
        .source
        .wrote(world.database.put("1", Some(("a", "new"))))
        .await;
    reader.prove().await;
    assert_eq!(reader.get(&row("1")).await, "new");

    world.hub.set_faults(larder::remote::hub::Faults {
        double_every: 1,
        ..Default::default()
    });
    writer
        .source
        .wrote(world.database.put("1", Some(("a", "newer"))))
        .await;
    reader.heard(2).await;
    assert_eq!(reader.source.stats().hints_known, 1);
    assert_eq!(reader.get(&row("1")).await, "newer");
}

#[tokio::test]
async fn an_early_hint_is_not_believed_and_the_round_still_moves_the_entry() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let reader = world.node().await;

    // Somebody announces a transaction that has not committed.
    let xid = world.database.begin();
    world.database.write(xid, "1", Some(("a", "new")));
    let tags = vec![larder::Tag::of("rows", "1")];
    let epoch = reader.source.epoch().unwrap();
    let lie = larder::feed::Written { epoch, xid, tags };
    reader.source.wrote(lie).await;
    assert_eq!(reader.get(&row("1")).await, "old");

    world.database.commit(xid);
    reader.prove().await;
    assert_eq!(reader.get(&row("1")).await, "new");
}

#[tokio::test]
async fn a_process_that_starts_takes_older_values_only_if_nothing_moved_them() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    world.database.put("2", Some(("a", "two")));
    let first = world.node().await;
    first.get(&row("1")).await;
    first.get(&row("2")).await;
    world.stored(&row("2")).await;
    world.database.put("2", Some(("a", "changed by hand")));

    let booting = world.booting();
    assert_eq!(
        booting.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::Source
    );
    booting.prove().await;
    let started = world.node().await;
    assert_eq!(
        started.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L2
    );
    assert_eq!(started.get(&row("2")).await, "changed by hand");
}

#[tokio::test]
async fn what_was_pruned_unseen_hides_no_change() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let silent = world.node().await;
    silent.get(&row("1")).await;
    world.stored(&row("1")).await;

    world.database.put("1", Some(("a", "new")));
    world.database.mark();
    world.database.drop_marked();

    // It slept through both steps: its memory moves, and older labels prove nothing.
    silent.prove().await;
    assert_eq!(silent.source.stats().gaps, 1);
    assert_eq!(silent.get(&row("1")).await, "new");
    let started = world.node().await;
    assert_eq!(started.get(&row("1")).await, "new");
}

#[tokio::test]
async fn pruning_that_everybody_saw_coming_costs_nothing() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    world.database.mark();
    node.prove().await;
    world.database.drop_marked();
    node.prove().await;
    assert_eq!(node.source.stats().gaps, 0);
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L1
    );
}

#[tokio::test]
async fn nothing_of_another_epoch_is_taken() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let (writer, reader) = (world.node().await, world.node().await);
    reader.get(&row("1")).await;
    world.stored(&row("1")).await;

    world.database.promote();
    let written = world.database.put("1", Some(("a", "two")));
    reader.prove().await;
    writer.source.wrote(written).await;
    reader.heard(1).await;
    assert_eq!(reader.get(&row("1")).await, "two");
    let started = world.node().await;
    assert_eq!(started.get(&row("1")).await, "two");
}

#[tokio::test]
async fn a_value_that_changed_while_its_writer_died_is_evicted_by_the_round_alone() {
    let world = World::new();
    world.database.put("1", Some(("a", "old")));
    let reader = world.node().await;
    reader.get(&row("1")).await;
    // Committed, and then nobody is there to publish the hint.
    world.database.put("1", Some(("a", "new")));
    world.pass(900);
    assert_eq!(reader.get(&row("1")).await, "old", "within the bound");
    world.pass(200);
    assert_eq!(
        reader.get(&row("1")).await,
        "new",
        "not proven within the bound: reloaded"
    );
}

#[tokio::test]
async fn an_entry_is_served_for_as_long_as_proofs_go_on_and_no_longer() {
    let world = World::new();
    world.database.put("1", Some(("a", "one")));
    let node = world.node().await;
    node.get(&row("1")).await;
    for _ in 0..20 {
        world.pass(500);
        node.prove().await;
        assert_eq!(
            node.answer(&row("1"), &Read::bounded()).await.origin,
            Origin::L1
        );
    }
    world.pass(1_000);
    let last = node.answer(&row("1"), &Read::bounded()).await;
    assert_eq!((last.origin, last.age.as_millis()), (Origin::L1, 1_000));
    world.pass(1);
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::Source
    );
}

#[tokio::test]
async fn an_owner_that_was_overtaken_is_believed_no_further_than_its_label() {
    let mut world = World::new();
    world.tells = support::Tells::Owner;
    world.database.put("1", Some(("a", "old")));
    let node = world.node().await;

    let late = node.held(&row("1")).await;
    world.database.put("1", Some(("a", "new")));
    node.prove().await;
    node.loader.release();
    assert_eq!(late.await.unwrap(), "old", "answered, and not kept");
    assert_eq!(node.get(&row("1")).await, "new");
    assert_eq!(
        node.answer(&row("1"), &Read::bounded()).await.origin,
        Origin::L1
    );
}
