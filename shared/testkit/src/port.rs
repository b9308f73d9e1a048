//! A port that no other test on this machine uses.

use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which kernels take the ports of outgoing connections, so that none of
/// those sits on the port while its server is being restarted.
const FIRST: u16 = 21_000;
const COUNT: u16 = 9_000;

/// A loopback port, reserved for as long as this lives: among test processes by a lock on a
/// file of its name, so that a server may come back to its port after a restart.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reserved: File,
}

impl Port {
    /// Reserves a free port.
    pub fn reserve() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = private_folder()?.join("ports");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {folder:?}"))?;
        // Processes start looking at different places; correctness is the lock's business.
        let start = std::process::id().wrapping_mul(7919);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = FIRST + (start.wrapping_add(step) % u32::from(COUNT)) as u16;
            let path = folder.join(number.to_string());
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = file.with_context(|| format!("opening {path:?}"))?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _reserved: file,
                });
            }
        }
        bail!("no free port between {FIRST} and {}", FIRST + COUNT)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its loopback address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// This user's folder under the system's temporary one. What lies there speeds the next test up
/// and may be deleted when none runs.
pub(crate) fn private_folder() -> Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let uid = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("larder-testkit-{uid}"));
    match std::fs::DirBuilder::new().mode(0o755).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating {folder:?}"));
        }
        _ => {}
    }
    // The name can be guessed: somebody else's folder, or a link to one, is not used.
    let found = std::fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != uid {
        bail!("{folder:?} exists and belongs to somebody else");
    }
    Ok(folder)
}
