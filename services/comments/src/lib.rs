//! The comments service.
