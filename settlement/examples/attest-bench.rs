//! What an attestation costs: one table for a circuit of so many slots, next to what it should cost.
//!
//! `cargo run --release --features attest --example attest-bench -- 64 [threads [file]]`; the size is 4, 16 or 64. The file is written
//! as a vector for the contracts, always with the same bytes: that of 64 slots is `settlement/tests/vectors/attestation_64.json`.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use cocoon_market::ids::Digest;
use cocoon_market::{Certificate, ContractAddress, NetworkId};
use cocoon_settlement::attest::evidence::{Audited, Evidence};
use cocoon_settlement::attest::groth16::{Circuit, PROOF_BYTES, Proof, Size, VerifyingKey, development_seed, setup};
use cocoon_settlement::attest::keyset::KeySet;
use cocoon_settlement::attest::papers::Attestation;
use cocoon_settlement::attest::schnorr::SecretKey;
use serde_json::{Value, json};
use tonlib_core::cell::{ArcCell, BagOfCells};

type Failure = Box<dyn std::error::Error>;

/// Verifications whose mean is shown.
const VERIFICATIONS: u32 = 100;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let slots: usize = arguments.next().unwrap_or_else(|| "64".into()).parse()?;
    let threads: NonZeroUsize = arguments.next().unwrap_or_else(|| "2".into()).parse()?;
    let size = Size::ALL.into_iter().find(|size| size.slots() == slots).ok_or("the size is 4, 16 or 64")?;
    let circuit = Circuit::Attestation(size);

    let started = Instant::now();
    let key = setup(circuit, &development_seed(), threads)?;
    let setup_time = started.elapsed();
    let setup_peak = peak_memory_kb()?;
    let mut file = Vec::new();
    key.write(&mut file)?;
    let key_bytes = file.len();
    drop(file);
    forget_peak();

    let evidence = evidence(slots)?;
    let (started, cpu) = (Instant::now(), cpu_time()?);
    let proof = key.prove_attestation(&evidence, threads, &[1; 32])?;
    let (proving, proving_cpu) = (started.elapsed(), cpu_time()?.saturating_sub(cpu));
    let started = Instant::now();
    for _ in 0..VERIFICATIONS {
        key.verifying_key().verify_attestation(evidence.statement(), &proof)?;
    }
    let verifying = started.elapsed() / VERIFICATIONS;
    if let Some(file) = arguments.next() {
        let vector = vector(&evidence, size, key.verifying_key(), &proof)?;
        std::fs::write(file, serde_json::to_string_pretty(&vector)? + "\n")?;
    }

    println!("attestation of {slots} slots on {threads} threads");
    println!("{:<28}{:>16}   reach (64 slots, 2 cores)", "", "measured");
    let row = |name: &str, value: String, reach: &str| println!("{name:<28}{value:>16}   {reach}");
    row("constraints", circuit.constraints()?.to_string(), "");
    row("setup, s", seconds(setup_time), "");
    row("setup, peak memory, GB", gigabytes(setup_peak), "");
    row("proving key, bytes", key_bytes.to_string(), "");
    row("proving, s", seconds(proving), "<= 25");
    row("proving, processor s", seconds(proving_cpu), "");
    row("proving, peak memory, GB", gigabytes(peak_memory_kb()?), "<= 1.7");
    row("verifying, ms", format!("{:.2}", verifying.as_secs_f64() * 1e3), "");
    row("proof, bytes", PROOF_BYTES.to_string(), "192");
    row("verifying key", key.verifying_key().digest().to_string(), "");
    Ok(())
}

/// A certificate for each slot, by three auditors.
fn evidence(slots: usize) -> Result<Evidence, Failure> {
    let auditors = [1, 2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let keys = KeySet::new(&auditors.each_ref().map(|key| Some(key.public())))?;
    let audited: Vec<_> = (0u64..)
        .zip(auditors.iter().cycle())
        .take(slots)
        .map(|(claim, auditor)| {
            let certificate = Certificate {
                network: NetworkId::DEVNET,
                provider: ContractAddress([1; 32]),
                epoch: 1,
                claim: 3 * claim + 1,
                fee_nanoton: 1_000_000 + claim,
                segment: Digest([2; 32]),
            };
            Audited { certificate, auditor: auditor.public(), signature: auditor.sign(&certificate) }
        })
        .collect();
    Ok(Evidence::new(&keys, &audited)?)
}

/// What a contract is given, beside the attestation as a provider would keep it.
fn vector(evidence: &Evidence, size: Size, key: &VerifyingKey, proof: &Proof) -> Result<Value, Failure> {
    let attestation = Attestation::new(*evidence.statement(), size, key, proof).to_json()?;
    Ok(json!({
        "attestation": serde_json::from_slice::<Value>(&attestation)?,
        "verifying_key": hex::encode(key.to_bytes()),
        "verifying_key_cell": of_cell(&key.to_cell()?)?,
        "proof": hex::encode(proof.to_bytes()),
        "proof_cell": of_cell(&proof.to_cell()?)?,
        "inputs": evidence.statement().inputs().map(|input| input.to_string()),
    }))
}

fn of_cell(cell: &ArcCell) -> Result<Value, Failure> {
    let boc = BagOfCells::new(std::slice::from_ref(cell)).serialize(false)?;
    Ok(json!({ "hash": cell.cell_hash().to_hex(), "boc": hex::encode(boc) }))
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn gigabytes(kb: u64) -> String {
    format!("{:.2}", kb as f64 * 1024.0 / 1e9)
}

/// The most memory this process had, in KiB.
fn peak_memory_kb() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Lets the peak be counted anew, where the system permits it.
fn forget_peak() {
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        eprintln!("the peak of proving includes that of setup: /proc/self/clear_refs cannot be written");
    }
}

/// Processor time of all threads, in steps of 10 ms.
fn cpu_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).ok_or("a short /proc/self/stat")?.parse::<u64>().map_err(Failure::from);
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
