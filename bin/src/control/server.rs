//! The side that answers: a task of a node that runs.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cocoon_settlement::ledger::Ledger;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::place::Port;
use super::{ANSWER_BYTES_MAX, Call, PROTOCOL, QUESTION_BYTES_MAX, Reply, Told};
use crate::commands::blocking;
use crate::failure::{Failure, NextStep};
use crate::home::Home;
use crate::query::Question;
use crate::query::audit::AuditBooks;
use crate::query::channels::{ListChannels, ShowChannel};
use crate::query::dossier::CollectDossier;
use crate::query::jobs::{ListJobs, ShowJob};

/// Callers answered at once. A person has a terminal or two; more wait for their turn.
const CALLERS_MAX: usize = 4;

/// Longest a caller may take to ask and to take its answer: it is on this machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers questions until stopped or dropped.
#[derive(Debug)]
pub struct Server {
    task: Option<JoinHandle<()>>,
    cancel: DropGuard,
}

/// Starts to answer questions about a ledger. A node is no worse a node if it cannot, so then it says so and goes on. Call it within a
/// tokio runtime, with the ledger open: its lock is what tells a dead node's socket from a living one's.
pub fn serve(home: &Home, ledger: Arc<Ledger>) -> Server {
    let cancel = CancellationToken::new();
    let listener = Listener::bind(home).inspect_err(|error| {
        tracing::warn!(%error, "other commands cannot read the ledger while this one runs");
    });
    let task = listener.ok().map(|listener| tokio::spawn(answer_all(listener, ledger, cancel.clone())));
    Server { task, cancel: cancel.drop_guard() }
}

impl Server {
    /// Stops, and lets go of the ledger.
    pub async fn stop(self) {
        drop(self.cancel);
        if let Some(task) = self.task {
            // One that panicked has said so, and holds nothing any more.
            let _ = task.await;
        }
    }
}

async fn answer_all(listener: Listener, ledger: Arc<Ledger>, cancel: CancellationToken) {
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    let mut calls = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = calls.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((caller, place)) = accepted else { continue };
        let (ledger, token) = (Arc::clone(&ledger), listener.token().map(str::to_owned));
        calls.spawn(async move {
            let _place = place;
            let answered = tokio::time::timeout(CALL_TIMEOUT, answer_one(caller, ledger, token)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%error, "a question was not answered");
            }
        });
    }
    calls.shutdown().await;
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Option<(Caller, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(caller) => Some((caller, place)),
        Err(error) => {
            tracing::debug!(%error, "a caller was not let in");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn answer_one(mut caller: Caller, ledger: Arc<Ledger>, token: Option<String>) -> io::Result<()> {
    let mut line = Vec::new();
    let limit = u64::try_from(QUESTION_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new((&mut caller).take(limit)).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        // Somebody looked whether a node is here.
        return Ok(());
    }
    let reply = blocking(move || reply(&ledger, &line, token.as_deref())).await;
    let mut bytes = serde_json::to_vec(&reply)?;
    if bytes.len() > ANSWER_BYTES_MAX {
        bytes = serde_json::to_vec(&Reply::Failed(Told::from(Failure::from(Unanswerable::TooLong))))?;
    }
    caller.write_all(&bytes).await?;
    caller.shutdown().await
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswerable {
    #[error("the running node cannot read the question")]
    Malformed(#[source] serde_json::Error),
    #[error("the running node does not know the question {0:?}")]
    Unknown(String),
    #[error("the running node did not let the question in: the token is wrong")]
    Token,
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

impl NextStep for Unanswerable {
    fn next_step(&self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Malformed(_) | Self::Unknown(_) => "stop the node and start it with this release".into(),
            Self::Token => "again; the node may have just been started".into(),
            Self::TooLong => "ask for less, such as --limit 100".into(),
        }
    }
}

fn reply(ledger: &Ledger, line: &[u8], token: Option<&str>) -> Reply {
    let call: Call = match serde_json::from_slice(line) {
        Ok(call) => call,
        Err(error) => return Reply::Failed(Failure::from(Unanswerable::Malformed(error)).into()),
    };
    if call.protocol != PROTOCOL {
        return Reply::OtherProtocol(PROTOCOL);
    }
    if token.is_some_and(|token| !is_same(token, call.token.as_deref().unwrap_or_default())) {
        return Reply::Failed(Failure::from(Unanswerable::Token).into());
    }
    match answer(ledger, &call.question, call.details) {
        Ok(value) => Reply::Answer(value),
        Err(failure) => Reply::Failed(failure.into()),
    }
}

/// Every question there is.
fn answer(ledger: &Ledger, question: &str, details: Value) -> Result<Value, Failure> {
    match question {
        ListJobs::NAME => one::<ListJobs>(ledger, details),
        ShowJob::NAME => one::<ShowJob>(ledger, details),
        CollectDossier::NAME => one::<CollectDossier>(ledger, details),
        ListChannels::NAME => one::<ListChannels>(ledger, details),
        ShowChannel::NAME => one::<ShowChannel>(ledger, details),
        AuditBooks::NAME => one::<AuditBooks>(ledger, details),
        unknown => Err(Unanswerable::Unknown(unknown.to_owned()).into()),
    }
}

fn one<Q: Question>(ledger: &Ledger, details: Value) -> Result<Value, Failure> {
    let question: Q = serde_json::from_value(details).map_err(Unanswerable::Malformed)?;
    Ok(serde_json::to_value(question.answer(ledger)?).map_err(Unanswerable::Malformed)?)
}

/// Compares hashes, so that the time it takes says nothing about the token.
fn is_same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

/// Both ends of a connection.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Caller = Box<dyn Duplex>;

/// Where callers come in. Dropped, it takes away what it put into the home.
enum Listener {
    #[cfg(unix)]
    Socket {
        listener: tokio::net::UnixListener,
        path: PathBuf,
        owner: u32,
    },
    Loopback {
        listener: TcpListener,
        file: PathBuf,
        token: String,
    },
}

impl Listener {
    fn bind(home: &Home) -> io::Result<Self> {
        // Left by a node that died: a living one would have the ledger.
        for left in [home.control_socket(), home.control_file()] {
            match std::fs::remove_file(left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        #[cfg(unix)]
        match Self::bind_socket(home.control_socket()) {
            Ok(listener) => return Ok(listener),
            Err(error) => tracing::debug!(%error, "no socket in the home; questions are answered on loopback"),
        }
        Self::bind_loopback(home.control_file())
    }

    #[cfg(unix)]
    fn bind_socket(path: PathBuf) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let listener = tokio::net::UnixListener::bind(&path)?;
        // Whoever came in before this is still asked who it is.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(&path)?.uid();
        Ok(Self::Socket { listener, path, owner })
    }

    fn bind_loopback(file: PathBuf) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("the system gives no randomness"))?;
        let token = hex::encode(random);
        Port { port, token: token.clone() }.write(&file)?;
        Ok(Self::Loopback { listener: TcpListener::from_std(listener)?, file, token })
    }

    fn token(&self) -> Option<&str> {
        match self {
            #[cfg(unix)]
            Self::Socket { .. } => None,
            Self::Loopback { token, .. } => Some(token),
        }
    }

    async fn accept(&self) -> io::Result<Caller> {
        match self {
            #[cfg(unix)]
            Self::Socket { listener, owner, .. } => {
                let (stream, _) = listener.accept().await?;
                let caller = stream.peer_cred()?.uid();
                let may = caller == *owner || caller == 0;
                if may { Ok(Box::new(stream)) } else { Err(io::ErrorKind::PermissionDenied.into()) }
            }
            Self::Loopback { listener, .. } => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let path = match self {
            #[cfg(unix)]
            Self::Socket { path, .. } => path,
            Self::Loopback { file, .. } => file,
        };
        // The next node takes it away otherwise.
        let _ = std::fs::remove_file(path);
    }
}
