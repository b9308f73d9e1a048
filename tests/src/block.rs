//! A block of ports that no other suite on this machine uses.

use anyhow::{Context as _, Result, bail};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};

/// An offset for `larder up`, reserved among test processes by a lock for as long as this lives.
///
/// Replicas of a service lie side by side and services a hundred apart, so that ten suites fit
/// between the ports of one; admin ports lie 2000 above, so that four such groups do, the
/// gateway's own, which ends in 1, among them. Its port for HTTP ends in 0, as that of no replica does.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) offset: u16,
    _reserved: File,
}

/// Below everything that the testkit reserves, and below the ports of outgoing connections.
const FIRST: u16 = 5000;
const SUITES: u16 = 10;
const GROUPS: u16 = 4;
const WIDTH: u16 = 500;

impl Block {
    pub(crate) fn reserve() -> Result<Self> {
        let folder = std::env::temp_dir().join("larder-tests-blocks");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {folder:?}"))?;
        let count = GROUPS * SUITES;
        let start = (std::process::id() % u32::from(count)) as u16;
        for step in 0..count {
            let number = (start + step) % count;
            let path = folder.join(number.to_string());
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = file.with_context(|| format!("opening {path:?}"))?;
            let offset = FIRST + number / SUITES * WIDTH + number % SUITES * SUITES;
            if file.try_lock().is_ok() && is_free(offset) {
                return Ok(Self {
                    offset,
                    _reserved: file,
                });
            }
        }
        bail!("all {count} blocks of ports are taken")
    }
}

fn is_free(offset: u16) -> bool {
    let ports = [7000, 9000].into_iter().flat_map(|base| {
        (1..=4).flat_map(move |service| (1..=2).map(move |replica| base + 100 * service + replica))
    });
    ports
        .chain([8080, 9501])
        .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset)).is_ok())
}
