//! Every path of JSON and the method behind it: what the router, the documentation and the tests
//! are made of.

use crate::backends::Backend;
use crate::contracts;
use axum::http::Method;
use prost_reflect::{Cardinality, FieldDescriptor, MethodDescriptor};
use std::sync::LazyLock;

/// What the body of a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// There is none.
    None,
    /// The whole message.
    Whole,
    /// The entity in this field of it.
    Entity(&'static str),
}

/// What a route does, which decides how it is asked and answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    /// Reads one entity, whose version is its tag.
    Get,
    /// Reads something else.
    Read,
    /// Makes an entity.
    Create,
    /// Changes an entity.
    Update,
    /// Deletes an entity.
    Delete,
    /// Does something else.
    Act,
}

/// A path, a method of HTTP, and what stands behind them.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method of HTTP.
    pub http: Method,
    /// The path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// Who is asked.
    pub backend: Backend,
    /// What is asked.
    pub rpc: MethodDescriptor,
    /// What the body is.
    pub body: Body,
    /// What it does.
    pub does: Does,
}

const PROFILES: &str = "larder.profiles.v1.ProfileService";
const PRODUCTS: &str = "larder.products.v1.ProductService";
const COMMENTS: &str = "larder.comments.v1.CommentService";
const REPORTS: &str = "larder.reports.v1.ReportService";

/// All routes.
pub static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let get = |path, rpc| route(Method::GET, path, rpc, Body::None, Does::Get);
    let read = |path, rpc| route(Method::GET, path, rpc, Body::None, Does::Read);
    let create = |path, rpc, of| route(Method::POST, path, rpc, Body::Entity(of), Does::Create);
    let update = |path, rpc, of| route(Method::PATCH, path, rpc, Body::Entity(of), Does::Update);
    let delete = |path, rpc| route(Method::DELETE, path, rpc, Body::None, Does::Delete);
    let act = |path, rpc| route(Method::POST, path, rpc, Body::Whole, Does::Act);
    vec![
        read("/v1/profiles", (PROFILES, "ListProfiles")),
        read("/v1/profiles:batchGet", (PROFILES, "BatchGetProfiles")),
        create("/v1/profiles", (PROFILES, "CreateProfile"), "profile"),
        get("/v1/profiles/{id}", (PROFILES, "GetProfile")),
        update("/v1/profiles/{id}", (PROFILES, "UpdateProfile"), "profile"),
        delete("/v1/profiles/{id}", (PROFILES, "DeleteProfile")),
        read("/v1/products", (PRODUCTS, "ListProducts")),
        read("/v1/products:batchGet", (PRODUCTS, "BatchGetProducts")),
        create("/v1/products", (PRODUCTS, "CreateProduct"), "product"),
        get("/v1/products/{id}", (PRODUCTS, "GetProduct")),
        update("/v1/products/{id}", (PRODUCTS, "UpdateProduct"), "product"),
        delete("/v1/products/{id}", (PRODUCTS, "DeleteProduct")),
        read(
            "/v1/products/{product_id}/comments",
            (COMMENTS, "ListComments"),
        ),
        create(
            "/v1/products/{product_id}/comments",
            (COMMENTS, "CreateComment"),
            "comment",
        ),
        get("/v1/comments/{id}", (COMMENTS, "GetComment")),
        update("/v1/comments/{id}", (COMMENTS, "UpdateComment"), "comment"),
        delete("/v1/comments/{id}", (COMMENTS, "DeleteComment")),
        act("/v1/orders", (REPORTS, "RecordOrders")),
        read("/v1/reports/sales", (REPORTS, "GetSalesReport")),
        read("/v1/reports/top-products", (REPORTS, "GetTopProducts")),
        read("/v1/reports/customer-value", (REPORTS, "GetCustomerValue")),
        act("/v1/reports:refresh", (REPORTS, "RefreshReport")),
        act("/v1/reports:invalidate", (REPORTS, "InvalidateReports")),
    ]
});

fn route(
    http: Method,
    path: &'static str,
    (service, method): (&'static str, &'static str),
    body: Body,
    does: Does,
) -> Route {
    let backend = match service {
        PROFILES => Backend::Profiles,
        PRODUCTS => Backend::Products,
        COMMENTS => Backend::Comments,
        _ => Backend::Reports,
    };
    let rpc = contracts::method(&format!("{service}/{method}"));
    Route {
        http,
        path,
        backend,
        rpc: rpc.expect("a method of the contracts"),
        body,
        does,
    }
}

impl Route {
    /// The names between braces in the path.
    pub fn path_names(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.path.split('/');
        parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Whether the request may be made twice.
    pub fn is_safe(&self) -> bool {
        matches!(self.does, Does::Get | Does::Read)
    }

    /// The fields of the request that are neither in the path nor in the body: the parameters of
    /// its query.
    pub fn query(&self) -> impl Iterator<Item = FieldDescriptor> {
        let fields: Vec<_> = match self.body {
            Body::Whole => Vec::new(),
            _ => self.rpc.input().fields().collect(),
        };
        fields.into_iter().filter(|field| match self.body {
            Body::Entity(entity) => field.name() != entity,
            _ => self.path_names().all(|name| name != field.name()),
        })
    }

    /// The parameter of the query that has this name.
    pub fn parameter(&self, name: &str) -> Option<FieldDescriptor> {
        self.query().find(|field| field.name() == name)
    }
}

/// Whether a field may be given more than once.
pub fn repeats(field: &FieldDescriptor) -> bool {
    field.cardinality() == Cardinality::Repeated
}
