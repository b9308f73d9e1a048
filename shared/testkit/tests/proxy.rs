//! The proxy does to a connection what it was told, and no more.

use anyhow::Result;
use larder_testkit::proxy::Proxy;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LONG: Duration = Duration::from_secs(10);

async fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok(address)
}

async fn ask(stream: &mut TcpStream, word: &[u8; 4]) -> Result<()> {
    stream.write_all(word).await?;
    hear(stream, word).await
}

async fn hear(stream: &mut TcpStream, word: &[u8; 4]) -> Result<()> {
    let mut heard = [0; 4];
    tokio::time::timeout(LONG, stream.read_exact(&mut heard)).await??;
    assert_eq!(&heard, word);
    Ok(())
}

#[tokio::test]
async fn bytes_held_by_a_stall_arrive_when_it_ends() -> Result<()> {
    let proxy = Proxy::start(echo().await?)?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"once").await?;
    proxy.stall();
    stream.write_all(b"more").await?;
    let mut byte = [0; 1];
    let silence = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
    assert!(silence.is_err(), "a byte came through a stalled network");
    proxy.pass();
    hear(&mut stream, b"more").await
}

#[tokio::test]
async fn a_cut_breaks_connections_and_refuses_new_ones_until_passed() -> Result<()> {
    let proxy = Proxy::start(echo().await?)?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"once").await?;
    proxy.cut();
    let mut byte = [0; 1];
    let broken = tokio::time::timeout(LONG, stream.read(&mut byte)).await?;
    assert!(matches!(broken, Ok(0) | Err(_)));
    larder_testkit::wait_until("a refused connection", LONG, async || {
        TcpStream::connect(proxy.address()).await.is_err()
    })
    .await?;
    proxy.pass();
    larder_testkit::wait_until("an answer through the proxy", LONG, async || {
        match TcpStream::connect(proxy.address()).await {
            Ok(mut stream) => ask(&mut stream, b"back").await.is_ok(),
            Err(_) => false,
        }
    })
    .await
}

#[tokio::test]
async fn a_severed_client_can_come_back_at_once() -> Result<()> {
    let proxy = Proxy::start(echo().await?)?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"once").await?;
    proxy.sever();
    let mut byte = [0; 1];
    let broken = tokio::time::timeout(LONG, stream.read(&mut byte)).await?;
    assert!(matches!(broken, Ok(0) | Err(_)));
    ask(&mut TcpStream::connect(proxy.address()).await?, b"back").await
}

#[tokio::test]
async fn a_delay_is_paid_once_by_bytes_sent_together() -> Result<()> {
    let span = Duration::from_millis(50);
    let proxy = Proxy::start(echo().await?)?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"once").await?;
    proxy.delay(span);
    let begun = Instant::now();
    for word in [b"one.", b"two.", b"six."] {
        stream.write_all(word).await?;
    }
    for word in [b"one.", b"two.", b"six."] {
        hear(&mut stream, word).await?;
    }
    assert!(begun.elapsed() >= 2 * span, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn who_comes_back_is_taken_to_the_new_target() -> Result<()> {
    let proxy = Proxy::start(echo().await?)?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"here").await?;
    let shouting = TcpListener::bind("127.0.0.1:0").await?;
    proxy.aim(shouting.local_addr()?);
    let mut end = [0; 1];
    let ended = tokio::time::timeout(LONG, stream.read(&mut end)).await?;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let (mut other, _) = tokio::time::timeout(LONG, shouting.accept()).await??;
    other.write_all(b"THER").await?;
    hear(&mut stream, b"THER").await
}
