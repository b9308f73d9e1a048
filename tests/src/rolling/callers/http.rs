//! Requests to a gateway.

use super::{Answer, FIRST_DAY, Failed, LAST_DAY, Question, Row, Stage, Written};
use super::{after, origin, seen, signature};
use crate::rolling::browser::{Browser, Page};
use http::{HeaderMap, Method, StatusCode};
use larder_wire::names;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) async fn read(
    browser: &mut Browser,
    stage: &Stage,
    question: Question<'_>,
    tokens: &[String],
    strong: bool,
) -> Result<Answer, Failed> {
    let path = match question {
        Question::Row(row) => path(row),
        Question::Comments(number) => format!("/v1/products/thing-{number}/comments"),
        Question::Report => {
            format!("/v1/reports/sales?first_day={FIRST_DAY}&last_day={LAST_DAY}")
        }
    };
    let mut headers: Vec<_> = tokens
        .iter()
        .map(|token| (names::TOKEN, token.clone()))
        .collect();
    if strong {
        headers.push((names::FRESHNESS, "strong".to_owned()));
    }
    let page = ask(browser, Method::GET, &path, &headers, "").await?;
    let said: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    let facts = match question {
        Question::Row(row) => {
            let version = said["version"].as_u64().unwrap_or_default();
            let text = said[row.table.field()].as_str().unwrap_or_default();
            vec![(row.place, seen(version, text))]
        }
        Question::Comments(_) => {
            let all = said["comments"].as_array().into_iter().flatten();
            let signed = |one: &Value| {
                let author = one["author_id"].as_str()?;
                signature(stage, author, one["author_display_name"].as_str()?)
            };
            all.filter_map(signed).collect()
        }
        Question::Report => Vec::new(),
    };
    let age = text(&page.headers, names::AGE).and_then(|age| age.parse().ok());
    Ok(Answer {
        facts,
        origin: origin(text(&page.headers, names::SOURCE)),
        age: age.map(Duration::from_millis),
    })
}

pub(super) async fn write(browser: &mut Browser, row: &Row, from: u64) -> Result<Written, Failed> {
    let headers = [("if-match", format!("\"{from}\""))];
    let change = json!({ row.table.field(): after(from) }).to_string();
    let page = ask(browser, Method::PATCH, &path(row), &headers, &change).await?;
    let said: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    let token = text(&page.headers, names::TOKEN).map(str::to_owned);
    Ok((said["version"].as_u64().unwrap_or_default(), token))
}

async fn ask(
    browser: &mut Browser,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> Result<Page, Failed> {
    let failed = |told: String, certain| Failed { told, certain };
    let page = browser.ask(method, path, headers, body).await;
    let page = page.map_err(|error| failed(error.to_string(), false))?;
    match page.status {
        StatusCode::OK => Ok(page),
        status => {
            let problem: Value = serde_json::from_slice(&page.body).unwrap_or_default();
            let reason = problem["reason"].as_str().unwrap_or_default();
            // A server's error leaves open what became of a write.
            Err(failed(
                format!("{status} {reason}"),
                status.is_client_error(),
            ))
        }
    }
}

fn path(row: &Row) -> String {
    format!("/v1/{}/{}", row.table.part(), row.id)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
