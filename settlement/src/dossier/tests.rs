use cocoon_market::agreement::{AgreementTerms, Terms};
use cocoon_market::ids::ContractAddress;
use cocoon_market::offer::{Confidentiality, DeviceClaim, DeviceKind, ModelClaim, ModelClass, Serves, SettlementTerms, Tier};
use cocoon_market::{AgreementId, ModelId, NetworkId, OperatorKey, PeerId, PriceTable, ProposalId, Receipt, Timestamp, Voucher};

use super::*;
use crate::contract::ChannelStatus;
use crate::ledger::Order;
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
        contract: ContractAddress([4; 32]),
        challenge_window_s: 86_400,
        deposit_min: Amount::ZERO,
    }
}

fn offer() -> Verified<Offer> {
    let offer = Offer {
        provider: key(2).node_id(),
        peer: PeerId(vec![2; 38]),
        addresses: Vec::new(),
        model: ModelClaim {
            id: ModelId([9; 32]),
            name: "tiny".into(),
            class: ModelClass::TextTiny,
            serves: Serves::Text,
            context_tokens: 2048,
        },
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
        contract: settlement().contract,
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
    Dossier::collect(&provider_ledger(), JOB).unwrap()
}

/// The ledger of the provider, after two jobs.
fn provider_ledger() -> Ledger {
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
    claim(&ledger, foreign_voucher());
    for (job, tokens, amount, last) in [(JOB, 10, 105, false), (JobId([8; 16]), 5, 55, true), (JOB, 20, 100, true)] {
        let amount = Amount::from_nano(amount);
        let draft = ReceiptDraft { last, amount, ..draft(agreement.id(), job, tokens) };
        let voucher = requester.pay_receipt(ledger.issue_receipt(draft).unwrap()).unwrap();
        ledger.accept_voucher(voucher).unwrap();
        claim(&ledger, voucher);
    }
    ledger
}

/// So many tokens of a job, for nothing.
fn draft(agreement: AgreementId, job: JobId, tokens: u64) -> ReceiptDraft {
    ReceiptDraft {
        channel: channel_terms().channel().unwrap(),
        agreement,
        job,
        usage: Usage { input_tokens: 5, output_tokens: tokens },
        amount: Amount::ZERO,
        input: Digest([0; 32]),
        output: Digest([0; 32]),
        seed: Digest([0; 32]),
        work: Digest([0; 32]),
        last: false,
        issued_at: NOW,
    }
}

/// A voucher over more receipts than any here, in another channel.
fn foreign_voucher() -> SignedVoucher {
    let channel = ChannelTerms { salt: Digest([8; 32]), ..channel_terms() }.channel().unwrap();
    Voucher { channel, sequence: 9, cumulative: Amount::from_nano(999), receipts_root: Digest([0; 32]) }.sign(&key(1))
}

/// A claim that landed, at a logical time that says how many receipts it covers.
fn claim(ledger: &Ledger, voucher: SignedVoucher) {
    let landed = Landed { transaction: Digest([3; 32]), lt: voucher.voucher.sequence, unix_s: NOW.unix_s() };
    let order = Order::Claim(voucher);
    let id = ledger.add_order(order.clone(), NOW).unwrap();
    ledger.update_order(id, OrderRecord { state: OrderState::Confirmed(landed), ..OrderRecord::new(order, NOW) }).unwrap();
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
    assert_eq!(report.look_up.unwrap().lt, 3, "the first claim of the channel that covers the job");
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

/// The provider signs other words.
fn reword(signed: &mut SignedReceipt, change: impl FnOnce(&mut Receipt)) {
    change(&mut signed.receipt);
    signed.receipt.header.body = signed.receipt.body.digest();
    *signed = signed.receipt.sign(&key(2));
}

#[test]
fn a_receipt_above_the_agreed_price_is_noticed() {
    let mut dossier = collected();
    reword(&mut dossier.receipts[1], |r| r.body.amount = Amount::from_nano(101));
    let failing = failing(&dossier);
    assert!(failing.contains(&Check::Price), "{failing:?}");
}

#[test]
fn receipts_that_do_not_continue_one_another_are_noticed() {
    let check = |change: &dyn Fn(&mut Vec<SignedReceipt>)| {
        let mut dossier = collected();
        change(&mut dossier.receipts);
        let failing = failing(&dossier);
        assert!(failing.contains(&Check::Sequence) && !failing.contains(&Check::Receipts), "{failing:?}");
    };
    check(&|receipts| receipts.insert(1, receipts[0]));
    check(&|receipts| reword(&mut receipts[1], |r| r.body.usage.output_tokens = 9));
    check(&|receipts| reword(&mut receipts[0], |r| r.body.last = true));
}

/// The requester signs other words.
fn repay(signed: &mut SignedVoucher, change: impl FnOnce(&mut Voucher)) {
    change(&mut signed.voucher);
    *signed = signed.voucher.sign(&key(1));
}

#[test]
fn a_voucher_or_claim_that_its_requester_signed_for_anything_else_is_noticed() {
    let check = |change: &dyn Fn(&mut Dossier), expected: &[Check]| {
        let mut dossier = collected();
        change(&mut dossier);
        assert_eq!(failing(&dossier), expected);
    };
    let voucher = |change: fn(&mut Voucher)| check(&|d| repay(d.voucher.as_mut().unwrap(), change), &[Check::Voucher]);
    voucher(|v| v.channel = foreign_voucher().voucher.channel);
    voucher(|v| v.sequence -= 1);
    voucher(|v| v.sequence += 1);
    voucher(|v| v.cumulative = Amount::from_nano(v.cumulative.nano() - 1));
    voucher(|v| v.cumulative = Amount::from_nano(v.cumulative.nano() + 1));
    voucher(|v| v.receipts_root = Digest([0; 32]));
    let claim = |change: fn(&mut Voucher)| check(&|d| repay(&mut d.claim.as_mut().unwrap().voucher, change), &[Check::Claim]);
    claim(|v| v.channel = foreign_voucher().voucher.channel);
    claim(|v| v.sequence -= 1);
    claim(|v| v.cumulative = Amount::from_nano(v.cumulative.nano() - 1));
    // Over fewer receipts than the job has, and by somebody else.
    check(
        &|d| {
            d.leaves.pop();
            let root = root(&d.leaves);
            repay(d.voucher.as_mut().unwrap(), |v| (v.sequence, v.receipts_root) = (2, root));
        },
        &[Check::Leaves, Check::Voucher],
    );
    check(&|d| *d.voucher.as_mut().unwrap() = d.voucher.unwrap().voucher.sign(&key(3)), &[Check::Voucher]);
    check(&|d| d.claim.as_mut().unwrap().voucher = d.claim.unwrap().voucher.voucher.sign(&key(3)), &[Check::Claim]);
}

#[test]
fn a_voucher_over_later_receipts_pays_at_least_what_the_job_cost() {
    let covering = |cumulative: u128| {
        let mut dossier = collected();
        dossier.leaves.push(Digest([9; 32]));
        let root = root(&dossier.leaves);
        repay(dossier.voucher.as_mut().unwrap(), |v| {
            (v.sequence, v.receipts_root, v.cumulative) = (4, root, Amount::from_nano(cumulative));
        });
        dossier.verify().findings.iter().find(|finding| finding.check == Check::Voucher).unwrap().verdict
    };
    let due = collected().receipts.last().unwrap().receipt.header.cumulative.nano();
    assert_eq!([due - 1, due, due + 1].map(covering), [Verdict::Fails, Verdict::Holds, Verdict::Holds]);
}

#[test]
fn a_channel_that_is_not_as_offered_is_noticed() {
    let check = |change: &dyn Fn(&mut SettlementTerms), expected: &[Check]| {
        let mut other = offer().value().clone();
        change(&mut other.settlement);
        let offer = Some(Verified::sign(other, &key(2)).unwrap().into_signed());
        assert_eq!(failing(&Dossier { offer, ..collected() }), expected);
    };
    let both = [Check::AgreementFitsOffer, Check::Channel];
    check(&|s| s.network = NetworkId::TESTNET, &both);
    check(&|s| s.contract = ContractAddress([9; 32]), &both);
    check(&|s| s.challenge_window_s = 86_401, &both);
    check(&|s| s.challenge_window_s = 86_399, &[Check::AgreementFitsOffer]);
}

#[test]
fn a_job_far_down_a_long_channel_has_all_its_papers() {
    let ledger = provider_ledger();
    let requester = Ledger::open(MemoryStore::default(), key(1)).unwrap();
    let agreement = agreement(&offer());
    requester.record_agreement(&agreement, NOW).unwrap();
    let channel = requester.record_channel(Role::Requester, channel_terms(), NOW).unwrap();
    requester.record_sight(channel, ledger.channel(channel).unwrap().head().sight.unwrap()).unwrap();
    let (far, scan) = (JobId([9; 16]), u64::try_from(SCAN).unwrap());
    let drafts: Vec<_> =
        (1..=2 * scan).map(|tokens| draft(agreement.id(), if tokens == scan + 9 { far } else { JobId([5; 16]) }, tokens)).collect();
    assert!(ledger.commit(move |batch| drafts.iter().all(|draft| batch.issue_receipt(draft).is_ok())).unwrap());
    let receipts = ledger.receipts(channel, 1, usize::MAX).unwrap();
    let (covered, sequence) = (receipts.len() - 5, scan + 12);
    for record in &receipts[..covered] {
        requester.record_receipt(record.receipt).unwrap();
    }
    let voucher = requester.issue_voucher(channel).unwrap();
    ledger.accept_voucher(voucher).unwrap();
    assert!((0..SCAN).all(|_| ledger.add_order(Order::Close(channel), NOW).is_ok()));
    claim(&ledger, voucher);
    let dossier = Dossier::collect(&ledger, far).unwrap();
    assert_eq!(dossier.receipts.iter().map(|receipt| receipt.receipt.header.sequence).collect::<Vec<_>>(), [sequence]);
    assert_eq!((dossier.leaves.len(), dossier.claim.map(|claim| claim.voucher)), (covered, Some(voucher)));
    assert!(dossier.verify().is_sound());
}

#[test]
fn what_is_no_dossier_is_not_read() {
    assert!(matches!(Dossier::from_json(b"{}"), Err(DossierError::Malformed(_))));
    let mut largest = collected().to_json().unwrap();
    largest.resize(DOSSIER_BYTES_MAX, b' ');
    assert!(Dossier::from_json(&largest).is_ok());
    assert!(matches!(Dossier::from_json(&vec![b' '; DOSSIER_BYTES_MAX + 1]), Err(DossierError::TooLarge { .. })));
    let other = Dossier { format: "cocoon-dossier/2".into(), ..collected() };
    assert!(matches!(Dossier::from_json(&other.to_json().unwrap()), Err(DossierError::Format)));
}
