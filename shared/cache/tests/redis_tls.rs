//! Redis over TLS, with a CA of one's own.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use larder::remote::{Error, Item, Remote, Trust, open_trusting};
use larder_testkit::pki::Authority;
use larder_testkit::port::Port;
use larder_testkit::redis::{Redis, Setup};
use larder_testkit::wait_until;
use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// A server that speaks TLS at this port, and demands certificates of `clients` or does not.
fn start(port: &Port, folder: &Path, clients: &str) -> Result<Redis> {
    let file = |name: &str| folder.join(name).display().to_string();
    let setup = Setup::default()
        .args(["--tls-port", &port.number().to_string()])
        .args(["--tls-cert-file", &file("cert")])
        .args(["--tls-key-file", &file("key")])
        .args(["--tls-ca-cert-file", &file("ca")])
        .args(["--tls-auth-clients", clients]);
    setup.start()
}

fn url(server: &Redis, host: &str, port: &Port) -> String {
    let plain = server.url();
    let (login, _) = plain.rsplit_once('@').expect("a login");
    let login = login.replace("redis://", "rediss://");
    format!("{login}@{host}:{}", port.number())
}

fn ca(folder: &Path) -> Result<Trust> {
    let ca = Some(std::fs::read(folder.join("ca"))?);
    Ok(Trust { ca, own: None })
}

async fn works(remote: &Arc<dyn Remote>) -> Result<()> {
    let item = Item {
        key: "larder:v1:a".to_owned(),
        value: Bytes::from_static(b"value"),
        ttl: LONG,
    };
    wait_until("a value that is stored", LONG, async || {
        remote.set(std::slice::from_ref(&item)).await.is_ok()
    })
    .await?;
    let found = remote.get(&[item.key]).await?;
    assert_eq!(found, [Some(item.value)]);
    let mut events = remote.subscribe("larder:v1:hints:a");
    wait_until("hints", LONG, async || {
        events.recv().await == Some(larder::remote::Event::Up)
    })
    .await
}

/// Why nothing is answered: the whole chain, as it is logged. A handshake that a busy machine has not
/// done in time says nothing of it, and is made again.
async fn refused(remote: &Arc<dyn Remote>) -> Result<String> {
    let mut error = None;
    wait_until("a refusal", LONG, async || {
        let outcome = remote.get(&["larder:v1:a".to_owned()]).await;
        let is_late = matches!(outcome, Err(Error::Timeout(_)));
        error = Some(outcome);
        !is_late
    })
    .await?;
    let outcome = error.context("it was asked")?;
    let error = outcome.err().context("it was believed")?;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_name_and_its_ca_and_only_by_both() -> Result<()> {
    let (ours, theirs) = (Authority::new()?, Authority::new()?);
    // Good for 127.0.0.1 and for a name that nobody calls it by.
    let (own, other) = (ours.folder("cache")?, theirs.folder("cache")?);
    let port = Port::reserve()?;
    let server = start(&port, own.path(), "no")?;
    let here = url(&server, "127.0.0.1", &port);
    works(&open_trusting(&here, &ca(own.path())?)?).await?;

    let misnamed = open_trusting(&url(&server, "localhost", &port), &ca(own.path())?)?;
    let why = refused(&misnamed).await?;
    assert!(why.contains("not valid for name"), "{why}");
    let stranger = open_trusting(&here, &ca(other.path())?)?;
    let why = refused(&stranger).await?;
    assert!(why.contains("invalid peer certificate"), "{why}");
    // The machine's own CAs, where nothing is said.
    let why = refused(&open_trusting(&here, &Trust::default())?).await?;
    assert!(why.contains("UnknownIssuer"), "{why}");
    for remote in [&misnamed, &stranger] {
        assert!(!remote.name().contains('@'), "{}", remote.name());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_a_certificate_is_shown_one() -> Result<()> {
    let authority = Authority::new()?;
    let (own, ours) = (authority.folder("cache")?, authority.folder("products")?);
    let port = Port::reserve()?;
    let server = start(&port, own.path(), "yes")?;
    let here = url(&server, "127.0.0.1", &port);
    let read = |name: &str| std::fs::read(ours.path().join(name));
    let trust = Trust {
        own: Some((read("cert")?, read("key")?)),
        ..ca(ours.path())?
    };
    works(&open_trusting(&here, &trust)?).await?;
    let nobody = open_trusting(&here, &ca(ours.path())?)?;
    refused(&nobody).await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_used_is_said_at_the_start_and_no_key_with_it() -> Result<()> {
    let rubbish = Trust {
        ca: Some(b"rubbish".to_vec()),
        own: None,
    };
    let authority = Authority::new()?.folder("products")?;
    let half = Trust {
        ca: None,
        own: Some((b"rubbish".to_vec(), b"hush".to_vec())),
    };
    for (url, trust, why) in [
        ("rediss://a", &rubbish, "no certificate"),
        ("rediss://a", &half, "certificates cannot be used"),
        ("redis://a", &ca(authority.path())?, "only rediss"),
        ("hub:", &ca(authority.path())?, "only rediss"),
    ] {
        match open_trusting(url, trust) {
            Err(Error::Address(said)) => assert!(said.contains(why), "{said}"),
            other => panic!("{url}: {:?}", other.err()),
        }
    }
    assert!(!format!("{half:?}").contains("hush"));
    for url in ["rediss-sentinel://a,b/main", "rediss-cluster://a,b"] {
        open_trusting(url, &ca(authority.path())?)?;
    }
    Ok(())
}
