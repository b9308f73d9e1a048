//! Calls to the services.

use super::{Answer, FIRST_DAY, Failed, LAST_DAY, Question, Row, Stage, Written};
use super::{after, origin, seen, signature};
use crate::asking;
use crate::rolling::stage::Table;
use larder_proto::comments::v1::ListCommentsRequest;
use larder_proto::products::v1::{GetProductRequest, Product, UpdateProductRequest};
use larder_proto::profiles::v1::{GetProfileRequest, Profile, UpdateProfileRequest};
use larder_proto::reports::v1::GetSalesReportRequest;
use larder_runtime::client::may_try_again;
use larder_wire::names;
use prost_types::FieldMask;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// Reads, and once more where that may go well elsewhere: a client makes only those calls again that
/// nobody began, and a caller knows that a read may be made twice.
pub(super) async fn read(
    stage: &Stage,
    question: Question<'_>,
    tokens: &[String],
    strong: bool,
) -> Result<Answer, Failed> {
    let answer = match once(stage, question, tokens, strong).await {
        Err(status) if may_try_again(&status) => {
            stage.again.fetch_add(1, Ordering::Relaxed);
            once(stage, question, tokens, strong).await
        }
        outcome => outcome,
    };
    answer.map_err(|status| failed(&status))
}

async fn once(
    stage: &Stage,
    question: Question<'_>,
    tokens: &[String],
    strong: bool,
) -> Result<Answer, Status> {
    let mut metadata: Vec<_> = tokens
        .iter()
        .map(|token| (names::TOKEN, token.as_str()))
        .collect();
    if strong {
        metadata.push((names::FRESHNESS, "strong"));
    }
    let calls = stage.calls.clone();
    let (facts, metadata) = match question {
        Question::Row(row) if row.table == Table::Profiles => {
            let request = asking(GetProfileRequest { id: row.id.clone() }, &metadata);
            let answer = calls.profiles.clone().get_profile(request).await?;
            let (metadata, profile, _) = answer.into_parts();
            let fact = (row.place, seen(profile.version, &profile.display_name));
            (vec![fact], metadata)
        }
        Question::Row(row) => {
            let request = asking(GetProductRequest { id: row.id.clone() }, &metadata);
            let answer = calls.products.clone().get_product(request).await?;
            let (metadata, product, _) = answer.into_parts();
            (
                vec![(row.place, seen(product.version, &product.title))],
                metadata,
            )
        }
        Question::Comments(number) => {
            let product_id = format!("thing-{number}");
            let request = ListCommentsRequest {
                product_id,
                ..Default::default()
            };
            let answer = calls
                .comments
                .clone()
                .list_comments(asking(request, &metadata))
                .await?;
            let (metadata, page, _) = answer.into_parts();
            let signed = page
                .comments
                .iter()
                .filter_map(|one| signature(stage, &one.author_id, &one.author_display_name));
            (signed.collect(), metadata)
        }
        Question::Report => {
            let request = GetSalesReportRequest {
                first_day: FIRST_DAY.to_owned(),
                last_day: LAST_DAY.to_owned(),
                ..Default::default()
            };
            let answer = calls
                .reports
                .clone()
                .get_sales_report(asking(request, &metadata))
                .await?;
            (Vec::new(), answer.into_parts().0)
        }
    };
    let age = text(&metadata, names::AGE).and_then(|age| age.parse().ok());
    Ok(Answer {
        facts,
        origin: origin(text(&metadata, names::SOURCE)),
        age: age.map(Duration::from_millis),
    })
}

pub(super) async fn write(stage: &Stage, row: &Row, from: u64) -> Result<Written, Failed> {
    let (id, text, expected_version) = (row.id.clone(), after(from), Some(from));
    let update_mask = Some(FieldMask {
        paths: vec![row.table.field().to_owned()],
    });
    let calls = stage.calls.clone();
    let answer = match row.table {
        Table::Profiles => {
            let profile = Some(Profile {
                id,
                display_name: text,
                ..Default::default()
            });
            let request = UpdateProfileRequest {
                profile,
                update_mask,
                expected_version,
            };
            let answer = calls
                .profiles
                .clone()
                .update_profile(asking(request, &[]))
                .await;
            written(answer, |row| row.version)
        }
        Table::Products => {
            let product = Some(Product {
                id,
                title: text,
                ..Default::default()
            });
            let request = UpdateProductRequest {
                product,
                update_mask,
                expected_version,
            };
            let answer = calls
                .products
                .clone()
                .update_product(asking(request, &[]))
                .await;
            written(answer, |row| row.version)
        }
    };
    answer.map_err(|status| failed(&status))
}

fn written<T>(
    answer: Result<Response<T>, Status>,
    version: impl Fn(&T) -> u64,
) -> Result<Written, Status> {
    let (metadata, row, _) = answer?.into_parts();
    Ok((
        version(&row),
        text(&metadata, names::TOKEN).map(str::to_owned),
    ))
}

fn failed(status: &Status) -> Failed {
    let refused = [
        Code::Aborted,
        Code::InvalidArgument,
        Code::ResourceExhausted,
    ];
    Failed {
        told: format!("{:?} {}", status.code(), status.message()),
        certain: refused.contains(&status.code()),
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok()
}
