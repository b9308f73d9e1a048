//! Where things are sold.

use larder_runtime::status;
use std::fmt;
use tonic::Status;

/// A part of the country. A new one needs a migration: the table knows them too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Region {
    /// The middle.
    Central,
    /// The east.
    East,
    /// The north.
    North,
    /// The south.
    South,
    /// The west.
    West,
}

impl Region {
    /// All regions, in alphabetical order.
    pub const ALL: [Self; 5] = [
        Self::Central,
        Self::East,
        Self::North,
        Self::South,
        Self::West,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Central => "central",
            Self::East => "east",
            Self::North => "north",
            Self::South => "south",
            Self::West => "west",
        }
    }

    /// The region of this name.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|region| region.name() == name)
    }

    /// The region in a request's field.
    pub fn parse(field: &str, name: &str) -> Result<Self, Status> {
        Self::read(name).ok_or_else(|| status::invalid(field, Self::unknown()))
    }

    /// What is wrong with a name that is no region's.
    pub fn unknown() -> String {
        let known = Self::ALL.map(Self::name).join(", ");
        format!("is no region: there are {known}")
    }
}

/// Some of the regions, at least one: a set, so that neither order nor repetition tells two
/// requests apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Regions(u8);

impl Regions {
    /// All of them.
    pub const ALL: Self = Self((1 << Region::ALL.len()) - 1);

    /// One alone.
    pub fn one(region: Region) -> Self {
        Self(1 << region as u8)
    }

    /// The regions in a request's field; all where it names none.
    pub fn parse(field: &str, names: &[String]) -> Result<Self, Status> {
        let mut regions = 0;
        for (index, name) in names.iter().enumerate() {
            regions |= Self::one(Region::parse(&format!("{field}[{index}]"), name)?).0;
        }
        Ok(if regions == 0 {
            Self::ALL
        } else {
            Self(regions)
        })
    }

    /// Reads what `Display` wrote, and nothing else.
    pub fn read(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::ALL);
        }
        let mut regions = 0;
        for name in text.split('+') {
            regions |= Self::one(Region::read(name)?).0;
        }
        Some(Self(regions)).filter(|regions| regions.to_string() == text)
    }

    /// Whether no region is left out.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Them, in alphabetical order.
    pub fn iter(self) -> impl Iterator<Item = Region> {
        Region::ALL
            .into_iter()
            .filter(move |region| self.0 & Self::one(*region).0 != 0)
    }

    /// Their names, in alphabetical order.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|region| region.name().to_owned()).collect()
    }
}

/// `all`, or `north+south`.
impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        for (index, region) in self.iter().enumerate() {
            let plus = if index == 0 { "" } else { "+" };
            write!(f, "{plus}{}", region.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Regions {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Regions::parse("regions", &names).expect("regions")
    }

    #[test]
    fn neither_order_nor_repetition_tells_regions_apart() {
        assert_eq!(of(&["south", "north", "south"]), of(&["north", "south"]));
        assert_eq!(of(&["north", "south"]).to_string(), "north+south");
        assert_eq!(of(&[]), Regions::ALL);
        assert_eq!(of(&Region::ALL.map(Region::name)), Regions::ALL);
        assert_eq!(of(&["west"]).names(), ["west"]);
    }

    #[test]
    fn regions_read_back_from_their_one_spelling() {
        for bits in 1..=Regions::ALL.0 {
            let regions = Regions(bits);
            assert_eq!(Regions::read(&regions.to_string()), Some(regions));
        }
        for other in [
            "",
            "north+",
            "south+north",
            "north+north",
            "all+west",
            "mars",
        ] {
            assert_eq!(Regions::read(other), None, "{other}");
        }
    }
}
