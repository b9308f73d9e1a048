//! The suite as it is deployed, started on this machine: `deployed.json` is what manifests and Compose
//! tell each process (`deploy/check` holds it against them), and `deploy/secrets` makes what is secret.
//!
//! What differs here is where things are: ports are others, since all processes share loopback, names of
//! Services become addresses, and mounted folders lie elsewhere.

use anyhow::{Context as _, Result, bail, ensure};
use larder_runtime::client::{Client, Limits};
use larder_runtime::config::Certificates;
use larder_runtime::tls::Tls;
use larder_testkit::port::Port;
use larder_testkit::postgres::{self, Database};
use larder_testkit::process::{Process, Program, Signal};
use larder_testkit::redis::{self, Redis};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Who listens.
pub const SERVICES: [&str; 5] = ["profiles", "products", "comments", "reports", "gateway"];
/// What they listen on in a container: gRPC, probes, HTTP, admin.
pub const PORTS: [u16; 4] = [7000, 7001, 8080, 9000];
/// How long a process may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// What processes are told, by where they are deployed.
#[derive(Clone, Debug)]
pub struct Told(Value);

impl Told {
    /// What is deployed there: `dev`, `production` or `compose`.
    pub fn of(environment: &str) -> Result<Self> {
        let all: Value = serde_json::from_str(include_str!("../deployed.json"))?;
        match &all[environment] {
            Value::Null => bail!("nothing is deployed as {environment}"),
            told => Ok(Self(told.clone())),
        }
    }

    /// What a process is told in the open, by the setting's name.
    pub fn settings(&self, process: &str) -> BTreeMap<String, String> {
        let own = strings(&self.0["processes"][process]["settings"]);
        match SERVICES.contains(&process) {
            true => strings(&self.0["settings"])
                .into_iter()
                .chain(own)
                .collect(),
            false => own,
        }
    }

    /// What a process is told in secret: the settings' names.
    pub fn secrets(&self, process: &str) -> Vec<String> {
        let secrets = strings(self.process(process, "secrets"));
        secrets.into_keys().collect()
    }

    fn process(&self, name: &str, part: &str) -> &Value {
        &self.0["processes"][name][part]
    }
}

/// A deployed suite that runs here: a replica of each service, on a Redis with the suite's user and a
/// PostgreSQL.
pub struct Deployed {
    told: Told,
    // Before all that they use.
    processes: BTreeMap<String, Process>,
    ports: BTreeMap<(String, u16), Port>,
    secrets: TempDir,
    redis: Redis,
    database: Database,
    binary: PathBuf,
}

impl Deployed {
    /// Starts all processes at once, as a cluster does, and runs the migrations that they wait for.
    pub async fn start(binary: &str, environment: &str, patience: Duration) -> Result<Self> {
        let told = Told::of(environment)?;
        let secrets = tempfile::tempdir()?;
        match told.0["given"].as_object() {
            Some(given) if !given.is_empty() => give(&told.0["given"], secrets.path())?,
            _ => make_secrets(secrets.path())?,
        }
        let mut ports = BTreeMap::new();
        for (service, port) in SERVICES.iter().flat_map(|s| PORTS.map(|port| (s, port))) {
            ports.insert(((*service).to_owned(), port), Port::reserve()?);
        }
        let mut suite = Self {
            redis: redis_of(&users(secrets.path())?)?,
            database: postgres::fresh_database()?,
            processes: BTreeMap::new(),
            binary: binary.into(),
            told,
            ports,
            secrets,
        };
        for service in SERVICES {
            let process = suite.program(service)?.spawn()?;
            suite.processes.insert(service.to_owned(), process);
        }
        let migrations = suite.program("migrate")?.spawn()?;
        let over = async || !migrations.is_alive();
        larder_testkit::wait_until("the migrations' end", patience, over).await?;
        ensure!(migrations.end()?.success(), "{}", migrations.log());
        Ok(suite)
    }

    /// A process as it is told, with what is secret.
    pub fn program(&self, name: &str) -> Result<Program> {
        let args = self.told.process(name, "args").as_array();
        let args = args.with_context(|| format!("{name} is not deployed"))?;
        let mut program = Program::new(&self.binary).farewell(Signal::TERM, FAREWELL);
        for arg in args.iter().filter_map(Value::as_str) {
            program = program.arg(arg);
        }
        for (setting, value) in self.told.settings(name) {
            program = program.env(&setting, self.here(name, &value)?);
        }
        for (setting, from) in strings(self.told.process(name, "secrets")) {
            let value = match setting.as_str() {
                "DATABASE_URL" => self.database.url(),
                "REDIS_URL" => self.redis_url(&from)?,
                _ => self.secret(&from)?,
            };
            program = program.env(setting, value);
        }
        Ok(program)
    }

    /// Where a process listens that believes itself to listen on this port.
    pub fn address(&self, process: &str, port: u16) -> Result<SocketAddr> {
        let port = self.ports.get(&(process.to_owned(), port));
        Ok(port
            .with_context(|| format!("no port of {process}"))?
            .address())
    }

    /// A process.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let process = self.processes.get(name);
        process.with_context(|| format!("{name} does not run"))
    }

    /// Asks a probe: whether the process says that this is so.
    pub async fn probe(&self, process: &str, service: &str) -> Result<bool> {
        let address = self.address(process, 7001)?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        let service = service.to_owned();
        let request = HealthCheckRequest { service };
        let answer = HealthClient::new(channel).check(request).await?;
        Ok(answer.into_inner().status == 1)
    }

    /// Waits until all that the probes of every process ask for is so.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        for service in SERVICES {
            for asked in ["startup", "readiness", "liveness"] {
                let so = async || self.probe(service, asked).await.unwrap_or(false);
                let so = larder_testkit::wait_until("a probe that succeeds", patience, so).await;
                let process = self.process(service)?;
                so.with_context(|| format!("{asked} of {service}: {}", process.log()))?;
            }
        }
        Ok(())
    }

    /// The way to a port of a service for somebody with the certificate of this name; without TLS, for
    /// anybody.
    pub fn way(&self, to: &str, port: u16, name: &str) -> Result<Client> {
        let address = self.address(to, port)?;
        let tls = self.tls(name)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{address}");
        Ok(Client::over(
            "test",
            &address,
            Limits::default(),
            tls.as_ref(),
        )?)
    }

    /// Who has this name, where links are TLS.
    fn tls(&self, name: &str) -> Result<Option<Tls>> {
        if !self
            .told
            .settings("gateway")
            .contains_key("LARDER_TLS_CERT")
        {
            return Ok(None);
        }
        let file = |file: &str| Some(self.file(&format!("{name}/{file}")));
        Ok(Tls::open(&Certificates {
            tls_cert: file("tls.crt"),
            tls_key: file("tls.key"),
            tls_ca: file("ca.crt"),
        })?)
    }

    /// The value of a setting that is secret.
    pub fn secret_of(&self, process: &str, setting: &str) -> Result<String> {
        let from = self.told.process(process, "secrets")[setting].as_str();
        self.secret(from.with_context(|| format!("{process} is not told {setting}"))?)
    }

    /// A file of what is secret.
    pub fn file(&self, path: &str) -> PathBuf {
        self.secrets.path().join(path)
    }

    /// A setting's value, where a container's ports, folders and neighbours are other ones.
    fn here(&self, process: &str, value: &str) -> Result<String> {
        if let Some(port) = value.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return match self.address(process, port) {
                Ok(address) => Ok(address.to_string()),
                // The migrations listen nowhere.
                Err(_) => Ok(value.to_owned()),
            };
        }
        for (mount, folder) in strings(self.told.process(process, "files")) {
            if let Some(file) = value.strip_prefix(&mount) {
                let path = self.file(&folder).display().to_string();
                return Ok(path + file);
            }
        }
        let Some((scheme, host)) = value.split_once("://") else {
            return Ok(value.replace("$(POD_NAME)", process));
        };
        let (host, port) = host.split_once(':').unwrap_or((host, ""));
        let service = host.strip_prefix("larder-").unwrap_or(host);
        match (SERVICES.contains(&service), port.parse()) {
            (true, Ok(port)) => Ok(format!("{scheme}://{}", self.address(service, port)?)),
            // A collector that is away: nobody waits for it.
            _ if port == "4317" => Ok(format!("{scheme}://127.0.0.1:1")),
            _ => Ok(value.to_owned()),
        }
    }

    /// What is secret: a file, or what Compose puts into a text.
    fn secret(&self, from: &str) -> Result<String> {
        let Some((before, rest)) = from.split_once("${") else {
            let text = std::fs::read_to_string(self.file(from));
            return text.with_context(|| format!("no {from}"));
        };
        let (name, after) = rest
            .split_once(":?}")
            .context("a variable that must be set")?;
        Ok(format!(
            "{before}{}{after}",
            password(self.secrets.path(), name)?
        ))
    }

    /// The address of Redis as it is written there, or in the way that README.md has it written.
    fn redis_url(&self, from: &str) -> Result<String> {
        let given = &self.told.0["given"]["addresses"]["REDIS_URL"];
        let url = match given.as_str() {
            Some(url) => url.to_owned(),
            None if from.contains("${") => self.secret(from)?,
            None => self.secret("redis://larder:${REDIS_PASSWORD:?}@redis:6379")?,
        };
        let address = self.redis.address().to_string();
        Ok(url.replace("redis:6379", &address))
    }
}

/// The line of the user that the suite comes as.
fn users(secrets: &Path) -> Result<String> {
    let files = ["redis/users.acl", "redis-users/users.acl"].map(|file| secrets.join(file));
    let file = files.iter().find(|file| file.exists());
    let text = std::fs::read_to_string(file.context("no users of Redis")?)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("user larder "));
    Ok(line.context("no user of the suite")?.to_owned())
}

/// A server whose suite's user is this line, hashed password and all.
fn redis_of(user: &str) -> Result<Redis> {
    let redis = redis::start()?;
    let words = ["ACL", "SETUSER", "larder", "reset"];
    let words: Vec<_> = words.into_iter().chain(user.split_whitespace()).collect();
    redis.command(&words)?;
    Ok(redis)
}

fn make_secrets(folder: &Path) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/secrets");
    let made = Command::new(script).arg(folder).output()?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "deploy/secrets: {said}");
    Ok(())
}

/// Writes down what stands in the manifests, in folders of the Secrets' names.
fn give(given: &Value, folder: &Path) -> Result<()> {
    for (name, secret) in given.as_object().context("Secrets")? {
        std::fs::create_dir_all(folder.join(name))?;
        for (key, value) in strings(secret) {
            std::fs::write(folder.join(name).join(key), value)?;
        }
    }
    Ok(())
}

fn password(secrets: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(secrets.join("compose.env"))?;
    let prefix = format!("{name}=");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(value.with_context(|| format!("no {name}"))?.to_owned())
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
