//! What is wrong with an entity, all of it at once.

use larder_runtime::status;
use tonic::Status;

/// Collects what is wrong with the fields of a request, so that a caller mends all of it at once.
#[derive(Debug)]
#[must_use]
pub struct Checks {
    prefix: &'static str,
    problems: Vec<(String, String)>,
}

impl Checks {
    /// Of the fields of the message in the request's field `prefix`.
    pub fn of(prefix: &'static str) -> Self {
        Self {
            prefix,
            problems: Vec::new(),
        }
    }

    /// A text of at most so many characters.
    pub fn text(mut self, field: &str, text: &str, most: usize) -> Self {
        if text.chars().nth(most).is_some() {
            self.add(field, format!("must have at most {most} characters"));
        }
        // PostgreSQL has no way to store it.
        if text.contains('\0') {
            self.add(field, "must not contain a NUL character".to_owned());
        }
        self
    }

    /// A text of at least one and at most so many characters.
    pub fn filled(mut self, field: &str, text: &str, most: usize) -> Self {
        if text.is_empty() {
            self.add(field, "must not be empty".to_owned());
        }
        self.text(field, text, most)
    }

    /// A number that counts or costs something.
    pub fn not_negative(mut self, field: &str, number: i64) -> Self {
        if number < 0 {
            self.add(field, "must not be negative".to_owned());
        }
        self
    }

    /// INVALID_ARGUMENT with all that was found, if anything was.
    pub fn done(self) -> Result<(), Status> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(status::invalid_fields(self.problems))
        }
    }

    fn add(&mut self, field: &str, problem: String) {
        self.problems
            .push((format!("{}.{field}", self.prefix), problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt as _;

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let checks = Checks::of("product")
            .filled("title", "", 3)
            .text("description", "long", 3)
            .text("category", "a\0", 3)
            .not_negative("stock", -1)
            .filled("fine", "äöü", 3);
        let status = checks.done().expect_err("wrong");
        let details = status.get_error_details();
        let violations = &details
            .bad_request()
            .expect("a BadRequest")
            .field_violations;
        let fields: Vec<_> = violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        let expected = [
            "product.title",
            "product.description",
            "product.category",
            "product.stock",
        ];
        assert_eq!(fields, expected);
        assert!(
            Checks::of("product")
                .filled("title", "abc", 3)
                .done()
                .is_ok()
        );
    }
}
