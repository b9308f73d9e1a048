//! Statements that ask for several keys at once.

use larder_db::Value;
use std::fmt::Write as _;

/// The placeholders `$1, $2, …` for an IN that asks for these keys, and the arguments for them.
/// Their number is a power of two, the last key repeated, so that a connection prepares a dozen
/// statements and not one for each number of keys.
pub fn among<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> (String, Vec<Value<'a>>) {
    let count = keys.len().next_power_of_two();
    let mut arguments: Vec<Value<'a>> = keys.map(Value::from).collect();
    let last = arguments.last().copied().unwrap_or(Value::Text(None));
    arguments.resize(count, last);
    let mut placeholders = String::with_capacity(5 * count);
    for number in 1..=count {
        let comma = if number == 1 { "" } else { ", " };
        let _ = write!(placeholders, "{comma}${number}");
    }
    (placeholders, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_placeholders_is_a_power_of_two() {
        let (placeholders, arguments) = among(["a", "b", "c"].into_iter());
        assert_eq!(placeholders, "$1, $2, $3, $4");
        assert_eq!(arguments, ["a", "b", "c", "c"].map(Value::from));
        assert_eq!(among(["a"].into_iter()).0, "$1");
        assert_eq!(
            among([].into_iter()),
            ("$1".to_owned(), vec![Value::Text(None)])
        );
    }
}
