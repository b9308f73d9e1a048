//! What somebody wrote into Redis who should not.

use super::checks::check;
use super::{inspect, title};
use crate::support::{Node, kettle};
use anyhow::{Context as _, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use larder::remote;
use larder::remote::hub::Hub;
use larder::{Ask, Epoch, Label, Larder, Loaded, Proof, Read, Snapshot, load};
use larder_host::trial::{Home, Replica, SOON};
use larder_proto::cache::v1::feed_service_client::FeedServiceClient;
use larder_proto::cache::v1::{CheckRequest, GetRoundRequest, Tier};
use larder_proto::products::v1::Product;
use larder_testkit::{redis, wait_until};
use larder_wire::Upstream;
use prost::Message as _;

/// A value of the right form, with a label of now, that says what the source never said.
async fn plant(redis: &str, replica: &Replica, id: &str) -> Result<()> {
    let feed = Upstream::new("products", replica.client());
    let mut rounds = FeedServiceClient::new(replica.client());
    let request = GetRoundRequest {
        source: "products".to_owned(),
        since: None,
    };
    let round = rounds.get_round(request).await?.into_inner();
    let (epoch, snapshot) = (
        round.epoch.context("epoch")?,
        round.snapshot.context("snapshot")?,
    );
    let label = Label {
        epoch: Epoch {
            system: epoch.system,
            timeline: epoch.timeline,
        },
        snapshot: Snapshot::new(snapshot.xmin, snapshot.xmax, snapshot.in_progress)?,
    };
    let planted = Product {
        title: "planted".to_owned(),
        version: 9,
        ..kettle()
    };
    let mut value = BytesMut::new();
    value.put_u64(9);
    value.put_slice(&planted.encode_to_vec());
    let value = value.freeze();
    let loader = move |keys: Vec<String>, _: Ask| {
        let (value, label) = (value.clone(), label.clone());
        async move {
            let loaded = keys.iter().map(|_| Loaded {
                value: Some(value.clone()),
                tags: Vec::new(),
                proof: Proof::Primary(label.clone()),
            });
            Ok::<Vec<Loaded<Bytes>>, load::Error>(loaded.collect())
        }
    };
    let larder = Larder::builder(remote::open(redis)?).build();
    let source = larder
        .source("products")
        .feed(std::sync::Arc::new(feed))
        .open();
    source.prove().await?;
    let keyspace = source
        .keyspace::<String, Bytes>("products", loader)
        .open()?;
    keyspace.get(&id.to_owned(), &Read::strong()).await?;
    wait_until("what was planted to be there", SOON, async || {
        larder.is_settled()
    })
    .await?;
    larder.close(SOON).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_planted_in_redis_is_found_in_redis_and_in_memory_and_repaired() -> Result<()> {
    let (home, redis) = (Home::postgres()?, redis::start()?);
    let parts = || -> Result<_> {
        let mut parts = home.parts(&Hub::new());
        parts.remote = remote::open(&redis.url())?;
        Ok(parts)
    };
    let (node, victim) = (Node::of(parts()?).await?, Node::of(parts()?).await?);
    node.create(kettle()).await?;
    plant(&redis.url(), &node.replica, "kettle").await?;
    assert_eq!(
        title(&victim).await?,
        "planted",
        "a seal without a key is no secret"
    );
    let seen = inspect(&victim.replica, "kettle").await?;
    let (l1, l2) = (seen.l1.context("in memory")?, seen.l2.context("in Redis")?);
    let versions = [
        l1.value,
        l2.value,
        seen.from_source.context("in the source")?.value,
    ];
    assert_eq!(
        versions.map(|value| value.and_then(|value| value.version)),
        [Some(9), Some(9), Some(1)]
    );
    let ttl = l2.ttl.context("Redis tells lives")?;
    assert!(ttl.seconds > 3_000 && ttl.seconds <= 3_600, "{ttl:?}");

    let checked = check(&victim.replica, CheckRequest::default()).await?;
    let found: Vec<_> = checked
        .found
        .iter()
        .map(|found| (found.tier(), found.repaired))
        .collect();
    assert_eq!(found, [(Tier::L1, true), (Tier::L2, true)]);
    assert_eq!(title(&victim).await?, "The kettle");
    assert_eq!(
        check(&victim.replica, CheckRequest::default())
            .await?
            .inconsistent,
        0
    );
    node.replica.stop().await?;
    victim.replica.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_a_value_planted_in_redis_is_not_answered() -> Result<()> {
    let (home, redis) = (Home::sqlite()?, redis::start()?);
    let parts = || -> Result<_> {
        let mut parts = home.parts(&Hub::new());
        parts.remote = remote::open(&redis.url())?;
        parts.seal = Some(larder::SealKey::new([7; 32]));
        Ok(parts)
    };
    let (node, victim) = (Node::of(parts()?).await?, Node::of(parts()?).await?);
    node.create(kettle()).await?;
    plant(&redis.url(), &node.replica, "kettle").await?;
    assert_eq!(title(&victim).await?, "The kettle");
    node.replica.stop().await?;
    victim.replica.stop().await
}
