//! What a replica does for the launches that are written down: loads their products at once, and
//! from [`LEAD`] before until [`KEEP`] after the time keeps them in memory and good, so that no
//! reader finds one missing, expired, or moved without a new value.
//!
//! Each replica looks for launches by itself, so that one which starts late takes part like the
//! others, and a lost message costs nothing. Of several that load at once one asks the database,
//! and the others take the products from the remote tier.

use crate::model::ProductId;
use crate::store::Store;
use crate::store::launches::{Launch, Said};
use larder::{Keyspace, Pinned};
use larder_db::Error as Db;
use larder_host::Entity;
use larder_runtime::tasks::Tasks;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long before its time a launch's products are renewed and kept.
pub const LEAD: Duration = Duration::from_secs(60);
/// How long after it.
pub const KEEP: Duration = Duration::from_secs(300);
/// Launches that are written down at once.
pub const MOST_LAUNCHES: i64 = 32;

/// How often a replica looks for launches, and at its products.
pub const LOOK: Duration = Duration::from_millis(500);
/// How often it looks who is in a category.
const LOOK_WHO: Duration = Duration::from_secs(5);
/// How often it says how far it is, while it loads.
const SAY: Duration = Duration::from_millis(250);
/// Products that are looked at in one go.
const BATCH: usize = 256;

/// See the module's documentation.
pub struct Keeper {
    store: Store,
    products: Keyspace<ProductId, Entity>,
    replica: String,
    kept: BTreeMap<String, Kept>,
    /// The last reason why it could not be done, told once.
    trouble: Option<String>,
}

/// A launch as this replica knows it.
struct Kept {
    ids: Arc<[ProductId]>,
    known_at: Instant,
    pinned: Option<Pinned<ProductId, Entity>>,
    said: Option<Said>,
    whole: bool,
}

/// Now, in microseconds since 1970, by this machine's clock.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// So many microseconds.
pub fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Keeper {
    /// Of this replica, which is `replica` to the others.
    pub fn new(store: &Store, products: &Keyspace<ProductId, Entity>, replica: String) -> Self {
        Self {
            store: store.clone(),
            products: products.clone(),
            replica,
            kept: BTreeMap::new(),
            trouble: None,
        }
    }

    /// Keeps what there is to keep until the end, as a task of this owner; looks at once when it is
    /// woken.
    pub fn start(mut self, wake: Arc<Notify>, tasks: &Tasks) {
        let forever = async move {
            loop {
                self.look().await;
                let _ = tokio::time::timeout(LOOK, wake.notified()).await;
            }
        };
        let stopping = tasks.stopping().clone();
        tasks.spawn("keep launches", async move {
            stopping.run_until_cancelled(forever).await;
        });
    }

    /// Looks at all launches once.
    pub async fn look(&mut self) {
        let outcome = self.pass().await;
        let trouble = outcome.err();
        match &trouble {
            Some(why) if self.trouble.as_ref() != Some(why) => {
                tracing::warn!(reason = %why, "launches cannot be prepared for now");
            }
            None if self.trouble.is_some() => tracing::info!("launches are prepared again"),
            _ => {}
        }
        self.trouble = trouble;
    }

    async fn pass(&mut self) -> Result<(), String> {
        let over = now() - micros(KEEP);
        let launches = self.store.launches(over, MOST_LAUNCHES).await;
        // What is kept stays kept while the database cannot say otherwise.
        let launches = launches.map_err(|error| error.to_string())?;
        let goes_on = |id: &String| launches.iter().any(|launch| launch.id == *id);
        self.kept.retain(|id, _| goes_on(id));
        for launch in &launches {
            self.keep(launch).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, launch: &Launch) -> Result<(), String> {
        let mut kept = match self.kept.remove(&launch.id) {
            Some(kept) => kept,
            None => Kept::of(self.ids(launch).await.map_err(|error| error.to_string())?),
        };
        let outcome = self.attend(launch, &mut kept).await;
        self.kept.insert(launch.id.clone(), kept);
        outcome
    }

    /// Whether it is early, at its time or after, the products are as they should be afterwards.
    async fn attend(&self, launch: &Launch, kept: &mut Kept) -> Result<(), String> {
        let until = launch.at - now();
        let due = until <= micros(LEAD);
        if due && kept.known_at.elapsed() >= LOOK_WHO {
            let ids = self.ids(launch).await.map_err(|error| error.to_string())?;
            *kept = Kept {
                pinned: kept.pinned.take(),
                said: kept.said,
                ..Kept::of(ids)
            };
        }
        let stale = |pinned: &Pinned<_, _>| pinned.keys()[..] != kept.ids[..];
        if due && kept.pinned.as_ref().is_none_or(stale) {
            // The new ones are held before the old ones are let go.
            kept.pinned = Some(self.products.pin(kept.ids.clone()));
            kept.whole = false;
        }
        if !due && kept.whole {
            return Ok(());
        }
        // None is renewed during the launch, as far as a value's life allows.
        let lasting = match u64::try_from(until) {
            Ok(until) if due => Duration::from_micros(until) + KEEP,
            _ => 4 * LOOK,
        };
        self.fill(launch, kept, lasting).await
    }

    async fn fill(
        &self,
        launch: &Launch,
        kept: &mut Kept,
        lasting: Duration,
    ) -> Result<(), String> {
        let mut said = Said {
            total: kept.ids.len() as u64,
            ..Said::default()
        };
        if kept.said.is_none() {
            self.say(launch, kept, said).await?;
        }
        let mut said_at = Instant::now();
        for batch in kept.ids.clone().chunks(BATCH) {
            let filled = self.products.fill(batch, lasting).await;
            let filled = filled.map_err(|error| error.to_string())?;
            said.loaded += filled.found as u64;
            said.missing += filled.absent as u64;
            if !kept.whole && said_at.elapsed() >= SAY {
                self.say(launch, kept, said).await?;
                said_at = Instant::now();
            }
            tokio::task::yield_now().await;
        }
        let news = kept.said != Some(said);
        if news {
            // During the launch nothing is written but what the shop writes.
            if now() < launch.at {
                self.say(launch, kept, said).await?;
            }
            kept.said = Some(said);
        }
        if said.is_whole() && !kept.whole {
            let (loaded, missing) = (said.loaded, said.missing);
            let pinned = kept.pinned.is_some();
            tracing::info!(
                launch.id,
                launch.pinned = pinned,
                products.loaded = loaded,
                products.missing = missing,
                "ready for a launch"
            );
        }
        kept.whole = said.is_whole();
        Ok(())
    }

    async fn say(&self, launch: &Launch, kept: &mut Kept, said: Said) -> Result<(), String> {
        let done = self.store.say(&launch.id, &self.replica, said).await;
        done.map_err(|error| error.to_string())?;
        kept.said = Some(said);
        Ok(())
    }

    async fn ids(&self, launch: &Launch) -> Result<Arc<[ProductId]>, Db> {
        let mut ids = launch.what.find(&self.store).await?;
        // It was no larger when it was written down.
        ids.truncate(super::MOST);
        Ok(ids.into())
    }
}

impl Kept {
    fn of(ids: Arc<[ProductId]>) -> Self {
        Self {
            ids,
            known_at: Instant::now(),
            pinned: None,
            said: None,
            whole: false,
        }
    }
}
