//! A data folder made once and copied for each server, since `initdb` takes a second or two.

use super::INSTALL;
use crate::port::private_folder;
use crate::process::{Program, open_or_create};
use crate::program;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The user that the server runs as: PostgreSQL refuses root.
pub(super) fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("postgres")
}

/// Lets the server's user have a folder that we made.
pub(super) fn give_away(folder: &Path) -> Result<()> {
    let Some(user) = user() else { return Ok(()) };
    let id = |flag: &str| -> Result<u32> {
        let printed = Program::new(program::find(&["id"], "coreutils")?)
            .args([flag, user])
            .run();
        let printed = printed.with_context(|| format!("root needs the user {user}: {INSTALL}"))?;
        Ok(printed.trim().parse()?)
    };
    let (owner, group) = (id("-u")?, id("-g")?);
    std::os::unix::fs::chown(folder, Some(owner), Some(group))
        .with_context(|| format!("giving {} to {user}", folder.display()))
}

/// Copies the template to `target`, which must not exist yet.
pub(super) fn copy_to(target: &Path) -> Result<()> {
    let template = template()?;
    Program::new(program::find(&["cp"], "coreutils")?)
        .user(user())
        .arg("-a")
        .arg(template)
        .arg(target)
        .run()
        .map(drop)
}

/// The template of the installed version, made now if need be. Others who want it wait meanwhile.
fn template() -> Result<PathBuf> {
    let initdb = program::find(&["initdb"], INSTALL)?;
    let version = Program::new(&initdb).arg("--version").run()?;
    let version: String = version
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let home = private_folder()?.join(format!("postgres-{version}"));
    std::fs::create_dir_all(&home)?;
    let lock = open_or_create(&home.join("lock"))?;
    lock.lock().context("waiting for the template's lock")?;
    let done = home.join("done");
    if !done.exists() {
        let half = home.join("half");
        // One stays half made when its maker was killed.
        std::fs::remove_dir_all(&half).ok();
        std::fs::create_dir(&half)?;
        give_away(&half)?;
        Program::new(initdb)
            .user(user())
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "--wal-segsize=1", "--pgdata"])
            .arg(&half)
            .run()?;
        std::fs::rename(&half, &done)?;
    }
    Ok(done)
}
