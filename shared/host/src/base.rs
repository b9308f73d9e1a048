//! What a service's handlers stand on: its source, its journal, and the way to write.

use crate::doubt::Doubt;
use crate::error::Error;
use crate::parts::Parts;
use crate::place::database_url;
use crate::service::{Migrations, Service};
use http::HeaderMap;
use larder::trace::{Place, Tracing};
use larder::{Larder, Read, SealKey, Source};
use larder_db::{Database, Schema};
use larder_journal::Journal;
use larder_runtime::config::{Address, Migrate};
use larder_runtime::status;
use larder_runtime::tasks::{self, Tasks};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::{Request, Status};

/// Writes at once, those included whose caller has hung up; more are turned away.
const WRITES: usize = 1024;
/// When those who are turned away should come back.
const COME_BACK: Duration = Duration::from_millis(100);

/// See the module's documentation. Clones are of the same service in the same process.
#[derive(Clone)]
pub struct Base {
    larder: Larder,
    source: Source,
    journal: Journal,
    tasks: Tasks,
    writes: Arc<Semaphore>,
    pub(crate) doubt: Doubt,
    /// See [`Base::schema`].
    schema: Schema,
}

/// What is needed to open a service's database and its source.
#[derive(Clone)]
pub struct Opening {
    /// The suite's database.
    pub database: Address,
    /// Connections, and how long they are waited for.
    pub connections: larder_db::Options,
    /// Who brings the tables up to date.
    pub migrate: Migrate,
    /// What the journal keeps and for how long.
    pub journal: larder_journal::Settings,
    /// How often the feed is asked; `None` for never.
    pub poll: Option<Duration>,
    /// The process's cache.
    pub larder: Larder,
    /// The process's tasks.
    pub tasks: Tasks,
    pub(crate) doubt: Doubt,
}

impl Opening {
    /// With what these parts say, and a cache and tasks of its own.
    pub fn of(parts: &Parts) -> Self {
        let larder = Larder::builder(parts.remote.clone())
            .namespace(&parts.namespace)
            .tracing(tracing())
            .tiers(parts.tiers);
        let sealed = |larder: larder::Builder, key: &SealKey| larder.seal(key.clone());
        let larder = match &parts.seal {
            Some(key) => sealed(larder, key),
            None => larder,
        };
        Self {
            database: parts.database.clone(),
            connections: parts.connections.clone(),
            migrate: parts.migrate,
            journal: parts.journal.clone(),
            poll: parts.timing.poll,
            larder: larder.build(),
            tasks: Tasks::new(),
            doubt: Doubt::default(),
        }
    }

    /// As many loads as there are connections to read, but for two: rounds are asked for on the
    /// same ones, by this process and by other services, and never wait behind loads.
    fn concurrent_loads(&self, service: &impl Service) -> usize {
        let connections = service.connections(self.connections.clone());
        connections.read_connections.saturating_sub(2).max(1) as usize
    }

    /// Opens the database of a service, brings its tables up to date, and installs its journal:
    /// all that is needed to write rows. Where somebody else does that, it is an error as long as
    /// it is not done.
    pub async fn journal(&self, service: &impl Service) -> Result<Journal, Error> {
        Ok(self.prepared(service).await?.0)
    }

    async fn prepared(&self, service: &impl Service) -> Result<(Journal, Schema), Error> {
        let name = service.name();
        let url = database_url(self.database.expose(), name)?;
        let failed = |source| Error::Database {
            service: name,
            source,
        };
        let connections = larder_db::Options {
            create: self.migrate == Migrate::Auto,
            ..service.connections(self.connections.clone())
        };
        let database = Database::open_with(&url, connections).await;
        let database = database.map_err(|error| failed(error.into()))?;
        let Migrations { sqlite, postgres } = service.migrations();
        let schema = match self.migrate {
            Migrate::Auto => database.migrate(&sqlite, &postgres).await,
            Migrate::Wait => database.migrated(&sqlite, &postgres).await,
        };
        let schema = schema.map_err(|error| failed(error.into()))?;
        let (watches, settings) = (service.watches(), self.journal.clone());
        let journal = match self.migrate {
            Migrate::Auto => Journal::install_with(database, watches, settings).await,
            Migrate::Wait => Journal::find(database, watches, settings).await,
        };
        Ok((journal.map_err(failed)?, schema))
    }
}

/// The runtime knows where in a trace the process is, and the cache says it in its hints.
fn tracing() -> Tracing {
    Tracing {
        current: || {
            let place = larder_runtime::trace::current()?;
            let larder_runtime::trace::Place { trace, span } = place;
            Some(Place { trace, span })
        },
        follow: |evicted, Place { trace, span }| {
            let cause = larder_runtime::trace::Place { trace, span };
            larder_runtime::trace::follow(evicted, cause)
        },
    }
}

impl Base {
    /// Opens the database and the source of a service, once; keyspaces are the service's own to
    /// open. Must be called on a tokio runtime.
    pub async fn open(service: &impl Service, opening: &Opening) -> Result<Self, Error> {
        let (journal, schema) = opening.prepared(service).await?;
        if let Some(version) = schema.newer {
            tracing::warn!(
                service.name = service.name(),
                schema.version = version,
                "the tables are of a later release, whose migrations only add to what this one knows"
            );
        }
        let source = opening
            .larder
            .source(service.name())
            .feed(Arc::new(journal.clone()))
            .concurrent_loads(opening.concurrent_loads(service));
        let source = match opening.poll {
            Some(interval) => source.poll_every(interval),
            None => source.poll_by_hand(),
        };
        Ok(Self {
            larder: opening.larder.clone(),
            source: source.open(),
            journal,
            tasks: opening.tasks.clone(),
            writes: Arc::new(Semaphore::new(WRITES)),
            doubt: opening.doubt.clone(),
            schema,
        })
    }

    /// How the tables stood, when they were opened, to what this release knows.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// The process's cache, for sources of other services.
    pub fn larder(&self) -> &Larder {
        &self.larder
    }

    /// The service's source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The journal of its database.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The process's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// How a request wants to be read: what its metadata says. While the journal cannot be
    /// relied on, from the source.
    #[inline]
    pub fn read<T>(&self, request: &Request<T>) -> Result<Read, Status> {
        Ok(self.doubt.judge(larder_wire::read(request)?))
    }

    /// How a call wants to be read that may be answered at once; `None` where its metadata is
    /// malformed.
    #[inline]
    pub fn read_at_once(&self, metadata: &HeaderMap) -> Option<Read> {
        Some(self.doubt.judge(larder_wire::wanted(metadata).ok()?))
    }

    /// Runs a write, from its first statement to its hint, as a task of the process: a caller who
    /// hangs up does not stop what follows the commit.
    ///
    /// 1. A caller's write commits.
    /// 2. The caller hangs up, and its handler is dropped.
    /// 3. The task moves the cells here and publishes the hint all the same.
    ///
    /// Test: `a_write_whose_caller_hangs_up_is_told_to_the_others`.
    pub async fn write<T, F>(&self, write: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let Ok(permit) = self.writes.clone().try_acquire_owned() else {
            let message = "too many writes are under way";
            return Err(status::resource_exhausted(
                "TOO_MANY_WRITES",
                message,
                COME_BACK,
            ));
        };
        let task = self.tasks.run("write", async move {
            let _permit = permit;
            write.await
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(tasks::Error::Panicked(_) | tasks::Error::Unfinished(_)) => Err(status::internal()),
            Err(tasks::Error::Abandoned(_)) => {
                let message = "the service is ending";
                Err(status::unavailable("ENDING", message, COME_BACK))
            }
        }
    }
}
