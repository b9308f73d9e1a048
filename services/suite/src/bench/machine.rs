//! Where a run ran.

use super::settings::Settings;
use larder_db::Database;
use larder_host::database_url;
use larder_runtime::config::Address;
use std::collections::BTreeMap;

/// What a result depends on beside the settings, as far as it can be found out.
pub async fn environment(
    settings: &Settings,
    database: &Address,
) -> BTreeMap<&'static str, String> {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let build = if cfg!(debug_assertions) {
        "debug: slower than a release"
    } else {
        "release"
    };
    let mut found = BTreeMap::from([
        ("larder", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", build.to_owned()),
        ("cores", cores.to_string()),
        (
            "system",
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
    ]);
    if let Some(cpu) = cpu() {
        found.insert("cpu", cpu);
    }
    if let Ok(kernel) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        found.insert("kernel", kernel.trim().to_owned());
    }
    if settings.target.is_empty() {
        let embedded = settings.database.is_none();
        let shown = if embedded {
            "SQLite in a temporary folder".to_owned()
        } else {
            database.to_string()
        };
        found.insert("database", shown);
        found.insert("remote tier", settings.remote.to_string());
        if let Some(version) = postgres_version(database).await {
            found.insert("PostgreSQL", version);
        }
    }
    found
}

/// Transactions that a PostgreSQL server has ended in the products' database since it counts; its
/// counters are late by up to a second. `None` where it cannot be asked.
pub async fn transactions(database: &Address) -> Option<u64> {
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database \
               WHERE datname = current_database()";
    let count: i64 = asked(database, sql, |row| row.get(0).ok()).await?;
    u64::try_from(count).ok()
}

async fn postgres_version(database: &Address) -> Option<String> {
    let sql = "SELECT current_setting('server_version')";
    asked(database, sql, |row| row.get(0).ok()).await
}

async fn asked<T>(
    database: &Address,
    sql: &'static str,
    take: impl FnOnce(&larder_db::Row) -> Option<T>,
) -> Option<T> {
    if !database.scheme().starts_with("postgres") {
        return None;
    }
    let url = database_url(database.expose(), "products").ok()?;
    let database = Database::open(&url).await.ok()?;
    let row = database.fetch_one(sql, &[]).await;
    database.close().await;
    take(&row.ok()?)
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}
