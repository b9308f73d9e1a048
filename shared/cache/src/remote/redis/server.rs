//! One server: how it is met, and how one sees that it is still there.

use super::{CONNECT, RESPONSE};
use crate::remote::Error;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisError, RedisResult,
    Value,
};
use std::sync::Arc;

/// A server that can be connected to.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    manners: Manners,
}

/// What is expected of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manners {
    /// Nothing but answers.
    Plain,
    /// It must say that it is a primary, when it is met and with each sign of life: one that was
    /// demoted, or came back as something else, still answers.
    Primary,
    /// It may be a replica in a cluster, and is told that its own copies are good enough.
    Replica,
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.addr() == other.addr() && self.manners == other.manners
    }
}

impl Server {
    pub(super) fn new(info: ConnectionInfo, manners: Manners) -> Result<Self, Error> {
        let client = Client::open(info).map_err(failure)?;
        Ok(Self { client, manners })
    }

    /// Host and port, for logs.
    pub(super) fn address(&self) -> String {
        self.addr().to_string()
    }

    /// Its host alone.
    pub(super) fn host(&self) -> String {
        match self.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            other => other.to_string(),
        }
    }

    fn addr(&self) -> &ConnectionAddr {
        self.client.get_connection_info().addr()
    }

    pub(super) fn must_be_primary(&self) -> bool {
        self.manners == Manners::Primary
    }

    /// A connection for commands, after the greetings.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE))
            .set_pipeline_buffer_size(256);
        let connecting = async {
            let client = &self.client;
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(failure)?;
            self.greet(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Timeout(CONNECT)),
        }
    }

    /// A connection for messages.
    pub(super) async fn listen(&self) -> Result<PubSub, Error> {
        match tokio::time::timeout(CONNECT, self.client.get_async_pubsub()).await {
            Ok(connected) => connected.map_err(failure),
            Err(_) => Err(Error::Timeout(CONNECT)),
        }
    }

    async fn greet(&self, connection: &mut MultiplexedConnection) -> Result<(), Error> {
        match self.manners {
            Manners::Plain => Ok(()),
            Manners::Primary => match self.sign_of_life(connection).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::Failed(Arc::new(NotPrimary))),
                Err(error) => Err(failure(error)),
            },
            Manners::Replica => {
                // One that does not know the word will say what is wrong when it is asked.
                let greeting = redis::cmd("READONLY");
                let answer = connection.send_packed_command(&greeting).await;
                answer.map(drop).map_err(failure)
            }
        }
    }

    /// Asks for one; false when there is one, but not from the server that we want.
    pub(super) async fn sign_of_life(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<bool> {
        let question: Cmd = match self.manners {
            Manners::Primary => redis::cmd("ROLE"),
            _ => redis::cmd("PING"),
        };
        let answer = connection.send_packed_command(&question).await?;
        Ok(!self.must_be_primary() || may_be_primary(&answer))
    }
}

/// A server that may not tell its role (an ACL forbids it) is taken for what it is said to be.
fn may_be_primary(role: &Value) -> bool {
    let Value::Array(parts) = role else {
        return true;
    };
    match parts.first() {
        Some(Value::BulkString(role)) => role == b"master",
        Some(Value::SimpleString(role)) => role == "master",
        _ => true,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server is no primary (any more)")]
struct NotPrimary;

pub(super) fn failure(error: RedisError) -> Error {
    if error.is_timeout() {
        return Error::Timeout(RESPONSE);
    }
    if error.code() == Some("OOM") {
        return Error::Full(Arc::new(error));
    }
    Error::Failed(Arc::new(error))
}

/// Whether the connection is of no more use. An answer that is merely late says nothing of it;
/// the heartbeat does.
pub(super) fn is_lost(error: &RedisError) -> bool {
    !error.is_timeout() && (error.is_unrecoverable_error() || error.is_io_error())
}
