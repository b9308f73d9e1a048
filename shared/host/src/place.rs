//! Where each service's database is, given the suite's.

use crate::error::Error;
use url::Url;

/// The address of the database of one service on the suite's server, or of its file in the
/// suite's folder: `sqlite://data` is `sqlite://data/profiles.db`, and `postgres://host/shop` is
/// `postgres://host/shop_profiles`; without a name of its own, `larder_profiles`.
pub fn database_url(suite: &str, service: &str) -> Result<String, Error> {
    let refused = |problem: &'static str| Error::Address { problem };
    if let Some(folder) = suite.strip_prefix("sqlite:") {
        let folder = folder
            .strip_prefix("//")
            .unwrap_or(folder)
            .trim_end_matches('/');
        if folder.is_empty() {
            return Err(refused("sqlite:// is followed by a folder"));
        }
        return Ok(format!("sqlite://{folder}/{service}.db"));
    }
    let Ok(mut url) = Url::parse(suite) else {
        return Err(refused("it is no URL"));
    };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(refused("it begins with neither sqlite:// nor postgres://"));
    }
    let name = match url.path().trim_matches('/') {
        "" => "larder",
        name => name,
    };
    let path = format!("/{name}_{service}");
    url.set_path(&path);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_database_of_its_own() {
        for (suite, own) in [
            ("sqlite://data", "sqlite://data/notes.db"),
            (
                "sqlite:///var/lib/larder/",
                "sqlite:///var/lib/larder/notes.db",
            ),
            ("postgres://host/shop", "postgres://host/shop_notes"),
            (
                "postgres://u:p%40@host:1",
                "postgres://u:p%40@host:1/larder_notes",
            ),
            (
                "postgresql://u@host/shop?sslmode=require",
                "postgresql://u@host/shop_notes?sslmode=require",
            ),
        ] {
            assert_eq!(database_url(suite, "notes").expect(suite), own);
        }
    }

    #[test]
    fn what_is_no_database_of_ours_is_refused_without_repeating_it() {
        for suite in [
            "mysql://u:hush@h/d",
            "sqlite://",
            "hush",
            "postgres://[hush",
        ] {
            let error = database_url(suite, "notes").expect_err(suite);
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
