//! The contracts of the suite, and the code generated from them.
//!
//! For each contract there is a module of messages and clients. Where a service answers with
//! entities, the module has a module `raw` beside them with the server: whatever it answers with
//! is [`Raw`], so that an answer which a cache holds encoded is written as it is; [`Framed`] is
//! one that needs no codec at all.
//!
//! Owns the `.proto` files. Touches nothing of ours.

pub mod callers;
mod framed;
mod raw;

pub use framed::Framed;
pub use raw::Raw;

/// Every contract with its comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/larder.binpb"));

/// Who people are.
pub mod profiles {
    /// The first version of the contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/larder.profiles.v1.rs"));

        /// The server, whose answers are all [`Raw`](crate::Raw).
        pub mod raw {
            include!(concat!(env!("OUT_DIR"), "/raw/larder.profiles.v1.rs"));
        }
    }
}

/// What is for sale.
pub mod products {
    /// The first version of the contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/larder.products.v1.rs"));

        /// The server, whose answers are all [`Raw`](crate::Raw).
        pub mod raw {
            include!(concat!(env!("OUT_DIR"), "/raw/larder.products.v1.rs"));
        }
    }
}

/// What people say about products.
pub mod comments {
    /// The first version of the contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/larder.comments.v1.rs"));

        /// The server, whose answers are all [`Raw`](crate::Raw).
        pub mod raw {
            include!(concat!(env!("OUT_DIR"), "/raw/larder.comments.v1.rs"));
        }
    }
}

/// What was sold, and what that says.
pub mod reports {
    /// The first version of the contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/larder.reports.v1.rs"));

        /// The server, whose answers are all [`Raw`](crate::Raw).
        pub mod raw {
            include!(concat!(env!("OUT_DIR"), "/raw/larder.reports.v1.rs"));
        }
    }
}

/// How services hold copies of each other's rows, and what an operator asks of a cache.
pub mod cache {
    /// The first version of the contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/larder.cache.v1.rs"));
    }
}
