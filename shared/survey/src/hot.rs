//! The keys that are read most, over all replicas.

use crate::{Answers, Error, Replicas, Way};
use larder_proto::cache::v1::{ListHotKeysRequest, ListHotKeysResponse};
use serde::Serialize;
use std::collections::BTreeMap;

/// A key and how often it was read of late, as the replicas estimate it.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Hot {
    /// Its keyspace.
    pub keyspace: String,
    /// Its text.
    pub key: String,
    /// Of all replicas together.
    pub reads: u64,
    /// Of each.
    pub replicas: BTreeMap<String, u64>,
}

impl Replicas {
    /// The hottest of these keyspaces, of all if none are named, at most so many of each keyspace
    /// and replica.
    pub async fn hot(
        &self,
        keyspaces: &[String],
        limit: u32,
    ) -> Result<Answers<ListHotKeysResponse>, Error> {
        for keyspace in keyspaces {
            self.with(keyspace).await?;
        }
        let ask = move |mut client: Way| async move {
            let keyspaces = Vec::new();
            client
                .list_hot_keys(ListHotKeysRequest { keyspaces, limit })
                .await
        };
        self.ask(ask).await.whole()
    }
}

/// What replicas said, added up: the hottest first, of these keyspaces only, of all if none are
/// named, and at most so many.
pub fn hottest(
    answers: impl IntoIterator<Item = (String, ListHotKeysResponse)>,
    keyspaces: &[String],
    limit: usize,
) -> Vec<Hot> {
    let wanted = |name: &String| keyspaces.is_empty() || keyspaces.contains(name);
    let mut merged: BTreeMap<(String, String), BTreeMap<String, u64>> = BTreeMap::new();
    for (replica, hot) in answers {
        for key in hot.keys.into_iter().filter(|hot| wanted(&hot.keyspace)) {
            let of = merged.entry((key.keyspace, key.key)).or_default();
            *of.entry(replica.clone()).or_default() += key.reads;
        }
    }
    let hot = merged.into_iter().map(|((keyspace, key), replicas)| Hot {
        keyspace,
        key,
        reads: replicas.values().sum(),
        replicas,
    });
    let mut hot: Vec<_> = hot.collect();
    hot.sort_by_key(|hot| std::cmp::Reverse(hot.reads));
    hot.truncate(limit);
    hot
}
