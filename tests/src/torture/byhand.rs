//! What is done in SQL behind the services' back.
//!
//! Whoever does it holds the rows, so that no writer is at them; only a write whose outcome was
//! unknown may still come. An update by hand tells what it made of each row, and after it no such
//! write can succeed any more, since all of them expect a version that is gone.

use super::cast::{author, collection, collection_name, table};
use super::world::{Belief, Held, Row, World};
use crate::Kind;
use anyhow::{Context as _, Result};
use larder_testkit::history::{Collection, NOWHERE, State};

impl World {
    /// Takes these rows, and waits for whoever has one.
    pub(crate) async fn hold<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> Vec<Held<'a>> {
        let mut held = Vec::new();
        for row in rows {
            held.push((row, row.belief.clone().lock_owned().await));
        }
        held
    }

    /// Updates those of the rows that there are: each says its new version. `before` and `after`
    /// are put around it, in the same session.
    pub(crate) async fn update_by_hand(
        &self,
        held: &mut [Held<'_>],
        (before, after): (&str, &str),
    ) -> Result<()> {
        let Some(kind) = kind_of(held) else {
            return Ok(());
        };
        let (table, value, place) = table(kind);
        let ids = ids(held);
        let sql = format!(
            "{before}\nUPDATE {table} SET {value} = 'v' || (version + 1) WHERE id IN ({ids}) \
             RETURNING id, version, {place};\n{after}"
        );
        let invoked = self.now();
        let printed = self.doubting(held, &sql).await?;
        let returned = self.now();
        for (row, belief) in held.iter_mut() {
            **belief = Belief::Absent;
            let line = printed.lines().find_map(|line| {
                let mut columns = line.split('|');
                (columns.next()? == row.role.id).then_some(())?;
                let version = columns.next()?.parse::<u64>().ok()?;
                Some((version, collection(columns.next()?)))
            });
            if let Some((version, place)) = line {
                **belief = Belief::Held(version, place);
                let state = (State::version(version), place);
                self.history.wrote(row.place, invoked, returned, state);
            }
        }
        Ok(())
    }

    /// Inserts those of the rows that there are not, under versions of the caller's: the next.
    /// `how` is INSERT or COPY.
    pub(crate) async fn insert_by_hand(
        &self,
        kind: Kind,
        held: &mut [Held<'_>],
        how: &str,
    ) -> Result<()> {
        let (table, ..) = table(kind);
        let next = self.next_version(kind).await?;
        let absent = |(_, belief): &&mut Held<'_>| **belief == Belief::Absent;
        let mut rows: Vec<_> = held.iter_mut().filter(absent).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = match kind {
            Kind::Profiles => "id, display_name, version",
            Kind::Products => "id, title, category, version",
            Kind::Comments => "id, body, product_id, author_id, version",
        };
        let values = |row: &Row| {
            let (id, place) = (&row.role.id, collection_name(row.role.collection));
            match kind {
                Kind::Profiles => vec![id.clone(), format!("v{next}")],
                Kind::Products => vec![id.clone(), format!("v{next}"), place],
                Kind::Comments => vec![id.clone(), format!("v{next}"), place, author(id)],
            }
        };
        let lines = rows.iter().map(|(row, _)| values(row));
        let sql = if how == "COPY" {
            let lines: Vec<String> = lines
                .map(|line| format!("{}\t{next}", line.join("\t")))
                .collect();
            format!(
                "COPY {table} ({columns}) FROM stdin;\n{}\n\\.\n",
                lines.join("\n")
            )
        } else {
            let lines = lines.map(|line| format!("('{}', {next})", line.join("', '")));
            let lines: Vec<String> = lines.collect();
            format!(
                "INSERT INTO {table} ({columns}) VALUES {};",
                lines.join(", ")
            )
        };
        let invoked = self.now();
        for (row, _) in &rows {
            let state = State::version(next);
            self.history
                .attempt(row.place, invoked, state, row.role.collection);
        }
        let done = self.psql(kind, &sql).await;
        let returned = self.now();
        for (row, belief) in &mut rows {
            **belief = match done {
                Ok(_) => Belief::Held(next, row.role.collection),
                Err(_) => Belief::Unknown,
            };
            if done.is_ok() {
                let state = (State::version(next), row.role.collection);
                self.history.wrote(row.place, invoked, returned, state);
            }
        }
        done.map(drop)
    }

    /// Does away with these rows by this SQL, which must leave none of them.
    pub(crate) async fn delete_by_hand(&self, held: &mut [Held<'_>], sql: &str) -> Result<()> {
        let Some(kind) = kind_of(held) else {
            return Ok(());
        };
        // From here on it is certain which version each of them is.
        self.update_by_hand(held, ("", "")).await?;
        let invoked = self.now();
        let mut gone = Vec::new();
        for (row, belief) in held.iter() {
            if let Belief::Held(version, _) = **belief {
                self.history
                    .attempt(row.place, invoked, State::deleted(version), NOWHERE);
                gone.push((row.place, State::deleted(version)));
            }
        }
        for (_, belief) in held.iter_mut() {
            **belief = Belief::Unknown;
        }
        self.psql(kind, sql).await?;
        let returned = self.now();
        for (place, state) in gone {
            self.history
                .wrote(place, invoked, returned, (state, NOWHERE));
        }
        for (_, belief) in held.iter_mut() {
            **belief = Belief::Absent;
        }
        Ok(())
    }

    /// Moves these rows into another collection.
    pub(crate) async fn move_by_hand(&self, held: &mut [Held<'_>], into: Collection) -> Result<()> {
        let Some(kind) = kind_of(held) else {
            return Ok(());
        };
        self.update_by_hand(held, ("", "")).await?;
        let invoked = self.now();
        for (row, belief) in held.iter() {
            if let Belief::Held(version, _) = **belief {
                self.history
                    .attempt(row.place, invoked, State::version(version + 1), into);
            }
        }
        let ((table, value, place), ids) = (table(kind), ids(held));
        let name = collection_name(into);
        let sql = format!(
            "UPDATE {table} SET {place} = '{name}', {value} = 'v' || (version + 1) WHERE id IN ({ids})"
        );
        self.doubting(held, &sql).await?;
        let returned = self.now();
        for (row, belief) in held.iter_mut() {
            if let Belief::Held(version, _) = **belief {
                **belief = Belief::Held(version + 1, into);
                let state = (State::version(version + 1), into);
                self.history.wrote(row.place, invoked, returned, state);
            }
        }
        Ok(())
    }

    /// Runs SQL; where its outcome is unknown, so is what the rows are.
    async fn doubting(&self, held: &mut [Held<'_>], sql: &str) -> Result<String> {
        let kind = kind_of(held).context("no row")?;
        let done = self.psql(kind, sql).await;
        if done.is_err() {
            for (_, belief) in held.iter_mut() {
                **belief = Belief::Unknown;
            }
        }
        done
    }

    /// A version that no row of the table has or had.
    async fn next_version(&self, kind: Kind) -> Result<u64> {
        let (table, ..) = table(kind);
        let sql = format!(
            "SELECT 1 + greatest((SELECT highest FROM {table}_deleted), \
             (SELECT coalesce(max(version), 0) FROM {table}))"
        );
        Ok(self.psql(kind, &sql).await?.trim().parse()?)
    }
}

fn kind_of(held: &[Held<'_>]) -> Option<Kind> {
    held.first().map(|(row, _)| row.role.kind)
}

/// The ids as a list in SQL.
pub(crate) fn ids(held: &[Held<'_>]) -> String {
    let ids: Vec<String> = held
        .iter()
        .map(|(row, _)| format!("'{}'", row.role.id))
        .collect();
    ids.join(", ")
}
