//! PostgreSQL over TLS, with a CA of one's own.

use crate::support;

use anyhow::Result;
use larder_db::{Database, Error, args};
use larder_testkit::pki::Authority;
use larder_testkit::postgres::{Postgres, Setup};
use std::error::Error as _;
use std::path::Path;
use support::impatient;

/// The server's address as this host, which must show a certificate of its name and of this CA.
fn url(server: &Postgres, host: &str, ca: &Path) -> String {
    let (port, ca) = (server.address().port(), ca.display());
    format!(
        "postgres://postgres:sesame@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={ca}"
    )
}

/// Why the server is not believed: the whole chain, as it is logged.
async fn refused(url: &str) -> String {
    let error = match Database::open_with(url, impatient()).await {
        Ok(_) => panic!("it was believed"),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    assert!(!text.contains("sesame"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_name_and_its_ca_and_only_by_both() -> Result<()> {
    let (ours, theirs) = (Authority::new()?, Authority::new()?);
    // Good for 127.0.0.1 and for a name that nobody calls it by.
    let (own, other) = (ours.folder("database")?, theirs.folder("database")?);
    let server = Setup::default().certificates(own.path()).start()?;
    let ca = own.path().join("ca");
    let db = Database::open(&url(&server, "127.0.0.1", &ca)).await?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(db.fetch_one(sql, args![]).await?.get::<bool>(0)?);
    db.close().await;

    let why = refused(&url(&server, "localhost", &ca)).await;
    assert!(why.contains("not valid for name"), "{why}");
    let why = refused(&url(&server, "127.0.0.1", &other.path().join("ca"))).await;
    assert!(why.contains("invalid peer certificate"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_not_believed_where_tls_is_demanded() -> Result<()> {
    let authority = Authority::new()?.folder("database")?;
    let server = larder_testkit::postgres::start()?;
    let ca = authority.path().join("ca");
    let why = refused(&url(&server, "127.0.0.1", &ca)).await;
    assert!(why.contains("TLS"), "{why}");
    Ok(())
}
