use cocoon_market::agreement::{AgreementTerms, Terms};
use cocoon_market::ids::ContractAddress;
use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, SettlementTerms, Tier};
use cocoon_market::{ModelId, NetworkId, OperatorKey, PeerId, PriceTable, ProposalId, Timestamp};

use super::*;
use crate::contract::ChannelStatus;
use crate::ledger::{ChainSight, MemoryStore, OrderRecord, ReceiptDraft, Role};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const JOB: JobId = JobId([7; 16]);

fn key(seed: u8) -> OperatorKey {
    OperatorKey::from_seed(&[seed; 32])
}

fn price() -> PriceTable {
    PriceTable { job: Amount::ZERO, input_per_mtok: Amount::from_nano(1_000_000), output_per_mtok: Amount::from_nano(10_000_000) }
}

fn settlement() -> SettlementTerms {
    SettlementTerms {
        network: NetworkId::DEVNET,
        payout: ContractAddress([4; 32]),
        fee_to: ContractAddress([5; 32]),
        fee_bps: 500,
        challenge_window_s: 86_400,
        deposit_min: Amount::ZERO,
    }
}

fn offer() -> Verified<Offer> {
    let offer = Offer {
        provider: key(2).node_id(),
        peer: PeerId(vec![2; 38]),
        addresses: Vec::new(),
        model: ModelClaim { id: ModelId([9; 32]), name: "tiny".into(), class: ModelClass::TextTiny, context_tokens: 2048 },
        device: DeviceClaim { name: "cpu".into(), kind: DeviceKind::Cpu, tokens_per_s: 100 },
        price: price(),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        capacity: 1,
        slice_tokens: 10,
        float: Amount::from_nano(1_000),
        settlement: settlement(),
        sequence: 1,
        issued_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
    };
    Verified::sign(offer, &key(2)).unwrap()
}

fn channel_terms() -> ChannelTerms {
    ChannelTerms {
        network: NetworkId::DEVNET,
        requester: key(1).node_id(),
        provider: key(2).node_id(),
        refund_to: ContractAddress([3; 32]),
        payout_to: settlement().payout,
        fee_to: settlement().fee_to,
        fee_bps: 500,
        challenge_window_s: 86_400,
        salt: Digest([6; 32]),
    }
}

fn agreement(offer: &Verified<Offer>) -> Agreement {
    let terms = Terms {
        model: ModelId([9; 32]),
        price: price(),
        cap: Amount::from_nano(10_000),
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        slice_tokens: 10,
        float: Amount::from_nano(1_000),
        jobs_max: 1,
        first_chunk_ms: 1_000,
        chunk_ms: 1_000,
        channel: channel_terms().channel().unwrap(),
        expires_at: NOW.plus_ms(3_600_000),
    };
    let body = AgreementTerms {
        proposal: ProposalId([1; 32]),
        offer: OfferId(offer.hash()),
        requester: key(1).node_id(),
        requester_peer: PeerId(vec![1; 38]),
        provider: key(2).node_id(),
        provider_peer: PeerId(vec![2; 38]),
        terms,
        accepted_at: NOW,
    };
    Agreement::commit(Verified::sign(body, &key(2)).unwrap(), &key(1)).unwrap()
}

/// Two jobs side by side in one channel, the first of them the dossier's; all paid, all claimed.
fn collected() -> Dossier {
    let ledger = Ledger::open(MemoryStore::default(), key(2)).unwrap();
    let requester = Ledger::open(MemoryStore::default(), key(1)).unwrap();
    let offer = offer();
    let agreement = agreement(&offer);
    let sight = ChainSight { status: ChannelStatus::Open, deposit: Amount::from_nano(1_000_000), drawn: Amount::ZERO, seen_at: NOW };
    for (ledger, role) in [(&ledger, Role::Provider), (&requester, Role::Requester)] {
        ledger.record_offer(&offer).unwrap();
        ledger.record_agreement(&agreement, NOW).unwrap();
        let channel = ledger.record_channel(role, channel_terms(), NOW).unwrap();
        ledger.record_sight(channel, sight).unwrap();
    }
    let channel = channel_terms().channel().unwrap();
    for (job, tokens, amount, last) in [(JOB, 10, 105, false), (JobId([8; 16]), 5, 55, true), (JOB, 20, 100, true)] {
        let receipt = ledger
            .issue_receipt(ReceiptDraft {
                channel,
                agreement: agreement.id(),
                job,
                usage: Usage { input_tokens: 5, output_tokens: tokens },
                amount: Amount::from_nano(amount),
                input: Digest([0; 32]),
                output: Digest([0; 32]),
                seed: Digest([0; 32]),
                work: Digest([0; 32]),
                last,
                issued_at: NOW,
            })
            .unwrap();
        ledger.accept_voucher(requester.pay_receipt(receipt).unwrap()).unwrap();
    }
    let best = ledger.channel(channel).unwrap().head().voucher.unwrap();
    let landed = Landed { transaction: Digest([3; 32]), lt: 5, unix_s: NOW.unix_s() };
    let id = ledger.add_order(Order::Claim(best), NOW).unwrap();
    ledger.update_order(id, OrderRecord { state: OrderState::Confirmed(landed), ..OrderRecord::new(Order::Claim(best), NOW) }).unwrap();
    Dossier::collect(&ledger, JOB).unwrap()
}

fn failing(dossier: &Dossier) -> Vec<Check> {
    let report = dossier.verify();
    assert!(!report.is_sound());
    report.findings.iter().filter(|finding| finding.verdict == Verdict::Fails).map(|finding| finding.check).collect()
}

#[test]
fn a_job_that_went_well_has_a_sound_dossier() {
    let dossier = Dossier::from_json(&collected().to_json().unwrap()).unwrap();
    let report = dossier.verify();
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Holds), "{report:?}");
    assert!(report.is_sound());
    assert_eq!(report.cost, Some(Amount::from_nano(205)));
    assert_eq!(report.usage, Some(Usage { input_tokens: 5, output_tokens: 20 }));
    assert_eq!(report.look_up.unwrap().lt, 5);
}

#[test]
fn an_unpaid_job_is_not_sound_and_an_unclaimed_one_is() {
    let unclaimed = Dossier { claim: None, ..collected() };
    assert!(unclaimed.verify().is_sound());
    let unpaid = Dossier { voucher: None, claim: None, ..collected() };
    assert!(!unpaid.verify().is_sound());
}

#[test]
fn every_altered_paper_is_noticed() {
    let alter = |change: &dyn Fn(&mut Dossier)| {
        let mut dossier = collected();
        change(&mut dossier);
        failing(&dossier)
    };
    assert_eq!(alter(&|d| d.offer.as_mut().unwrap().bytes[10] ^= 1), [Check::Offer]);
    assert_eq!(alter(&|d| d.agreement_by_requester = d.agreement_by_provider.clone()), [Check::Agreement]);
    let other_offer = |d: &mut Dossier| {
        let other = Offer { sequence: 2, ..offer().value().clone() };
        d.offer = Some(Verified::sign(other, &key(2)).unwrap().into_signed());
    };
    assert_eq!(alter(&other_offer), [Check::AgreementFitsOffer]);
    assert_eq!(alter(&|d| d.channel.salt = Digest([7; 32])), [Check::Channel]);
    assert_eq!(alter(&|d| d.receipts[0].receipt.body.amount = Amount::ZERO), [Check::Receipts]);
    assert_eq!(alter(&|d| d.job = JobId([8; 16])), [Check::Receipts]);
    assert_eq!(alter(&|d| d.receipts.swap(0, 1)), [Check::Sequence, Check::Price]);
    assert_eq!(alter(&|d| d.leaves[1] = Digest([0; 32])), [Check::Leaves, Check::Voucher]);
    assert_eq!(
        alter(&|d| {
            d.leaves.pop();
        }),
        [Check::Leaves, Check::Voucher]
    );
    assert_eq!(alter(&|d| d.voucher.as_mut().unwrap().voucher.cumulative = Amount::from_nano(1)), [Check::Voucher]);
    assert_eq!(alter(&|d| d.claim.as_mut().unwrap().voucher.voucher.sequence = 9), [Check::Claim]);
}

#[test]
fn a_receipt_above_the_agreed_price_is_noticed() {
    let mut dossier = collected();
    let last = &mut dossier.receipts[1];
    last.receipt.body.amount = Amount::from_nano(101);
    last.receipt.header.body = last.receipt.body.digest();
    *last = last.receipt.sign(&key(2));
    let failing = failing(&dossier);
    assert!(failing.contains(&Check::Price), "{failing:?}");
}

#[test]
fn what_is_no_dossier_is_not_read() {
    assert!(matches!(Dossier::from_json(b"{}"), Err(DossierError::Malformed(_))));
    assert!(matches!(Dossier::from_json(&vec![b' '; DOSSIER_BYTES_MAX + 1]), Err(DossierError::TooLarge { .. })));
    let other = Dossier { format: "cocoon-dossier/2".into(), ..collected() };
    assert!(matches!(Dossier::from_json(&other.to_json().unwrap()), Err(DossierError::Format)));
}
