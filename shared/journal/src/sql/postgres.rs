//! PostgreSQL's side, from version 14 on.
//!
//! Everything is named with its schema: a trigger also fires in sessions whose search path is
//! empty, as those of `pg_restore` and of logical replication.

use super::{Trigger, WRITTEN_AT_MOST, identifier, lines, literal};
use crate::watch::{Member, Watch, Watches};
use larder::key::Tag;

const ROWS: &str = "larder_journal_rows";
const TRUNCATED: &str = "larder_journal_truncate";

/// Held while installing, so that of two replicas one waits.
pub(crate) const LOCK: &str = "SELECT pg_advisory_xact_lock(7819001374532)::text";
pub(crate) const SCHEMA: &str = "SELECT current_schema()::text, \
     to_regclass(quote_ident(current_schema()) || '.journal_state') IS NOT NULL";
/// Whether the journal was written on this server.
pub(crate) const OWN: &str = "SELECT system = \
     (SELECT system_identifier::text FROM pg_control_system()) FROM journal_state";
/// Waiting for a table that someone holds would make everyone else wait behind us.
pub(crate) const PATIENCE: &str = "SELECT set_config('lock_timeout', '5s', true)";

/// The server's identity. The session's own note of it spares the reading of a file, and another
/// session than ours has none; see `larder-db`.
macro_rules! system {
    () => {
        "COALESCE(NULLIF(current_setting('larder.system', true), ''), \
         (SELECT system_identifier::text FROM pg_control_system()))"
    };
}

/// `snapshot|standby|has written|system|timeline`, evaluated once per statement: a volatile
/// function keeps it from being copied into each row. A standby knows its timeline for sure only
/// while what it receives and its control file agree; else the field is empty.
macro_rules! label {
    () => {
        concat!(
            "pg_current_snapshot()::text || '|' || pg_is_in_recovery()::text || '|' || ",
            "(pg_current_xact_id_if_assigned() IS NOT NULL)::text || '|' || ",
            system!(),
            " || '|' || CASE WHEN pg_is_in_recovery() THEN ",
            "COALESCE((SELECT lpad(to_hex(c.timeline_id), 8, '0') ",
            "FROM pg_control_checkpoint() c, pg_stat_get_wal_receiver() r ",
            "WHERE r.received_tli = c.timeline_id), '') ",
            "ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
        )
    };
}

pub(crate) const LABEL: &str = label!();

/// The round since the snapshot $1, at most $2 lines, the highest first; the line without a tag
/// is the header. (`ORDER BY xid` alone would mean the column of that name in the result, a text.)
///
/// What a snapshot does not show is what lies from its xmax on, and what was under way in it. So a
/// transaction that stays open makes nobody read again, each time, all that was written after it.
///
/// The lines of a transaction that is under way now are passed over by its number, not looked at: a
/// bulk write has hundreds of thousands, and each round would read them all to find none visible.
/// What is visible lies below the own xmax: that keeps out lines which a restored dump brought
/// from another server.
macro_rules! round {
    ($which:literal) => {
        concat!(
            "SELECT NULL::text, ",
            label!(),
            " || '|' || low_marked::text || '|' || low_dropped::text, NULL::text FROM journal_state ",
            "UNION ALL (SELECT line.tag, line.key, line.xid::text FROM (",
            // What began since: before all that are under way now,
            "(SELECT tag, key, xid FROM journal ",
            "WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot) ",
            "AND xid < COALESCE((SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) x ORDER BY x LIMIT 1), ",
            "pg_snapshot_xmax(pg_current_snapshot())) ",
            $which,
            "ORDER BY journal.xid DESC LIMIT $2) ",
            // and between each of them and the next.
            "UNION ALL (SELECT l.tag, l.key, l.xid FROM (SELECT x AS low, ",
            "lead(x, 1, pg_snapshot_xmax(pg_current_snapshot())) OVER (ORDER BY x) AS high ",
            "FROM pg_snapshot_xip(pg_current_snapshot()) x) open CROSS JOIN LATERAL ",
            "(SELECT tag, key, xid FROM journal WHERE xid > open.low AND xid < open.high ",
            "AND xid >= pg_snapshot_xmax($1::text::pg_snapshot) ",
            $which,
            "ORDER BY journal.xid DESC LIMIT $2) l ",
            "WHERE open.high > pg_snapshot_xmax($1::text::pg_snapshot)) ",
            // What was under way, and is no more.
            "UNION ALL (SELECT l.tag, l.key, l.xid ",
            "FROM pg_snapshot_xip($1::text::pg_snapshot) ended CROSS JOIN LATERAL ",
            "(SELECT tag, key, xid FROM journal WHERE xid = ended ",
            $which,
            "LIMIT $2) l WHERE pg_visible_in_snapshot(ended, pg_current_snapshot()))",
            ") line ORDER BY line.xid DESC LIMIT $2)"
        )
    };
}

pub(crate) const ROUND: &str = round!("");

/// As the round, of the lines with the tag $3 alone.
pub(crate) const FOLLOW: &str = round!("AND tag = $3 ");

/// The whole journal, if it has at most $1 lines that differ, and not many times as many in all; a
/// line with an empty tag otherwise, with the highest xid. A process that starts waits for it, so
/// that counting is bounded too.
pub(crate) const WHOLE: &str = concat!(
    "WITH short AS MATERIALIZED (SELECT count(*) <= 4 * $1 AS short ",
    "FROM (SELECT 1 FROM journal LIMIT 4 * $1 + 1) l), ",
    "lines AS MATERIALIZED (SELECT tag, key, max(xid::text::int8) AS xid FROM journal ",
    "WHERE (SELECT short FROM short) ",
    "AND xid < pg_snapshot_xmax(pg_current_snapshot()) GROUP BY tag, key LIMIT $1 + 1), ",
    "few AS MATERIALIZED (SELECT (SELECT short FROM short) AND count(*) <= $1 AS few FROM lines) ",
    "SELECT NULL::text, ",
    label!(),
    " || '|' || low_marked::text || '|' || low_dropped::text, NULL::text FROM journal_state ",
    "UNION ALL SELECT tag, key, xid::text FROM lines WHERE (SELECT few FROM few) ",
    "UNION ALL SELECT '', '', (SELECT xid::text FROM journal ORDER BY journal.xid DESC LIMIT 1) ",
    "WHERE NOT (SELECT few FROM few)"
);

/// What the transaction wrote: one text, see `write`.
pub(crate) const FINISH: &str = "SELECT larder_journal_finish()";

pub(crate) const TRIGGERS: &str = "SELECT coalesce(root.relname, c.relname)::text, t.tgname::text, p.prosrc::text, \
     t.tgenabled::text \
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
     LEFT JOIN pg_class root ON root.oid = pg_partition_root(c.oid) \
     WHERE t.tgname IN ('larder_journal_rows', 'larder_journal_truncate') \
     AND c.relnamespace = current_schema()::regnamespace";

/// What the journal itself consists of.
pub(crate) fn tables(schema: &str) -> String {
    let schema = identifier(schema);
    format!(
        "CREATE TABLE {schema}.journal (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tag text NOT NULL,
    key text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX journal_xid ON {schema}.journal (xid);
CREATE TABLE {schema}.journal_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    system text NOT NULL,
    low_marked xid8 NOT NULL DEFAULT '0',
    low_dropped xid8 NOT NULL DEFAULT '0',
    marked_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 0,
    fingerprint text NOT NULL DEFAULT ''
);
INSERT INTO {schema}.journal_state (system)
    SELECT system_identifier::text FROM pg_control_system();
"
    )
}

/// Functions and triggers; running it again changes nothing.
pub(crate) fn program(schema: &str, watches: &Watches) -> String {
    let mut sql = finish_function(schema);
    for watch in &watches.tables {
        sql.push_str(&install(schema, watch));
    }
    sql
}

/// Deferred triggers write their lines, then all of them are read. The query has no parameters,
/// so that its plan is made once per session, and no subquery that is hardly ever needed.
fn finish_function(schema: &str) -> String {
    let schema = identifier(schema);
    let most = WRITTEN_AT_MOST + 1;
    format!(
        "CREATE OR REPLACE FUNCTION {schema}.larder_journal_finish() RETURNS text
LANGUAGE plpgsql AS $larder$
DECLARE
    server text := current_setting('larder.system', true);
    written text;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    SELECT pg_current_xact_id_if_assigned()::text || '|'
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '|'
        || count(*) || string_agg(chr(30) || j.tag || chr(31) || j.key, '') INTO written
        FROM (SELECT tag, key FROM {schema}.journal
            WHERE xid = pg_current_xact_id_if_assigned() LIMIT {most}) j;
    IF server IS NULL OR server = '' THEN
        SELECT system_identifier::text INTO server FROM pg_control_system();
    END IF;
    RETURN server || '|' || written;
END $larder$;
"
    )
}

fn install(schema: &str, watch: &Watch) -> String {
    let body = body(schema, watch);
    let (function, table) = (function(schema, watch), qualified(schema, &watch.table));
    format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql \
         AS $larder${body}$larder$;
CREATE OR REPLACE TRIGGER {ROWS} AFTER INSERT OR UPDATE OR DELETE ON {table} \
         FOR EACH ROW EXECUTE FUNCTION {function}();
CREATE OR REPLACE TRIGGER {TRUNCATED} AFTER TRUNCATE ON {table} \
         FOR EACH STATEMENT EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {ROWS};
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {TRUNCATED};
"
    )
}

/// Takes the triggers off a table that is watched no more.
pub(crate) fn uninstall(schema: &str, table: &str) -> String {
    let table = qualified(schema, table);
    format!(
        "DROP TRIGGER IF EXISTS {ROWS} ON {table}; DROP TRIGGER IF EXISTS {TRUNCATED} ON {table};"
    )
}

pub(crate) fn triggers(schema: &str, watches: &Watches) -> Vec<Trigger> {
    let both = |watch: &Watch| {
        [ROWS, TRUNCATED].map(|name| Trigger {
            table: watch.table.clone(),
            name: name.to_owned(),
            body: body(schema, watch),
        })
    };
    watches.tables.iter().flat_map(both).collect()
}

fn body(schema: &str, watch: &Watch) -> String {
    let journal = qualified(schema, "journal");
    let insert = |lines: String| match lines.as_str() {
        "" => "NULL;".to_owned(),
        // The number of the transaction tells its own lines from all others.
        lines if watch.folded => format!(
            "INSERT INTO {journal} (tag, key) SELECT l.tag, l.key FROM (VALUES {lines}) l (tag, key) \
             WHERE NOT EXISTS (SELECT 1 FROM {journal} j WHERE j.xid = pg_current_xact_id() \
             AND j.tag = l.tag AND j.key = l.key);"
        ),
        lines => format!("INSERT INTO {journal} (tag, key) VALUES {lines};"),
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
    let left = left(watch, |member| {
        insert(lines([(member.tag.as_str(), key("OLD", member))]))
    });
    let keyspaces = watch
        .keyspaces
        .iter()
        .map(|name| (name.as_str(), literal(Tag::WHOLE)));
    let (new, old, whole) = (all_of("NEW"), all_of("OLD"), insert(lines(keyspaces)));
    format!(
        "
BEGIN
    IF TG_OP = 'UPDATE' THEN
        {new}
{left}    ELSIF TG_OP = 'INSERT' THEN
        {new}
    ELSIF TG_OP = 'DELETE' THEN
        {old}
    ELSE
        {whole}
    END IF;
    RETURN NULL;
END "
    )
}

/// What an update does for the members that the row was: under one cheap condition, since most
/// updates move nothing, and each condition is made anew in each transaction.
fn left(watch: &Watch, line: impl Fn(&Member) -> String) -> String {
    let mut columns: Vec<_> = watch
        .members
        .iter()
        .flat_map(|member| &member.columns)
        .collect();
    columns.sort_unstable();
    columns.dedup();
    let moved = |column: &&String| {
        let column = identifier(column);
        format!("NEW.{column} IS DISTINCT FROM OLD.{column}")
    };
    let moved: Vec<_> = columns.iter().map(moved).collect();
    if moved.is_empty() {
        return String::new();
    }
    let lines = watch.members.iter().map(|member| {
        let (new, old) = (key("NEW", member), key("OLD", member));
        format!(
            "            IF {new} <> {old} THEN {} END IF;\n",
            line(member)
        )
    });
    let lines: String = lines.collect();
    format!(
        "        IF {} THEN\n{lines}        END IF;\n",
        moved.join(" OR ")
    )
}

/// The key's text, never null.
fn key(row: &str, member: &Member) -> String {
    let columns = member.columns.iter();
    let columns: Vec<_> = columns
        .map(|column| format!("COALESCE({row}.{}::text, '')", identifier(column)))
        .collect();
    columns.join(" || '/' || ")
}

fn function(schema: &str, watch: &Watch) -> String {
    qualified(schema, &format!("larder_journal_{}", watch.table))
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}
