//! Limits of a gRPC port know callers by the address of their connection.

use larder::remote::open;
use larder_limit::Limits;
use larder_limit::grpc::Grpc;
use larder_runtime::config::Limiting;
use larder_runtime::connection::Peer;
use larder_runtime::warden::Warden as _;
use std::net::SocketAddr;
use tonic::Code;

/// A call over a connection from there.
fn call(address: &str) -> http::request::Parts {
    let request = http::Request::builder().uri("/larder.products.v1.ProductService/GetProduct");
    let (mut head, ()) = request.body(()).expect("a call").into_parts();
    let address: SocketAddr = address.parse().expect("an address");
    head.extensions.insert(Peer {
        address: Some(address),
        identity: None,
    });
    head
}

#[tokio::test]
async fn callers_are_counted_apart_by_the_address_of_their_connection() {
    let limiting = Limiting {
        rate_limit_ip: "2/d".parse().ok(),
        ..Limiting::default()
    };
    let remote = open("hub:").expect("a hub");
    let limits = Limits::of(&limiting, &remote, "test").expect("a rate");
    let warden = Grpc::new(limits.expect("limited"));
    let (one, other) = (call("192.0.2.1:1"), call("192.0.2.2:1"));
    for _ in 0..2 {
        warden.admit(&one).await.expect("within its limit");
    }
    let refused = warden.admit(&one).await.expect_err("one too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    warden.admit(&other).await.expect("somebody else");
}
