//! Replicas of the reports service, and what is asked of them.
#![allow(
    dead_code,
    missing_docs,
    reason = "each test file uses its own part of it"
)]

use anyhow::Result;
use larder::remote::Remote;
use larder::remote::hub::Hub;
use larder_host::Parts;
use larder_host::trial::{Home, Replica, asking, said};
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_proto::reports::v1::*;
use larder_reports::Reports;
use larder_reports::warm::Schedule;
use larder_runtime::client::{self, Client};
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// An answer that is a minute old will do: what is seen is then due to news alone.
pub const OLD: [(&str, &str); 1] = [("larder-max-staleness-ms", "60000")];
/// An answer of now, from the database.
pub const STRONG: [(&str, &str); 1] = [("larder-freshness", "strong")];
/// Where nobody answers.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// The three kinds of report, by their keyspaces.
pub const KEYSPACES: [&str; 3] = [
    "reports.sales",
    "reports.top-products",
    "reports.customer-value",
];

pub struct Node {
    pub replica: Replica,
    pub client: ReportServiceClient<Client>,
}

impl Node {
    /// A replica that is ready, on a hub of its own.
    pub async fn alone(home: &Home) -> Result<Self> {
        Self::on(home, &Hub::new()).await
    }

    pub async fn on(home: &Home, remote: &Arc<impl Remote>) -> Result<Self> {
        Self::of(home.parts(remote), NOBODY).await
    }

    /// A replica that asks these replicas of products.
    pub async fn of(parts: Parts, products: &str) -> Result<Self> {
        let limits = client::Limits::default();
        let products = Client::new("products of the test", products, limits)?;
        let reports = Reports::new(products, Schedule::default());
        let replica = Replica::ready(reports, parts).await?;
        let client = ReportServiceClient::new(replica.client());
        Ok(Self { replica, client })
    }

    /// Records these orders with one message.
    pub async fn record(
        &self,
        orders: impl IntoIterator<Item = Order>,
    ) -> Result<Response<RecordOrdersResponse>, Status> {
        let orders = orders.into_iter().collect();
        self.stream([RecordOrdersRequest { orders }]).await
    }

    pub async fn stream(
        &self,
        messages: impl IntoIterator<Item = RecordOrdersRequest>,
    ) -> Result<Response<RecordOrdersResponse>, Status> {
        let messages: Vec<_> = messages.into_iter().collect();
        let messages = futures_util::stream::iter(messages);
        self.client.clone().record_orders(messages).await
    }

    pub async fn sales(
        &self,
        report: GetSalesReportRequest,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<GetSalesReportResponse>, Status> {
        let request = asking(report, metadata);
        self.client.clone().get_sales_report(request).await
    }

    pub async fn top(
        &self,
        report: GetTopProductsRequest,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<GetTopProductsResponse>, Status> {
        let request = asking(report, metadata);
        self.client.clone().get_top_products(request).await
    }

    pub async fn customers(
        &self,
        report: GetCustomerValueRequest,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<GetCustomerValueResponse>, Status> {
        let request = asking(report, metadata);
        self.client.clone().get_customer_value(request).await
    }

    /// How many orders a sales report counts, and where it comes from.
    pub async fn count(&self, report: GetSalesReportRequest) -> Result<(i64, String), Status> {
        let answer = self.sales(report, &OLD).await?;
        let from = source(answer.metadata()).to_owned();
        let total = answer.into_inner().total.unwrap_or_default();
        Ok((total.orders, from))
    }

    pub async fn invalidate(
        &self,
        target: invalidate_reports_request::Target,
    ) -> Result<Response<InvalidateReportsResponse>, Status> {
        let target = Some(target);
        let request = InvalidateReportsRequest { target };
        self.client.clone().invalidate_reports(request).await
    }

    pub async fn refresh(
        &self,
        report: refresh_report_request::Report,
    ) -> Result<Response<RefreshReportResponse>, Status> {
        let report = Some(report);
        let request = RefreshReportRequest { report };
        self.client.clone().refresh_report(request).await
    }

    /// How many reports of this keyspace were computed here.
    pub async fn computed(&self, keyspace: &str) -> Result<u64> {
        let (_, metrics) = self.replica.admin("/metrics").await?;
        let name = format!("larder_load_seconds_count{{keyspace=\"{keyspace}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        Ok(line.unwrap_or("0").parse()?)
    }
}

/// An order that is as good as any: `day` is of the form 2026-05-31.
pub fn order(id: &str, region: &str, day: &str) -> Order {
    let moment: jiff::Timestamp = format!("{day}T12:00:00Z").parse().expect("a day");
    Order {
        id: id.to_owned(),
        customer_id: "ada".to_owned(),
        product_id: "kettle".to_owned(),
        region: region.to_owned(),
        ordered_at: Some(prost_types::Timestamp {
            seconds: moment.as_second(),
            nanos: 0,
        }),
        quantity: 2,
        price_cents: 1999,
    }
}

/// Who bought what, of such an order.
pub fn of(order: Order, customer: &str, product: &str, quantity: i64) -> Order {
    Order {
        customer_id: customer.to_owned(),
        product_id: product.to_owned(),
        quantity,
        ..order
    }
}

fn names(regions: &[&str]) -> Vec<String> {
    regions.iter().map(|&region| region.to_owned()).collect()
}

/// A sales report by months.
pub fn sales(first: &str, last: &str, regions: &[&str]) -> GetSalesReportRequest {
    GetSalesReportRequest {
        first_day: first.to_owned(),
        last_day: last.to_owned(),
        regions: names(regions),
        bucket: SalesBucket::Month.into(),
    }
}

pub fn top(first: &str, last: &str, regions: &[&str]) -> GetTopProductsRequest {
    GetTopProductsRequest {
        first_day: first.to_owned(),
        last_day: last.to_owned(),
        regions: names(regions),
        ..GetTopProductsRequest::default()
    }
}

pub fn customers(first: &str, last: &str, regions: &[&str]) -> GetCustomerValueRequest {
    GetCustomerValueRequest {
        first_day: first.to_owned(),
        last_day: last.to_owned(),
        regions: names(regions),
        ..GetCustomerValueRequest::default()
    }
}

/// The year 2026.
pub fn year(regions: &[&str]) -> GetSalesReportRequest {
    sales("2026-01-01", "2026-12-31", regions)
}

/// May 2026.
pub fn may(regions: &[&str]) -> GetSalesReportRequest {
    sales("2026-05-01", "2026-05-31", regions)
}

/// `larder-source` of an answer.
pub fn source(metadata: &MetadataMap) -> &str {
    said(metadata, "larder-source")
}

pub fn token(metadata: &MetadataMap) -> String {
    said(metadata, "larder-token").to_owned()
}

/// How long a call may take that waits for a computation.
pub const PATIENCE: Duration = Duration::from_secs(20);
