//! The tasks that something needs, and that end with it.

use crate::remote::Error;
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ends its tasks when it is dropped.
pub(super) struct Tasks {
    runtime: Handle,
    token: DropGuard,
}

impl Tasks {
    /// On this runtime; an error where there is none.
    pub(super) fn here() -> Result<Self, Error> {
        let runtime = Handle::try_current().map_err(|error| Error::Failed(Arc::new(error)))?;
        Ok(Self {
            runtime,
            token: CancellationToken::new().drop_guard(),
        })
    }

    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.token().clone();
        self.runtime.spawn(token.run_until_cancelled_owned(task));
    }
}
