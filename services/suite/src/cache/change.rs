//! `invalidate` and `warm`.

use super::find::all_answered;
use crate::output::Output;
use anyhow::Context as _;
use clap::Args;
use larder_proto::cache::v1::WarmRequest;
use larder_survey::invalidate::Wanted;
use larder_survey::{Answers, Failure, Replicas, Way};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The settings of `larder cache invalidate`.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct Invalidate {
    /// The keyspace; all of it, unless keys are named.
    keyspace: Option<String>,
    /// Keys of it.
    keys: Vec<String>,
    /// All that depends on a member of a collection: `products.category/kitchen`. May repeat.
    #[arg(long, value_name = "COLLECTION/KEY")]
    tag: Vec<String>,
    /// Everything of a source: `products`. May repeat.
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// Everything of every source.
    #[arg(long)]
    all: bool,
}

/// The settings of `larder cache warm`.
#[derive(Args, Clone, Debug)]
pub struct Warm {
    /// The keyspace.
    keyspace: String,
    /// Its keys.
    #[arg(required = true)]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Invalidated {
    /// By source: whoever shows this in `larder-token` is answered with nothing older.
    tokens: BTreeMap<String, String>,
}

impl fmt::Display for Invalidated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (source, token) in &self.tokens {
            writeln!(
                f,
                "invalidated in {source}, in every process; larder-token {token}"
            )?;
        }
        Ok(())
    }
}

pub async fn invalidate(
    replicas: &Replicas,
    asked: Invalidate,
    output: Output,
) -> anyhow::Result<()> {
    let tag = |tag: &String| {
        let parts = tag.split_once('/');
        let (collection, key) =
            parts.with_context(|| format!("--tag {tag}: not COLLECTION/KEY"))?;
        anyhow::Ok((collection.to_owned(), key.to_owned()))
    };
    let wanted = Wanted {
        tags: asked.tag.iter().map(tag).collect::<anyhow::Result<_>>()?,
        keyspace: asked.keyspace.map(|keyspace| (keyspace, asked.keys)),
        sources: asked.source,
        all: asked.all,
    };
    let tokens = replicas.invalidate(&wanted).await?;
    output.print(&Invalidated { tokens })
}

#[derive(Serialize)]
struct Warmed {
    rows: Vec<WarmedRow>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct WarmedRow {
    replica: String,
    found: u64,
    absent: u64,
}

impl fmt::Display for Warmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12} {:>8} {:>8}", "replica", "found", "absent")?;
        for row in &self.rows {
            writeln!(f, "{:<12} {:>8} {:>8}", row.replica, row.found, row.absent)?;
        }
        Ok(())
    }
}

pub async fn warm(replicas: &Replicas, asked: Warm, output: Output) -> anyhow::Result<()> {
    let (holders, _) = replicas.with(&asked.keyspace).await?;
    let request = WarmRequest {
        keyspace: asked.keyspace,
        keys: asked.keys,
    };
    let warm = |mut client: Way| {
        let request = request.clone();
        async move { client.warm(request).await }
    };
    let Answers { answers, failures } = holders.ask(warm).await.whole()?;
    let rows = answers.into_iter().map(|(replica, warmed)| WarmedRow {
        replica,
        found: warmed.found,
        absent: warmed.absent,
    });
    let warmed = Warmed {
        rows: rows.collect(),
        failures,
    };
    output.print(&warmed)?;
    all_answered(&warmed.failures)
}
