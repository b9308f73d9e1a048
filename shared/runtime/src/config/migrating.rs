//! Who brings the tables up to date.

use super::{Shown, word};
use clap::{Args, ValueEnum};

/// Who brings the tables up to date.
#[derive(Args, Clone, Copy, Debug)]
pub struct Migrating {
    /// Who brings tables and triggers up to date: the service itself when it starts, or somebody else
    /// (`larder migrate`), for whom it waits, creating and changing nothing.
    #[arg(long, env = "LARDER_MIGRATE", value_enum, default_value_t = Migrate::Auto)]
    pub migrate: Migrate,
}

/// See [`Migrating`].
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Migrate {
    /// The service, when it starts.
    #[default]
    Auto,
    /// Somebody else.
    Wait,
}

impl Migrating {
    /// Adds its setting to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        shown.line("migrate", word(self.migrate))
    }
}
