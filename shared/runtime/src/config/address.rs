//! Text that must not be printed whole.

use std::fmt;
use std::str::FromStr;

/// A secret. It prints as `***`, whoever prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL of which the password, if it has one, prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

/// Why a text is not an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a URL, which begins with its scheme and a colon")]
pub struct NoScheme;

impl Address {
    /// The whole of it, for whoever connects.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl FromStr for Address {
    type Err = NoScheme;

    fn from_str(text: &str) -> Result<Self, NoScheme> {
        let (scheme, _) = text.split_once(':').ok_or(NoScheme)?;
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        match !scheme.is_empty() && scheme.bytes().all(proper) {
            true => Ok(Self(text.to_owned())),
            false => Err(NoScheme),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, query) = match self.0.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (self.0.as_str(), None),
        };
        // The last `@` ends the password, so that one which holds an `@` or a `/` of its own is
        // starred whole.
        let parts = rest.split_once("://").and_then(|(scheme, rest)| {
            let (user, host) = rest.rsplit_once('@')?;
            let (name, _) = user.split_once(':')?;
            Some((scheme, name, host))
        });
        match parts {
            Some((scheme, name, host)) => write!(f, "{scheme}://{name}:***@{host}")?,
            None => f.write_str(rest)?,
        }
        for (index, pair) in query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .enumerate()
        {
            let mark = if index == 0 { '?' } else { '&' };
            match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => write!(f, "{mark}{name}=***")?,
                _ => write!(f, "{mark}{pair}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_without_its_password() {
        for (text, expected) in [
            ("hub:", "hub:"),
            ("sqlite://data/larder", "sqlite://data/larder"),
            ("redis://r:6379/0", "redis://r:6379/0"),
            ("redis://:hush@r:6379", "redis://:***@r:6379"),
            (
                "postgres://ada:hush@db:5432/larder",
                "postgres://ada:***@db:5432/larder",
            ),
            (
                "postgres://ada:hu@sh/x@db/larder",
                "postgres://ada:***@db/larder",
            ),
            ("postgres://ada@db/larder", "postgres://ada@db/larder"),
            (
                "redis-sentinel://:hush@a,b,c/main",
                "redis-sentinel://:***@a,b,c/main",
            ),
            (
                "postgres://db/larder?user=ada&password=hush&sslmode=require",
                "postgres://db/larder?user=ada&password=***&sslmode=require",
            ),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), expected);
            assert_eq!(format!("{address:?}"), expected);
            assert_eq!(address.expose(), text);
        }
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::from("hush".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "*** *** Some(***)"
        );
    }

    #[test]
    fn text_without_a_scheme_is_no_address() {
        for text in ["", ":", "redis", "://x", "my host:1"] {
            assert_eq!(text.parse::<Address>(), Err(NoScheme), "{text}");
        }
    }
}
