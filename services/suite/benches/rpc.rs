//! A call that is answered from memory, beside a stock tonic server whose handler returns the same
//! constant message: what it costs the server's processor with 64 callers on one connection, and
//! how long one caller alone waits.
//!
//! `cargo bench -p larder-suite --bench rpc` (Linux: processor time is read from /proc)

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use larder::remote::hub::Hub;
use larder_comments::Comments;
use larder_host::{Host, Parts};
use larder_profiles::Profiles;
use larder_proto::Raw;
use larder_proto::comments::v1 as comments;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::profiles::v1 as profiles;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::profiles::v1::raw::profile_service_server::{
    ProfileService, ProfileServiceServer,
};
use larder_runtime::client::{self, Client};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: usize = 64;
const CALLS: usize = 120_000;
const ROUNDS: usize = 7;
const ALONE: usize = 8_000;
/// Bytes that a server may have under way.
const WINDOW: u32 = 1 << 20;
/// Ticks of /proc a second, on every Linux that we know.
const TICKS: f64 = 100.0;

/// Answers every call with the same bytes.
struct Stock(Raw);

#[tonic::async_trait]
impl ProfileService for Stock {
    async fn get_profile(
        &self,
        _: Request<profiles::GetProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        Ok(Response::new(self.0.clone()))
    }
    async fn batch_get_profiles(
        &self,
        _: Request<profiles::BatchGetProfilesRequest>,
    ) -> Result<Response<Raw>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn list_profiles(
        &self,
        _: Request<profiles::ListProfilesRequest>,
    ) -> Result<Response<Raw>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn create_profile(
        &self,
        _: Request<profiles::CreateProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn update_profile(
        &self,
        _: Request<profiles::UpdateProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn delete_profile(
        &self,
        _: Request<profiles::DeleteProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.next().as_deref() {
        Some("stock") => {
            let bytes = arguments.next().context("a size")?.parse()?;
            runtime.block_on(stock(bytes))
        }
        Some("suite") => runtime.block_on(suite()),
        _ => runtime.block_on(measure()),
    }
}

/// A plain tonic server, with the one setting that everybody needs.
async fn stock(bytes: usize) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let message = profiles::Profile {
        bio: "b".repeat(bytes),
        ..Default::default()
    };
    let service = ProfileServiceServer::new(Stock(Raw::of(&message)));
    Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// The profiles and comments services, each as `larder up` runs it.
async fn suite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = || format!("sqlite://{}", folder.path().display()).parse();
    let hub = Hub::new();
    let profiles = Host::bind(Profiles, Parts::new(hub.clone(), database()?)).await?;
    let upstream = format!("http://{}", profiles.grpc_address()?);
    let way = Client::new("--profiles", &upstream, client::Limits::default())?;
    let comments = Comments::new(way);
    let comments = Host::bind(comments, Parts::new(hub.clone(), database()?)).await?;
    println!("{} {}", profiles.grpc_address()?, comments.grpc_address()?);
    let never = std::future::pending::<()>;
    let (one, two) = tokio::join!(profiles.serve(never()), comments.serve(never()));
    one?;
    two?;
    Ok(())
}

/// A server process and where it listens.
struct Served {
    child: Child,
    addresses: Vec<String>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(arguments: &[&str]) -> Result<Served> {
    // The server has a core of its own, so that what it spends is its own affair.
    let mut child = Command::new("taskset")
        .args(["--cpu-list", "0"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("taskset, of util-linux")?;
    let stdout = child.stdout.take().context("a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let addresses = line
        .split_whitespace()
        .map(|address| format!("http://{address}"))
        .collect();
    Ok(Served { child, addresses })
}

impl Served {
    /// Processor time of the server so far.
    fn processor(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }
}

async fn channel(address: &str) -> Result<Channel> {
    // What 64 callers have under way, so that HTTP/2's default of 64 KB is not what is measured.
    Ok(Endpoint::from_shared(address.to_owned())?
        .tcp_nodelay(true)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .connect()
        .await?)
}

/// Processor time of a call in microseconds, with 64 callers on one connection.
async fn crowd<F, Fut>(served: &Served, call: F) -> Result<f64>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let before = served.processor()?;
    let callers = (0..CALLERS).map(|_| {
        let call = call.clone();
        tokio::spawn(async move {
            for _ in 0..CALLS / CALLERS {
                call().await;
            }
        })
    });
    for caller in join_all(callers).await {
        caller?;
    }
    let spent = served.processor()? - before;
    Ok(spent.as_secs_f64() * 1e6 / CALLS as f64)
}

/// The median wait of one caller alone, in microseconds.
async fn alone<F, Fut>(call: F) -> f64
where
    F: Fn() -> Fut,
    Fut: Future<Output = ()>,
{
    let mut waits = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        let began = Instant::now();
        call().await;
        waits.push(began.elapsed());
    }
    waits.sort();
    waits[ALONE / 2].as_secs_f64() * 1e6
}

fn get_profile(
    channel: Channel,
) -> impl Fn() -> futures_util::future::BoxFuture<'static, ()> + Clone {
    let client = ProfileServiceClient::new(channel);
    move || {
        let mut client = client.clone();
        Box::pin(async move {
            let id = "ada".to_owned();
            client
                .get_profile(profiles::GetProfileRequest { id })
                .await
                .expect("a profile");
        })
    }
}

fn list_comments(
    channel: Channel,
) -> impl Fn() -> futures_util::future::BoxFuture<'static, ()> + Clone {
    let client = CommentServiceClient::new(channel);
    move || {
        let mut client = client.clone();
        Box::pin(async move {
            let product_id = "kettle".to_owned();
            let request = comments::ListCommentsRequest {
                product_id,
                page_size: 20,
                ..Default::default()
            };
            client.list_comments(request).await.expect("comments");
        })
    }
}

/// One profile with a bio of some 250 bytes, and twenty comments of some 300 bytes each.
async fn fill(profile: Channel, comment: Channel) -> Result<(usize, usize)> {
    let mut client = ProfileServiceClient::new(profile);
    let ada = profiles::Profile {
        id: "ada".into(),
        display_name: "Ada Lovelace".into(),
        bio: "b".repeat(250),
        ..Default::default()
    };
    let size = retry(async || {
        let request = profiles::CreateProfileRequest {
            profile: Some(ada.clone()),
        };
        Ok(client.create_profile(request).await?.into_inner())
    })
    .await?;
    let mut client = CommentServiceClient::new(comment);
    for _ in 0..20 {
        let comment = comments::Comment {
            product_id: "kettle".into(),
            author_id: "ada".into(),
            body: "c".repeat(230),
            ..Default::default()
        };
        retry(async || {
            let request = comments::CreateCommentRequest {
                comment: Some(comment.clone()),
            };
            client.create_comment(request).await
        })
        .await?;
    }
    let request = comments::ListCommentsRequest {
        product_id: "kettle".into(),
        page_size: 20,
        ..Default::default()
    };
    let listed = client.list_comments(request).await?.into_inner();
    if listed.comments.len() != 20 {
        bail!("{} comments instead of 20", listed.comments.len());
    }
    Ok((
        Raw::of(&size).as_bytes().len(),
        Raw::of(&listed).as_bytes().len(),
    ))
}

/// Until the services have opened their databases.
async fn retry<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) if Instant::now() > until => return Err(status.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn median(mut samples: Vec<(f64, f64)>) -> (f64, f64, f64) {
    samples.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (stock, ours) = samples[samples.len() / 2];
    (stock, ours, ours / stock)
}

async fn measure() -> Result<()> {
    // And the callers have the others.
    let own = std::process::id().to_string();
    let others = format!("1-{}", std::thread::available_parallelism()?.get() - 1);
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &others, &own])
        .stdout(Stdio::null())
        .status();
    if !pinned?.success() {
        bail!("the callers could not be kept off the server's core");
    }
    let ours = serve(&["suite"])?;
    let (profile, comment) = (
        channel(&ours.addresses[0]).await?,
        channel(&ours.addresses[1]).await?,
    );
    let (small, large) = fill(profile.clone(), comment.clone()).await?;
    let (stock_small, stock_large) = (
        serve(&["stock", &small.to_string()])?,
        serve(&["stock", &large.to_string()])?,
    );
    let (s, l) = (
        channel(&stock_small.addresses[0]).await?,
        channel(&stock_large.addresses[0]).await?,
    );

    let mut samples = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        let bare = crowd(&stock_small, get_profile(s.clone())).await?;
        samples.push((bare, crowd(&ours, get_profile(profile.clone())).await?));
        waits.push((
            alone(get_profile(s.clone())).await,
            alone(get_profile(profile.clone())).await,
        ));
    }
    print(&format!("GetProfile, {small} bytes"), samples, waits);
    let mut samples = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        let bare = crowd(&stock_large, get_profile(l.clone())).await?;
        samples.push((bare, crowd(&ours, list_comments(comment.clone())).await?));
        waits.push((
            alone(get_profile(l.clone())).await,
            alone(list_comments(comment.clone())).await,
        ));
    }
    print(
        &format!("ListComments of 20, {large} bytes"),
        samples,
        waits,
    );
    Ok(())
}

fn print(what: &str, samples: Vec<(f64, f64)>, waits: Vec<(f64, f64)>) {
    let (stock, ours, ratio) = median(samples);
    println!(
        "{what}: processor per call, stock {stock:.1} us, larder {ours:.1} us, ratio {ratio:.2}"
    );
    let (stock, ours, ratio) = median(waits);
    println!(
        "{what}: one caller's p50, stock {stock:.0} us, larder {ours:.0} us, ratio {ratio:.2}"
    );
}
