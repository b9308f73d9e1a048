//! What a hook has dropped.

use super::signature::{NONCE, SIGNATURE, TIMESTAMP};
use super::{Backends, InvalidateRequest, Status, backends};
use crate::backends::Backend;
use crate::headers::asking;
use crate::problem::Problem;
use axum::http::HeaderMap;
use larder_proto::cache::v1 as cache;
use larder_proto::reports::v1 as reports;
use larder_runtime::deadline::Deadline;
use larder_wire::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;

/// What is to be dropped.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Wanted {
    /// Reports of a kind, of a region, or all.
    Reports(reports::invalidate_reports_request::Target),
    /// Something in the cache of a service, which tells all its replicas through its journal.
    Cache(Backend, cache::target::Target),
}

/// The body: one of `report`, `region`, `keyspace` with or without `key`, and `tag`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Body {
    report: Option<String>,
    region: Option<String>,
    keyspace: Option<String>,
    key: Option<String>,
    tag: Option<Tag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    collection: String,
    key: String,
}

/// The kinds of reports, as hooks name them.
const REPORTS: [(&str, reports::ReportKind); 3] = [
    ("sales", reports::ReportKind::Sales),
    ("top-products", reports::ReportKind::TopProducts),
    ("customer-value", reports::ReportKind::CustomerValue),
];

impl Wanted {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        use reports::invalidate_reports_request::Target;
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| Problem::invalid("body", error.to_string()))?;
        match body {
            Body {
                report: Some(kind),
                region: None,
                keyspace: None,
                key: None,
                tag: None,
            } => {
                if kind == "all" {
                    return Ok(Self::Reports(Target::All(true)));
                }
                let found = REPORTS.iter().find(|(name, _)| *name == kind);
                let told = "must be `sales`, `top-products`, `customer-value` or `all`";
                let (_, kind) = found.ok_or_else(|| Problem::invalid("report", told))?;
                Ok(Self::Reports(Target::Kind((*kind).into())))
            }
            Body {
                report: None,
                region: Some(region),
                keyspace: None,
                key: None,
                tag: None,
            } => Ok(Self::Reports(Target::Region(region))),
            Body {
                report: None,
                region: None,
                keyspace: Some(keyspace),
                key,
                tag: None,
            } => {
                let owner = owner("keyspace", &keyspace)?;
                Ok(Self::Cache(
                    owner,
                    match key {
                        Some(key) => cache::target::Target::Key(cache::Key { keyspace, key }),
                        None => cache::target::Target::Keyspace(keyspace),
                    },
                ))
            }
            Body {
                report: None,
                region: None,
                keyspace: None,
                key: None,
                tag: Some(tag),
            } => {
                let Tag { collection, key } = tag;
                let owner = owner("tag.collection", &collection)?;
                let source = String::new();
                let tag = cache::CollectionTag {
                    collection,
                    key,
                    source,
                };
                Ok(Self::Cache(owner, cache::target::Target::Tag(tag)))
            }
            _ => Err(Problem::invalid(
                "body",
                "must have one of `report`, `region`, `keyspace` with or without `key`, and `tag`",
            )),
        }
    }

    /// Has it dropped, in every replica; the tokens show it to later reads. Dropping twice is
    /// dropping once, so that a service that is away is asked again like for a read.
    pub(super) async fn drop(
        &self,
        backends: &Backends,
        deadline: Option<Deadline>,
    ) -> Result<Vec<String>, Status> {
        let none = HeaderMap::new();
        match self {
            Self::Reports(target) => {
                let answered = backends::read(|| {
                    let mut reports = backends.reports.clone();
                    let target = Some(target.clone());
                    let request = reports::InvalidateReportsRequest { target };
                    let request = asking(request, &none, deadline);
                    async move { reports.invalidate_reports(request).await }
                });
                let answered = answered.await?;
                let tokens = answered.metadata().get_all(names::TOKEN).iter();
                let tokens = tokens.filter_map(|token| token.to_str().ok());
                Ok(tokens.map(str::to_owned).collect())
            }
            Self::Cache(owner, target) => {
                let answered = backends::read(|| {
                    let mut cache = backends.cache(*owner);
                    let target = Some(target.clone());
                    let targets = vec![cache::Target { target }];
                    let request = asking(InvalidateRequest { targets }, &none, deadline);
                    async move { cache.invalidate(request).await }
                });
                Ok(answered.await?.into_inner().tokens)
            }
        }
    }
}

/// Whose keyspace or collection this is: its first word is the name of the service.
fn owner(field: &str, name: &str) -> Result<Backend, Problem> {
    match name.split('.').next().unwrap_or_default() {
        "profiles" => Ok(Backend::Profiles),
        "products" => Ok(Backend::Products),
        "comments" => Ok(Backend::Comments),
        "reports" => Ok(Backend::Reports),
        _ => Err(Problem::invalid(field, "belongs to none of the services")),
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use cache::target::Target as Cached;
        use reports::invalidate_reports_request::Target;
        match self {
            Self::Reports(Target::Kind(kind)) => {
                let found = REPORTS.iter().find(|(_, own)| *own as i32 == *kind);
                write!(f, "reports {}", found.map_or("", |(name, _)| name))
            }
            Self::Reports(Target::Region(region)) => write!(f, "reports of region {region}"),
            Self::Reports(Target::All(_)) => f.write_str("all reports"),
            Self::Cache(_, Cached::Key(key)) => write!(f, "{}/{}", key.keyspace, key.key),
            Self::Cache(_, Cached::Keyspace(keyspace)) => write!(f, "keyspace {keyspace}"),
            Self::Cache(_, Cached::Tag(tag)) => write!(f, "tag {}/{}", tag.collection, tag.key),
            Self::Cache(_, Cached::Source(source)) => write!(f, "source {source}"),
        }
    }
}

/// What OpenAPI says of it.
pub fn operation() -> Value {
    let text = json!({ "type": "string" });
    let header = |name: &str, description: &str| {
        json!({ "name": name, "in": "header", "required": true, "description": description,
            "schema": text })
    };
    let one = |properties: Value, required: Value| {
        json!({ "type": "object", "properties": properties, "required": required,
            "additionalProperties": false })
    };
    let kinds: Vec<_> = REPORTS
        .iter()
        .map(|(name, _)| *name)
        .chain(["all"])
        .collect();
    let tag = one(
        json!({ "collection": text, "key": text }),
        json!(["collection", "key"]),
    );
    json!({
        "operationId": "Invalidate",
        "tags": ["hooks"],
        "summary": "Has cached copies dropped, everywhere, for systems outside that change data.",
        "description": "Signed with the shared secret, and taken once: HMAC-SHA256 over \
            `timestamp.nonce.body`. 401 where the signature is wrong or older than five minutes, \
            409 where the hook was taken already, 503 where that cannot be told.",
        "parameters": [
            header(TIMESTAMP, "When it was signed, in seconds since 1970."),
            header(NONCE, "16 to 128 letters, digits, `-` and `_`, never used before."),
            header(SIGNATURE, "`v1=` and the HMAC in hexadecimal."),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "oneOf": [
                one(json!({ "report": { "type": "string", "enum": kinds } }), json!(["report"])),
                one(json!({ "region": text }), json!(["region"])),
                one(json!({ "keyspace": text, "key": text }), json!(["keyspace"])),
                one(json!({ "tag": tag }), json!(["tag"])),
            ],
        } } } },
        "responses": {
            "200": {
                "description": "What was dropped.",
                "headers": { names::TOKEN: {
                    "description": "Show it, and the answer is no older than this.",
                    "schema": text,
                } },
                "content": { "application/json": { "schema":
                    one(json!({ "dropped": text }), json!(["dropped"])) } },
            },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    })
}
