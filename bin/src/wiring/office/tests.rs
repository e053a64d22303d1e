//! A ledger with years in it, closed and opened again.

use std::ops::RangeInclusive;

use cocoon_market::agreement::{Agreement, AgreementTerms, Terms};
use cocoon_market::ids::{ContractAddress, Digest, PeerId, ProposalId};
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::{
    AgreementId, Amount, ChannelRef, JobId, ModelId, NetworkId, OfferId, PriceTable, SignedReceipt, SignedVoucher, Timestamp, Usage,
    Verified,
};
use cocoon_settlement::contract::{ChannelStatus, ChannelTerms};
use cocoon_settlement::ledger::{Batch, ChainSight, CheckedReceipt, CheckedVoucher, LedgerError, MemoryStore, Order, ReceiptDraft, Role};

use super::*;
use crate::query::Question as _;
use crate::query::channels::{ListChannels, ShowChannel};
use crate::query::jobs::{ListJobs, ShowJob};

const CHANNELS: u8 = 50;
const RECEIPTS: u64 = 100;
/// The receipts that the vouchers of a channel cover, one after the other. The last ten receipts wait for theirs.
const VOUCHERS: [u64; 2] = [60, 90];
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const PRICE: Amount = Amount::from_nano(1_000);

fn requester() -> OperatorKey {
    OperatorKey::from_seed(&[1; 32])
}

fn provider() -> OperatorKey {
    OperatorKey::from_seed(&[2; 32])
}

fn terms(channel: u8) -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: requester().node_id(),
        provider: provider().node_id(),
        refund_to: ContractAddress([3; 32]),
        contract: ContractAddress([4; 32]),
        challenge_window_s: 60,
        salt: Digest([channel; 32]),
    }
}

fn agreement(channel: ChannelRef) -> Agreement {
    let terms = Terms {
        model: ModelId([9; 32]),
        price: PriceTable { job: Amount::ZERO, input_per_mtok: Amount::ZERO, output_per_mtok: Amount::ZERO },
        cap: Amount::from_nano(1_000_000_000),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        slice_tokens: 10,
        float: Amount::from_nano(1_000_000_000),
        jobs_max: 1_000,
        first_chunk_ms: 1_000,
        chunk_ms: 1_000,
        channel,
        expires_at: NOW.plus_ms(3_600_000),
    };
    let body = AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId([1; 32]),
        requester: requester().node_id(),
        requester_peer: PeerId(vec![1; 38]),
        provider: provider().node_id(),
        provider_peer: PeerId(vec![2; 38]),
        terms,
        accepted_at: NOW,
    };
    Agreement::commit(Verified::sign(body, &provider()).unwrap(), &requester()).unwrap()
}

/// One job, one receipt.
fn draft(channel: ChannelRef, agreement: AgreementId, number: u64) -> ReceiptDraft {
    let mut job = [0; 16];
    job[..8].copy_from_slice(&channel.address.0[..8]);
    job[8..].copy_from_slice(&number.to_be_bytes());
    let nothing = Digest([0; 32]);
    ReceiptDraft {
        channel,
        agreement,
        job: JobId(job),
        usage: Usage { input_tokens: 1, output_tokens: 1 },
        amount: PRICE,
        input: nothing,
        output: nothing,
        seed: nothing,
        work: nothing,
        last: true,
        issued_at: NOW.plus_ms(number),
    }
}

fn begin(ledger: &Ledger, role: Role, channel: u8) -> (ChannelRef, AgreementId) {
    let channel = ledger.record_channel(role, terms(channel), NOW).unwrap();
    let sight = ChainSight { status: ChannelStatus::Open, deposit: Amount::from_nano(1_000_000_000), drawn: Amount::ZERO, seen_at: NOW };
    ledger.record_sight(channel, sight).unwrap();
    let agreement = agreement(channel);
    ledger.record_agreement(&agreement, NOW).unwrap();
    (channel, agreement.id())
}

/// Work in one channel, entered on both sides, and a claim that waits for the chain.
fn work(ours: &Ledger, theirs: &Ledger, channel: u8) {
    begin(theirs, Role::Requester, channel);
    let (channel, agreement) = begin(ours, Role::Provider, channel);
    let mut from = 1;
    for to in VOUCHERS.into_iter().chain([RECEIPTS]) {
        let receipts = issue(ours, channel, agreement, from..=to);
        if to < RECEIPTS {
            let checked = CheckedVoucher::new(pay(theirs, channel, &receipts), requester().node_id()).unwrap();
            assert!(ours.commit(move |batch| batch.accept_voucher(&checked)).unwrap().unwrap());
        }
        from = to + 1;
    }
    let best = ours.channel(channel).unwrap().head().voucher.unwrap();
    ours.add_order(Order::Claim(best), NOW).unwrap();
}

fn issue(ledger: &Ledger, channel: ChannelRef, agreement: AgreementId, numbers: RangeInclusive<u64>) -> Vec<SignedReceipt> {
    let all = move |batch: &mut Batch<'_>| numbers.map(|number| batch.issue_receipt(&draft(channel, agreement, number))).collect();
    ledger.commit::<Result<_, LedgerError>>(all).unwrap().unwrap()
}

fn pay(ledger: &Ledger, channel: ChannelRef, receipts: &[SignedReceipt]) -> SignedVoucher {
    let checked: Vec<_> = receipts.iter().map(|receipt| CheckedReceipt::new(*receipt, provider().node_id()).unwrap()).collect();
    let all = move |batch: &mut Batch<'_>| {
        for receipt in &checked {
            batch.record_receipt(receipt)?;
        }
        batch.issue_voucher(channel)
    };
    ledger.commit::<Result<_, LedgerError>>(all).unwrap().unwrap()
}

#[test]
fn a_full_ledger_opens_with_everything_that_was_in_it_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.redb");
    let ledger = open_ledger(&file, provider()).unwrap();
    let theirs = Ledger::open(MemoryStore::default(), requester()).unwrap();
    (0..CHANNELS).for_each(|channel| work(&ledger, &theirs, channel));
    let (books, orders) = (ledger.channels().unwrap(), ledger.open_orders().unwrap());
    let exposure = ledger.exposure(Role::Provider).unwrap();
    drop(ledger);

    let ledger = open_ledger(&file, provider()).unwrap();
    assert_eq!(ledger.channels().unwrap(), books);
    assert_eq!((books.len(), orders.len()), (usize::from(CHANNELS), usize::from(CHANNELS)));
    assert_eq!(ledger.open_orders().unwrap(), orders);
    assert_eq!(ledger.exposure(Role::Provider).unwrap(), exposure);
    assert_eq!(exposure.unpaid, PRICE.checked_mul(u64::from(CHANNELS) * (RECEIPTS - VOUCHERS[1])).unwrap());

    for book in &books {
        let channel = book.channel();
        assert_eq!((book.sequence(), book.head().voucher.unwrap().voucher.sequence), (RECEIPTS, VOUCHERS[1]));
        let agreement = agreement(channel).id();
        let last = issue(&ledger, channel, agreement, RECEIPTS..=RECEIPTS);
        assert_eq!(last[0].receipt.header.sequence, RECEIPTS, "a receipt that was given before is given again");
        let next = issue(&ledger, channel, agreement, RECEIPTS + 1..=RECEIPTS + 1);
        assert_eq!(next[0].receipt.header.sequence, RECEIPTS + 1);
        assert_eq!(next[0].receipt.body.previous, last[0].receipt.header.digest());
        let spent = PRICE.checked_mul(RECEIPTS + 1).unwrap();
        assert_eq!((ledger.total(agreement).unwrap(), next[0].receipt.header.cumulative), (spent, spent));
    }
}

#[test]
fn a_full_ledger_is_listed_within_its_limits_and_found_by_the_beginning_of_a_name() {
    let ledger = Ledger::open(MemoryStore::default(), provider()).unwrap();
    let theirs = Ledger::open(MemoryStore::default(), requester()).unwrap();
    (0..3).for_each(|channel| work(&ledger, &theirs, channel));
    let jobs = ListJobs { limit: 7 }.answer(&ledger).unwrap();
    assert_eq!(jobs.len(), 7);
    assert!(jobs.is_sorted_by_key(|job| std::cmp::Reverse(job.updated_at)), "newest first");
    let all = ListJobs { limit: usize::MAX }.answer(&ledger).unwrap();
    assert_eq!(all.len() as u64, 3 * RECEIPTS);
    let view = ShowJob { job: all[0].job.to_string() }.answer(&ledger).unwrap();
    assert_eq!((view.receipts.len(), view.paid_receipts), (1, 0));

    let rows = ListChannels { limit: 2, closed: false }.answer(&ledger).unwrap();
    assert_eq!(rows.len(), 2);
    let named = |channel: String| ShowChannel { channel }.answer(&ledger).map(|view| view.row.channel);
    let channel = rows[0].channel;
    for name in
        [channel.to_string(), format!("0:{}", channel.address), channel.address.to_string(), channel.address.to_string().to_uppercase()]
    {
        assert_eq!(named(name.clone()).ok(), Some(channel), "{name}");
    }
    assert!(named(channel.address.to_string()[..16].to_owned()).is_ok_and(|found| found == channel));
    for name in ["", "0:", "zz"] {
        assert!(named(name.to_owned()).unwrap_err().headline().contains("no channel"), "{name}");
    }
    let view = ShowChannel { channel: channel.to_string() }.answer(&ledger).unwrap();
    assert_eq!((view.orders.len(), view.rest_nanoton), (1, Amount::from_nano(1_000_000_000 - 1_000 * u128::from(VOUCHERS[1]))));
}
