//! What comes out of a statement.

use crate::Error;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, TypeInfo as _, ValueRef as _};

/// A row of either engine.
pub struct Row {
    inner: Inner,
    first: usize,
}

pub(crate) enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner, first: 0 }
    }

    /// Column `index`, counted from 0, as a `T`.
    pub fn get<'r, T: Column<'r>>(&'r self, index: usize) -> Result<T, Error> {
        T::read(&self.inner, self.first + index).map_err(|source| Error::Column {
            index,
            source: Box::new(source),
        })
    }

    /// The same row without its first `count` columns.
    pub fn skip(mut self, count: usize) -> Self {
        self.first += count;
        self
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        let all = match &self.inner {
            Inner::Sqlite(row) => row.len(),
            Inner::Postgres(row) => row.len(),
        };
        all.saturating_sub(self.first)
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("columns", &self.len())
            .finish_non_exhaustive()
    }
}

/// What a column may be read as: `i64`, `bool`, text, bytes, and an `Option` of each for
/// columns that may be null.
pub trait Column<'r>: Sized {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "no one else implements it")]
    fn read(row: &'r Inner, index: usize) -> Result<Self, sqlx::Error>;
}

#[expect(private_interfaces, reason = "no one else implements it")]
impl<'r> Column<'r> for Option<i64> {
    fn read(row: &'r Inner, index: usize) -> Result<Self, sqlx::Error> {
        match row {
            Inner::Sqlite(row) => row.try_get(index),
            Inner::Postgres(row) => integer(row, index),
        }
    }
}

/// An integer of any width; sqlx itself reads an `i64` from BIGINT only.
fn integer(row: &PgRow, index: usize) -> Result<Option<i64>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    let info = value.type_info();
    if !matches!(info.name(), "INT8" | "INT4" | "INT2") {
        return Err(sqlx::Error::Decode(
            format!("a {} is no integer", info.name()).into(),
        ));
    }
    drop(info);
    <i64 as Decode<Postgres>>::decode(value)
        .map(Some)
        .map_err(sqlx::Error::Decode)
}

#[expect(private_interfaces, reason = "no one else implements it")]
impl<'r> Column<'r> for Option<bool> {
    fn read(row: &'r Inner, index: usize) -> Result<Self, sqlx::Error> {
        match row {
            // What a SQLite column is declared as does not matter: a truth is a number there.
            Inner::Sqlite(row) => Ok(row
                .try_get_unchecked::<Option<i64>, _>(index)?
                .map(|n| n != 0)),
            Inner::Postgres(row) => row.try_get(index),
        }
    }
}

macro_rules! borrowed {
    ($($kind:ty),*) => {$(
        #[expect(private_interfaces, reason = "no one else implements it")]
        impl<'r> Column<'r> for Option<$kind> {
            fn read(row: &'r Inner, index: usize) -> Result<Self, sqlx::Error> {
                match row {
                    Inner::Sqlite(row) => row.try_get(index),
                    Inner::Postgres(row) => row.try_get(index),
                }
            }
        }
    )*};
}

borrowed!(&'r str, String, &'r [u8], Vec<u8>);

macro_rules! present {
    ($($kind:ty),*) => {$(
        #[expect(private_interfaces, reason = "no one else implements it")]
        impl<'r> Column<'r> for $kind {
            fn read(row: &'r Inner, index: usize) -> Result<Self, sqlx::Error> {
                let null = || sqlx::Error::Decode(Box::new(sqlx::error::UnexpectedNullError));
                Option::<$kind>::read(row, index)?.ok_or_else(null)
            }
        }
    )*};
}

present!(i64, bool, &'r str, String, &'r [u8], Vec<u8>);
