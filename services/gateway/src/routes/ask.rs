//! From a request of HTTP to the message that the service is asked with.

use super::table::{Body, Does, Route, repeats};
use crate::conditional::Etag;
use crate::problem::Problem;
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use url::form_urlencoded;

/// What only the server writes: who sends back what he was answered with does not ask for it.
const SERVERS_OWN: [&str; 4] = ["id", "version", "created_at", "author_display_name"];
/// Whether only the server writes a field of this name.
pub fn is_servers_own(name: &str) -> bool {
    SERVERS_OWN.contains(&name)
}

/// The values that a body may hold. One takes two bytes as text, and some hundred in memory.
const MOST_PARTS: usize = 1 << 16;

/// The field that holds which fields an update writes.
const MASK: &str = "update_mask";
/// The field that holds the version that a write wants to find.
const EXPECTED: &str = "expected_version";

/// The message that a request means.
pub fn message(
    route: &Route,
    path: &[(String, String)],
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<DynamicMessage, Problem> {
    let mut message = match route.body {
        Body::None => Map::new(),
        Body::Whole => object(body, "body")?,
        Body::Entity(field) => {
            let mut entity = named(object(body, field)?, route, field)?;
            let mut message = Map::new();
            if route.does == Does::Update {
                message.insert(MASK.to_owned(), mask(entity.keys().map(String::as_str)));
            }
            for (name, value) in path {
                bind(&mut entity, field, name, value)?;
            }
            message.insert(field.to_owned(), entity.into());
            message
        }
    };
    if route.body == Body::None {
        let path = path.iter().cloned();
        message.extend(path.map(|(name, value)| (name, value.into())));
    }
    parameters(route, query.unwrap_or_default(), &mut message)?;
    if matches!(route.does, Does::Update | Does::Delete) {
        expect(headers, &mut message)?;
    }
    decode(route.rpc.input(), message)
}

/// The body's object; one that is empty is an empty object.
fn object(body: &[u8], what: &str) -> Result<Map<String, Value>, Problem> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    if parts(body) > MOST_PARTS {
        let detail = format!("has more than {MOST_PARTS} values");
        return Err(Problem::invalid(what, detail));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::invalid(what, "must be an object")),
        Err(error) => Err(Problem::invalid(what, format!("is not JSON: {error}"))),
    }
}

/// How many values a text of JSON says at most: as many as it has commas and brackets that open,
/// outside of strings.
fn parts(text: &[u8]) -> usize {
    let (mut parts, mut in_string, mut escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' => parts += usize::from(!in_string),
            _ => {}
        }
    }
    parts
}

/// The same object, its members named as the contract names them; canonical JSON allows a second
/// name for each.
fn named(
    object: Map<String, Value>,
    route: &Route,
    field: &str,
) -> Result<Map<String, Value>, Problem> {
    let input = route.rpc.input().get_field_by_name(field);
    let kind = input.as_ref().map(FieldDescriptor::kind);
    let Some(entity) = kind.as_ref().and_then(Kind::as_message) else {
        return Ok(object);
    };
    let members = object.into_iter();
    members
        .map(|(name, value)| match find(entity, &name) {
            Some(found) => Ok((found.name().to_owned(), value)),
            None => Err(Problem::invalid(
                format!("{field}.{name}"),
                "there is no such field",
            )),
        })
        .collect()
}

fn find(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let by_name = message.get_field_by_name(name);
    by_name.or_else(|| message.get_field_by_json_name(name))
}

/// Which fields an update writes that names none: those that are there.
fn mask<'a>(fields: impl Iterator<Item = &'a str>) -> Value {
    let written = fields.filter(|name| !is_servers_own(name));
    written.map(camel).collect::<Vec<_>>().join(",").into()
}

/// Masks in JSON are written in the other case.
fn camel(name: &str) -> String {
    let mut words = name.trim().split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        text + &capital.into_iter().chain(letters).collect::<String>()
    })
}

/// Puts a part of the path into the entity, where it must not say anything else.
fn bind(
    entity: &mut Map<String, Value>,
    field: &str,
    name: &str,
    value: &str,
) -> Result<(), Problem> {
    match entity.insert(name.to_owned(), value.into()) {
        Some(other) if other != value && other != "" => {
            let field = format!("{field}.{name}");
            Err(Problem::invalid(field, "is not the one in the path"))
        }
        _ => Ok(()),
    }
}

/// Adds what the query says.
fn parameters(route: &Route, query: &str, message: &mut Map<String, Value>) -> Result<(), Problem> {
    // Who says nothing twice may say it once.
    let mut said = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let Some(field) = route.parameter(&name) else {
            return Err(Problem::invalid(name, "there is no such parameter"));
        };
        let value = value(&field, &text);
        if repeats(&field) {
            let list = message
                .entry(name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(value);
            }
        } else if said.contains(&name) {
            return Err(Problem::invalid(name, "is there twice"));
        } else {
            message.insert(name.clone().into_owned(), value);
            said.push(name);
        }
    }
    Ok(())
}

/// A parameter as JSON writes it. Words of an enumeration may be written short and small:
/// `price_descending`.
fn value(field: &FieldDescriptor, text: &str) -> Value {
    match field.kind() {
        Kind::Bool => match text {
            "true" | "false" => (text == "true").into(),
            _ => text.into(),
        },
        Kind::Enum(words) => {
            let short = text.to_ascii_uppercase();
            let mut names = words.values().map(|value| value.name().to_owned());
            let whole = names.find(|name| {
                let prefix = name.strip_suffix(&short);
                prefix.is_some_and(|prefix| prefix.len() == prefix_bytes(words.name()))
            });
            whole.unwrap_or_else(|| text.to_owned()).into()
        }
        Kind::Message(mask) if mask.full_name() == "google.protobuf.FieldMask" => {
            let paths: Vec<_> = text.split(',').map(camel).collect();
            paths.join(",").into()
        }
        _ => text.into(),
    }
}

/// How long the prefix of an enumeration's words is: `ProductOrder` and `PRODUCT_ORDER_`.
fn prefix_bytes(name: &str) -> usize {
    name.len() + name.bytes().filter(u8::is_ascii_uppercase).count()
}

/// Has a write expect what `If-Match` does. The tag of an entity begins with its version; one that
/// cannot be of this entity is expected too, and not found.
fn expect(headers: &HeaderMap, message: &mut Map<String, Value>) -> Result<(), Problem> {
    let mut tags = headers.get_all(IF_MATCH).iter();
    let (tag, more) = (tags.next(), tags.next());
    let Some(tag) = tag.map(|tag| tag.to_str().unwrap_or_default().trim()) else {
        return Ok(());
    };
    if tag == "*" && more.is_none() {
        return Ok(());
    }
    if more.is_some() || tag.contains(',') {
        return Err(Problem::invalid("If-Match", "must be one tag"));
    }
    let Some(version) = Etag::version(tag) else {
        let told = "is no tag of this entity: send the ETag that it was answered with";
        return Err(Problem::invalid("If-Match", told));
    };
    let number = |other: &Value| other.as_str().and_then(|text| text.parse().ok());
    match message.insert(EXPECTED.to_owned(), version.into()) {
        Some(other) if number(&other) != Some(version) => Err(Problem::invalid(
            EXPECTED,
            "is not the version that If-Match has",
        )),
        _ => Ok(()),
    }
}

/// The message that an object is; the problem names the field.
fn decode(kind: MessageDescriptor, object: Map<String, Value>) -> Result<DynamicMessage, Problem> {
    let mut track = serde_path_to_error::Track::new();
    let object = Value::Object(object);
    let tracked = serde_path_to_error::Deserializer::new(object, &mut track);
    DynamicMessage::deserialize(kind, tracked).map_err(|error| {
        let path = track.path().to_string();
        let field = if path == "." { "body" } else { &path };
        Problem::invalid(field, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_what_a_string_holds_is_not() {
        for (text, count) in [
            ("", 0),
            (r#"{"a":1}"#, 1),
            (r#"{"a":[1,2,{"b":3}],"c":"x"}"#, 6),
            (r#"{"a":",[{\",[{","b":"\\"}"#, 2),
        ] {
            assert_eq!(parts(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn a_short_text_cannot_say_more_values_than_fit() {
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(MOST_PARTS));
        let problem = object(many.as_bytes(), "body").expect_err("too many");
        assert_eq!(problem.status.as_u16(), 400);
        let text = format!("{{\"a\":\"{}\"}}", ",".repeat(2 * MOST_PARTS));
        assert!(object(text.as_bytes(), "body").is_ok());
    }
}
