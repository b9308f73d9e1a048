//! Rows, the judge, and what is counted.

use super::fleet::{Fleet, Part};
use super::ratio::Ratios;
use crate::asking;
use anyhow::{Context as _, Result};
use larder_proto::comments::v1 as comments;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::products::v1 as products;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::profiles::v1 as profiles;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_runtime::client::{Client, Limits};
use larder_testkit::history::{Collection, History, Moment, Origin, Place, Read, Seen, State};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// Δ of every keyspace of the suite.
pub(crate) const BOUND: Duration = Duration::from_secs(1);
/// Where every row is: none of them moves.
pub(crate) const HERE: Collection = Collection(1);
/// Rows of each table.
const ROWS: usize = 120;

/// A table with rows that are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Profiles,
    Products,
}

impl Table {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Profiles => Part::Profiles,
            Self::Products => Part::Products,
        }
    }

    /// The id of the row with this number.
    fn id(self, number: usize) -> String {
        match self {
            Self::Profiles => format!("person-{number}"),
            Self::Products => format!("thing-{number}"),
        }
    }

    /// The JSON field that says which version a row is.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Profiles => "display_name",
            Self::Products => "title",
        }
    }
}

/// A row, and who may write it now. What it is believed to be: a version, or, where the outcome of
/// a write is not known, nothing.
pub(crate) struct Row {
    pub(crate) table: Table,
    pub(crate) id: String,
    pub(crate) place: Place,
    pub(crate) version: AsyncMutex<Option<u64>>,
}

/// See the module's documentation.
pub(crate) struct Stage {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) calls: Calls,
    pub(crate) history: History,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Ratios,
    pub(crate) requests: AtomicU64,
    /// Requests that were made again, since the first may be.
    pub(crate) again: AtomicU64,
    /// Writes of which nobody knows what became of them.
    pub(crate) ambiguous: AtomicU64,
    /// What failed, by how.
    failures: Mutex<BTreeMap<String, u64>>,
    start: Instant,
    stopped: AtomicBool,
}

/// The way to the services over gRPC. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) profiles: ProfileServiceClient<Client>,
    pub(crate) products: ProductServiceClient<Client>,
    pub(crate) comments: CommentServiceClient<Client>,
    pub(crate) reports: ReportServiceClient<Client>,
}

impl Calls {
    fn new(fleet: &Fleet) -> Result<Self> {
        let way = |part| Client::new("the test", &fleet.way_to(part), Limits::default());
        Ok(Self {
            profiles: ProfileServiceClient::new(way(Part::Profiles)?),
            products: ProductServiceClient::new(way(Part::Products)?),
            comments: CommentServiceClient::new(way(Part::Comments)?),
            reports: ReportServiceClient::new(way(Part::Reports)?),
        })
    }
}

impl Stage {
    /// With rows that a comment each says something about, of a fleet in which all parts that are
    /// in it are ready.
    pub(crate) async fn set(fleet: Arc<Fleet>) -> Result<Arc<Self>> {
        let calls = Calls::new(&fleet)?;
        let there = |table: &Table| !fleet.of(table.part()).is_empty();
        let tables = [Table::Profiles, Table::Products].into_iter().filter(there);
        let named = |table: Table| (0..ROWS).map(move |number| (table, table.id(number)));
        let named: Vec<(Table, String)> = tables.flat_map(named).collect();
        let history = History::new(BOUND, named.iter().map(|(_, id)| id.as_str()));
        let row = |(number, (table, id))| Row {
            table,
            id,
            place: history.place(number),
            version: AsyncMutex::new(None),
        };
        let rows = named.into_iter().enumerate().map(row);
        let stage = Self {
            rows: rows.collect(),
            fleet,
            calls,
            history,
            ratios: Ratios::default(),
            requests: AtomicU64::new(0),
            again: AtomicU64::new(0),
            ambiguous: AtomicU64::new(0),
            failures: Mutex::default(),
            start: Instant::now(),
            stopped: AtomicBool::new(false),
        };
        for row in &stage.rows {
            stage.create(row).await.with_context(|| row.id.clone())?;
        }
        if !stage.fleet.of(Part::Comments).is_empty() {
            for number in 0..ROWS {
                stage.comment(number).await?;
            }
        }
        Ok(Arc::new(stage))
    }

    /// Rows of tables whose service is there.
    pub(crate) fn there(&self, table: Table) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.table == table)
    }

    pub(crate) fn person(&self, id: &str) -> Option<&Row> {
        self.there(Table::Profiles).find(|row| row.id == id)
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// An answer came: it is judged, and counted.
    pub(crate) fn judge(&self, part: Part, read: &Read, facts: &[(Place, Seen)]) {
        let cached = matches!(read.origin, Origin::L1 | Origin::L2);
        self.ratios.read(part, read.returned, cached);
        self.history.read(read, facts);
    }

    pub(crate) fn fail(&self, what: String) {
        *locked(&self.failures).entry(what).or_default() += 1;
    }

    pub(crate) fn failures(&self) -> BTreeMap<String, u64> {
        locked(&self.failures).clone()
    }

    pub(crate) fn asked(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What the database holds, when nobody writes any more: nothing acknowledged is missing.
    pub(crate) async fn close(&self) -> Result<()> {
        for table in [Table::Profiles, Table::Products] {
            if self.fleet.of(table.part()).is_empty() {
                continue;
            }
            let (postgres, name) = (self.fleet.postgres.clone(), table.part());
            let sql = format!("\\connect larder_{name}\nSELECT id || ' ' || version FROM {name}");
            let held = tokio::task::spawn_blocking(move || postgres.psql(&sql)).await??;
            let held: BTreeMap<&str, u64> = held
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(id, version)| Some((id, version.parse().ok()?)))
                .collect();
            for row in self.there(table) {
                let version = held.get(row.id.as_str()).map(|version| (*version, HERE));
                self.history.at_end(row.place, self.now(), version);
            }
        }
        Ok(())
    }

    async fn create(&self, row: &Row) -> Result<()> {
        let invoked = self.now();
        let (id, text) = (row.id.clone(), value(1));
        let version = match row.table {
            Table::Profiles => {
                let profile = Some(profiles::Profile {
                    id,
                    display_name: text,
                    ..Default::default()
                });
                let request = asking(profiles::CreateProfileRequest { profile }, &[]);
                self.calls
                    .profiles
                    .clone()
                    .create_profile(request)
                    .await?
                    .get_ref()
                    .version
            }
            Table::Products => {
                let category = "things".to_owned();
                let product = Some(products::Product {
                    id,
                    title: text,
                    category,
                    ..Default::default()
                });
                let request = asking(products::CreateProductRequest { product }, &[]);
                self.calls
                    .products
                    .clone()
                    .create_product(request)
                    .await?
                    .get_ref()
                    .version
            }
        };
        let mut held: AsyncMutexGuard<'_, _> = row.version.lock().await;
        *held = Some(version);
        let wrote = (State::version(version), HERE);
        self.history.wrote(row.place, invoked, self.now(), wrote);
        Ok(())
    }

    async fn comment(&self, number: usize) -> Result<()> {
        let comment = comments::Comment {
            product_id: Table::Products.id(number),
            author_id: Table::Profiles.id(number),
            body: "well".to_owned(),
            ..Default::default()
        };
        let request = comments::CreateCommentRequest {
            comment: Some(comment),
        };
        let mut calls = self.calls.comments.clone();
        calls.create_comment(asking(request, &[])).await?;
        Ok(())
    }
}

/// The value of this version.
pub(crate) fn value(version: u64) -> String {
    format!("v{version}")
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
