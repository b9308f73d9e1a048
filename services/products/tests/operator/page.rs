//! What a page in a browser can send to the admin port.

use super::inspect;
use crate::support::{Node, kettle};
use anyhow::{Context as _, Result};
use larder_host::on_both;
use larder_host::trial::Home;
use larder_proto::cache::v1::target::Target as What;
use larder_proto::cache::v1::{InvalidateRequest, Target};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_both!(a_page_of_another_site_drops_nothing);

async fn a_page_of_another_site_drops_nothing(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    node.get("kettle").await?;
    let held = inspect(&node.replica, "kettle").await?.l1;
    let held = held.context("in memory")?;
    let target = Target {
        target: Some(What::Keyspace("products".to_owned())),
    };
    let message = InvalidateRequest {
        targets: vec![target],
    };
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let head = format!(
        "POST /larder.cache.v1.CacheService/Invalidate HTTP/1.1\r\nhost: {}\r\n\
         origin: http://evil.example\r\ncontent-type: text/plain\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        node.replica.admin,
        frame.len(),
    );
    let mut stream = TcpStream::connect(node.replica.admin).await?;
    stream
        .write_all(&[head.as_bytes(), &frame].concat())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let still = inspect(&node.replica, "kettle").await?.l1;
    let still = still.context("in memory")?;
    assert_eq!((still.value, &*still.verdict), (held.value, "served"));
    node.replica.stop().await
}
