//! `swarm devnet`: the embedded chain as a process of its own, over toncenter's HTTP API.

mod standing;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get};
use cocoon_market::{Amount, AmountError};
use cocoon_settlement::chain::embedded::Embedded;
use cocoon_settlement::chain::toncenter::server::REQUEST_BYTES_MAX;
use cocoon_settlement::chain::toncenter::{Request, Server, Verb};
use cocoon_settlement::chain::{Address, Bounce, Chain, ChainError, Faucet};
use cocoon_settlement::contract::VaultTerms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::chain::open_embedded;
use crate::cli::DevnetArgs;
use crate::config::{TermsError, devnet_founder, devnet_founding};
use crate::context::Context;
use crate::deployment::ensure_devnet;
use crate::failure::{Exit, Failure, NextStep, chain_text};
use crate::output::Tone;
use crate::signals::StopSignals;

/// Requests answered at once. The chain answers one after the other; more would only wait in a thread each.
const REQUESTS_MAX: usize = 32;

/// How long requests may take to end when the chain stops. They take milliseconds, unless a client stopped reading.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What the faucet gives when nobody says how much: a hundred channels' worth.
const FAUCET_DEFAULT: Amount = Amount::from_nano(100_000_000_000);

/// How long it may take until the vault is there: two transactions.
const VAULT_WAIT: Duration = Duration::from_secs(60);

/// The shortest time between two blocks: below it the disk is always busy.
const BLOCK_TIME_MIN: Duration = Duration::from_millis(20);

/// Why there is no devnet.
#[derive(Debug, thiserror::Error)]
enum DevnetError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("a block time of {} ms is too short, expected at least {} ms", .0.as_millis(), BLOCK_TIME_MIN.as_millis())]
    BlockTime(Duration),
    #[error("the server stopped")]
    Server(#[source] std::io::Error),
    #[error("the task that makes blocks died")]
    Blocks(#[source] tokio::task::JoinError),
}

impl NextStep for DevnetError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Listen { .. } => "another address, such as --listen 127.0.0.1:8091; is a devnet running already?".into(),
            Self::BlockTime(_) => "--block-time 200ms".into(),
            Self::Server(_) | Self::Blocks(_) => "start it again; the chain is on disk and goes on".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::BlockTime(_) => Exit::Usage,
            Self::Listen { .. } | Self::Server(_) | Self::Blocks(_) => Exit::Failed,
        }
    }
}

/// What a devnet says when it is ready.
#[derive(Serialize)]
struct Ready {
    url: String,
    network: i32,
    faucet: Address,
    vault: Address,
    head: u32,
    data: PathBuf,
    block_time_ms: u64,
}

/// Runs `swarm devnet` until the process is asked to stop.
///
/// # Errors
/// [`crate::chain::ChainOpenError`]; no port; a server or chain that broke; a snapshot or log that is not as it should be.
pub async fn run(context: &Context, args: &DevnetArgs) -> Result<(), Failure> {
    let dir = args.data.clone().unwrap_or_else(|| context.home().devnet_dir());
    if let Some(command) = args.command.clone() {
        let context = context.clone();
        return blocking(move || standing::run(&context, &dir, &command)).await;
    }
    if args.block_time < BLOCK_TIME_MIN {
        return Err(DevnetError::BlockTime(args.block_time).into());
    }
    if let Some(snapshot) = args.from.clone() {
        let dir = dir.clone();
        let head = blocking(move || standing::begin_from(&snapshot, &dir)).await?;
        context.out().note(&format!("the chain begins as it was at block {}", head.seqno));
    }
    let (open_dir, block_time) = (dir.clone(), args.block_time);
    let chain = Arc::new(blocking(move || open_embedded(&open_dir, block_time)).await?);

    let listen = |source| DevnetError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let mut signals = StopSignals::listen();
    let stop = CancellationToken::new();
    let mut blocks = tokio::spawn(make_blocks(Arc::clone(&chain), block_time, stop.clone()));
    let (founder, founding) = (devnet_founder()?, devnet_founding()?);
    let vault = founding.vault;
    let vaulted = Arc::clone(&chain);
    blocking(move || ensure_devnet(&*vaulted, &*vaulted, &founder, &founding, VAULT_WAIT)).await?;
    tell_ready(context, &chain, vault, address, &dir, block_time)?;

    let serve = axum::serve(listener, router(chain)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let mut server = tokio::spawn(serve.into_future());
    let result = tokio::select! {
        biased;
        () = signals.requested() => Ok(()),
        ended = &mut blocks => ended.map_err(DevnetError::Blocks),
        ended = &mut server => ended.map_err(DevnetError::Blocks).and_then(|served| served.map_err(DevnetError::Server)),
    };
    stop.cancel();
    if result.is_ok() {
        context.out().note("stopping");
        // A client that stopped reading does not keep the chain from stopping.
        let _ = tokio::time::timeout(STOP_TIMEOUT, async { (server.await, blocks.await) }).await;
    }
    Ok(result?)
}

fn tell_ready(
    context: &Context,
    chain: &Embedded,
    vault: VaultTerms,
    address: SocketAddr,
    dir: &Path,
    block_time: Duration,
) -> Result<(), Failure> {
    let ready = Ready {
        url: format!("http://{address}/api/v2"),
        network: chain.network().0,
        faucet: chain.faucet(),
        vault: Address::from(vault.address().map_err(TermsError::from)?),
        head: chain.head()?.seqno,
        data: dir.to_owned(),
        block_time_ms: u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX),
    };
    context.out().event("ready", &ready, |ready| {
        let lines = [
            context.out().paint(Tone::Strong, "A TON devnet is running."),
            format!("  API      {}", ready.url),
            format!("  faucet   http://{address}/faucet?address=ADDRESS&ton=100"),
            format!("  vault    {}", ready.vault.friendly(Bounce::Yes)),
            format!("  network  {}, one block each {} ms, at block {}", ready.network, ready.block_time_ms, ready.head),
            format!("  data     {}", ready.data.display()),
            format!("\nNodes use it with --chain http://{address}; Ctrl-C stops it, and nothing is lost."),
        ];
        lines.join("\n")
    });
    if !address.ip().is_loopback() {
        context.out().note("Others can reach this address: the faucet gives to anybody. Its money is worth nothing.");
    }
    Ok(())
}

/// Makes a block each period, whether anybody asks something or not.
async fn make_blocks(chain: Arc<Embedded>, period: Duration, stop: CancellationToken) {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let chain = Arc::clone(&chain);
        match blocking(move || chain.tick()).await {
            Ok(Some(head)) => tracing::debug!(seqno = head.seqno, "block"),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = chain_text(&error), "the block could not be written; it is kept and tried again"),
        }
    }
}

#[derive(Clone)]
struct Devnet {
    server: Server,
    chain: Arc<Embedded>,
    places: Arc<Semaphore>,
}

/// The HTTP face of an embedded chain.
fn router(chain: Arc<Embedded>) -> Router {
    let server = Server::new(chain.clone()).with_faucet(chain.clone());
    let state = Devnet { server, chain, places: Arc::new(Semaphore::new(REQUESTS_MAX)) };
    Router::new()
        .route("/", get(front_page))
        .route("/faucet", any(faucet))
        .route("/jsonRPC", any(call))
        .route("/api/v2/{*call}", any(call))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(state)
}

async fn front_page(State(devnet): State<Devnet>) -> String {
    let faucet = devnet.chain.faucet().friendly(Bounce::No);
    format!(
        "A TON devnet.\n\n\
         GET or POST /api/v2/<method>, POST /api/v2/jsonRPC: toncenter's API, version 2\n\
         GET /faucet?address=<address>&ton=<amount>: money that is worth nothing, from {faucet}\n"
    )
}

async fn call(State(devnet): State<Devnet>, method: Method, uri: Uri, body: Bytes) -> Response {
    let verb = match method {
        Method::GET => Verb::Get,
        Method::POST => Verb::Post,
        _ => return refusal(StatusCode::METHOD_NOT_ALLOWED, "GET or POST").into_response(),
    };
    let reply = devnet
        .with_place(move |devnet| {
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            devnet.server.serve(Request { verb, target, body: &body })
        })
        .await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(reply.json)).into_response()
}

#[derive(Deserialize)]
struct FaucetQuery {
    address: String,
    ton: Option<String>,
}

async fn faucet(State(devnet): State<Devnet>, Query(query): Query<FaucetQuery>) -> (StatusCode, Json<Value>) {
    let Ok(address) = query.address.parse::<Address>() else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "address is not a TON address");
    };
    let amount: Result<Amount, AmountError> = query.ton.as_deref().map_or(Ok(FAUCET_DEFAULT), str::parse);
    let Ok(amount) = amount else { return refusal(StatusCode::UNPROCESSABLE_ENTITY, "ton is not an amount, such as 1.5") };
    match devnet.with_place(move |devnet| devnet.chain.fund(&address, amount)).await {
        Ok(hash) => (StatusCode::OK, Json(json!({ "ok": true, "result": { "hash": hex::encode(hash), "nanoton": amount } }))),
        Err(error @ ChainError::BadRequest(_)) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &chain_text(&error)),
    }
}

impl Devnet {
    /// Asks the chain, when it is this request's turn.
    async fn with_place<T: Send + 'static>(self, ask: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let places = Arc::clone(&self.places);
        // The semaphore is never closed; without a place the chain's own lock still orders the requests.
        let place = places.acquire_owned().await.ok();
        blocking(move || {
            let _place = place;
            ask(&self)
        })
        .await
    }
}

/// An error in toncenter's form.
fn refusal(status: StatusCode, text: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "ok": false, "error": text, "code": status.as_u16() })))
}

#[cfg(test)]
mod tests {
    use cocoon_market::NetworkId;
    use cocoon_settlement::chain::embedded::{Blocks, Options};
    use cocoon_settlement::chain::toncenter::Toncenter;

    use super::*;

    /// A devnet that makes its blocks at once, behind a socket.
    async fn serve() -> String {
        let chain = Embedded::in_memory(Options { blocks: Blocks::Instant, ..Options::default() }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router(Arc::new(chain))).into_future());
        url
    }

    fn get_json(url: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(url).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    }

    #[tokio::test]
    async fn our_own_client_understands_it() {
        let url = serve().await;
        blocking(move || {
            let client = Toncenter::new(&format!("{url}/api/v2"), NetworkId::DEVNET, None);
            client.check_network().unwrap();
            let address = Address::basechain([7; 32]);
            client.fund(&address, Amount::from_nano(5)).unwrap();
            assert_eq!(client.account(&address).unwrap().balance, Amount::from_nano(5));
        })
        .await;
    }

    #[tokio::test]
    async fn methods_answer_by_get_too_and_the_faucet_takes_ton() {
        let url = serve().await;
        blocking(move || {
            let address = Address::basechain([8; 32]).to_string();
            let (status, paid) = get_json(&format!("{url}/faucet?address={address}&ton=1.5"));
            assert_eq!((status, &paid["result"]["nanoton"]), (200, &json!("1500000000")), "{paid}");
            let (status, account) = get_json(&format!("{url}/api/v2/getAddressInformation?address={address}"));
            assert_eq!((status, &account["result"]["balance"]), (200, &json!("1500000000")), "{account}");
        })
        .await;
    }

    #[tokio::test]
    async fn nonsense_has_an_answer() {
        let url = serve().await;
        blocking(move || {
            for target in ["/faucet?address=x", "/faucet?address=0:00&ton=1", "/api/v2/noSuchMethod", "/api/v2/getTransactions"] {
                let (status, answer) = get_json(&format!("{url}{target}"));
                assert!((400..500).contains(&status) && answer["ok"] == json!(false), "{target}: {status} {answer}");
            }
            let too_large = vec![b'x'; REQUEST_BYTES_MAX + 1];
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let status = agent.post(format!("{url}/jsonRPC")).send(&too_large[..]).map(|response| response.status().as_u16());
            // The server may hang up on what it will not read, before the client has said it all.
            assert!(!matches!(status, Ok(200)), "{status:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn blocks_are_made_while_nobody_asks() {
        let chain = Arc::new(Embedded::in_memory(Options { blocks: Blocks::Every(BLOCK_TIME_MIN), ..Options::default() }).unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(make_blocks(Arc::clone(&chain), BLOCK_TIME_MIN, stop.clone()));
        while chain.block(3).is_err() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        task.await.unwrap();
    }
}
