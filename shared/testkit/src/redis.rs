//! A private Redis (or Valkey) server.
//!
//! Its users are those of `deploy/redis/users.acl`, the very file that operators install: clients
//! that come with [`Redis::url`] can do what the suite may do in production and nothing else. What
//! a test does to the server itself goes by [`Redis::command`], as a user of its own.

use crate::port::Port;
use crate::process::{Process, Program};
use crate::{program, wait_blocking};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Starts an empty server that keeps nothing on disk.
pub fn start() -> Result<Redis> {
    Setup::default().start()
}

/// The address of a server of the usual setup, for clients that come through a proxy at `address`.
pub fn url_at(address: SocketAddr) -> String {
    format!("redis://{LOGIN}@{address}")
}

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    args: Vec<String>,
    password: Option<String>,
    /// Lines of the file of users, beside those that every server has.
    users: Vec<String>,
    /// The configuration of a sentinel, which it rewrites: kept through restarts.
    sentinel: Option<String>,
}

impl Setup {
    /// Adds arguments of `redis-server`, such as `["--maxmemory", "8mb"]`.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The password that clients must give, if not the usual one.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds a user, as a line of the file of users.
    pub(crate) fn user(mut self, line: &str) -> Self {
        self.users.push(line.to_owned());
        self
    }

    /// Makes it a sentinel with this configuration.
    pub(crate) fn sentinel(mut self, config: String) -> Self {
        self.sentinel = Some(config);
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Result<Redis> {
        let redis = self.reserve()?;
        redis.restart()?;
        Ok(redis)
    }

    /// Takes a port and a folder for a server that [`Redis::restart`] will start later.
    pub fn reserve(self) -> Result<Redis> {
        let folder = tempfile::Builder::new().prefix("larder-redis-").tempdir()?;
        Ok(Redis {
            setup: self,
            running: Mutex::new(None),
            folder,
            port: Port::reserve()?,
        })
    }
}

/// A server on a loopback port of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    setup: Setup,
    // Before the folder and the port, which must outlive it.
    running: Mutex<Option<Process>>,
    folder: TempDir,
    port: Port,
}

impl Redis {
    /// Its address for clients, with the name and the password of the suite's user.
    pub fn url(&self) -> String {
        self.url_through(self.address())
    }

    /// The same, for clients that come through a proxy at `address`.
    pub fn url_through(&self, address: SocketAddr) -> String {
        match (&self.setup.sentinel, &self.setup.password) {
            (Some(_), _) => format!("redis://{address}"),
            (None, Some(password)) => format!("redis://{USER}:{password}@{address}"),
            (None, None) => url_at(address),
        }
    }

    /// The loopback address it listens at, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// SIGKILL: connections break, and what it knew is gone.
    pub fn stop(&self) -> Result<()> {
        match self.running().take() {
            Some(process) => process.kill().map(drop),
            None => Ok(()),
        }
    }

    /// Stops it if it runs, and starts it empty on the same port.
    pub fn restart(&self) -> Result<()> {
        self.restart_as(&[])
    }

    /// As [`Redis::restart`], with arguments for this time only.
    pub(crate) fn restart_as(&self, args: &[&str]) -> Result<()> {
        self.stop()?;
        match std::fs::remove_file(self.folder.path().join(DUMP)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => self.run(args),
        }
    }

    /// Whether it runs, stopped by a signal or not.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(Process::is_alive)
    }

    /// Writes what it knows to its dump.
    pub fn dump(&self) -> Result<()> {
        self.command(&["SAVE"]).map(drop)
    }

    /// Stops it if it runs, and starts it with what it knew at the last [`Redis::dump`].
    pub fn restart_from_dump(&self) -> Result<()> {
        self.stop()?;
        if !self.folder.path().join(DUMP).exists() {
            bail!("there is no dump to restart from");
        }
        self.run(&[])
    }

    /// SIGSTOP: it accepts connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.running().as_ref().context("it is stopped")?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.running().as_ref().context("it is stopped")?.resume()
    }

    /// Runs a command on a connection of its own, as somebody who may do everything. Parts of a list stand on lines of their own;
    /// nothing is an empty line.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        match self.setup.sentinel {
            Some(_) => self.command_as(None, words),
            None => self.command_as(Some((ADMIN, ADMIN)), words),
        }
    }

    /// The same with this name and password, or without any.
    pub fn command_as(&self, login: Option<(&str, &str)>, words: &[&str]) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some((name, password)) = login {
            stream.write_all(&encode(&["AUTH", name, password]))?;
            read_reply(&mut reader)?;
        }
        stream.write_all(&encode(words))?;
        read_reply(&mut reader).with_context(|| format!("{words:?}"))
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        let path = program::find(&["redis-server", "valkey-server"], INSTALL)?;
        let program = Program::new(path).log(self.folder.path().join("log"));
        let process = match &self.setup.sentinel {
            Some(config) => self.as_sentinel(program, config)?,
            None => self.as_server(program)?,
        };
        let process = process.args(&self.setup.args).args(args).spawn()?;
        wait_blocking(
            "an answer from redis-server",
            Duration::from_secs(10),
            || {
                if !process.is_alive() {
                    bail!("redis-server has ended; its log:\n{}", process.log());
                }
                Ok(self.command(&["PING"]).is_ok())
            },
        )?;
        *self.running() = Some(process);
        Ok(())
    }

    fn as_server(&self, program: Program) -> Result<Program> {
        let users = self.folder.path().join("users.acl");
        std::fs::write(&users, self.users()?)?;
        Ok(program
            .args(["--port", &self.port.number().to_string()])
            .args(["--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--dbfilename", DUMP])
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--aclfile")
            .arg(users)
            .args(["--masteruser", ADMIN, "--masterauth", ADMIN]))
    }

    /// The file of users: the one of the deployment with a password in its place, and whoever
    /// hurts the server.
    fn users(&self) -> Result<String> {
        let password = self.setup.password.as_deref().unwrap_or(USER);
        if ![PASSWORD, OPERATORS]
            .iter()
            .all(|hash| USERS.contains(hash))
        {
            bail!("users.acl has no place for the passwords");
        }
        let mut users = USERS
            .replace(PASSWORD, &format!(">{password}"))
            .replace(OPERATORS, ">operator");
        let admin = format!("user {ADMIN} on >{ADMIN} ~* &* +@all");
        for line in self.setup.users.iter().chain([&admin]) {
            users.push_str(line);
            users.push('\n');
        }
        Ok(users)
    }

    fn as_sentinel(&self, program: Program, config: &str) -> Result<Program> {
        let path = self.folder.path().join("sentinel.conf");
        if !path.exists() {
            let (port, folder) = (self.port.number(), self.folder.path().display());
            let own = format!("port {port}\nbind 127.0.0.1\ndir {folder}\n");
            std::fs::write(&path, own + config)?;
        }
        Ok(program.arg(path).arg("--sentinel"))
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may do what in production.
const USERS: &str = include_str!("../../../deploy/redis/users.acl");
/// What stands there for the password.
const PASSWORD: &str = "#SHA256-OF-THE-PASSWORD";
/// And for that of the operator, who has the name for it here.
const OPERATORS: &str = "#SHA256-OF-THE-OPERATORS-PASSWORD";
/// The suite's user, whose usual password is its name.
const USER: &str = "larder";
/// Name and password of the suite's user, as they stand in an address.
pub(crate) const LOGIN: &str = "larder:larder";
/// Who does to the server what tests do; the password is the name. Replicas come as this user too.
pub(crate) const ADMIN: &str = "admin";

const DUMP: &str = "dump.rdb";
const PATIENCE: Duration = Duration::from_secs(5);
const INSTALL: &str = "apt-get install redis-server, or brew install redis";

fn encode(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

fn read_reply(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        bail!("the connection was closed");
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).context("an empty reply")?;
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "$" => match usize::try_from(rest.parse::<i64>()?) {
            Err(_) => Ok(String::new()),
            Ok(length) => {
                let mut value = vec![0; length + 2];
                reader.read_exact(&mut value)?;
                Ok(String::from_utf8_lossy(&value[..length]).into_owned())
            }
        },
        "*" => {
            let parts: Result<Vec<_>> = (0..rest.parse::<i64>()?)
                .map(|_| read_reply(reader))
                .collect();
            Ok(parts?.join("\n"))
        }
        _ => bail!("{line}"),
    }
}
