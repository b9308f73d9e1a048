//! A two-tier cache that is never more than a stated bound behind its source.
//!
//! One rule decides every cached answer, in every process, whatever has failed:
//!
//! > Serve a cached value iff nothing it depends on has moved since it was captured, and
//! > `now − max(loaded_at, proven_at) ≤ Δ`.
//!
//! What the rule refuses is read from the source, under single-flight. So no cached answer to a
//! read invoked at T is older than what was committed before T − Δ: not after a lost, doubled or
//! reordered message, a silent link, a failover of the remote tier or an old dump restored into
//! it, a crash between a commit and its announcement, or a row changed by hand in SQL.
//!
//! The remote tier is never believed. What changed is known from the source itself: its journal
//! is read by a [feed](feed::Feed) as the difference of two [snapshots](Snapshot), every 100 ms.
//! A hint, published by whoever wrote, only brings the news sooner; a value in the remote tier is
//! a claim with a label, the snapshot that it was read under, and is judged by it.
//!
//! # In a plain program
//!
//! ```
//! use larder::feed::{Change, Coverage, Feed, Line, Round, Written};
//! use larder::{Ask, Epoch, Label, Larder, Loaded, Proof, Read, Snapshot, Tag, load, remote};
//! use futures_util::future::BoxFuture;
//! use std::sync::{Arc, Mutex};
//!
//! /// A "database": a list of prices with a journal, whose line numbers are its transactions.
//! #[derive(Default)]
//! struct Prices(Mutex<Vec<(String, u64)>>);
//!
//! impl Prices {
//!     const EPOCH: Epoch = Epoch { system: 1, timeline: 0 };
//!
//!     fn set(&self, item: &str, cents: u64) -> Written {
//!         let mut lines = self.0.lock().unwrap();
//!         lines.push((item.to_owned(), cents));
//!         let tags = vec![Tag::of("prices", item)];
//!         Written { epoch: Self::EPOCH, xid: lines.len() as u64, tags }
//!     }
//! }
//!
//! impl Feed for Prices {
//!     fn round<'a>(
//!         &'a self,
//!         since: Option<&'a Coverage>,
//!     ) -> BoxFuture<'a, Result<Round, larder::feed::Error>> {
//!         Box::pin(async move {
//!             let lines = self.0.lock().unwrap();
//!             let known = since.map_or(0, |since| since.snapshot.xmin() as usize - 1);
//!             let new = lines.iter().enumerate().skip(known);
//!             Ok(Round {
//!                 epoch: Self::EPOCH,
//!                 snapshot: Snapshot::up_to(lines.len() as u64),
//!                 low_marked: 0,
//!                 low_dropped: 0,
//!                 changes: new
//!                     .map(|(n, (item, _))| Change { tag: Tag::of("prices", item), xid: n as u64 + 1 })
//!                     .collect(),
//!             })
//!         })
//!     }
//!     fn touch<'a>(&'a self, _: &'a [Line]) -> BoxFuture<'a, Result<Written, larder::feed::Error>> {
//!         Box::pin(async { Err(larder::feed::Error::Unsupported) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prices = Arc::new(Prices::default());
//! prices.set("tea", 300);
//!
//! let larder = Larder::builder(remote::open("hub:")?).build();
//! let source = larder.source("prices").feed(prices.clone()).open();
//! let loader = {
//!     let prices = prices.clone();
//!     move |items: Vec<String>, _: Ask| {
//!         let prices = prices.clone();
//!         async move {
//!             // The label and the data come from one look at the source.
//!             let lines = prices.0.lock().unwrap();
//!             let snapshot = Snapshot::up_to(lines.len() as u64);
//!             let find = |item: &String| lines.iter().rev().find(|(name, _)| name == item);
//!             let loaded = items.iter().map(|item| Loaded {
//!                 value: find(item).map(|(_, cents)| cents.to_string().into()),
//!                 tags: Vec::new(),
//!                 proof: Proof::Primary(Label { epoch: Prices::EPOCH, snapshot: snapshot.clone() }),
//!             });
//!             Ok::<Vec<Loaded<bytes::Bytes>>, load::Error>(loaded.collect())
//!         }
//!     }
//! };
//! let cache = source.keyspace("prices", loader).open()?;
//!
//! let tea = cache.get(&"tea".to_owned(), &Read::bounded()).await?;
//! assert_eq!(tea.value().unwrap(), "300");
//!
//! // A write, then its announcement: every process drops its copy within a round trip.
//! let token = source.wrote(prices.set("tea", 350)).await;
//! let read = Read::bounded().reflecting([token]);
//! assert_eq!(cache.get(&"tea".to_owned(), &read).await?.value().unwrap(), "350");
//! # Ok(())
//! # }
//! ```
//!
//! # A source that has no feed
//!
//! A foreign API tells nobody what changed. Then nothing is ever proven, `loaded_at` alone
//! counts, and the same rule makes this a cache whose values live for Δ, with hints that end them
//! sooner. Its values stay in this process's memory, since a label is what lets others judge them.
//!
//! ```
//! use larder::{Ask, Larder, Loaded, Policy, Proof, Read, load, remote};
//! use larder::feed::Line;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn weather(cities: Vec<String>, _: Ask) -> Result<Vec<Loaded<bytes::Bytes>>, load::Error> {
//!     let ask = |city: String| bytes::Bytes::from(format!("rain in {city}"));
//!     let loaded = |city| Loaded { value: Some(ask(city)), tags: Vec::new(), proof: Proof::None };
//!     Ok(cities.into_iter().map(loaded).collect())
//! }
//!
//! let larder = Larder::builder(remote::open("hub:")?).build();
//! let source = larder.source("weather").open();
//! let policy = Policy { max_staleness: Duration::from_secs(60), ..Policy::default() };
//! let cache = source.keyspace("weather", weather).policy(policy).open()?;
//!
//! let oslo = cache.get(&"Oslo".to_owned(), &Read::bounded()).await?;
//! assert_eq!(oslo.value().unwrap(), "rain in Oslo");
//! source.invalidate(&[Line { collection: "weather".into(), key: "Oslo".into() }]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Reading order
//!
//! The judgement, without I/O or clock: [`snapshot`] (what is visible to whom), [`judge`] (the
//! rule), [`digest`] (what this process knows of changes). Then what feeds it: [`feed`], and
//! [`source`] with its poller and its hints. Then a read: `cache.rs` (the handle), `fetch.rs` (what
//! memory lacks), `renewal.rs` (what it has had for long), `flight.rs` (single-flight), `fill.rs`
//! (remote tier, advisory lock, load), `local.rs` and [`remote`] (the tiers), `entry.rs` and
//! `parcel.rs` (a value here and there). `write.rs` is what follows a
//! commit, `pinned.rs` what is kept for a crowd, `tell.rs` what other services are told, `memo.rs`
//! what is made of several answers, `measure.rs` what is noted of reads (hot keys, the miss-ratio
//! curve), [`advice`] what follows. At last the operator's side: [`operate`] (a keyspace by the text
//! of its keys), [`inspect`] (a key in all places), [`check`] (whether copies say what the source
//! says), [`watch`] (what goes on).
//!
//! # Invariants
//!
//! - `captured` is noted before the source is read, `proven_at` and a token's coverage are read
//!   before the cells, a cell is raised before `applied` is published, and `proven_at` comes last.
//! - A value from elsewhere is judged under the digest's lock, so nothing is applied meanwhile.
//! - Nothing awaits under a lock; every wait, queue, map and retry has a bound.
//! - A hit allocates nothing, waits for no lock and copies no payload. Where it is sampled, to know
//!   hot keys and the use of more memory, it may take a lock if that is free, and leaves it if not:
//!   a thread in a hurry samples one read in 256 for the first, and a keyspace at most 20,000 a
//!   second for the second. What a sample writes down may allocate.
//!
//! The crate knows no protocol, no SQL and no domain. It owns every line of the protocol; moka
//! keeps the entries, and `redis` carries the bytes.

pub mod advice;
mod behind;
mod breaker;
mod cache;
pub mod check;
pub mod clock;
mod codec;
pub mod digest;
mod entry;
pub mod feed;
mod fetch;
mod fill;
mod flight;
#[doc(hidden)]
pub mod fuzzed;
mod held;
mod hint;
pub mod inspect;
pub mod judge;
pub mod key;
mod keyspace;
mod larder;
pub mod load;
mod local;
mod measure;
mod memo;
pub mod operate;
mod parcel;
mod pinned;
pub mod policy;
mod read;
pub mod remote;
mod renewal;
pub mod snapshot;
pub mod source;
pub mod stats;
mod tell;
mod tiers;
pub mod trace;
pub mod watch;
mod write;
mod writers;

pub use advice::Advice;
pub use cache::Keyspace;
pub use clock::Clock;
pub use codec::SealKey;
pub use entry::Value;
pub use key::{Key, Tag};
pub use keyspace::KeyspaceBuilder;
pub use larder::{Builder, Larder};
pub use load::{Ask, Load, Loaded, Proof};
pub use measure::hot::Hot;
pub use memo::{Memo, Part};
pub use operate::Operate;
pub use pinned::{Pinned, Writing};
pub use policy::Policy;
pub use read::{Answer, Error, Freshness, Origin, Read};
pub use snapshot::{Epoch, Label, Snapshot, Token};
pub use source::Source;
pub use tell::{AnyKeyspace, Told};
pub use tiers::Tiers;
pub use write::Target;
