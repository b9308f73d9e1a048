//! What an operator asks of the cache, over the admin port of real replicas, on both engines.

mod checks;
mod page;
mod planted;
use crate::support;

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_host::on_both;
use larder_host::trial::{Home, Replica, SOON, fields, reason};
use larder_proto::cache::v1::target::Target as What;
use larder_proto::cache::v1::*;
use larder_testkit::wait_until;
use support::{Node, kettle, priced, source};
use tonic::{Code, Status, Streaming};

on_both!(
    a_key_is_seen_in_memory_in_the_remote_tier_and_in_the_source,
    what_is_invalidated_by_key_tag_keyspace_or_source_is_dropped_in_every_process,
    keys_are_warmed_where_it_is_asked_for,
    a_watcher_sees_writes_and_loads_and_does_not_keep_the_process_from_ending,
    what_is_wrong_with_a_request_is_said_by_its_field,
    what_became_of_reads_is_counted_and_the_hottest_keys_are_listed,
);

async fn inspect(replica: &Replica, key: &str) -> Result<InspectResponse> {
    let request = InspectRequest {
        keyspace: "products".to_owned(),
        key: key.to_owned(),
        skip_source: false,
    };
    Ok(replica.operator().inspect(request).await?.into_inner())
}

async fn title(node: &Node) -> Result<String> {
    Ok(node.get("kettle").await?.into_inner().title)
}

async fn invalidate(replica: &Replica, target: What) -> Result<Vec<String>, Status> {
    let target = Target {
        target: Some(target),
    };
    let request = InvalidateRequest {
        targets: vec![target],
    };
    Ok(replica
        .operator()
        .invalidate(request)
        .await?
        .into_inner()
        .tokens)
}

async fn a_key_is_seen_in_memory_in_the_remote_tier_and_in_the_source(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let nowhere = inspect(&node.replica, "kettle").await?;
    assert_eq!(
        (nowhere.l1, nowhere.l2, nowhere.l2_error),
        (None, None, String::new())
    );
    let source = nowhere
        .from_source
        .context("it answers")?
        .value
        .context("a value")?;
    assert!(!source.found);

    node.create(kettle()).await?;
    node.get("kettle").await?;
    let stored = async || {
        inspect(&node.replica, "kettle")
            .await
            .is_ok_and(|seen| seen.l2.is_some())
    };
    wait_until("a value in the remote tier", SOON, stored).await?;
    let seen = inspect(&node.replica, "kettle").await?;
    let (l1, l2) = (
        seen.l1.context("in memory")?,
        seen.l2.context("in the remote tier")?,
    );
    let source = seen.from_source.context("in the source")?;
    assert_eq!(
        (l1.verdict.as_str(), l2.verdict.as_str()),
        ("served", "served")
    );
    let value = source.value.context("a value")?;
    assert_eq!((value.found, value.version), (true, Some(1)));
    assert_eq!((l1.value, l2.value), (Some(value), Some(value)));
    assert!(source.label.is_some() && l2.label.is_some() && l1.label_xmin.is_some());
    let ttl = l2.ttl.context("the hub tells lives")?;
    assert!(ttl.seconds > 3_000 && ttl.seconds <= 3_600, "{ttl:?}");
    node.replica.stop().await
}

async fn what_is_invalidated_by_key_tag_keyspace_or_source_is_dropped_in_every_process(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    let (one, other) = (Node::on(&home, &hub).await?, Node::on(&home, &hub).await?);
    one.create(kettle()).await?;
    for target in [
        What::Key(Key {
            keyspace: "products".to_owned(),
            key: "kettle".to_owned(),
        }),
        What::Tag(CollectionTag {
            collection: "products".to_owned(),
            key: "kettle".to_owned(),
            source: String::new(),
        }),
        What::Keyspace("products".to_owned()),
        What::Source("products".to_owned()),
    ] {
        let held = async || {
            let read = other.get("kettle").await;
            read.is_ok_and(|read| source(read.metadata()) == "l1")
        };
        wait_until("a copy that is served", SOON, held).await?;
        let before = inspect(&other.replica, "kettle")
            .await?
            .l1
            .context("in memory")?;
        let tokens = invalidate(&one.replica, target.clone()).await?;
        assert_eq!(tokens.len(), 1, "{target:?}");
        let moved = async || {
            let seen = inspect(&other.replica, "kettle").await;
            seen.is_ok_and(|seen| seen.l1.is_some_and(|l1| l1.verdict == "moved"))
        };
        wait_until("a copy that has moved", SOON, moved).await?;
        let read = other
            .get_asking("kettle", &[("larder-token", &tokens[0])])
            .await?;
        assert_ne!(source(read.metadata()), "l1", "{target:?}");
        let after = inspect(&other.replica, "kettle")
            .await?
            .l1
            .context("in memory")?;
        assert!(after.captured > before.captured && after.verdict == "served");
    }
    one.replica.stop().await?;
    other.replica.stop().await
}

async fn keys_are_warmed_where_it_is_asked_for(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    let fresh = Node::on(&home, &Hub::new()).await?;
    let request = WarmRequest {
        keyspace: "products".to_owned(),
        keys: vec!["kettle".to_owned(), "nothing".to_owned()],
    };
    let warmed = fresh.replica.operator().warm(request).await?.into_inner();
    assert_eq!((warmed.found, warmed.absent), (1, 1));
    assert_eq!(source(fresh.get("kettle").await?.metadata()), "l1");
    node.replica.stop().await?;
    fresh.replica.stop().await
}

/// The next event of this kind, among those that a watcher sees.
async fn event(
    stream: &mut Streaming<WatchResponse>,
    kind: EventKind,
    origin: &str,
) -> Result<Event> {
    let found = async {
        loop {
            let message = stream.message().await?.context("the stream has ended")?;
            let wanted = |event: &Event| event.kind() == kind && event.origin == origin;
            if let Some(event) = message.events.into_iter().find(wanted) {
                return Ok(event);
            }
        }
    };
    tokio::time::timeout(SOON, found)
        .await
        .context("no such event")?
}

async fn a_watcher_sees_writes_and_loads_and_does_not_keep_the_process_from_ending(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    // A round that comes before the hint, or before the write's own word, leaves those nothing to
    // move: there are no rounds here after the first.
    let mut parts = home.parts(&hub);
    parts.timing.poll = None;
    let (node, writer) = (Node::of(parts).await?, Node::on(&home, &hub).await?);
    let mut events = node
        .replica
        .operator()
        .watch(WatchRequest::default())
        .await?
        .into_inner();
    let hello = events.message().await?.context("the stream has ended")?;
    assert_eq!(hello, WatchResponse::default());
    writer.create(kettle()).await?;
    let moved = event(&mut events, EventKind::Moved, "hint").await?;
    assert!(
        moved.tag_count > 0 && moved.source == "products",
        "{moved:?}"
    );
    node.get("nothing").await.expect_err("absent");
    let loaded = event(&mut events, EventKind::Loaded, "").await?;
    assert_eq!(
        (&*loaded.keyspace, &loaded.keys[..]),
        ("products", &["nothing".to_owned()][..])
    );
    node.create(priced("pan", "kitchen", 900)).await?;
    event(&mut events, EventKind::Moved, "own").await?;
    node.replica.stop().await?;
    writer.replica.stop().await
}

async fn what_is_wrong_with_a_request_is_said_by_its_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let operator = || node.replica.operator();
    let refused = |status: Status, field: &str| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(fields(&status), [field]);
    };
    let request = |keyspace: &str, key: &str| InspectRequest {
        keyspace: keyspace.to_owned(),
        key: key.to_owned(),
        skip_source: true,
    };
    for (keyspace, key, field) in [
        ("", "a", "keyspace"),
        ("products", "", "key"),
        ("products", "No Key!", "key"),
        ("products", &"a".repeat(2000), "key"),
    ] {
        refused(
            operator()
                .inspect(request(keyspace, key))
                .await
                .expect_err(field),
            field,
        );
    }
    let unknown = operator()
        .inspect(request("teapots", "a"))
        .await
        .expect_err("unknown");
    assert_eq!(
        (unknown.code(), &*reason(&unknown)),
        (Code::NotFound, "NOT_FOUND")
    );

    let none = InvalidateRequest::default();
    refused(
        operator().invalidate(none).await.expect_err("none"),
        "targets",
    );
    let many = InvalidateRequest {
        targets: vec![Target { target: None }; 1001],
    };
    refused(
        operator().invalidate(many).await.expect_err("many"),
        "targets",
    );
    let empty = InvalidateRequest {
        targets: vec![Target { target: None }],
    };
    refused(
        operator().invalidate(empty).await.expect_err("empty"),
        "targets[0]",
    );
    let tag = What::Tag(CollectionTag::default());
    refused(
        invalidate(&node.replica, tag).await.expect_err("empty"),
        "targets[0].tag.collection",
    );
    let source = What::Source("profiles".to_owned());
    let source = invalidate(&node.replica, source)
        .await
        .expect_err("another's");
    assert_eq!(source.code(), Code::NotFound);

    let warm = WarmRequest {
        keyspace: "products".to_owned(),
        keys: vec!["fine".to_owned(), "not fine".to_owned()],
    };
    refused(operator().warm(warm).await.expect_err("no key"), "keys[1]");
    let sample = CheckRequest {
        sample: 1_000_000,
        ..CheckRequest::default()
    };
    refused(operator().check(sample).await.expect_err("huge"), "sample");
    let kinds = WatchRequest {
        kinds: vec![77],
        ..WatchRequest::default()
    };
    refused(
        operator().watch(kinds).await.expect_err("unknown"),
        "kinds[0]",
    );
    let hot = ListHotKeysRequest {
        limit: 100_000,
        ..ListHotKeysRequest::default()
    };
    refused(
        operator().list_hot_keys(hot).await.expect_err("huge"),
        "limit",
    );

    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(operator().watch(WatchRequest::default()).await?);
    }
    let full = operator()
        .watch(WatchRequest::default())
        .await
        .expect_err("full");
    assert_eq!(
        (full.code(), &*reason(&full)),
        (Code::ResourceExhausted, "TOO_MANY_STREAMS")
    );
    drop(held);
    node.replica.stop().await
}

async fn what_became_of_reads_is_counted_and_the_hottest_keys_are_listed(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    node.create(priced("pan", "kitchen", 900)).await?;
    for _ in 0..3_000 {
        node.get("kettle").await?;
    }
    node.get("pan").await?;
    let mut operator = node.replica.operator();
    let request = GetStatsRequest {
        keyspaces: vec!["products".to_owned()],
    };
    let stats = operator.get_stats(request).await?.into_inner();
    let products = &stats.keyspaces[0];
    let l1 = products
        .reads
        .iter()
        .find(|count| count.name == "l1")
        .context("l1")?
        .count;
    assert!(l1 >= 2_900, "{products:?}");
    assert_eq!(stats.sources.len(), 1);
    assert!(stats.sources[0].proven_age.is_some());

    let keyspaces = operator
        .list_keyspaces(ListKeyspacesRequest {})
        .await?
        .into_inner()
        .keyspaces;
    let names: Vec<_> = keyspaces
        .iter()
        .map(|keyspace| (&*keyspace.name, keyspace.owned))
        .collect();
    assert!(names.contains(&("products", true)) && names.contains(&("products.list", true)));

    let request = ListHotKeysRequest {
        keyspaces: vec!["products".to_owned()],
        limit: 1,
    };
    let hot = operator.list_hot_keys(request).await?.into_inner().keys;
    assert_eq!(
        hot.iter().map(|hot| &*hot.key).collect::<Vec<_>>(),
        ["kettle"]
    );
    let advice = operator
        .get_advice(GetAdviceRequest::default())
        .await?
        .into_inner()
        .advice;
    let products = advice
        .iter()
        .find(|advice| advice.keyspace == "products")
        .context("products")?;
    assert!(products.hit_ratio.context("it was read")? > 0.9 && !products.sentences.is_empty());
    node.replica.stop().await
}
