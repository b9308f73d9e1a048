//! What follows a committed write, and invalidation by hand.

use crate::behind::Behind;
use crate::cache::Keyspace;
use crate::entry::Value;
use crate::feed::{self, Line, Written};
use crate::hint::{self, Pushed};
use crate::key::{Key, Tag};
use crate::keyspace::Inner;
use crate::policy::OnWrite;
use crate::read::{Answer, Error, Read};
use crate::snapshot::Token;

/// What [`Keyspace::invalidate`] is to move.
#[derive(Debug)]
pub enum Target<'a, K> {
    /// One key.
    Key(&'a K),
    /// All that depends on this member of this collection.
    Tag(&'a str, &'a str),
    /// The whole keyspace.
    Keyspace,
}

impl<K> Clone for Target<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Target<'_, K> {}

impl<K: Key, V: Value> Keyspace<K, V> {
    /// Moves the target in every process: through the source's feed where it has one, so that no
    /// process misses it whatever becomes of the hint. Returns the token of that write.
    pub async fn invalidate(&self, target: Target<'_, K>) -> Result<Option<Token>, feed::Error> {
        let line = |collection: &str, key: &str| Line {
            collection: collection.to_owned(),
            key: key.to_owned(),
        };
        let line = match target {
            Target::Key(key) => line(&self.0.name, &Inner::<K, V>::text(key)),
            Target::Tag(collection, key) => line(collection, key),
            Target::Keyspace => line(&self.0.name, Tag::WHOLE),
        };
        self.0.source.invalidate(&[line]).await
    }

    /// To be told of a committed write to these keys: moves what it touched here, tells the other
    /// processes, does what the policy wants done on a write, and returns the receipt. `None`,
    /// for a transaction that changed nothing, does nothing.
    ///
    /// Run it, like the commit before it, as a task that a caller who hangs up does not stop.
    pub async fn wrote(&self, keys: &[K], written: Option<Written>) -> Option<Token> {
        let written = written?;
        let source = &self.0.source;
        let on_write = match source.0.core.tiers.remote() {
            true => self.0.policy.on_write,
            // Nothing that could be renewed.
            false => OnWrite::Evict,
        };
        match on_write {
            OnWrite::Evict => Some(source.wrote(written).await),
            OnWrite::Put => {
                let token = source.wrote(written).await;
                let (this, keys) = (self.clone(), keys.to_vec());
                source.0.core.spawn_behind(Behind::Load, async move {
                    let _ = this.renew(keys).await;
                });
                Some(token)
            }
            OnWrite::Push => {
                source.apply_own(&written);
                let pushed = self.pushed(keys).await;
                Some(source.announce(written, pushed).await)
            }
        }
    }

    /// Fills both tiers with these keys everywhere: this process's memory, the remote tier, and,
    /// where the values are small enough to travel, the memory of every process that listens.
    /// Says how many of them have a value. A message may be lost; that costs a remote hit.
    pub async fn spread(&self, keys: &[K]) -> Result<usize, Error> {
        let mut found = 0;
        for batch in keys.chunks(hint::MOST_PUSHED) {
            let answers = self.get_many(batch, &Read::bounded()).await?;
            found += answers.iter().filter(|a| a.value().is_some()).count();
            let pairs = batch.iter().zip(&answers);
            let small = pairs.filter_map(|(key, answer)| self.small_parcel(key, answer));
            self.0.source.spread(small.collect()).await;
        }
        Ok(found)
    }

    /// Loads these keys from the source now, into both tiers.
    async fn renew(&self, keys: Vec<K>) -> Vec<Result<Answer<V>, Error>> {
        let read = Read::strong();
        self.fetch(keys.into(), &read, self.terms(&read)).await
    }

    /// The values of these keys, renewed, as far as they are small enough to travel with a hint.
    async fn pushed(&self, keys: &[K]) -> Vec<Pushed> {
        let renewed = self.renew(keys.to_vec()).await;
        let pairs = keys.iter().zip(renewed);
        pairs
            .filter_map(|(key, answer)| self.small_parcel(key, &answer.ok()?))
            .collect()
    }

    fn small_parcel(&self, key: &K, answer: &Answer<V>) -> Option<Pushed> {
        let inner = &self.0;
        let text = Inner::<K, V>::text(key);
        let item = inner.item(
            inner.remote_name(key),
            &answer.entry,
            answer.entry.weak_label()?,
        )?;
        let small = item.value.len() <= inner.policy.push_bytes;
        let keyspace = inner.name.to_string();
        small.then_some(Pushed {
            keyspace,
            key: text,
            parcel: item.value,
        })
    }
}
