//! SQLite's side.

use super::{Trigger, identifier, lines, literal};
use crate::watch::{Member, Watch, Watches};

pub(crate) const INSTALLED: &str =
    "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'journal_state'";

/// The highest id ever given to a line. Pruning does not lower it, and the sequence is read in
/// the same statement as what it labels.
macro_rules! last {
    () => {
        "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0)"
    };
}

/// In the form that PostgreSQL's has: `snapshot|standby|has written|system|timeline`.
macro_rules! label {
    () => {
        concat!(
            "(SELECT printf('%d:%d:|false|false|%d|00000000', 1 + ",
            last!(),
            ", 1 + ",
            last!(),
            ", system) FROM journal_state)"
        )
    };
}

pub(crate) const LABEL: &str = label!();
pub(crate) const LAST: &str = concat!("SELECT ", last!());

/// The round since the snapshot with xmin $1, at most $2 lines that differ, the highest first;
/// the line without a tag is the header.
pub(crate) const ROUND: &str = concat!(
    "SELECT NULL, ",
    label!(),
    " || printf('|%d|%d|true', low_marked, low_dropped), NULL FROM journal_state ",
    "UNION ALL SELECT tag, key, id FROM (SELECT tag, key, CAST(max(id) AS TEXT) AS id ",
    "FROM journal WHERE id >= $1 GROUP BY tag, key ORDER BY max(journal.id) DESC LIMIT $2)"
);

/// As the round, of the lines with the tag $3 alone.
pub(crate) const FOLLOW: &str = concat!(
    "SELECT NULL, ",
    label!(),
    " || printf('|%d|%d|true', low_marked, low_dropped), NULL FROM journal_state ",
    "UNION ALL SELECT tag, key, id FROM (SELECT tag, key, CAST(max(id) AS TEXT) AS id ",
    "FROM journal WHERE id >= $1 AND tag = $3 GROUP BY tag, key ",
    "ORDER BY max(journal.id) DESC LIMIT $2)"
);

/// What the transaction wrote above the mark $1, at most $2 lines: one text, see `write`; and the
/// life's name.
pub(crate) const FINISH: &str = concat!(
    "SELECT (SELECT system FROM journal_state) || '|' || ",
    last!(),
    " || '|00000000|' || count(*) || ",
    "group_concat(char(30) || tag || char(31) || key, '')",
    ", (SELECT CAST(system AS TEXT) FROM journal_state) ",
    "FROM (SELECT tag, key FROM journal WHERE id > $1 LIMIT $2)"
);

pub(crate) const TRIGGERS: &str = "SELECT tbl_name, name, sql, 'A' FROM sqlite_schema \
     WHERE type = 'trigger' AND name LIKE 'larder\\_journal\\_%' ESCAPE '\\'";

/// What the journal itself consists of.
pub(crate) const TABLES: &str = "CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tag TEXT NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
);
CREATE TABLE journal_state (
    one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    system INTEGER NOT NULL,
    low_marked INTEGER NOT NULL DEFAULT 0,
    low_dropped INTEGER NOT NULL DEFAULT 0,
    marked_at INTEGER NOT NULL DEFAULT (unixepoch()),
    version INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0,
    fingerprint TEXT NOT NULL DEFAULT ''
);
INSERT INTO journal_state (system) VALUES (random() & 9223372036854775807);
";

/// Holds a row only within a transaction that folds its lines: the highest line before it. What
/// others see is always empty, so that no line of theirs is ever taken for written.
pub(crate) const FOLD_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS journal_fold (mark INTEGER NOT NULL);\n";
pub(crate) const FOLD: &str = "INSERT INTO journal_fold (mark) VALUES ($1)";
pub(crate) const UNFOLD: &str = "DELETE FROM journal_fold";

/// A file that was restored from an older copy lives a new life from here on; $1 names the old one.
pub(crate) const NEW_EPOCH: &str = "UPDATE journal_state \
     SET system = random() & 9223372036854775807 WHERE CAST(system AS TEXT) = $1";

pub(crate) fn triggers(watches: &Watches) -> Vec<Trigger> {
    watches.tables.iter().flat_map(of_table).collect()
}

fn of_table(watch: &Watch) -> [Trigger; 3] {
    let insert = |lines: String| match lines.as_str() {
        "" => String::new(),
        lines if watch.folded => format!(
            " INSERT INTO journal (tag, key) SELECT column1, column2 FROM (VALUES {lines}) WHERE {};",
            new("column1", "column2")
        ),
        lines => format!(" INSERT INTO journal (tag, key) VALUES {lines};"),
    };
    let all_of = |row: &str| {
        let members = watch
            .members
            .iter()
            .map(|member| (member.tag.as_str(), key(row, member)));
        let constants = watch
            .constants
            .iter()
            .map(|(tag, key)| (tag.as_str(), literal(key)));
        insert(lines(members.chain(constants)))
    };
    let left = |member: &Member| {
        let (new, old, tag) = (key("NEW", member), key("OLD", member), literal(&member.tag));
        let written = match watch.folded {
            true => format!(" AND {}", self::new(&tag, &old)),
            false => String::new(),
        };
        format!(
            " INSERT INTO journal (tag, key) SELECT {tag}, {old} WHERE {new} <> {old}{written};"
        )
    };
    let left: String = watch.members.iter().map(left).collect();
    [
        trigger(watch, "INSERT", &all_of("NEW")),
        trigger(watch, "UPDATE", &(all_of("NEW") + &left)),
        trigger(watch, "DELETE", &all_of("OLD")),
    ]
}

/// Whether this transaction, if it folds, has not written the line yet. The mark comes first, so
/// that only what lies above it is looked at; NOT INDEXED keeps SQLite from making, for each row
/// anew, an index of the whole journal by tag and key instead.
fn new(tag: &str, key: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM journal_fold f CROSS JOIN journal j NOT INDEXED \
         WHERE j.id > f.mark AND j.tag = {tag} AND j.key = {key})"
    )
}

fn trigger(watch: &Watch, event: &str, statements: &str) -> Trigger {
    let name = format!("larder_journal_{}_{}", watch.table, event.to_lowercase());
    let (quoted, table) = (identifier(&name), identifier(&watch.table));
    // A trigger must hold a statement, also where nothing depends on the table yet.
    let statements = if statements.is_empty() {
        " SELECT 1;"
    } else {
        statements
    };
    let body = format!(
        "CREATE TRIGGER {quoted} AFTER {event} ON {table} FOR EACH ROW BEGIN{statements} END"
    );
    Trigger {
        table: watch.table.clone(),
        name,
        body,
    }
}

/// The key's text, never null.
fn key(row: &str, member: &Member) -> String {
    let columns = member.columns.iter();
    let columns: Vec<_> = columns
        .map(|column| format!("coalesce(CAST({row}.{} AS TEXT), '')", identifier(column)))
        .collect();
    columns.join(" || '/' || ")
}
