//! The products service.
