//! The SQL of each engine: tables, triggers, and the statements that differ between the two.

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// The version of this crate's own tables and functions.
pub(crate) const VERSION: i64 = 1;

/// A transaction with more lines has changed everything.
pub(crate) const WRITTEN_AT_MOST: u32 = 1_000;

/// A trigger as it should be.
pub(crate) struct Trigger {
    pub(crate) table: String,
    pub(crate) name: String,
    /// What makes it do what it does: the function's body, or the trigger's own text.
    pub(crate) body: String,
}

/// A name as SQL takes it, whatever is in it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `('a', b), ('c', d)`: the lines that are always written.
fn lines<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(tag, key)| format!("({}, {key})", literal(tag)))
        .collect();
    lines.join(", ")
}
