//! What reads the bytes of others takes any: the seeds of `fuzz/`, and thousands of changes of them.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use anyhow::{Context as _, Result, ensure};
use larder::{Epoch, Token};
use larder_testkit::pki::Authority;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use targets::TARGETS;

/// Changes of the seeds of each target, or as many as can be made in its time.
const CHANGES: u64 = 20_000;
/// For one target.
const TIME: Duration = Duration::from_secs(3);
/// Nothing here takes as long, on a busy machine.
const SLOW: Duration = Duration::from_secs(2);

/// What is committed for a target, and what is made anew each time: a token, a certificate.
fn seeds(name: &str) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let folder = folder.join(name);
    let mut seeds = Vec::new();
    let found = std::fs::read_dir(&folder).with_context(|| format!("{folder:?}"))?;
    for file in found {
        seeds.push(std::fs::read(file?.path())?);
    }
    match name {
        "token" => {
            let token = Token {
                source: 1,
                epoch: Epoch {
                    system: 2,
                    timeline: 3,
                },
                xid: 4,
                touched: 5,
            };
            seeds.push(format!("bounded\n9\n{}", token.encode()).into_bytes());
        }
        "page" => {
            let token = larder_api::page::Query::new("List", &["a"]).token(b"kettle");
            seeds.push(token.into_bytes());
        }
        "certificate" => seeds.push(Authority::new()?.der("gateway")?),
        _ => {}
    }
    ensure!(!seeds.is_empty(), "{name} has no seeds");
    Ok(seeds)
}

/// Makes one of others: bytes are changed, left out, repeated, and put together.
fn changed(seeds: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    const ODD: [&[u8]; 9] = [
        &[0],
        &[0xFF],
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        &[0xFF; 8],
        b",",
        b"\"",
        "é\u{2028}".as_bytes(),
        b"\r\n",
    ];
    let mut bytes = seeds.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => {
                let odd = ODD.choose(random).copied().unwrap_or_default();
                bytes.splice(at..at, odd.iter().copied());
            }
            2 => {
                let other = seeds.choose(random).map_or(&[][..], |other| &other[..]);
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            3 => {
                let to = random.random_range(at..=bytes.len());
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            _ if at < bytes.len() => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

#[test]
fn what_reads_the_bytes_of_others_takes_any() -> Result<()> {
    for (name, _) in TARGETS {
        let seeds = seeds(name)?;
        let mut random = SmallRng::seed_from_u64(7);
        let (begun, mut tried) = (Instant::now(), 0);
        let mut next = seeds.iter().cloned();
        while tried < CHANGES && begun.elapsed() < TIME {
            let bytes = next.next().unwrap_or_else(|| changed(&seeds, &mut random));
            let asked = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| targets::run(name, &bytes)));
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            ensure!(outcome.is_ok(), "{name} panics at {shown:?}: {bytes:?}");
            ensure!(
                asked.elapsed() < SLOW,
                "{name} is slow at {shown:?}: {bytes:?}"
            );
            tried += 1;
        }
        println!("{name}: {tried} in {:?}", begun.elapsed());
        ensure!(tried > 500, "{name} was tried {tried} times only");
    }
    Ok(())
}
