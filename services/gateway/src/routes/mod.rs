//! JSON over the services' contracts.

use crate::State;
use axum::Router;

/// The routes of JSON.
pub fn routes() -> Router<State> {
    Router::new()
}
