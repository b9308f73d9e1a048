//! When the process is asked to end.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process gets SIGTERM or SIGINT. Fails where signals cannot be listened to.
pub async fn requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(shutdown.signal = name, "asked to end");
    Ok(())
}

/// As [`requested`]; where signals cannot be listened to, it says so and waits for ever.
pub async fn asked_to_end() {
    if let Err(error) = requested().await {
        tracing::error!(error = %error, "signals cannot be listened to");
        std::future::pending().await
    }
}
