//! What the methods of all services have in common: ids, field masks, pages.
//!
//! Owns how requests are checked where the rule is the same everywhere; whatever is wrong is an
//! INVALID_ARGUMENT that names the field. Touches no cache, no database and no word of any
//! service, so that whoever has no table can use it too. Reading order: [`Id`] is how everything
//! is named, [`mask`] says which fields an update writes, [`page`] how a list is cut, and
//! [`Checks`] collects what is wrong with an entity.

mod checks;
mod id;
pub mod mask;
pub mod page;

pub use checks::Checks;
pub use id::Id;
