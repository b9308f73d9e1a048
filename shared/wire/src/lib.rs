//! The cache's words on the wire: metadata, errors, and rounds between services.
