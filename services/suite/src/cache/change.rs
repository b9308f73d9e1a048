//! `invalidate` and `warm`.

use super::replicas::{Answers, Failure, Replica, Replicas, Way, all_answered, ask_these, failure};
use crate::output::Output;
use anyhow::{Context as _, bail};
use clap::Args;
use larder_proto::cache::v1::target::Target as What;
use larder_proto::cache::v1::{
    CollectionTag, InvalidateRequest, Key, ListKeyspacesRequest, Target, WarmRequest,
};
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

/// The replicas that own a source, by its name.
async fn owners(replicas: &Replicas) -> anyhow::Result<BTreeMap<String, Vec<Replica>>> {
    let list = async |mut client: Way| client.list_keyspaces(ListKeyspacesRequest {}).await;
    let Answers { answers, .. } = replicas.ask(list).await?;
    let mut owners: BTreeMap<String, Vec<Replica>> = BTreeMap::new();
    for (name, listed) in answers {
        let replica = replicas.all().iter().find(|replica| replica.name == name);
        let own = listed.keyspaces.into_iter().find(|keyspace| keyspace.owned);
        if let (Some(replica), Some(own)) = (replica, own) {
            owners.entry(own.source).or_default().push(replica.clone());
        }
    }
    Ok(owners)
}

/// What each source is to be told.
async fn targets(
    replicas: &Replicas,
    asked: &Invalidate,
    sources: impl Iterator<Item = &String> + Clone,
) -> anyhow::Result<BTreeMap<String, Vec<What>>> {
    let mut targets: BTreeMap<String, Vec<What>> = BTreeMap::new();
    if let Some(keyspace) = &asked.keyspace {
        let with = replicas.with(keyspace).await?;
        let (_, described) = with
            .into_iter()
            .next()
            .context("a keyspace has a replica")?;
        let key = |key: &String| {
            What::Key(Key {
                keyspace: keyspace.clone(),
                key: key.clone(),
            })
        };
        let of = targets.entry(described.source).or_default();
        match asked.keys.is_empty() {
            true => of.push(What::Keyspace(keyspace.clone())),
            false => of.extend(asked.keys.iter().map(key)),
        }
    }
    for tag in &asked.tag {
        let parts = tag.split_once('/');
        let (collection, key) =
            parts.with_context(|| format!("--tag {tag}: not COLLECTION/KEY"))?;
        // A journal that has never heard of the collection is told in vain, and no harm is done.
        for source in sources.clone() {
            let tag = What::Tag(CollectionTag {
                collection: collection.to_owned(),
                key: key.to_owned(),
                source: source.clone(),
            });
            targets.entry(source.clone()).or_default().push(tag);
        }
    }
    for source in sources {
        if asked.all || asked.source.contains(source) {
            let of = targets.entry(source.clone()).or_default();
            of.push(What::Source(source.clone()));
        }
    }
    Ok(targets)
}

pub async fn invalidate(
    replicas: &Replicas,
    asked: Invalidate,
    output: Output,
) -> anyhow::Result<()> {
    let owners = owners(replicas).await?;
    if let Some(source) = asked
        .source
        .iter()
        .find(|source| !owners.contains_key(*source))
    {
        let known: Vec<_> = owners.keys().map(String::as_str).collect();
        bail!(
            "there is no source {source}; there are {}",
            known.join(", ")
        );
    }
    let mut tokens = BTreeMap::new();
    for (source, targets) in targets(replicas, &asked, owners.keys()).await? {
        let owners = owners.get(&source);
        let owners = owners.with_context(|| format!("no replica of {source} answers"))?;
        let token = tell(owners, targets).await?;
        tokens.insert(source, token);
    }
    output.print(&Invalidated { tokens })
}

/// Tells one of the owners, the next one where one does not answer: the journal tells the others.
/// To say it twice does no harm.
async fn tell(owners: &[Replica], targets: Vec<What>) -> anyhow::Result<String> {
    let targets = targets.into_iter().map(|target| Target {
        target: Some(target),
    });
    let request = InvalidateRequest {
        targets: targets.collect(),
    };
    let mut failures = Vec::new();
    for owner in owners {
        match owner.client.clone().invalidate(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner().tokens.join(",")),
            Err(status) => {
                failures.push(failure(owner, &status).to_string());
                if !larder_runtime::client::may_try_again(&status) {
                    break;
                }
            }
        }
    }
    bail!("not invalidated: {}", failures.join("; "))
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
    let with = replicas.with(&asked.keyspace).await?;
    let holders: Vec<_> = with.into_iter().map(|(replica, _)| replica).collect();
    let request = WarmRequest {
        keyspace: asked.keyspace,
        keys: asked.keys,
    };
    let warm = async |mut client: Way| client.warm(request.clone()).await;
    let Answers { answers, failures } = ask_these(&holders, warm).await?;
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
