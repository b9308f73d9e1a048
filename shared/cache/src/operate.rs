//! What an operator does with a keyspace whose types it does not know: by the text of its keys.

use crate::cache::Keyspace;
use crate::check::{self, Checked, Checks};
use crate::entry::Value;
use crate::feed::Line;
use crate::inspect::{self, Inspection};
use crate::key::Key;
use crate::keyspace::Inner;
use crate::policy::Policy;
use crate::read::{Error, Read};
use crate::source::Source;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Entries that a pass over memory looks at before it lets others run.
const STRIDE: usize = 256;
/// Keys that are warmed at a time.
const WARM_BATCH: usize = 256;

/// A text that is no key of the keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no key of this keyspace")]
pub struct NoKey;

/// What became of keys that were to be warmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Warmed {
    /// Keys that have a value.
    pub found: usize,
    /// Keys that have none, which is known now too.
    pub absent: usize,
}

/// The operator's side of a keyspace. Texts that are no keys of it are left out where a list is
/// taken; [`Operate::line`] tells them apart beforehand.
pub trait Operate: Send + Sync + 'static {
    /// The source that it belongs to.
    fn source(&self) -> &Source;

    /// What it promises and may spend.
    fn policy(&self) -> &Policy;

    /// What checks have found since it was opened.
    fn checks(&self) -> Checks;

    /// The journal line that moves this key, to be given to [`Source::invalidate`].
    fn line(&self, key: &str) -> Result<Line, NoKey>;

    /// This key in memory, in the remote tier and, if `from_source`, in the source. Nothing is
    /// kept or stored, and no read waits for it or joins it.
    fn inspect(
        self: Arc<Self>,
        key: &str,
        from_source: bool,
    ) -> Result<BoxFuture<'static, Inspection>, NoKey>;

    /// Fills memory with these keys.
    fn warm(self: Arc<Self>, keys: Vec<String>) -> BoxFuture<'static, Result<Warmed, Error>>;

    /// At most so many keys that are in memory, chosen by chance; all of them are passed over.
    fn sample(self: Arc<Self>, most: usize) -> BoxFuture<'static, Vec<String>>;

    /// Compares the copies of these keys with the source, which is asked for all of them at once;
    /// drops those that are wrong, if `repair`. See `check.rs`.
    fn check(self: Arc<Self>, keys: Vec<String>, repair: bool) -> BoxFuture<'static, Vec<Checked>>;
}

impl<K: Key, V: Value> Operate for Inner<K, V> {
    fn source(&self) -> &Source {
        &self.source
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn checks(&self) -> Checks {
        self.audit.read()
    }

    fn line(&self, key: &str) -> Result<Line, NoKey> {
        let key = K::parse(key).ok_or(NoKey)?;
        Ok(Line {
            collection: self.name.to_string(),
            key: Self::text(&key),
        })
    }

    fn inspect(
        self: Arc<Self>,
        key: &str,
        from_source: bool,
    ) -> Result<BoxFuture<'static, Inspection>, NoKey> {
        let key = K::parse(key).ok_or(NoKey)?;
        Ok(async move { inspect::inspect(&self, &key, from_source).await }.boxed())
    }

    fn warm(self: Arc<Self>, keys: Vec<String>) -> BoxFuture<'static, Result<Warmed, Error>> {
        let keyspace = Keyspace(self);
        let warmed = async move {
            let keys: Vec<K> = keys.iter().filter_map(|key| K::parse(key)).collect();
            let mut warmed = Warmed::default();
            for batch in keys.chunks(WARM_BATCH) {
                let answers = keyspace.bring(batch, &Read::bounded(), false).await?;
                let found = answers.iter().filter(|a| a.value().is_some()).count();
                warmed.found += found;
                warmed.absent += answers.len() - found;
            }
            Ok(warmed)
        };
        warmed.boxed()
    }

    fn sample(self: Arc<Self>, most: usize) -> BoxFuture<'static, Vec<String>> {
        let sample = async move {
            // A reservoir: each of the n keys seen so far is in it with the same chance.
            let mut sample: Vec<String> = Vec::new();
            for (seen, key) in self.local.keys().enumerate() {
                if sample.len() < most {
                    sample.push(Self::text(&key));
                } else if let Ok(place) =
                    usize::try_from(self.source().core.draw() % (seen as u64 + 1))
                    && place < most
                {
                    sample[place] = Self::text(&key);
                }
                if seen % STRIDE == STRIDE - 1 {
                    tokio::task::yield_now().await;
                }
            }
            sample
        };
        sample.boxed()
    }

    fn check(self: Arc<Self>, keys: Vec<String>, repair: bool) -> BoxFuture<'static, Vec<Checked>> {
        async move {
            let keys: Vec<K> = keys.iter().filter_map(|key| K::parse(key)).collect();
            check::check(&self, &keys, repair).await
        }
        .boxed()
    }
}
