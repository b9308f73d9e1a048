//! The ports that this process listens on.

use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, which {setting} asks for")]
pub struct Error {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Takes a port. `setting` is the one that named it, for whoever has to change it.
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error {
        setting,
        address,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_setting() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen("--grpc-addr", any).await.expect("some port is free");
        let taken = first.local_addr().expect("bound");
        let error = listen("--grpc-addr", taken).await.expect_err("taken");
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        let text = format!("cannot listen on {taken}, which --grpc-addr asks for");
        assert_eq!(error.to_string(), text);
    }
}
