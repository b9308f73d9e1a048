//! The ports that this process listens on.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system keeps until they are accepted, if it keeps as many. One more has to
/// try again a second later, and a short pause on a busy machine is enough to fill a short queue.
const QUEUE: u32 = 4096;

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
    bound(address).map_err(|source| Error {
        setting,
        address,
        source,
    })
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Or a port could not be taken again right after a restart.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
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
