//! TLS over real connections: who gets in, who does not, and what changes while calls go on.

use crate::echo;

use bytes::Bytes;
use echo::{Echo, SOON, call};
use larder_runtime::callers::Callers;
use larder_runtime::client::{Client, Limits as ClientLimits};
use larder_runtime::config::{Certificates, Name};
use larder_runtime::exposition::Page;
use larder_runtime::policy::Policy;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::{Limits, Server};
use larder_runtime::tasks::Tasks;
use larder_runtime::tls::Tls;
use larder_testkit::pki::Authority;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

const SAY: &str = "/echo.Echo/Say";

const POLICY: Policy = Policy {
    known: &[("front", &[SAY])],
    others: &[SAY],
    changes: &[],
};

fn files(folder: &Path) -> Certificates {
    Certificates {
        tls_cert: Some(folder.join("cert")),
        tls_key: Some(folder.join("key")),
        tls_ca: Some(folder.join("ca")),
    }
}

fn tls(folder: &Path) -> Tls {
    let tls = Tls::open(&files(folder)).expect("usable");
    tls.expect("named")
}

/// Whoever has this name.
fn of(authority: &Authority, name: &str) -> Tls {
    tls(authority.folder(name).expect("files").path())
}

/// Whoever believes this CA and has nothing to show.
fn nobody(authority: &Authority) -> Tls {
    let folder = authority.folder("nobody").expect("files");
    let certificates = Certificates {
        tls_ca: Some(folder.path().join("ca")),
        ..Certificates::default()
    };
    let tls = Tls::open(&certificates).expect("usable");
    tls.expect("named")
}

/// An echo that speaks TLS and may be called by these.
async fn serve(tls: Tls, callers: &[&str]) -> (SocketAddr, Tasks) {
    let (readiness, tasks) = (Readiness::new(), Tasks::new());
    let names: Vec<Name> = callers
        .iter()
        .map(|name| name.parse().expect("a name"))
        .collect();
    tls.watch_every(Duration::from_millis(20), &tasks);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, Limits::default(), &readiness, &[]).await;
    let echo = Echo {
        gate: Arc::new(Semaphore::new(0)),
        heard: Arc::default(),
    };
    let server = server.expect("a port is free").add_service(echo);
    let server = server.guarded(Some(tls), Callers::new(&names, POLICY));
    let address = server.address().expect("bound");
    let owned = tasks.clone();
    tokio::spawn(async move { server.serve(&owned, std::future::pending()).await });
    (address, tasks)
}

async fn say(address: SocketAddr, tls: &Tls) -> Result<Bytes, Status> {
    let limits = ClientLimits {
        call: SOON,
        connect: SOON,
        ..ClientLimits::default()
    };
    let client = Client::over("--echo", &format!("https://{address}"), limits, Some(tls));
    call(
        client.expect("an address"),
        SAY,
        Bytes::from_static(b"hello"),
    )
    .await
}

/// What it tells in `/metrics`.
fn shown(tls: &Tls) -> String {
    Page::of(|page| tls.measure(page)).text()
}

fn code(outcome: Result<Bytes, Status>) -> Code {
    outcome.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn only_callers_with_a_good_certificate_who_are_named_get_in() {
    let authority = Authority::new().expect("a CA");
    let (address, _) = serve(of(&authority, "echo"), &["front"]).await;
    assert_eq!(code(say(address, &of(&authority, "front")).await), Code::Ok);
    let other = of(&authority, "other");
    assert_eq!(code(say(address, &other).await), Code::PermissionDenied);
    assert_eq!(
        code(say(address, &nobody(&authority)).await),
        Code::Unavailable
    );

    // Believes the server, and shows what another CA signed, or what has expired.
    let folder = Authority::new()
        .expect("a CA")
        .folder("front")
        .expect("files");
    std::fs::write(folder.path().join("ca"), authority.pem()).expect("written");
    assert_eq!(
        code(say(address, &tls(folder.path())).await),
        Code::Unavailable
    );
    let expired = authority.write_expired(folder.path(), "front");
    expired.expect("files");
    assert_eq!(
        code(say(address, &tls(folder.path())).await),
        Code::Unavailable
    );
    // Does not believe the server.
    let stranger = of(&Authority::new().expect("a CA"), "front");
    assert_eq!(code(say(address, &stranger).await), Code::Unavailable);
    let plain = Client::new(
        "--echo",
        &format!("http://{address}"),
        ClientLimits::default(),
    );
    let outcome = call(plain.expect("an address"), SAY, Bytes::new()).await;
    assert_ne!(code(outcome), Code::Ok);
}

#[tokio::test]
async fn nobody_gets_in_where_nobody_is_named() {
    let authority = Authority::new().expect("a CA");
    let (address, _) = serve(of(&authority, "echo"), &[]).await;
    let outcome = say(address, &of(&authority, "front")).await;
    assert_eq!(code(outcome), Code::PermissionDenied);
}

#[tokio::test]
async fn silent_callers_keep_nobody_waiting() {
    let authority = Authority::new().expect("a CA");
    let (address, _) = serve(of(&authority, "echo"), &["front"]).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let (front, began) = (of(&authority, "front"), Instant::now());
    assert_eq!(code(say(address, &front).await), Code::Ok);
    // Sooner than the time that the silent have.
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_and_its_ca_are_replaced_under_load_and_no_call_fails() {
    let first = Authority::new().expect("a CA");
    let (server, front) = (
        first.folder("echo").expect("files"),
        first.folder("front").expect("files"),
    );
    let tasks = Tasks::new();
    let (own, caller) = (tls(server.path()), tls(front.path()));
    caller.watch_every(Duration::from_millis(20), &tasks);
    let (address, _) = serve(own.clone(), &["front"]).await;
    let reloads = |tls: &Tls| {
        let text = shown(tls);
        let line = text
            .lines()
            .find(|line| line.starts_with("larder_certificate_reloads_total"));
        line.and_then(|line| line.split(' ').nth(1))
            .expect("a count")
            .to_owned()
    };
    let load = tokio::spawn({
        let caller = caller.clone();
        let until = tasks.stopping().clone();
        async move {
            let mut calls = 0;
            while !until.is_cancelled() {
                assert_eq!(code(say(address, &caller).await), Code::Ok, "call {calls}");
                calls += 1;
            }
            calls
        }
    });
    // Another CA comes: first everybody believes both, then everybody shows the new one.
    let second = Authority::new().expect("a CA");
    let both = format!("{}{}", first.pem(), second.pem());
    let believed = [server.path(), front.path()];
    let wait = async |count: &str| {
        let changed = async || reloads(&own) == count && reloads(&caller) == count;
        larder_testkit::wait_until("certificates are read again", SOON, changed).await
    };
    for folder in believed {
        std::fs::write(folder.join("ca"), &both).expect("written");
    }
    wait("1").await.expect("read");
    let fresh = [
        second.folder("echo").expect("files"),
        second.folder("front").expect("files"),
    ];
    for (folder, fresh) in believed.into_iter().zip(&fresh) {
        // As Kubernetes does it, all files change at one stroke as far as anybody sees.
        std::fs::copy(fresh.path().join("key"), folder.join("key")).expect("written");
        std::fs::copy(fresh.path().join("cert"), folder.join("cert")).expect("written");
    }
    wait("2").await.expect("read");
    tasks.close(SOON).await.expect("closed");
    assert!(load.await.expect("no call failed") > 0);
    // What was shown before is believed by those only who believe the first CA.
    std::fs::write(server.path().join("ca"), second.pem()).expect("written");
    let gone = async || code(say(address, &of(&first, "front")).await) != Code::Ok;
    larder_testkit::wait_until("the first CA is believed no more", SOON, gone)
        .await
        .expect("gone");
}

#[tokio::test]
async fn a_broken_file_leaves_what_was_there_and_is_counted_once() {
    let authority = Authority::new().expect("a CA");
    let server = authority.folder("echo").expect("files");
    let own = tls(server.path());
    let (address, _) = serve(own.clone(), &["front"]).await;
    std::fs::write(server.path().join("cert"), "no certificate").expect("written");
    let counted = async |own_failures: u32, ca_failures: u32| {
        let line = |purpose: &str, count: u32| {
            let name = "larder_certificate_reload_failures_total";
            format!("{name}{{purpose=\"{purpose}\"}} {count}\n")
        };
        let lines = [line("own", own_failures), line("ca", ca_failures)];
        let counted = async || lines.iter().all(|line| shown(&own).contains(line));
        let outcome = larder_testkit::wait_until("a failure", SOON, counted).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {}", shown(&own)));
    };
    counted(1, 0).await;
    let good = authority.write(server.path(), "echo");
    good.expect("files");
    std::fs::write(server.path().join("ca"), "no certificate").expect("written");
    counted(1, 1).await;
    for purpose in ["own", "ca"] {
        let line = format!("larder_certificate_expiry_timestamp_seconds{{purpose=\"{purpose}\"}} ");
        let text = shown(&own);
        let at = text.lines().find_map(|text| text.strip_prefix(&line));
        let at: u64 = at.expect("a line").parse().expect("seconds");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        assert!(at > now.expect("after 1970").as_secs(), "{text}");
    }
    std::fs::write(server.path().join("cert"), "no certificate").expect("written");
    assert_eq!(code(say(address, &of(&authority, "front")).await), Code::Ok);
    let error = Tls::open(&files(server.path())).expect_err("broken");
    assert!(
        error
            .to_string()
            .starts_with("--tls-cert (LARDER_TLS_CERT)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_handshake_that_stands_still_holds_no_end() {
    let authority = Authority::new().expect("a CA");
    let (address, tasks) = serve(of(&authority, "echo"), &["front"]).await;
    let _silent = TcpStream::connect(address).await.expect("it listens");
    // It is under way once one that came after it is done.
    let said = say(address, &of(&authority, "front")).await;
    said.expect("an answer");
    let begun = Instant::now();
    tasks.close(SOON).await.expect("all end");
    let patience = Limits::default().bounds.handshake;
    assert!(begun.elapsed() < patience / 2, "{:?}", begun.elapsed());
}
