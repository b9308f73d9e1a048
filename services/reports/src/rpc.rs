//! The generated trait: check the request, ask the cache or the store, answer.

use crate::caching::{Keyspaces, Whole};
use crate::model::ProductId;
use crate::recording;
use crate::region::Region;
use crate::report::{CustomerValue, Sales, TopProducts, text};
use crate::scope::BY_HAND;
use crate::store::Store;
use crate::upstream::Products;
use larder::{Answer, Key, Keyspace, Origin, Read, Target, Token, Value, feed};
use larder_api::page::{Query, Sizes};
use larder_host::Base;
use larder_proto::Raw;
use larder_proto::reports::v1 as wire;
use larder_proto::reports::v1::raw::report_service_server::ReportService;
use larder_runtime::status;
use larder_wire::{Mark, mark, put_token, refusal};
use prost::Message;
use prost_types::Timestamp;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use wire::invalidate_reports_request::Target as Dropped;
use wire::refresh_report_request::Report;

const PAGES: Sizes = Sizes {
    default: 25,
    most: 200,
};
/// When to try again after the database was away.
const COME_BACK: Duration = Duration::from_millis(500);

/// The service's handlers.
pub struct Rpc {
    base: Base,
    store: Store,
    keyspaces: Keyspaces,
    products: Products,
}

impl Rpc {
    /// On this base, these orders, these keyspaces and these products.
    pub fn new(base: &Base, store: Store, keyspaces: Keyspaces, products: Products) -> Self {
        Self {
            base: base.clone(),
            store,
            keyspaces,
            products,
        }
    }

    /// Drops a report everywhere and computes it anew. The old one goes first: what other replicas
    /// hold of it must not outlive the answer.
    ///
    /// It goes on without its caller, whose deadline a report may well outlast.
    async fn refresh<K: Key, V: Value>(
        &self,
        keyspace: &Keyspace<K, V>,
        key: K,
        computed_at: impl FnOnce(&V) -> Option<Timestamp> + Send + 'static,
    ) -> Result<Response<Raw>, Status> {
        let keyspace = keyspace.clone();
        let refresh = self.base.write(async move {
            let began = Instant::now();
            let dropped = keyspace.invalidate(Target::Key(&key)).await;
            let token = dropped.map_err(|error| not_dropped(&error))?;
            let answer = keyspace.get(&key, &Read::bounded()).await;
            let answer = answer.map_err(|error| refusal(&error))?;
            let refreshed = wire::RefreshReportResponse {
                keyspace: keyspace.name().to_owned(),
                key: text(&key),
                computed_at: answer.value().and_then(computed_at),
                took: prost_types::Duration::try_from(began.elapsed()).ok(),
            };
            Ok(written(&refreshed, token))
        });
        refresh.await
    }

    /// A page of a report of customer value.
    fn page(
        &self,
        request: &wire::GetCustomerValueRequest,
        report: &CustomerValue,
        answer: &Answer<Whole<wire::GetCustomerValueResponse>>,
    ) -> Result<Raw, Status> {
        let Some(whole) = answer.value().map(|whole| &whole.message) else {
            return Ok(Raw::default());
        };
        let query = pages_of(report);
        let first = query.position(&request.page_token, rank)?.unwrap_or(0);
        let size = PAGES.of(request.page_size)? as usize;
        let rest = whole.customers.get(first..).unwrap_or_default();
        let shown = &rest[..rest.len().min(size)];
        let more = rest.len() > shown.len();
        let next = || query.token(&((first + shown.len()) as u64).to_be_bytes());
        Ok(Raw::of(&wire::GetCustomerValueResponse {
            customers: shown.to_vec(),
            next_page_token: if more { next() } else { String::new() },
            customer_count: whole.customer_count,
            revenue_cents: whole.revenue_cents,
            first_day: whole.first_day.clone(),
            last_day: whole.last_day.clone(),
            regions: whole.regions.clone(),
            computed_at: whole.computed_at,
        }))
    }
}

#[tonic::async_trait]
impl ReportService for Rpc {
    async fn record_orders(
        &self,
        request: Request<Streaming<wire::RecordOrdersRequest>>,
    ) -> Result<Response<Raw>, Status> {
        let recorded = recording::record(&self.base, &self.store, request.into_inner());
        let (told, token) = recorded.await?;
        Ok(written(&told, token))
    }

    async fn get_sales_report(
        &self,
        request: Request<wire::GetSalesReportRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let report = Sales::new("", request.get_ref())?;
        let answer = self.keyspaces.sales.get(&report, &read).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        let report = answer.value().cloned().unwrap_or_default();
        Ok(mark(Raw::from(report), Mark::of(&answer), None))
    }

    async fn get_top_products(
        &self,
        request: Request<wire::GetTopProductsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let (report, limit) = TopProducts::new("", request.get_ref())?;
        let answer = self.keyspaces.top_products.get(&report, &read).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        let mut whole = Mark::of(&answer);
        let Some(ranking) = answer.value() else {
            return Ok(mark(Raw::default(), whole, None));
        };
        let mut shown = cut(&ranking.message, limit);
        // What was written by hand may have a name that no product can have.
        let places = shown.products.iter_mut().filter_map(|product| {
            let id = ProductId::read(&product.product_id)?;
            Some((id, &mut product.title))
        });
        let (ids, places): (Vec<_>, Vec<_>) = places.unzip();
        let titles = self.products.titles(&ids, &read).await;
        let (titles, known) = titles.map_err(|error| refusal(&error))?;
        for (place, title) in places.into_iter().zip(titles) {
            *place = title;
        }
        whole = known.map_or(whole, |known| whole.and(known));
        Ok(mark(Raw::of(&shown), whole, None))
    }

    async fn get_customer_value(
        &self,
        request: Request<wire::GetCustomerValueRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let request = request.into_inner();
        let report = CustomerValue::new("", &request)?;
        // Before anything is computed for it.
        PAGES.of(request.page_size)?;
        pages_of(&report).position(&request.page_token, rank)?;
        let answer = self.keyspaces.customer_value.get(&report, &read).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        let page = self.page(&request, &report, &answer)?;
        Ok(mark(page, Mark::of(&answer), None))
    }

    async fn refresh_report(
        &self,
        request: Request<wire::RefreshReportRequest>,
    ) -> Result<Response<Raw>, Status> {
        let Keyspaces {
            sales,
            top_products,
            customer_value,
        } = &self.keyspaces;
        match request.into_inner().report {
            Some(Report::Sales(report)) => {
                let key = Sales::new("sales.", &report)?;
                let decode = |bytes: &bytes::Bytes| {
                    let report = wire::GetSalesReportResponse::decode(bytes.clone()).ok()?;
                    report.computed_at
                };
                self.refresh(sales, key, decode).await
            }
            Some(Report::TopProducts(report)) => {
                let (key, _) = TopProducts::new("top_products.", &report)?;
                self.refresh(top_products, key, |whole| whole.message.computed_at)
                    .await
            }
            Some(Report::CustomerValue(report)) => {
                let key = CustomerValue::new("customer_value.", &report)?;
                self.refresh(customer_value, key, |whole| whole.message.computed_at)
                    .await
            }
            None => Err(status::invalid("report", "must say which report")),
        }
    }

    async fn invalidate_reports(
        &self,
        request: Request<wire::InvalidateReportsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let target = What::of(&request.into_inner())?;
        let keyspaces = self.keyspaces.clone();
        let drop = self.base.write(async move {
            let dropped = match target {
                What::Sales => keyspaces.sales.invalidate(Target::Keyspace).await,
                What::TopProducts => keyspaces.top_products.invalidate(Target::Keyspace).await,
                What::CustomerValue => keyspaces.customer_value.invalidate(Target::Keyspace).await,
                // Reports of all kinds have this tag.
                What::Region(region) => {
                    let tag = Target::Tag(BY_HAND, region.name());
                    keyspaces.sales.invalidate(tag).await
                }
                What::All => keyspaces.drop_all().await,
            };
            let token = dropped.map_err(|error| not_dropped(&error))?;
            Ok(written(&wire::InvalidateReportsResponse {}, token))
        });
        drop.await
    }
}

/// What is to be dropped.
enum What {
    Sales,
    TopProducts,
    CustomerValue,
    Region(Region),
    All,
}

impl What {
    fn of(request: &wire::InvalidateReportsRequest) -> Result<Self, Status> {
        match &request.target {
            Some(Dropped::Kind(kind)) => match wire::ReportKind::try_from(*kind) {
                Ok(wire::ReportKind::Sales) => Ok(Self::Sales),
                Ok(wire::ReportKind::TopProducts) => Ok(Self::TopProducts),
                Ok(wire::ReportKind::CustomerValue) => Ok(Self::CustomerValue),
                Ok(wire::ReportKind::Unspecified) | Err(_) => {
                    Err(status::invalid("kind", "is no kind of report"))
                }
            },
            Some(Dropped::Region(region)) => Region::parse("region", region).map(Self::Region),
            Some(Dropped::All(true)) => Ok(Self::All),
            Some(Dropped::All(false)) => Err(status::invalid("all", "must be true")),
            None => Err(status::invalid("target", "must say which reports")),
        }
    }
}

/// The best so many of a ranking.
fn cut(ranking: &wire::GetTopProductsResponse, limit: usize) -> wire::GetTopProductsResponse {
    wire::GetTopProductsResponse {
        products: ranking.products.iter().take(limit).cloned().collect(),
        first_day: ranking.first_day.clone(),
        last_day: ranking.last_day.clone(),
        regions: ranking.regions.clone(),
        computed_at: ranking.computed_at,
    }
}

/// The list that a report of customer value is.
fn pages_of(report: &CustomerValue) -> Query {
    Query::new("GetCustomerValue", &[&report.scope.to_string()])
}

/// How many customers come before the page that a token begins.
fn rank(position: &[u8]) -> Option<usize> {
    let rank = u64::from_be_bytes(position.try_into().ok()?);
    usize::try_from(rank).ok()
}

/// The answer to what was written just now, with the token that shows it to a later call.
fn written(message: &impl Message, token: Option<Token>) -> Response<Raw> {
    let now = Mark {
        origin: Origin::Source,
        age: Duration::ZERO,
    };
    let mut response = mark(Raw::of(message), now, None);
    if let Some(token) = token {
        put_token(response.metadata_mut(), &token);
    }
    response
}

/// Reports could not be dropped.
fn not_dropped(error: &feed::Error) -> Status {
    let cause = error as &dyn std::error::Error;
    tracing::warn!(cause, "reports could not be dropped");
    let message = "the database cannot be reached";
    status::unavailable("SOURCE_UNAVAILABLE", message, COME_BACK)
}
