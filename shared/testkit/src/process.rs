//! A child process that cannot outlive the test that started it.

use crate::{program, wait_blocking, wait_until};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use rustix::process::Signal;

/// What to start, and how it is to end.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    user: Option<String>,
    log: Option<PathBuf>,
    farewell: Signal,
    grace: Duration,
    orphaned: &'static str,
}

impl Program {
    /// The program at `path`, with nothing said about it yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            envs: Vec::new(),
            folder: None,
            user: None,
            log: None,
            farewell: Signal::TERM,
            grace: Duration::from_secs(5),
            orphaned: "KILL",
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment, which is otherwise ours.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The folder it runs in; a private one otherwise.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The user it runs as, which only root may choose.
    pub fn user(mut self, user: Option<&str>) -> Self {
        self.user = user.map(str::to_owned);
        self
    }

    /// The file that its output is appended to; one in the private folder otherwise.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// The signal that asks it to end, and how long it may take before it is killed.
    pub fn farewell(mut self, signal: Signal, grace: Duration) -> Self {
        self.farewell = signal;
        self.grace = grace;
        self
    }

    /// The name of the signal it gets when the test process dies; `KILL` otherwise.
    pub fn orphaned(mut self, signal: &'static str) -> Self {
        self.orphaned = signal;
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<Process> {
        let private = tempfile::Builder::new().prefix("larder-test-").tempdir()?;
        let log_path = self
            .log
            .clone()
            .unwrap_or_else(|| private.path().join("log"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)?;
        let mut command = self.command();
        command.current_dir(self.folder.as_deref().unwrap_or(private.path()));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A group of its own: an interrupt typed at the terminal reaches the test, which ends
        // its children in order.
        command.process_group(0);
        let child = spawn_on_keeper(command)
            .with_context(|| format!("starting {}", self.path.display()))?;
        Ok(Process {
            child: Mutex::new(child),
            name: self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            farewell: self.farewell,
            grace: self.grace,
            log: log_path,
            _private: private,
        })
    }

    /// Runs it to its end and returns what it printed; an error when it failed.
    pub(crate) fn run(self) -> Result<String> {
        let mut command = self.command();
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("starting {}", self.path.display()))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} failed, {}: {complaint}{printed}",
                self.path.display(),
                output.status
            );
        }
        Ok(printed)
    }

    /// The command, behind `setpriv` where that exists: it ties the child's life to ours, and
    /// changes the user.
    fn command(&self) -> Command {
        let mut command = match (program::setpriv(), &self.user) {
            (Some(setpriv), user) => {
                let mut command = Command::new(setpriv);
                if let Some(user) = user {
                    command.args(["--reuid", user, "--regid", user, "--init-groups"]);
                }
                command
                    .args(["--pdeathsig", self.orphaned, "--"])
                    .arg(&self.path);
                command
            }
            (None, Some(user)) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(&self.path);
                command
            }
            (None, None) => Command::new(&self.path),
        };
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running child. Dropping it ends it: it is asked, and killed when it does not listen.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    name: String,
    farewell: Signal,
    grace: Duration,
    log: PathBuf,
    _private: TempDir,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Whether it runs, stopped or not.
    pub fn is_alive(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // A child that was waited for has no id any more: it may be another's by now.
        if child.try_wait()?.is_none()
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))?;
        }
        Ok(())
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&self) -> Result<ExitStatus> {
        let mut child = self.child();
        child
            .kill()
            .with_context(|| format!("killing {}", self.name))?;
        Ok(child.wait()?)
    }

    /// Asks it to end and waits; kills it when its grace is over. A stopped one is woken first.
    pub fn end(&self) -> Result<ExitStatus> {
        self.signal(self.farewell)?;
        self.resume()?;
        let ended = wait_blocking("the child's end", self.grace, || Ok(!self.is_alive()));
        if ended.is_err() {
            return self.kill();
        }
        Ok(self.child().wait()?)
    }

    /// Waits until it accepts connections at `address`; an error with its log when it ends first.
    pub async fn wait_accepting(&self, address: SocketAddr, deadline: Duration) -> Result<()> {
        self.wait("an accepted connection", deadline, async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await
    }

    /// Waits until `GET /ready` at `address` is answered with 200; an error with its log when it
    /// ends first.
    pub async fn wait_ready(&self, address: SocketAddr, deadline: Duration) -> Result<()> {
        self.wait("a 200 from /ready", deadline, async || {
            http_status(address, "/ready")
                .await
                .is_ok_and(|status| status == 200)
        })
        .await
    }

    async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        let waited = wait_until(what, deadline, async || !self.is_alive() || ready().await).await;
        if waited.is_ok() && self.is_alive() {
            return Ok(());
        }
        let fate = if self.is_alive() {
            "does not answer"
        } else {
            "has ended"
        };
        bail!(
            "waiting for {what}: {} {fate}; its log:\n{}",
            self.name,
            self.log()
        )
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        // A panic elsewhere leaves the child as it is: still ours to end.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}

/// The status of an HTTP answer.
async fn http_status(address: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    // "HTTP/1.1 200"
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(std::str::from_utf8(&head[9..])?.parse()?)
}

pub(crate) fn read_lossy(path: &Path) -> String {
    let read = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&read).into_owned()
}

type Spawned = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a child from a thread that lives as long as this process.
///
/// The kernel sends the parent-death signal when the *thread* that forked ends. A test's thread,
/// or a runtime's, ends long before the process does, and a server shared by several tests would
/// die under the others.
fn spawn_on_keeper(command: Command) -> Result<Child> {
    static KEEPER: OnceLock<mpsc::Sender<Spawned>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Spawned>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    keeper
        .send((command, answer))
        .context("the keeper thread has ended")?;
    Ok(child.recv().context("the keeper thread has ended")??)
}

/// A file for a lock or a log, created when it is not there.
pub(crate) fn open_or_create(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    file.with_context(|| format!("opening {}", path.display()))
}
