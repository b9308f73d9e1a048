//! HTML for people and crawlers.

use crate::State;
use axum::Router;

/// The routes of the pages.
pub fn routes() -> Router<State> {
    Router::new()
}
