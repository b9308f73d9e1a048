//! Limits of a gRPC port: answers from memory count, replicas count together, and what the
//! services need of each other is free.

use crate::support;

use anyhow::Result;
use larder::remote::{Remote, open};
use larder_host::Parts;
use larder_host::trial::{Home, reason, retry_after};
use larder_proto::cache::v1::GetRoundRequest;
use larder_proto::cache::v1::feed_service_client::FeedServiceClient;
use larder_runtime::config::Limiting;
use larder_testkit::redis;
use std::sync::Arc;
use std::time::Duration;
use support::{Node, kettle, source};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// An hour brings none back in the moments that a test takes.
fn limited(home: &Home, remote: Arc<dyn Remote>) -> Parts {
    let mut parts = Parts::new(remote, home.address());
    parts.limiting = Limiting {
        rate_limit_ip: "5/d".parse().ok(),
        rate_limit_user: "2/d".parse().ok(),
        ..Limiting::default()
    };
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_memory_count_and_replicas_on_redis_count_together() -> Result<()> {
    let (home, server) = (Home::sqlite()?, redis::start()?);
    let one = Node::of(limited(&home, open(&server.url())?)).await?;
    let other = Node::of(limited(&home, open(&server.url())?)).await?;
    one.create(kettle()).await?;
    one.get("kettle").await?;
    for _ in 0..2 {
        let hit = one.get("kettle").await?;
        assert_eq!(source(hit.metadata()), "l1");
    }
    other.get("kettle").await?;
    for node in [&one, &other] {
        let refused = node.get("kettle").await.expect_err("the sixth call");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "RATE_LIMITED");
        let wait = retry_after(&refused).expect("when to come again");
        assert!(wait > Duration::from_secs(17_000) && wait <= Duration::from_secs(17_280));
    }
    let (_, metrics) = one.replica.admin("/metrics").await?;
    for line in [
        "larder_rate_limit_decisions_total{scope=\"ip\",outcome=\"passed\"} 4\n",
        "larder_rate_limit_decisions_total{scope=\"ip\",outcome=\"refused\"} 1\n",
        "larder_rate_limit_away{scope=\"ip\"} 0\n",
        // One for each limit and call: a refusal is remembered.
        "larder_remote_calls_total{call=\"limit\"} 5\n",
        "rpc_response_status_code=\"RESOURCE_EXHAUSTED\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    other.replica.stop().await?;
    one.replica.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_and_the_feed_are_free_and_a_user_is_counted_too() -> Result<()> {
    let home = Home::sqlite()?;
    let node = Node::of(limited(&home, open("hub:")?)).await?;
    node.create(kettle()).await?;
    let token = [("authorization", "Bearer hunter2")];
    node.get_asking("kettle", &token).await?;
    node.get_asking("kettle", &token).await?;
    let refused = node.get_asking("kettle", &token).await;
    assert_eq!(
        refused.expect_err("the third").code(),
        Code::ResourceExhausted
    );
    // It has counted for the address, which has made four calls.
    node.get("kettle").await?;
    node.get("kettle").await.expect_err("the sixth");
    let mut health = HealthClient::new(node.replica.client());
    let mut feed = FeedServiceClient::new(node.replica.client());
    for _ in 0..20 {
        health.check(HealthCheckRequest::default()).await?;
        let round = GetRoundRequest {
            source: "products".to_owned(),
            ..Default::default()
        };
        feed.get_round(round).await?;
    }
    node.replica.stop().await
}
