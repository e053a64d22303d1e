//! Receipts verified and journalled durably, a second, on this machine's disk and one core.
//!
//!     cargo bench -p cocoon-settlement --bench ledger
//!
//! One thread does everything, so what it had of a processor is what a core takes; a node that checks signatures while its last commit is
//! being written reaches that figure by the clock as well. Beside it stand the signatures alone, and one commit for each entry.

use std::time::{Duration, Instant};

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{
    AgreementId, Amount, ChannelRef, JobId, ModelId, NetworkId, OfferId, OperatorKey, PeerId, PriceTable, ProposalId, SignedReceipt,
    SignedVoucher, Timestamp, Usage, Verified,
};
use cocoon_settlement::contract::{ChannelStatus, ChannelTerms};
use cocoon_settlement::ledger::{ChainSight, CheckedReceipt, Ledger, LedgerError, MemoryStore, ReceiptDraft, RedbStore, Role};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ENTRIES: usize = 20_000;

fn key(seed: u8) -> OperatorKey {
    OperatorKey::from_seed(&[seed; 32])
}

fn terms() -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: key(1).node_id(),
        provider: key(2).node_id(),
        refund_to: ContractAddress([3; 32]),
        contract: ContractAddress([4; 32]),
        challenge_window_s: 86_400,
        salt: Digest([6; 32]),
    }
}

/// An agreement that nothing here reaches the bounds of.
fn agreement() -> Agreement {
    let terms = Terms {
        model: ModelId([9; 32]),
        price: PriceTable { job: Amount::ZERO, input_per_mtok: Amount::ZERO, output_per_mtok: Amount::ZERO },
        cap: Amount::MAX,
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        slice_tokens: 1,
        float: Amount::MAX,
        jobs_max: 1,
        first_chunk_ms: 1,
        chunk_ms: 1,
        channel: terms().channel().expect("the contract's code is whole"),
        expires_at: NOW.plus_ms(1_000),
    };
    let body = AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId([1; 32]),
        requester: key(1).node_id(),
        requester_peer: PeerId(vec![1; 38]),
        provider: key(2).node_id(),
        provider_peer: PeerId(vec![2; 38]),
        terms,
        accepted_at: NOW,
    };
    let accepted = Verified::sign(body, &key(2)).expect("the terms are consistent");
    Agreement::commit(accepted, &key(1)).expect("the terms are consistent")
}

fn draft(channel: ChannelRef, agreement: AgreementId, slice: u64) -> ReceiptDraft {
    ReceiptDraft {
        channel,
        agreement,
        job: JobId([1; 16]),
        usage: Usage { input_tokens: 5, output_tokens: slice },
        amount: Amount::from_nano(10),
        input: Digest([0; 32]),
        output: Digest([0; 32]),
        seed: Digest([0; 32]),
        work: Digest([0; 32]),
        last: false,
        issued_at: NOW,
    }
}

fn start(ledger: Ledger, role: Role) -> Ledger {
    let channel = ledger.record_channel(role, terms(), NOW).expect("a new ledger takes a channel");
    let deposit = Amount::from_nano(u128::from(u64::MAX));
    let sight = ChainSight { status: ChannelStatus::Open, deposit, drawn: Amount::ZERO, seen_at: NOW };
    ledger.record_sight(channel, sight).expect("a new channel takes a sight");
    ledger.record_agreement(&agreement(), NOW).expect("a new ledger takes an agreement");
    ledger
}

fn on_disk(directory: &tempfile::TempDir, name: &str, role: Role) -> Ledger {
    let store = RedbStore::open(directory.path().join(name)).expect("a temporary directory takes a file");
    start(Ledger::open(store, key(if role == Role::Requester { 1 } else { 2 })).expect("a new file is a ledger"), role)
}

/// When something began, by the wall's clock and by this thread's.
struct Stopwatch {
    wall: Instant,
    processor: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_time() }
    }

    /// So many a second: of a core's time, and of the wall's.
    fn rates(&self, entries: usize) -> String {
        let a_second = |taken: Duration| entries as f64 / taken.as_secs_f64();
        let wall = a_second(self.wall.elapsed());
        match (self.processor, processor_time()) {
            (Some(from), Some(to)) if to > from => format!("{:7.0} per core, {wall:7.0}/s", a_second(to.saturating_sub(from))),
            _ => format!("{wall:7.0}/s"),
        }
    }
}

/// What this thread has had of a processor so far, where the system says so.
fn processor_time() -> Option<Duration> {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    schedule.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

type Work = Vec<(SignedReceipt, SignedVoucher)>;

/// Receipts and the vouchers that pay them one by one.
fn work(channel: ChannelRef, agreement: AgreementId) -> Work {
    let provider = start(Ledger::open(MemoryStore::default(), key(2)).expect("memory is a ledger"), Role::Provider);
    let requester = start(Ledger::open(MemoryStore::default(), key(1)).expect("memory is a ledger"), Role::Requester);
    let pay = |slice| {
        let receipt = provider.issue_receipt(draft(channel, agreement, slice)).expect("the channel goes on");
        let voucher = requester.pay_receipt(receipt).expect("the receipt fits");
        provider.accept_voucher(voucher).expect("the voucher fits");
        (receipt, voucher)
    };
    (1..).take(ENTRIES).map(pay).collect()
}

fn main() {
    let directory = tempfile::tempdir().expect("the system has a temporary directory");
    let channel = terms().channel().expect("the contract's code is whole");
    let work = work(channel, agreement().id());
    println!("per core: of this thread's processor time. /s: by the clock, with what the disk takes and what else runs here.");
    println!("signatures alone, one by one (baseline):  {}", one_by_one(&work));
    println!("signatures alone, keys kept:              {}", keys_kept(&on_disk(&directory, "keys", Role::Requester), &work));
    for size in [1, 16, 64, 256, 1024] {
        let of_size = &work[..ENTRIES.min(size * 400)];
        let name = if size == 1 { "1 a commit (baseline)".to_owned() } else { format!("{size} a commit") };
        let requester = requester(&on_disk(&directory, &format!("requester-{size}"), Role::Requester), of_size, size);
        println!("receipts verified and entered, {name:22} {requester}");
        let provider = provider(&on_disk(&directory, &format!("provider-{size}"), Role::Provider), of_size, size);
        println!("receipts issued and paid,      {name:22} {provider}");
    }
}

/// As anybody would check a receipt: body, key and signature.
fn one_by_one(work: &Work) -> String {
    let stopwatch = Stopwatch::start();
    for (receipt, _) in work {
        CheckedReceipt::new(*receipt, key(2).node_id()).expect("we signed it");
    }
    stopwatch.rates(work.len())
}

fn keys_kept(ledger: &Ledger, work: &Work) -> String {
    let stopwatch = Stopwatch::start();
    for (receipt, _) in work {
        ledger.check_receipt(*receipt).expect("we signed it");
    }
    stopwatch.rates(work.len())
}

/// Each entry is a receipt verified and entered; a commit ends with the voucher over all of them.
fn requester(ledger: &Ledger, work: &[(SignedReceipt, SignedVoucher)], size: usize) -> String {
    let channel = terms().channel().expect("the contract's code is whole");
    let stopwatch = Stopwatch::start();
    for chunk in work.chunks(size) {
        let receipts: Vec<_> = chunk.iter().map(|(receipt, _)| ledger.check_receipt(*receipt).expect("we signed it")).collect();
        let done = ledger.commit(move |batch| {
            for receipt in &receipts {
                batch.record_receipt(receipt)?;
            }
            batch.issue_voucher(channel)
        });
        done.expect("the disk takes it").expect("the entries fit");
    }
    stopwatch.rates(work.len())
}

/// Each entry is a receipt numbered and signed, and its voucher verified and taken.
fn provider(ledger: &Ledger, work: &[(SignedReceipt, SignedVoucher)], size: usize) -> String {
    let channel = terms().channel().expect("the contract's code is whole");
    let agreement = agreement().id();
    let stopwatch = Stopwatch::start();
    for (at, chunk) in work.chunks(size).enumerate() {
        let first = 1 + (at * size) as u64;
        let vouchers: Vec<_> = chunk.iter().map(|(_, voucher)| ledger.check_voucher(*voucher).expect("we signed it")).collect();
        let done = ledger.commit(move |batch| {
            for (voucher, slice) in vouchers.iter().zip(first..) {
                batch.issue_receipt(&draft(channel, agreement, slice))?;
                batch.accept_voucher(voucher)?;
            }
            Ok::<(), LedgerError>(())
        });
        done.expect("the disk takes it").expect("the entries fit");
    }
    stopwatch.rates(work.len())
}
