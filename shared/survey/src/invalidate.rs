//! Copies dropped in every process, through the journals of their sources.

use crate::{Error, Failure, Replica, Replicas};
use larder_proto::cache::v1::target::Target as What;
use larder_proto::cache::v1::{CollectionTag, InvalidateRequest, Key, Target};
use std::collections::BTreeMap;

/// What is to be dropped; all of it.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// A keyspace: these keys of it, all of it if there are none.
    pub keyspace: Option<(String, Vec<String>)>,
    /// Members of collections, `(collection, key)`: all that depends on them.
    pub tags: Vec<(String, String)>,
    /// Everything of these sources.
    pub sources: Vec<String>,
    /// Everything of every source.
    pub all: bool,
}

impl Replicas {
    /// Drops what is wanted, in every process. Answers, by source, with what to show in
    /// `larder-token` in order to be answered with nothing older.
    pub async fn invalidate(&self, wanted: &Wanted) -> Result<BTreeMap<String, String>, Error> {
        let owners = self.owners().await?;
        let known = || owners.keys().cloned().collect();
        let no_source = |name: &String| Error::NoSource {
            name: name.clone(),
            known: known(),
        };
        if let Some(source) = wanted.sources.iter().find(|s| !owners.contains_key(*s)) {
            return Err(no_source(source));
        }
        let mut tokens = BTreeMap::new();
        for (source, targets) in self.targets(wanted, owners.keys()).await? {
            let owners = owners.get(&source).ok_or_else(|| no_source(&source))?;
            tokens.insert(source, tell(owners, targets).await?);
        }
        Ok(tokens)
    }

    /// The replicas that own a source, by its name.
    async fn owners(&self) -> Result<BTreeMap<String, Vec<Replica>>, Error> {
        let listed = self.keyspaces().await.whole()?;
        let mut owners: BTreeMap<String, Vec<Replica>> = BTreeMap::new();
        for (name, keyspaces) in listed.answers {
            let replica = self.all().iter().find(|replica| replica.name == name);
            let own = keyspaces.into_iter().find(|keyspace| keyspace.owned);
            if let (Some(replica), Some(own)) = (replica, own) {
                owners.entry(own.source).or_default().push(replica.clone());
            }
        }
        Ok(owners)
    }

    /// What each source is to be told.
    async fn targets(
        &self,
        wanted: &Wanted,
        sources: impl Iterator<Item = &String> + Clone,
    ) -> Result<BTreeMap<String, Vec<What>>, Error> {
        let mut targets: BTreeMap<String, Vec<What>> = BTreeMap::new();
        if let Some((keyspace, keys)) = &wanted.keyspace {
            let (_, described) = self.with(keyspace).await?;
            let source = described.into_iter().next().map(|of| of.source);
            let key = |key: &String| {
                What::Key(Key {
                    keyspace: keyspace.clone(),
                    key: key.clone(),
                })
            };
            let of = targets.entry(source.unwrap_or_default()).or_default();
            match keys.is_empty() {
                true => of.push(What::Keyspace(keyspace.clone())),
                false => of.extend(keys.iter().map(key)),
            }
        }
        for (collection, key) in &wanted.tags {
            // A journal that has never heard of the collection is told in vain, and no harm is done.
            for source in sources.clone() {
                let tag = What::Tag(CollectionTag {
                    collection: collection.clone(),
                    key: key.clone(),
                    source: source.clone(),
                });
                targets.entry(source.clone()).or_default().push(tag);
            }
        }
        for source in sources {
            if wanted.all || wanted.sources.contains(source) {
                let of = targets.entry(source.clone()).or_default();
                of.push(What::Source(source.clone()));
            }
        }
        Ok(targets)
    }
}

/// Tells one of the owners, the next one where one does not answer: the journal tells the others.
/// To say it twice does no harm.
async fn tell(owners: &[Replica], targets: Vec<What>) -> Result<String, Error> {
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
                failures.push(Failure::of(&owner.name, &status));
                if !larder_runtime::client::may_try_again(&status) {
                    break;
                }
            }
        }
    }
    Err(Error::NotInvalidated(failures))
}
