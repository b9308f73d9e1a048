//! What goes into a statement.

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

/// An argument. It borrows, so that binding copies nothing twice, and a null keeps its type:
/// PostgreSQL prepares a statement with the types of its first arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// `TEXT`.
    Text(Option<&'a str>),
    /// `BIGINT` or `INTEGER`.
    Int(Option<i64>),
    /// `BOOLEAN`; on SQLite 0 or 1.
    Bool(Option<bool>),
    /// `BYTEA` or `BLOB`.
    Bytes(Option<&'a [u8]>),
}

/// The arguments of a statement, each turned into a [`Value`]: `args![id, &name, note.as_deref()]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Value::from($value)),*] as &[$crate::Value<'_>]
    };
}

macro_rules! from {
    ($($source:ty, $variant:ident, $value:ident => $made:expr;)*) => {$(
        impl<'a> From<$source> for Value<'a> {
            fn from($value: $source) -> Self {
                Self::$variant(Some($made))
            }
        }
        impl<'a> From<Option<$source>> for Value<'a> {
            fn from(value: Option<$source>) -> Self {
                Self::$variant(value.map(|$value| $made))
            }
        }
    )*};
}

from! {
    &'a str, Text, text => text;
    &'a String, Text, text => text.as_str();
    i64, Int, number => number;
    i32, Int, number => i64::from(number);
    u32, Int, number => i64::from(number);
    bool, Bool, truth => truth;
    &'a [u8], Bytes, bytes => bytes;
    &'a Vec<u8>, Bytes, bytes => bytes.as_slice();
}

pub(crate) fn for_sqlite(values: &[Value<'_>]) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text)?,
            Value::Int(number) => arguments.add(number)?,
            Value::Bool(truth) => arguments.add(truth)?,
            Value::Bytes(bytes) => arguments.add(bytes)?,
        }
    }
    Ok(arguments)
}

pub(crate) fn for_postgres(values: &[Value<'_>]) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 8 * values.len());
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text)?,
            Value::Int(number) => arguments.add(number)?,
            Value::Bool(truth) => arguments.add(truth)?,
            Value::Bytes(bytes) => arguments.add(bytes)?,
        }
    }
    Ok(arguments)
}
