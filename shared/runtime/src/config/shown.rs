//! What `--print-config` prints.

use clap::ValueEnum;
use std::fmt;

/// A line for each setting.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct Shown(Vec<(&'static str, String)>);

impl Shown {
    /// Adds a setting. Its `Display` must not tell a secret: see [`Address`](super::Address) and
    /// [`Secret`](super::Secret).
    pub fn line(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

/// The word by which an enum is set.
pub(super) fn word(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
