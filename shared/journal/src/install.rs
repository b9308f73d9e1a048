//! Bringing tables and triggers to what is described, in one transaction.

use crate::sql::{VERSION, identifier, postgres, sqlite};
use crate::{Error, Journal, Watches, check, life};
use larder::key::Tag;
use larder_db::{AssertSqlSafe, Engine, Row, Tx, args};
use std::cmp::Ordering;

/// Fails unless it was installed, by this release or a later one; changes nothing. Whether its
/// triggers are as they should be is for [`Journal::check`] to say.
pub(crate) async fn find(journal: &Journal) -> Result<(), Error> {
    let (db, watches) = (&journal.inner.db, &journal.inner.watches);
    let missing = Error::NotInstalled {
        revision: watches.revision,
    };
    let installed = match db.engine() {
        Engine::Sqlite => db.fetch_one(sqlite::INSTALLED, args![]).await?.get(0)?,
        Engine::Postgres => {
            let row = db.fetch_one(postgres::SCHEMA, args![]).await?;
            // A release before lives were told apart has installed the one and not the other.
            row.get(1)? && row.get(2)?
        }
    };
    if !installed {
        return Err(missing);
    }
    let installed = State::of(&db.fetch_one(STATE, args![]).await?)?;
    match installed.stands(watches)? {
        Stands::Earlier => Err(missing),
        Stands::Same | Stands::Later => Ok(()),
    }
}

pub(crate) async fn install(journal: &Journal) -> Result<(), Error> {
    // On SQLite this is BEGIN IMMEDIATE; PostgreSQL takes its lock below.
    let mut tx = journal.inner.db.begin_write().await?;
    let watches = &journal.inner.watches;
    let plan = match tx.engine() {
        Engine::Sqlite => on_sqlite(&mut tx, watches).await?,
        Engine::Postgres => on_postgres(&mut tx, watches).await?,
    };
    let fingerprint = format!("{:016x}", Tag::of("fingerprint", &plan.program).0);
    let installed = State::of(&tx.fetch_one(STATE, args![]).await?)?;
    let stands = installed.stands(watches)?;
    if stands == Stands::Same && installed.fingerprint != fingerprint {
        return Err(Error::Unrevised {
            revision: watches.revision,
        });
    }
    if stands == Stands::Later || stands == Stands::Same && plan.sound {
        return Ok(tx.commit().await?);
    }
    tx.execute_script(AssertSqlSafe(plan.cleanup + &plan.program))
        .await?;
    let whole = Tag::WHOLE;
    tx.execute(
        "INSERT INTO journal (tag, key) VALUES ($1, $2)",
        args![whole, whole],
    )
    .await?;
    tx.execute(
        "UPDATE journal_state SET version = $1, revision = $2, fingerprint = $3",
        args![VERSION, watches.revision, &fingerprint],
    )
    .await?;
    Ok(tx.commit().await?)
}

/// What has to be run if what is installed is not this.
struct Plan {
    /// Takes away what is in the way of the program.
    cleanup: String,
    /// Everything that was described; its hash is the fingerprint.
    program: String,
    /// Whether the triggers are there and on.
    sound: bool,
}

struct State {
    version: i64,
    revision: i64,
    fingerprint: String,
}

/// How what is installed stands to what this release would install.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    Earlier,
    Same,
    /// A later release has installed its triggers, and they stay: with those of this one its replicas
    /// would miss changes. Whether this one misses some is seen by [`Journal::check`].
    Later,
}

const STATE: &str = "SELECT version, revision, fingerprint FROM journal_state";

impl State {
    fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            version: row.get(0)?,
            revision: row.get(1)?,
            fingerprint: row.get(2)?,
        })
    }

    fn stands(&self, watches: &Watches) -> Result<Stands, Error> {
        let version = self.version;
        match (
            self.version.cmp(&VERSION),
            self.revision.cmp(&watches.revision),
        ) {
            (Ordering::Greater, _) => Err(Error::Newer { version }),
            (Ordering::Less, _) | (_, Ordering::Less) => Ok(Stands::Earlier),
            (_, Ordering::Equal) => Ok(Stands::Same),
            (_, Ordering::Greater) => Ok(Stands::Later),
        }
    }
}

async fn on_sqlite(tx: &mut Tx, watches: &Watches) -> Result<Plan, Error> {
    if !tx
        .fetch_one(sqlite::INSTALLED, args![])
        .await?
        .get::<bool>(0)?
    {
        tx.execute_script(sqlite::TABLES).await?;
    }
    let found = tx.fetch_all(sqlite::TRIGGERS, args![]).await?;
    let wanted = sqlite::triggers(watches);
    let sound = check::compare(watches, &wanted, &found)?.is_empty();
    let mut cleanup = String::new();
    for trigger in &found {
        cleanup += &format!("DROP TRIGGER {};\n", identifier(trigger.get(1)?));
    }
    let triggers = wanted.iter().map(|trigger| format!("{};\n", trigger.body));
    let fold = watches.folded().then(|| sqlite::FOLD_TABLE.to_owned());
    let program = fold.into_iter().chain(triggers).collect();
    Ok(Plan {
        cleanup,
        program,
        sound,
    })
}

async fn on_postgres(tx: &mut Tx, watches: &Watches) -> Result<Plan, Error> {
    tx.execute(postgres::PATIENCE, args![]).await?;
    tx.execute(postgres::LOCK, args![]).await?;
    let row = tx.fetch_one(postgres::SCHEMA, args![]).await?;
    let (schema, installed, lives): (String, bool, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
    if !installed {
        tx.execute_script(AssertSqlSafe(postgres::tables(&schema)))
            .await?;
    }
    if !lives {
        tx.execute_script(AssertSqlSafe(postgres::lives(&schema)))
            .await?;
    }
    life::ensure(tx).await?;
    let found = tx.fetch_all(postgres::TRIGGERS, args![]).await?;
    let sound = check::compare(watches, &postgres::triggers(&schema, watches), &found)?.is_empty();
    let cleanup = forsaken(watches, &found)?
        .iter()
        .map(|table| postgres::uninstall(&schema, table))
        .collect();
    Ok(Plan {
        cleanup,
        program: postgres::program(&schema, watches),
        sound,
    })
}

/// Tables that have our triggers and are watched no more.
fn forsaken(watches: &Watches, found: &[Row]) -> Result<Vec<String>, Error> {
    let mut tables = Vec::new();
    for row in found {
        let table: String = row.get(0)?;
        let watched = watches.tables.iter().any(|watch| watch.table == table);
        if !watched && !tables.contains(&table) {
            tables.push(table);
        }
    }
    Ok(tables)
}
