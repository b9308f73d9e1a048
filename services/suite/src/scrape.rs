//! What replicas say of themselves at `/metrics`.

use anyhow::{Context as _, Result, bail};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page longer than this is not one of ours.
const MAX_BYTES: u64 = 8 << 20;

/// Counters of one replica, or of several together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls of the products' loader.
    pub loads: u64,
    /// Products that left memory for room or for age.
    pub evictions: u64,
    /// Tags that moved, by whatever brought the news.
    pub invalidations: u64,
    /// Calls of all loaders, each of which asks the database once.
    pub all_loads: u64,
    /// Rounds of the feed, which ask it too.
    pub rounds: u64,
}

/// The counters of all these replicas together.
pub async fn all(admins: &[SocketAddr]) -> Result<Counters> {
    let mut sum = Counters::default();
    for admin in admins {
        let page = tokio::time::timeout(PATIENCE, page(*admin)).await;
        let page = page.context("no answer in time").flatten();
        let one = read(&page.with_context(|| format!("reading http://{admin}/metrics"))?);
        sum.loads += one.loads;
        sum.evictions += one.evictions;
        sum.invalidations += one.invalidations;
        sum.all_loads += one.all_loads;
        sum.rounds += one.rounds;
    }
    Ok(sum)
}

impl Counters {
    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self {
            loads: self.loads.saturating_sub(before.loads),
            evictions: self.evictions.saturating_sub(before.evictions),
            invalidations: self.invalidations.saturating_sub(before.invalidations),
            all_loads: self.all_loads.saturating_sub(before.all_loads),
            rounds: self.rounds.saturating_sub(before.rounds),
        }
    }
}

async fn page(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_BYTES).read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, page)) if head.split(' ').nth(1) == Some("200") => Ok(page.to_owned()),
        _ => bail!("it does not answer with a page"),
    }
}

fn read(page: &str) -> Counters {
    let sum = |name: &str, holds: &[&str]| {
        let lines = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(name)?.strip_prefix('{')?;
            let fits = holds.iter().all(|label| labels.contains(label));
            fits.then(|| value.parse::<f64>().ok())?
        });
        lines.sum::<f64>() as u64
    };
    let products = r#"keyspace="products""#;
    let evicted = |cause: &str| sum("larder_evictions_total", &[products, cause]);
    Counters {
        loads: sum("larder_load_seconds_count", &[products]),
        evictions: evicted(r#"cause="size""#) + evicted(r#"cause="expired""#),
        invalidations: sum("larder_invalidations_total", &[]),
        all_loads: sum("larder_load_seconds_count", &[]),
        rounds: sum("larder_rounds_total", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_products_are_summed_and_others_are_left_out() {
        let page = "# TYPE larder_load_seconds histogram\n\
            larder_load_seconds_bucket{keyspace=\"products\",le=\"0.1\"} 9\n\
            larder_load_seconds_count{keyspace=\"products\"} 7\n\
            larder_load_seconds_count{keyspace=\"products.list\"} 50\n\
            larder_evictions_total{keyspace=\"products\",cause=\"size\"} 2\n\
            larder_evictions_total{keyspace=\"products\",cause=\"expired\"} 1\n\
            larder_evictions_total{keyspace=\"products\",cause=\"replaced\"} 5\n\
            larder_invalidations_total{source=\"products\",origin=\"own\"} 3\n\
            larder_rounds_total{source=\"products\"} 12\n\
            larder_invalidations_total{source=\"products\",origin=\"hint\"} 4\n";
        let expected = Counters {
            loads: 7,
            evictions: 3,
            invalidations: 7,
            all_loads: 57,
            rounds: 12,
        };
        assert_eq!(read(page), expected);
    }
}
