//! `swarm attest`: keys for attestations, proofs, and their verification.

use std::num::NonZeroUsize;

use super::blocking;
use crate::attest::budget::Share;
use crate::attest::keys::{self, Pair, PairState, Seed};
use crate::attest::prove::{self, Options, Proven, State};
use crate::attest::verify::{self, Checked};
use crate::attest::{AttestError, Gate, KeyFolder, Progress, cores, half_of_the_cores};
use crate::cli::{AttestCommand, ProveArgs, SetupArgs, VerifyArgs};
use crate::config::Network;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Output, Table, Tone, bytes_text, ton_text};
use crate::signals::StopSignals;

/// Runs `swarm attest`.
///
/// # Errors
/// [`AttestError`], and a configuration that cannot be read.
pub async fn run(context: &Context, command: AttestCommand) -> Result<(), Failure> {
    match command {
        AttestCommand::Setup(args) => setup(context, args).await,
        AttestCommand::Prove(args) => prove(context, args).await,
        AttestCommand::Verify(args) => {
            let context = context.clone();
            Ok(blocking(move || verify(&context, &args)).await?)
        }
    }
}

async fn setup(context: &Context, args: SetupArgs) -> Result<(), Failure> {
    if context.config()?.chain.network == Network::Mainnet {
        return Err(AttestError::Mainnet.into());
    }
    let folder = KeyFolder::of(context.home());
    let mut circuits = Vec::new();
    for circuit in args.circuit.iter().flat_map(|choice| choice.circuits()) {
        if !circuits.contains(&circuit) {
            circuits.push(circuit);
        }
    }
    let seed = args.seed.unwrap_or_else(Seed::development);
    let threads = threads(args.threads, cores);
    let pairs = if args.dry_run {
        blocking(move || keys::plan(&folder, &circuits, seed)).await?
    } else {
        let work = move |gate: &Gate, progress: &Progress| keys::setup(&folder, &circuits, seed, threads, gate, progress);
        until_stopped(context.out(), work).await?
    };
    context.out().result(&pairs, |pairs| pairs_text(context.out(), pairs));
    Ok(())
}

async fn prove(context: &Context, args: ProveArgs) -> Result<(), Failure> {
    let options = Options {
        network: context.config()?.chain.network,
        largest: args.circuit.into(),
        threads: threads(args.threads, half_of_the_cores),
        share: args.cpu.map(|percent| Share { percent, cores: cores() }),
    };
    let folder = KeyFolder::of(context.home());
    let out = args.out.unwrap_or_else(|| context.home().attestations_dir());
    let files = args.files;
    let proven = if args.dry_run {
        blocking(move || Ok::<_, AttestError>(prove::plan(&prove::batches(&files, &out, &options)?, &folder))).await?
    } else {
        let work = move |gate: &Gate, progress: &Progress| {
            let batches = prove::batches(&files, &out, &options)?;
            prove::prove(&batches, &out, &folder, &options, gate, progress)
        };
        until_stopped(context.out(), work).await?
    };
    context.out().result(&proven, |proven| proven_text(context.out(), proven));
    Ok(())
}

fn verify(context: &Context, args: &VerifyArgs) -> Result<(), AttestError> {
    let checked = verify::verify(&args.files, &args.key, &KeyFolder::of(context.home()))?;
    let (rows, refusals): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
    context.out().result(&rows, |rows| checked_text(context.out(), rows));
    let mut refused = rows.into_iter().zip(refusals).filter_map(|(row, refusal)| Some((row.file, refusal?)));
    match refused.next() {
        None => Ok(()),
        Some((path, refusal)) => Err(AttestError::Refused { path, others: refused.count(), source: Box::new(refusal) }),
    }
}

/// Does what blocks, until somebody asks to stop: then what is being written is finished, and what is being computed is given up.
async fn until_stopped<T: Send + 'static>(
    out: &Output,
    work: impl FnOnce(&Gate, &Progress) -> Result<T, AttestError> + Send + 'static,
) -> Result<T, AttestError> {
    let mut stop = StopSignals::listen();
    let (gate, progress) = (Gate::default(), Progress::new(out));
    let (within, shown) = (gate.clone(), progress.clone());
    let mut work = std::pin::pin!(blocking(move || work(&within, &shown)));
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.requested() => {
            blocking(move || gate.close()).await;
            // It may have ended before it was asked to.
            match futures::poll!(&mut work) {
                std::task::Poll::Ready(done) => done,
                std::task::Poll::Pending => Err(AttestError::Interrupted),
            }
        }
    };
    progress.clear();
    done
}

fn threads(asked: Option<u16>, usual: fn() -> NonZeroUsize) -> NonZeroUsize {
    asked.and_then(|threads| NonZeroUsize::new(threads.into())).unwrap_or_else(usual)
}

fn pairs_text(out: &Output, pairs: &[Pair]) -> String {
    let mut table = Table::new(["CIRCUIT", "KEYS", "SIZE", "DIGEST", "FILE"]).right([2]);
    for pair in pairs {
        let state = match (pair.state, pair.took_ms) {
            (PairState::Kept, _) => out.paint(Tone::Good, "there"),
            (PairState::Repaired, _) => out.paint(Tone::Good, "completed"),
            (PairState::Made, took) => out.paint(Tone::Good, format!("made in {}", seconds(took))),
            (PairState::WouldRepair, _) => out.paint(Tone::Warning, "would be completed"),
            (PairState::WouldMake, _) => out.paint(Tone::Warning, "would be made"),
        };
        let size = pair.proving_bytes.map_or_else(|| "-".to_owned(), bytes_text);
        let digest = pair.digest.map_or_else(|| "-".to_owned(), |digest| digest.short());
        table.row([pair.circuit.to_owned(), state, size, digest, pair.proving.display().to_string()]);
    }
    let warning = "Development keys: whoever knows their seed can prove anything. For devnet and testnet only.";
    format!("{table}{}", out.paint(Tone::Warning, warning))
}

fn proven_text(out: &Output, proven: &[Proven]) -> String {
    let mut table = Table::new(["EPOCH", "CLAIMS", "CERTIFICATES", "FEES", "CIRCUIT", "PROOF", "FILE"]).right([0, 2, 3, 4]);
    for row in proven {
        let state = match row.state {
            State::There => out.paint(Tone::Good, "there"),
            State::Proven => out.paint(Tone::Good, format!("made in {}", seconds(row.took_ms))),
            State::WouldProve => out.paint(Tone::Warning, "would be made"),
        };
        table.row([
            row.epoch.to_string(),
            claims_text(row.first, row.last),
            row.certificates.to_string(),
            ton_text(row.fees_nanoton),
            row.circuit.to_owned(),
            state,
            row.file.display().to_string(),
        ]);
    }
    table.to_string()
}

fn checked_text(out: &Output, rows: &[Checked]) -> String {
    let mut table = Table::new(["FILE", "PROVIDER", "NETWORK", "EPOCH", "CLAIMS", "FEES", "CIRCUIT", "PROOF"]).right([3, 5, 6]);
    for row in rows {
        let file = row.file.display().to_string();
        let verdict = match (&row.error, row.statement.as_ref().and_then(|stated| stated.development)) {
            (Some(error), _) => out.paint(Tone::Bad, format!("WRONG: {error}")),
            (None, Some(true)) => out.paint(Tone::Good, "holds, for a development key"),
            (None, _) => out.paint(Tone::Good, "holds"),
        };
        let Some(stated) = &row.statement else {
            let none = || "-".to_owned();
            table.row([file, none(), none(), none(), none(), none(), none(), verdict]);
            continue;
        };
        table.row([
            file,
            stated.provider.short(),
            stated.network.to_string(),
            stated.epoch.to_string(),
            claims_text(stated.first, stated.last),
            ton_text(stated.fees_nanoton),
            stated.circuit.to_owned(),
            verdict,
        ]);
    }
    table.to_string()
}

fn claims_text(first: u64, last: u64) -> String {
    format!("{first} to {last}")
}

fn seconds(took_ms: Option<u64>) -> String {
    let took_ms = took_ms.unwrap_or_default();
    format!("{}.{} s", took_ms / 1000, took_ms % 1000 / 100)
}
