//! What a database's address says.

use crate::Error;
use sqlx::postgres::PgConnectOptions;
use std::path::PathBuf;
use std::str::FromStr as _;

pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

pub(crate) fn parse(url: &str) -> Result<Address, Error> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(Error::Address("it has no scheme".to_owned()));
    };
    match scheme {
        "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
        "postgres" | "postgresql" => postgres(url),
        _ => Err(Error::UnknownScheme {
            scheme: scheme.to_owned(),
        }),
    }
}

fn sqlite(path: &str) -> Result<Address, Error> {
    let refuse = |why: &str| Err(Error::Address(why.to_owned()));
    match path {
        "" => refuse("sqlite:// is followed by the path of a file"),
        // Each connection would see a database of its own.
        _ if path.contains(":memory:") => refuse("SQLite in memory is not supported, give a file"),
        _ if path.contains('?') => refuse("sqlite:// takes a path and no parameters"),
        _ => Ok(Address::Sqlite(PathBuf::from(path))),
    }
}

fn postgres(url: &str) -> Result<Address, Error> {
    // The parser's own words are left out: they may quote the address, password and all.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::Address("it is not postgres://user@host:port/database".to_owned()))?;
    Ok(Address::Postgres(Box::new(options)))
}
