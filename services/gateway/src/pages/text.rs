//! Texts of strangers, made fit to be shown: nothing in them can break a page, or what stands
//! beside them.
//!
//! That markup in them is no markup is the templates' doing, which escape everything. What is left
//! are characters that HTML must not contain, and those that turn the direction of the text behind
//! them.

use prost_types::Timestamp;
use std::borrow::Cow;

/// A text of several lines. Characters that HTML forbids become U+FFFD.
pub fn inert(text: &str) -> Cow<'_, str> {
    if !text.chars().any(forbidden) {
        return Cow::Borrowed(text);
    }
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let shown = lines.chars().map(|letter| {
        if forbidden(letter) {
            '\u{fffd}'
        } else {
            letter
        }
    });
    Cow::Owned(shown.collect())
}

/// A text in one line, for a title or an attribute, of at most so many characters. Nothing
/// isolates its direction there, so what turns it is left out.
pub fn line(text: &str, most: usize) -> String {
    let text = inert(text);
    let text: String = text.chars().filter(|letter| !turns(*letter)).collect();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().nth(most).is_none() {
        return words;
    }
    let mut cut: String = words.chars().take(most.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// Controls but for tabs and ends of lines, and code points that are no characters.
fn forbidden(letter: char) -> bool {
    let code = u32::from(letter);
    let no_character = (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe;
    no_character || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An amount as a machine reads it: `1999.00`.
pub fn decimal(cents: i64) -> String {
    let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.unsigned_abs());
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// An amount as people read it: `€1,999.00`, or `NOK 1,999.00` where the sign is not known
/// everywhere.
pub fn money(cents: i64, currency: &str) -> String {
    let number = decimal(cents);
    let (units, rest) = number.split_once('.').unwrap_or((&number, "00"));
    let mut grouped = String::new();
    for (place, digit) in units.chars().enumerate() {
        if place > 0 && (units.len() - place) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match currency {
        "EUR" => format!("€{grouped}.{rest}"),
        "USD" => format!("${grouped}.{rest}"),
        "GBP" => format!("£{grouped}.{rest}"),
        _ => format!("{currency}\u{a0}{grouped}.{rest}"),
    }
}

/// A moment, as a machine reads it and as people do.
pub fn moment(time: Timestamp) -> (String, String) {
    // Nobody needs the parts of a second.
    let whole = Timestamp { nanos: 0, ..time };
    let machine = whole.to_string();
    let people = match machine.split_once('T') {
        Some((day, clock)) => format!("{day} {} UTC", clock.get(..5).unwrap_or(clock)),
        None => machine.clone(),
    };
    (machine, people)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_html_forbids_is_replaced_and_the_rest_stays() {
        let fine = "Tea\tfor two,\n<b>ünd</b> \u{202e}more\u{202c} 🍵";
        assert!(matches!(inert(fine), Cow::Borrowed(same) if same == fine));
        let foul = "a\0b\u{1}c\u{1b}[31m\u{7f}\u{85}\u{fdd0}\u{fffe}\u{1ffff}\r\nd\re";
        let shown = inert(foul);
        assert!(!shown.chars().any(forbidden), "{shown:?}");
        assert!(shown.starts_with("a\u{fffd}b\u{fffd}c"), "{shown:?}");
        assert!(shown.ends_with("\nd\ne"), "{shown:?}");
    }

    #[test]
    fn a_line_has_no_ends_of_lines_no_turns_and_an_end() {
        assert_eq!(line(" a \n\t b\u{202e}c\u{2066} ", 10), "a bc");
        assert_eq!(line("0123456789", 10), "0123456789");
        assert_eq!(line("0123456789a", 10), "012345678…");
        assert_eq!(line("01234567 9a", 10), "01234567…");
        assert_eq!(line("äöü", 3), "äöü");
    }

    #[test]
    fn an_amount_is_written_for_machines_and_for_people() {
        for (cents, machine, people) in [
            (0, "0.00", "€0.00"),
            (7, "0.07", "€0.07"),
            (199_900, "1999.00", "€1,999.00"),
            (100_000_099, "1000000.99", "€1,000,000.99"),
            (-123_456, "-1234.56", "€-1,234.56"),
            (-12_345, "-123.45", "€-123.45"),
        ] {
            assert_eq!(decimal(cents), machine);
            assert_eq!(money(cents, "EUR"), people);
        }
        assert_eq!(money(i64::MAX, "NOK"), "NOK\u{a0}92,233,720,368,547,758.07");
        assert_eq!(decimal(i64::MIN), "-92233720368547758.08");
    }

    #[test]
    fn a_moment_is_written_for_machines_and_for_people() {
        let time = Timestamp {
            seconds: 1_700_000_000,
            nanos: 123_456_000,
        };
        let (machine, people) = moment(time);
        assert_eq!(machine, "2023-11-14T22:13:20Z");
        assert_eq!(people, "2023-11-14 22:13 UTC");
        for seconds in [i64::MIN, i64::MAX, -1] {
            moment(Timestamp { seconds, nanos: 7 });
        }
    }
}
