//! The service without a cache and with a part of one: what a caller is promised stays.

use crate::support;

use anyhow::Result;
use larder::Tiers;
use larder::remote::hub::Hub;
use larder_host::on_both;
use larder_host::trial::{Home, SOON};
use larder_proto::products::v1::*;
use larder_testkit::wait_until;
use support::{Node, kettle, page, source, token};

on_both!(
    reads_are_coherent_with_both_tiers,
    reads_are_coherent_without_memory,
    reads_are_coherent_without_a_cache,
);

async fn reads_are_coherent_with_both_tiers(home: Home) -> Result<()> {
    reads_are_coherent(home, Tiers::Both, "l1").await
}

async fn reads_are_coherent_without_memory(home: Home) -> Result<()> {
    reads_are_coherent(home, Tiers::RemoteOnly, "l2").await
}

async fn reads_are_coherent_without_a_cache(home: Home) -> Result<()> {
    reads_are_coherent(home, Tiers::None, "db").await
}

/// Two replicas of this mode, one of which is written to: the other shows a write at once to
/// whoever has its token, and soon to everybody; so do its lists; and an answer that is asked for
/// again comes from `tier`, and says so.
async fn reads_are_coherent(home: Home, tiers: Tiers, tier: &str) -> Result<()> {
    let hub = Hub::new();
    let start = async || {
        let mut parts = home.parts(&hub);
        parts.tiers = tiers;
        Node::of(parts).await
    };
    let (here, there) = (start().await?, start().await?);
    here.create(kettle()).await?;
    let list = page("kitchen", ProductOrder::PriceAscending, 10);
    for node in [&here, &there] {
        let same = async || {
            let one = node.get("kettle").await?;
            let page = node.list(list.clone(), &[]).await?;
            anyhow::Ok([one.metadata(), page.metadata()].map(|said| source(said).to_owned()))
        };
        let settled = async || same().await.is_ok_and(|from| from == [tier, tier]);
        wait_until("an answer from where it lies", SOON, settled).await?;
    }
    for stock in 10..15 {
        let product = Product { stock, ..kettle() };
        let written = here.update(product, Some(&["stock"]), None).await?;
        let token = token(written.metadata());
        let own = [("larder-token", token.as_str())];
        let seen = there.get_asking("kettle", &own).await?.into_inner();
        assert_eq!(
            (seen.stock, seen.version),
            (stock, written.get_ref().version)
        );
        let seen = there.list(list.clone(), &own).await?.into_inner();
        assert_eq!(seen.products[0].stock, stock);
    }
    home.by_hand("products", "UPDATE products SET stock = 7")?;
    let shown = async || {
        there
            .get("kettle")
            .await
            .is_ok_and(|answer| answer.get_ref().stock == 7)
    };
    wait_until("a change by hand", SOON, shown).await
}
