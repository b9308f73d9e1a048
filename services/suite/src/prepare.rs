//! The products that a run asks for: they are there before it begins.

use crate::load::load_products;
use crate::progress::bar;
use crate::services::Seams;
use crate::target::Target;
use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use larder_products::sample;
use larder_proto::products::v1::Product;

/// Products asked for at once.
const BATCH: usize = 100;
/// Products being made at once.
const CREATES: usize = 32;

/// Makes them straight in the database, before any replica knows of them.
pub async fn in_database(seams: &Seams, count: usize, seed: u64) -> anyhow::Result<Vec<String>> {
    load_products(&seams.database, count as u64, seed).await?;
    Ok(ids(count))
}

/// Makes those that are missing through replicas that run already.
pub async fn over_grpc(targets: &[Target], count: usize) -> anyhow::Result<Vec<String>> {
    let ids = ids(count);
    let first = targets.first().context("--targets names no replica")?;
    let progress = bar(count as u64, "products");
    for batch in ids.chunks(BATCH) {
        let missing = first
            .missing(batch.to_vec())
            .await
            .context("looking for the products")?;
        let creates = missing.into_iter().map(|id| first.create(product(id)));
        let creates = stream::iter(creates).buffer_unordered(CREATES);
        creates
            .try_collect::<()>()
            .await
            .context("making the products")?;
        progress.inc(batch.len() as u64);
    }
    progress.finish_and_clear();
    Ok(ids)
}

fn ids(count: usize) -> Vec<String> {
    (0..count as u64).map(sample::id).collect()
}

fn product(id: String) -> Product {
    Product {
        title: format!("Product {id}"),
        description: "Made for a run.".to_owned(),
        category: "replayed".to_owned(),
        price_cents: 100,
        stock: 1,
        id,
        version: 0,
    }
}
