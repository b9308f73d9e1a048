//! Finding the programs that tests start.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The path of the first of `names` that is installed: in `PATH`, or where Debian and Homebrew
/// put server programs. An error says `install` when there is none.
pub fn find(names: &[&str], install: &str) -> Result<PathBuf> {
    let folders = folders();
    for name in names {
        if let Some(path) = folders
            .iter()
            .map(|f| f.join(name))
            .find(|p| is_executable(p))
        {
            return Ok(path);
        }
    }
    bail!(
        "this test needs `{}`, which is not installed: {install}",
        names.join("` or `")
    )
}

/// Whether `setpriv` of util-linux is here and can set the signal that a child gets when its
/// parent dies (BusyBox has a `setpriv` that cannot).
pub(crate) fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let path = find(&["setpriv"], "").ok()?;
            let tried = std::process::Command::new(&path)
                .args(["--pdeathsig", "KILL", "--", "true"])
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            tried.is_ok_and(|status| status.success()).then_some(path)
        })
        .as_deref()
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = match std::env::var_os("PATH") {
        Some(path) => std::env::split_paths(&path).collect(),
        None => Vec::new(),
    };
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        // The newest version first.
        found.sort();
        folders.extend(found.into_iter().rev());
    }
    folders.extend(["/usr/sbin", "/usr/local/bin", "/usr/local/pgsql/bin"].map(PathBuf::from));
    folders
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
