//! Which fields an update writes.

use larder_runtime::status;
use prost_types::FieldMask;
use tonic::Status;

/// The request's field that all of this is about.
const FIELD: &str = "update_mask";

/// The fields of an entity that an update may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields(pub &'static [&'static str]);

impl Fields {
    /// Which of these an update is to write: those that the mask names, all for `*`, and without
    /// a mask those that `is_populated`. An empty mask, an unknown path, and `*` beside others
    /// are refused by name.
    pub fn chosen(
        self,
        mask: Option<&FieldMask>,
        is_populated: impl Fn(&str) -> bool,
    ) -> Result<Chosen, Status> {
        let Some(mask) = mask else {
            let populated = self.0.iter().copied().filter(|field| is_populated(field));
            return Ok(Chosen(populated.collect()));
        };
        match mask.paths.as_slice() {
            [] => Err(status::invalid(FIELD, "names no field")),
            [all] if all == "*" => Ok(Chosen(self.0.to_vec())),
            paths => paths
                .iter()
                .map(|path| self.known(path))
                .collect::<Result<_, _>>()
                .map(Chosen),
        }
    }

    fn known(self, path: &str) -> Result<&'static str, Status> {
        let problem = match path {
            "" => "has an empty path".to_owned(),
            "*" => "`*` stands alone".to_owned(),
            _ => match self.0.iter().find(|field| **field == path) {
                Some(field) => return Ok(field),
                None => format!("`{path}` is no field that can be written"),
            },
        };
        Err(status::invalid(FIELD, problem))
    }
}

/// The fields that an update writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen(Vec<&'static str>);

impl Chosen {
    /// Whether this one is to be written.
    pub fn has(&self, field: &str) -> bool {
        self.0.contains(&field)
    }

    /// The value, if its field is to be written.
    pub fn pick<T>(&self, field: &str, value: T) -> Option<T> {
        self.has(field).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    const FIELDS: Fields = Fields(&["title", "stock"]);

    fn chosen(paths: &[&str]) -> Result<Chosen, Status> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        FIELDS.chosen(Some(&FieldMask { paths }), |_| true)
    }

    #[test]
    fn a_mask_names_fields_a_star_all_and_none_the_populated() {
        assert_eq!(chosen(&["stock"]).expect("known"), Chosen(vec!["stock"]));
        assert_eq!(chosen(&["*"]).expect("all"), Chosen(vec!["title", "stock"]));
        let populated = FIELDS
            .chosen(None, |field| field == "title")
            .expect("populated");
        assert_eq!(populated, Chosen(vec!["title"]));
        assert_eq!(
            (populated.pick("title", 1), populated.pick("stock", 1)),
            (Some(1), None)
        );
    }

    #[test]
    fn an_empty_or_unknown_path_is_refused_by_name() {
        for (paths, named) in [
            (&[][..], "no field"),
            (&[""], "empty path"),
            (&["title", "version"], "`version`"),
            (&["*", "title"], "`*`"),
            (&["Title"], "`Title`"),
        ] {
            let status = chosen(paths).expect_err("refused");
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(named), "{}", status.message());
            assert!(status.message().starts_with("update_mask: "));
        }
    }
}
