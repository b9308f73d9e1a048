//! The description held against what it describes.

use crate::support;

use anyhow::{Context as _, Result};
use larder_gateway::routes::table::ROUTES;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use support::{Gate, Json as _, nowhere};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn document(gate: &Gate) -> Result<Value> {
    let answer = gate.get("/openapi.json", &[]).await?;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    answer.json()
}

fn paths(document: &Value) -> Result<&Map<String, Value>> {
    document["paths"].as_object().context("no paths")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_method_described_is_there_and_no_other() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let document = document(&gate).await?;
    let mut described = 0;
    for (path, item) in paths(&document)? {
        // No service is there: what is routed is answered with anything but 404 and 405.
        let real = path.replace("{id}", "tea").replace("{product_id}", "tea");
        assert!(
            !real.contains('{'),
            "{path} has a name that the test does not know"
        );
        for method in METHODS {
            let answer = gate.send(&method.to_uppercase(), &real, &[], "{}").await?;
            let there = !matches!(answer.status, 404 | 405);
            let said = item.get(method).is_some();
            assert_eq!(there, said, "{method} {path}: {}", answer.body);
            described += usize::from(said);
        }
    }
    // The routes of JSON and the one of hooks.
    assert_eq!(described, ROUTES.len() + 1);
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_word_of_the_description_leads_somewhere() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let document = document(&gate).await?;
    let mut names = BTreeSet::new();
    for (path, item) in paths(&document)? {
        for (method, operation) in item.as_object().context("no item")? {
            let id = operation["operationId"].as_str().context("no name")?;
            assert!(names.insert(id.to_owned()), "{id} is there twice");
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} says nothing");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let told = parameter["in"] == "path" || parameter["description"] != "";
                assert!(told, "{method} {path}: {parameter}");
            }
        }
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 30, "{}", references.len());
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(
            document.pointer(pointer).is_some_and(Value::is_object),
            "{reference}"
        );
    }
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_described_as_they_are_written() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let document = document(&gate).await?;
    let product = &document["components"]["schemas"]["Product"]["properties"];
    let price = &product["price_cents"];
    assert_eq!(
        (&price["type"], &price["format"]),
        (&"integer".into(), &"int64".into())
    );
    assert_eq!(product["version"]["readOnly"], true);
    let told = price["description"].as_str().unwrap_or_default();
    assert!(told.contains("hundredths"), "{told}");
    let comment = &document["components"]["schemas"]["Comment"]["properties"];
    assert_eq!(comment["created_at"]["format"], "date-time");
    gate.stop().await
}

/// All `$ref`s below.
fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.push(reference.clone());
            }
            members
                .values()
                .for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
