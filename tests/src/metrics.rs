//! What a replica says of itself at its admin port.

use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Gets a page: its status and its text.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = answer
        .await
        .with_context(|| format!("http://{address}{path} in time"))??;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer without a head")?;
    let status = head
        .split(' ')
        .nth(1)
        .context("an answer without a status")?
        .parse()?;
    Ok((status, body.to_owned()))
}

/// The sum of the samples of this name whose labels hold all of `labels`, each as `name="value"`.
pub fn sum(page: &str, name: &str, labels: &[&str]) -> u64 {
    let samples = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of = series.strip_prefix(name)?;
        let named = of.is_empty() || of.starts_with('{');
        (named && labels.iter().all(|label| of.contains(label)))
            .then(|| value.parse::<f64>().ok())?
    });
    samples.sum::<f64>() as u64
}
