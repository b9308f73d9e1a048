//! Whether the triggers are there and on. A disabled one is silent, so it has to be looked for.

use crate::sql::{Trigger, postgres, sqlite};
use crate::{Error, Journal, Watches};
use larder_db::{Engine, Row, args};

/// A table whose changes are not, or not all, journalled. Its keyspaces must not be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The table.
    pub table: String,
    /// The keyspaces that depend on it.
    pub keyspaces: Vec<String>,
    /// The trigger.
    pub trigger: String,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a trigger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It is not there.
    Missing,
    /// It is there and does not fire, or not for every session.
    Disabled,
    /// It does something else than what was described.
    Different,
}

impl Journal {
    /// What is wrong with the triggers now; to be asked each minute. A table that was found
    /// wanting may have changed unseen: whoever repairs it touches its keyspaces. Installing
    /// again does both.
    pub async fn check(&self) -> Result<Vec<Problem>, Error> {
        let (db, watches) = (&self.inner.db, &self.inner.watches);
        match db.engine() {
            Engine::Sqlite => {
                let found = db.fetch_all(sqlite::TRIGGERS, args![]).await?;
                compare(watches, &sqlite::triggers(watches), &found)
            }
            Engine::Postgres => {
                let schema = db.fetch_one(postgres::SCHEMA, args![]).await?;
                let found = db.fetch_all(postgres::TRIGGERS, args![]).await?;
                compare(
                    watches,
                    &postgres::triggers(schema.get(0)?, watches),
                    &found,
                )
            }
        }
    }
}

/// `found`: table, name, body, and `A` for one that always fires. A partitioned table has a
/// trigger of the same name on each partition; all of them must be as they should.
pub(crate) fn compare(
    watches: &Watches,
    wanted: &[Trigger],
    found: &[Row],
) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    for trigger in wanted {
        let mut flaw = Some(Flaw::Missing);
        for row in found {
            let (table, name): (&str, &str) = (row.get(0)?, row.get(1)?);
            if table != trigger.table || name != trigger.name {
                continue;
            }
            flaw = match (row.get::<&str>(2)?, row.get::<&str>(3)?) {
                (_, enabled) if enabled != "A" => Some(Flaw::Disabled),
                (body, _) if body != trigger.body => Some(Flaw::Different),
                _ if flaw == Some(Flaw::Missing) => None,
                _ => flaw,
            };
            if flaw.is_some() {
                break;
            }
        }
        if let Some(flaw) = flaw {
            problems.push(problem(watches, trigger, flaw));
        }
    }
    Ok(problems)
}

fn problem(watches: &Watches, trigger: &Trigger, flaw: Flaw) -> Problem {
    let of_table = |watch: &&crate::Watch| watch.table == trigger.table;
    let watch = watches.tables.iter().find(of_table);
    Problem {
        table: trigger.table.clone(),
        keyspaces: watch
            .map(|watch| watch.keyspaces.clone())
            .unwrap_or_default(),
        trigger: trigger.name.clone(),
        flaw,
    }
}
