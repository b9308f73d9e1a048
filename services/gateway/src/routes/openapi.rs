//! `/openapi.json`: the routes described, by the same table that the router is made of and in the
//! words of the contracts.

use super::table::{Body, Does, ROUTES, Route, repeats};
use crate::contracts::comment;
use crate::{hooks, problem};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use larder_wire::names;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// Answers with the document.
pub async fn serve() -> impl IntoResponse {
    let kind = "application/json";
    ([(CONTENT_TYPE, kind)], DOCUMENT.as_str())
}

/// What is said of everything.
const ABOUT: &str = "Profiles, products, comments and reports over a cache that keeps its promise: \
    no answer is further behind the database than its `larder-age-ms`, unless `larder-source` says \
    `stale`.\n\nMessages are the JSON of protobuf with the names of the contracts; those in the \
    other case are understood too. Every field is there, and 64-bit numbers are JSON numbers; \
    strings of digits are understood too. A field, parameter or word that is not known is refused. \
    Errors are problems (RFC 9457) that name what is wrong.";

fn document() -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        let operation = operation(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.http.as_str().to_ascii_lowercase()] = operation;
    }
    paths.insert(
        hooks::PATH.to_owned(),
        json!({ "post": hooks::operation() }),
    );
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Larder",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Problem": {
                "description": "Something is wrong.",
                "content": { problem::MEDIA_TYPE: { "schema": reference("Problem") } },
            } },
        },
    })
}

fn operation(route: &Route, schemas: &mut Map<String, Value>) -> Value {
    let rpc = &route.rpc;
    let mut operation = json!({
        "operationId": rpc.name(),
        "tags": [format!("{:?}", route.backend).to_lowercase()],
        "summary": comment(&rpc.parent_file(), rpc.path()).unwrap_or_default(),
        "parameters": parameters(route, schemas),
        "responses": responses(route, schemas),
    });
    let body = match route.body {
        Body::None => None,
        Body::Whole => Some(Kind::Message(rpc.input())),
        Body::Entity(field) => rpc
            .input()
            .get_field_by_name(field)
            .map(|field| field.kind()),
    };
    if let Some(kind) = body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(&kind, schemas) } },
        });
    }
    operation
}

fn parameters(route: &Route, schemas: &mut Map<String, Value>) -> Vec<Value> {
    let in_path = route
        .path_names()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": id() }));
    let mut parameters: Vec<_> = in_path.collect();
    for field in route.query() {
        parameters.push(json!({
            "name": field.name(),
            "in": "query",
            "description": describe(&field),
            "schema": field_schema(&field, schemas),
        }));
    }
    let mut header = |name: &str, description: &str, schema: Value| {
        parameters.push(json!({
            "name": name, "in": "header", "description": description, "schema": schema,
        }));
    };
    if route.is_safe() {
        let words = json!({ "type": "string", "enum": ["strong", "bounded", "any"] });
        header(
            names::FRESHNESS,
            "How fresh the answer must be; `bounded` by default.",
            words,
        );
        let millis = json!({ "type": "integer", "minimum": 0, "maximum": 86_400_000 });
        header(names::MAX_STALENESS, "A bound of the caller's own.", millis);
        let tokens = "Tokens of writes that the answer must reflect; may repeat.";
        header(names::TOKEN, tokens, json!({ "type": "string" }));
        let known = "The tags of answers that are known already.";
        header("If-None-Match", known, json!({ "type": "string" }));
    }
    if matches!(route.does, Does::Update | Does::Delete) {
        let tag = "The tag of the state that is to be changed; another is 412.";
        header("If-Match", tag, json!({ "type": "string" }));
    }
    parameters
}

fn responses(route: &Route, schemas: &mut Map<String, Value>) -> Value {
    let (status, description) = match route.does {
        Does::Create => ("201", "As it was made."),
        Does::Delete => ("200", "As it was."),
        _ => ("200", "The answer."),
    };
    let told = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
    let mut headers = json!({});
    if route.is_safe() {
        headers["ETag"] = told("What tells this state from others.");
        headers[names::SOURCE] = told("`l1`, `l2`, `db` or `stale`.");
        headers[names::AGE] = told("How far behind its source the answer can be, at most.");
    } else {
        headers[names::TOKEN] = told("Show it to read this write back.");
    }
    if matches!(
        route.does,
        Does::Get | Does::Create | Does::Update | Does::Delete
    ) {
        headers[names::VERSION] = told("The entity's version.");
    }
    if route.does == Does::Create {
        headers["Location"] = told("Where it is.");
    }
    let answer = schema(&Kind::Message(route.rpc.output()), schemas);
    let mut responses = json!({
        status: {
            "description": description,
            "headers": headers,
            "content": { "application/json": { "schema": answer } },
        },
        "default": { "$ref": "#/components/responses/Problem" },
    });
    if route.is_safe() {
        responses["304"] = json!({ "description": "It is as `If-None-Match` knows it." });
    }
    responses
}

/// A field's own schema, with what the contract says of it.
fn described(field: &FieldDescriptor, schemas: &mut Map<String, Value>) -> Value {
    let mut schema = field_schema(field, schemas);
    schema["description"] = describe(field).into();
    if super::ask::is_servers_own(field.name()) && field.name() != "id" {
        schema["readOnly"] = true.into();
    }
    schema
}

fn field_schema(field: &FieldDescriptor, schemas: &mut Map<String, Value>) -> Value {
    let one = schema(&field.kind(), schemas);
    match repeats(field) {
        true => json!({ "type": "array", "items": one }),
        false => one,
    }
}

fn describe(field: &FieldDescriptor) -> String {
    let file = field.parent_message().parent_file();
    comment(&file, field.path()).unwrap_or_default()
}

fn schema(kind: &Kind, schemas: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Int64 => json!({ "type": "integer", "format": "int64" }),
        Kind::Uint32 | Kind::Uint64 => json!({ "type": "integer", "minimum": 0 }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Enum(words) => words_of(words),
        Kind::Message(message) => message_schema(message, schemas),
        _ => json!({ "type": "string" }),
    }
}

fn words_of(words: &EnumDescriptor) -> Value {
    let words: Vec<_> = words.values().map(|word| word.name().to_owned()).collect();
    json!({ "type": "string", "enum": words })
}

fn message_schema(message: &MessageDescriptor, schemas: &mut Map<String, Value>) -> Value {
    match message.full_name() {
        "google.protobuf.Timestamp" => return json!({ "type": "string", "format": "date-time" }),
        "google.protobuf.Duration" => return json!({ "type": "string", "examples": ["1.5s"] }),
        "google.protobuf.FieldMask" => return json!({ "type": "string", "examples": ["a,b"] }),
        _ => {}
    }
    let name = message.name().to_owned();
    if !schemas.contains_key(&name) {
        // Before its fields, which may be of its own kind.
        schemas.insert(name.clone(), Value::Null);
        let fields = message.fields();
        let properties: Map<_, _> = fields
            .map(|field| (field.name().to_owned(), described(&field, schemas)))
            .collect();
        let about = comment(&message.parent_file(), message.path());
        let mut schema = json!({ "type": "object", "properties": properties });
        schema["description"] = about.into();
        schemas.insert(name.clone(), schema);
    }
    reference(&name)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" })
}

fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "reason"],
        "properties": {
            "type": text,
            "title": text,
            "status": { "type": "integer" },
            "detail": text,
            "code": { "type": "string", "description": "The canonical code of gRPC." },
            "reason": { "type": "string", "description": "What a program tells errors apart by." },
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": { "field": text, "detail": text },
            } },
            "metadata": { "type": "object", "additionalProperties": text },
            "retry_after_ms": { "type": "integer", "minimum": 0 },
        },
    })
}
