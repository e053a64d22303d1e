//! Golden vectors: one file per message, read by this crate and by the contracts' build.

use std::collections::BTreeMap;

use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::{Amount, ChannelRef, CooperativeClose, NetworkId, NodeId, OperatorKey, OperatorStatement, Signature, Voucher};
use serde_json::{Value, json};
use tonlib_core::cell::{ArcCell, BagOfCells};

use super::cells::{bytes_cell, hash_of};
use super::governor::lock_payload;
use super::*;
use crate::contract::channel::tests_terms;
use crate::contract::order::BATCH_MAX;
use crate::contract::provider::{ClosedEpoch, Epoch};
use crate::contract::registry::Changed;
use crate::contract::rewards::{Claims, Emitted, Known, Payout};
use crate::economy::auction::{Rate, Recorded};
use crate::economy::locks::week_begins_s;
use crate::economy::parameter::Parameter;
use crate::economy::vesting::Vesting;

const QUERY: QueryId = 0x0102_0304_0506_0708;

fn here() -> ChannelRef {
    ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([0xcc; 32]) }
}

fn messages() -> Vec<(&'static str, ChannelMessage)> {
    let voucher = Voucher { channel: here(), sequence: 3, cumulative: Amount::from_nano(123_456_789), receipts_root: Digest([0xdd; 32]) };
    let signed = cocoon_market::SignedVoucher { voucher, signature: Signature([0xee; 64]) };
    let statement = CooperativeClose { channel: here(), sequence: 3, cumulative: Amount::from_nano(123_456_789) };
    vec![
        ("deposit", ChannelMessage::Deposit(Amount::from_nano(1_000_000_000))),
        ("claim", ChannelMessage::Claim(signed)),
        ("close_unilateral", ChannelMessage::CloseUnilateral),
        ("finish_close", ChannelMessage::FinishClose),
        (
            "close_cooperative",
            ChannelMessage::CloseCooperative { statement, requester: Signature([0xee; 64]), provider: Signature([0xff; 64]) },
        ),
    ]
}

fn vector(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn boc(cell: &ArcCell) -> String {
    hex::encode(BagOfCells::new(std::slice::from_ref(cell)).serialize(false).unwrap())
}

fn of_cell(cell: &ArcCell) -> Value {
    json!({ "hash": hex::encode(hash_of(cell)), "boc": boc(cell) })
}

fn cell_of(name: &str) -> ArcCell {
    BagOfCells::parse_hex(vector(name)["boc"].as_str().unwrap()).unwrap().single_root().unwrap()
}

#[test]
fn every_message_has_the_bytes_of_its_vector() {
    for (name, message) in messages() {
        let cell = message.to_cell(QUERY).unwrap();
        assert_eq!(vector(name), of_cell(&cell), "{name}");
        assert_eq!(ChannelMessage::from_cell(&cell).unwrap(), (QUERY, message), "{name} is read back");
    }
}

#[test]
fn a_channel_has_the_address_and_data_of_its_vector() {
    let terms = tests_terms();
    let data = ChannelData {
        status: ChannelStatus::Closing { deadline_s: 1_800_000_000 },
        deposit: Amount::from_nano(2_000_000_000),
        drawn: Amount::from_nano(123_456_789),
        sequence: 3,
        receipts_root: Digest([0xdd; 32]),
        terms,
    };
    let cell = data.to_cell().unwrap();
    let initial = terms.initial_data().unwrap();
    check_states("channel", &initial, &cell);
    assert_eq!(ChannelData::from_cell(&cell).unwrap(), data);
}

fn provider_terms() -> ProviderTerms {
    ProviderTerms {
        owner: ContractAddress([0x31; 32]),
        operator: NodeId([0x32; 32]),
        class: 2,
        network: NetworkTerms {
            network: NetworkId::DEVNET,
            vault: ContractAddress([0x21; 32]),
            dispute: ContractAddress([0x22; 32]),
            rewards: ContractAddress([0x23; 32]),
            fee_bps: 500,
            unbond_s: 259_200,
            epoch_s: 86_400,
            answer_s: 600,
        },
    }
}

/// The initial and another state of a contract: the same cells, in whatever order a writer puts them.
fn check_states(name: &str, initial: &ArcCell, used: &ArcCell) {
    let vector = vector(name);
    for (field, cell) in [("initial_data", initial), ("data", used)] {
        let read = BagOfCells::parse_hex(vector[field].as_str().unwrap()).unwrap().single_root().unwrap();
        assert_eq!(hex::encode(hash_of(cell)), vector[format!("{field}_hash")].as_str().unwrap(), "{name}: {field}");
        assert_eq!(hash_of(&read), hash_of(cell), "{name}: {field}");
    }
}

#[test]
fn a_provider_has_the_data_of_its_vector() {
    let nano = Amount::from_nano;
    let data = ProviderData {
        number: 8,
        batch: 7,
        outstanding: 3,
        earnings: nano(950_000_001),
        fees: nano(50_000_002),
        fees_cum: nano(60_000_003),
        claims: 77,
        claims_head: Digest([0xab; 32]),
        epoch: Epoch { ends_s: 1_800_000_000, paid: nano(1_200_000_004) },
        closed: ClosedEpoch { ended_s: 1_799_913_600, paid: nano(3_000_000_005), backed: nano(4_000_000_006) },
        operator: NodeId([0x33; 32]),
        stake: Stake {
            total: nano(10_000_000_007),
            allocated: nano(4_000_000_008),
            unbonding: nano(5_000_000_009),
            unbond_at_s: 1_800_200_000,
            bond: nano(1_000_000_010),
        },
        poke: Some(ContractAddress([0x34; 32])),
        answer_by_s: 1_800_000_600,
        rewards: Rewards {
            credit: nano(11),
            last_claim: 12,
            is_pending: true,
            epochs: [(40, [13, 14, 15]), (41, [16, 0, 0]), (42, [17, 18, 0])]
                .map(|(epoch, [booked, claimed, part])| {
                    (epoch, EpochFees { booked: nano(booked), claimed: nano(claimed), part: nano(part) })
                })
                .into(),
            vesting: Vesting { free: nano(19), locked: nano(20), since_s: 1_800_000_001, until_s: 1_807_776_001 },
        },
        terms: provider_terms(),
    };
    let cell = data.to_cell().unwrap();
    check_states("provider", &provider_terms().initial_data().unwrap(), &cell);
    assert_eq!(ProviderData::from_cell(&cell).unwrap(), data);
    assert_eq!(data.liabilities(), nano(12_090_000_020), "collateral, bond, earnings, fees, the poke's price, the reserve");
    assert_eq!((data.operations(nano(12_090_000_019)), data.operations(nano(12_090_000_021))), (nano(0), nano(1)));
    assert_eq!((data.stake.free(), data.stake.standing()), (nano(999_999_990), nano(4_999_999_998)));
}

fn vault_terms() -> VaultTerms {
    let [treasury, registry, minter, rewards] = [0x41, 0x42, 0x43, 0x44].map(|byte| ContractAddress([byte; 32]));
    VaultTerms { network: NetworkId::DEVNET, treasury, registry, minter, rewards, epoch_s: 86_400 }
}

#[test]
fn a_vault_has_the_data_of_its_vector() {
    let nano = Amount::from_nano;
    let fresh = VaultData::new(vault_terms()).unwrap();
    let rates = [10, 70, 20, 60, 30, 50, 40].map(|rate| Rate::new(nano(rate)).unwrap());
    let data = VaultData {
        burn: nano(700_000_001),
        unsold: nano(600_000_005),
        auditors: nano(200_000_002),
        treasury: nano(100_000_003),
        fees_cum: nano(1_100_000_004),
        epoch: VaultEpoch { number: 9, opened_s: 1_800_000_000, fees: nano(900_000_006) },
        auditors_bps: 2_100,
        treasury_bps: 900,
        auction: Sale {
            fees: nano(1_000_000_007),
            own: nano(500_000_008),
            lot: nano(800_000_009),
            paid: nano(4_000_000_010),
            unburned: nano(5_000_000_011),
            duration_s: 72_000,
            next_duration_s: 71_000,
            discount_bps: 900,
            recorded: Recorded(rates),
        },
        terms: vault_terms(),
    };
    let cell = data.to_cell().unwrap();
    check_states("vault", &fresh.to_cell().unwrap(), &cell);
    assert_eq!(VaultData::from_cell(&cell).unwrap(), data);
    assert_eq!(data.closes_s(), 1_800_000_000 + u64::from(vault_terms().epoch_s));
}

fn wallet() -> WalletData {
    WalletData::new(ContractAddress([0x51; 32]), ContractAddress([0x52; 32]))
}

#[test]
fn a_jetton_wallet_has_the_data_of_its_vector() {
    let data = WalletData { balance: Amount::from_nano(123_456_789), ..wallet() };
    let cell = data.to_cell().unwrap();
    check_states("jetton_wallet", &wallet().to_cell().unwrap(), &cell);
    assert_eq!(WalletData::from_cell(&cell).unwrap(), data);
    assert_eq!(data.address().unwrap(), wallet().address().unwrap(), "where it lives has nothing to do with its balance");
}

#[test]
fn the_token_is_told_the_bytes_of_its_vectors() {
    let [amount, told] = [Amount::from_nano(3_000_000_000), Amount::from_nano(20_000_000)];
    let mut payload = tonlib_core::cell::CellBuilder::new();
    payload.store_u32(32, 0x00ab_cdef).unwrap();
    let payload = payload.build().unwrap().to_arc();
    let (owner, to) = (wallet().owner, ContractAddress([0x53; 32]));
    let messages = [
        ("jetton_transfer", JettonMessage::Transfer { amount, to, forward: told, payload: Some(payload) }),
        ("jetton_transfer_quiet", JettonMessage::Transfer { amount, to, forward: Amount::ZERO, payload: None }),
        ("jetton_burn", JettonMessage::Burn(amount)),
    ];
    let payloads = [
        ("bid", VaultPayload::Bid { least: 1_000_000_000 }),
        ("fee_in_cocoon", VaultPayload::Credit { provider: ContractAddress([0x45; 32]) }),
    ];
    for (name, payload) in payloads {
        assert_eq!(vector(name), of_cell(&payload.to_cell().unwrap()), "{name}");
    }
    for (name, message) in messages {
        assert_eq!(vector(name), of_cell(&message.to_cell(owner, QUERY).unwrap()), "{name}");
    }
    let [reserve, treasury, stakers, opening] = [0x61, 0x62, 0x63, 0x64].map(|byte| ContractAddress([byte; 32]));
    let genesis = Genesis { reserve, treasury, stakers, opening };
    assert_eq!(vector("genesis"), of_cell(&genesis.to_cell(QUERY).unwrap()));
}

#[test]
fn each_contract_has_the_address_of_its_vector() {
    let addresses = [
        ("channel", tests_terms().channel().unwrap().address),
        ("provider", provider_terms().address().unwrap()),
        ("vault", vault_terms().address().unwrap()),
        ("jetton-wallet", wallet().address().unwrap()),
        ("jetton-minter", MinterTerms { network: NetworkId::DEVNET, founder: ContractAddress([0x54; 32]) }.address().unwrap()),
        ("rewards", rewards_terms().address().unwrap()),
        ("registry", registry_terms().address().unwrap()),
        ("governor", governor_terms().address().unwrap()),
        ("lock", lock().address().unwrap()),
    ];
    let expected: serde_json::Map<String, Value> =
        addresses.iter().map(|(name, at)| ((*name).to_owned(), hex::encode(at.0).into())).collect();
    assert_eq!(vector("addresses"), Value::Object(expected));
}

fn keys(of: &[(u8, u8)]) -> BTreeMap<u8, ArcCell> {
    of.iter().map(|(circuit, byte)| (*circuit, bytes_cell(&[*byte; 32]).unwrap())).collect()
}

fn rewards_terms() -> RewardsTerms {
    RewardsTerms {
        network: NetworkId::DEVNET,
        founder: ContractAddress([0x54; 32]),
        half_life: 730,
        commitment: Digest([0x55; 32]),
        keys: keys(&[(1, 0x56)]),
    }
}

#[test]
fn the_rewards_have_the_data_of_their_vector() {
    let nano = Amount::from_nano;
    let [vault, registry, governor, minter] = [0x21, 0x42, 0x46, 0x43].map(|byte| ContractAddress([byte; 32]));
    let providers = provider_terms().network.hash().unwrap();
    let data = RewardsData {
        emission: Emitted { epoch: 7, released: nano(21), rollover: nano(22), ceiling: nano(23) },
        burned: nano(24),
        owed: nano(25),
        stopped_until_s: 1_800_000_007,
        claims: Some(Claims { epoch: 41, fees: nano(26), valued: nano(27), claimed: nano(28), registered: nano(29) }),
        payouts: [
            (39, Payout { paid: nano(31), registered: nano(32), left: nano(33) }),
            (40, Payout { paid: nano(34), registered: nano(35), left: nano(36) }),
        ]
        .into(),
        commitment: Digest([0x57; 32]),
        keys: keys(&[(1, 0x56), (3, 0x58)]),
        founder: None,
        network: NetworkId::DEVNET,
        half_life: 730,
        known: Known { providers, fee_bps: 500, vault, registry, governor, minter },
    };
    let (fresh, cell) = (RewardsData::new(rewards_terms()).unwrap(), data.to_cell().unwrap());
    check_states("rewards", &fresh.to_cell().unwrap(), &cell);
    assert_eq!(RewardsData::from_cell(&cell).unwrap(), data);
    assert_eq!(RewardsData::from_cell(&fresh.to_cell().unwrap()).unwrap(), fresh);
    let introduction = RewardsIntroduction { providers: provider_terms().network, registry, governor, minter };
    assert_eq!(vector("introduce_rewards"), of_cell(&introduction.to_cell(QUERY).unwrap()));
}

fn registry_terms() -> RegistryTerms {
    RegistryTerms {
        network: NetworkId::DEVNET,
        governor: ContractAddress([0x46; 32]),
        founder: ContractAddress([0x54; 32]),
        auditors: AuditorSet { list: Digest([0x5a; 32]), commitment: Digest([0x55; 32]) },
        keys: keys(&[(1, 0x56), (9, 0x59)]),
    }
}

#[test]
fn a_registry_has_the_data_of_its_vector() {
    let fresh = RegistryData::new(registry_terms());
    let data = RegistryData {
        standards: Digest([0x5b; 32]),
        parameters: [
            (Parameter::CurveStep.place(), Changed { value: 4_000, changed_s: 1_800_000_001 }),
            (Parameter::DiscountBps.place(), Changed { value: 900, changed_s: 1_800_000_002 }),
        ]
        .into(),
        keys: BTreeMap::new(),
        pending: Some(AuditorSet { list: Digest([0x5c; 32]), commitment: Digest([0x5d; 32]) }),
        founder: None,
        vault: ContractAddress([0x21; 32]),
        rewards: ContractAddress([0x44; 32]),
        ..fresh.clone()
    };
    let cell = data.to_cell().unwrap();
    check_states("registry", &fresh.to_cell().unwrap(), &cell);
    assert_eq!(RegistryData::from_cell(&cell).unwrap(), data);
    assert_eq!(RegistryData::from_cell(&fresh.to_cell().unwrap()).unwrap(), fresh);
    assert_eq!([Parameter::DiscountBps, Parameter::FeeBps].map(|parameter| data.value(parameter)), [900, 500]);
}

fn proof() -> ProofBytes {
    ProofBytes([[0xa1; 48], [0xb1; 48], [0xb1; 48], [0xc1; 48]].concat().try_into().unwrap())
}

#[test]
fn a_registry_is_told_the_bytes_of_its_vectors() {
    let (vault, rewards) = (ContractAddress([0x21; 32]), ContractAddress([0x44; 32]));
    let messages = [
        ("introduce_registry", RegistryMessage::Introduce { vault, rewards }),
        ("prove_auditors", RegistryMessage::ProveAuditors { count: 1, list: bytes_cell(&[0x5c; 32]).unwrap(), proof: proof() }),
        ("tell_parameter", RegistryMessage::Tell(Told::Parameter(Parameter::DiscountBps.place()))),
        ("tell_key", RegistryMessage::Tell(Told::Key(9))),
        ("tell_auditors", RegistryMessage::Tell(Told::Auditors)),
    ];
    for (name, message) in messages {
        assert_eq!(vector(name), of_cell(&message.to_cell(QUERY).unwrap()), "{name}");
    }
}

fn governor_terms() -> GovernorTerms {
    GovernorTerms {
        network: NetworkId::DEVNET,
        founder: ContractAddress([0x54; 32]),
        minter: ContractAddress([0x43; 32]),
        guardian: ContractAddress([0x47; 32]),
        start_s: 1_800_000_000,
    }
}

#[test]
fn a_governor_has_the_data_of_its_vector() {
    let nano = Amount::from_nano;
    let [proposed_s, later_s] = [1_800_000_003, 1_800_000_004];
    let done = Decision { class: 1, is_done: true, proposed_s, all: nano(65), yes: nano(66), no: nano(67), action: Digest([0x5e; 32]) };
    let open =
        Decision { class: 2, is_done: false, proposed_s: later_s, all: nano(68), yes: nano(69), no: nano(70), action: Digest([0x5f; 32]) };
    let fresh = GovernorData::new(governor_terms());
    let data = GovernorData {
        next: 5,
        stopped_s: 1_800_000_009,
        locked: nano(61),
        spent: nano(62),
        weeks: [(2_990, nano(63)), (2_999, nano(64))].into(),
        proposals: [(3, done), (4, open)].into(),
        founder: None,
        registry: ContractAddress([0x42; 32]),
        rewards: ContractAddress([0x44; 32]),
        ..fresh.clone()
    };
    let cell = data.to_cell().unwrap();
    check_states("governor", &fresh.to_cell().unwrap(), &cell);
    assert_eq!(GovernorData::from_cell(&cell).unwrap(), data);
    assert_eq!(data.locks().weight(week_begins_s(2_895)).unwrap(), nano(121), "63 for 95 weeks of 104, and 64 for all of them");
    assert_eq!(open.proposal().unwrap().tally(), (nano(69), nano(70), nano(68)));
    let timelock_s = |class| Decision { class, ..open }.proposal().map(|proposal| proposal.timelock_s()).ok();
    assert_eq!([0, 1, 2, 3].map(timelock_s), [Some(2 * 86_400), Some(7 * 86_400), Some(7 * 86_400), None]);
}

fn actions() -> Vec<(&'static str, Action)> {
    let (to, amount) = (ContractAddress([0x35; 32]), |ton: u128| Amount::from_nano(ton * 1_000_000_000));
    vec![
        ("set_parameter", Action::SetParameter { which: Parameter::DiscountBps.place(), value: 900 }),
        ("set_verifying_key", Action::SetVerifyingKey { circuit: 3, key: bytes_cell(&[0x58; 32]).unwrap() }),
        ("set_auditors", Action::SetAuditors { list: Digest([0x5c; 32]), commitment: Digest([0x5d; 32]) }),
        ("set_standards", Action::SetStandards(Digest([0x5b; 32]))),
        ("spend_cocoon", Action::SpendCocoon { to, amount: amount(3) }),
        ("spend_ton", Action::SpendTon { to, amount: amount(2) }),
    ]
}

#[test]
fn actions_have_the_bytes_of_their_vectors() {
    for (name, action) in actions() {
        let cell = action.to_cell().unwrap();
        assert_eq!(vector(name), of_cell(&cell), "{name}");
        assert_eq!(action.hash().unwrap().0, hash_of(&cell));
        assert_eq!(Action::from_cell(&cell).unwrap(), action, "{name} is read back");
    }
    assert!(Action::from_cell(&bytes_cell(&[0; 4]).unwrap()).is_err());
}

#[test]
fn governor_and_lock_are_told_the_bytes_of_their_vectors() {
    let action = || Action::SetParameter { which: Parameter::DiscountBps.place(), value: 900 };
    let (registry, rewards) = (ContractAddress([0x42; 32]), ContractAddress([0x44; 32]));
    let governor = [
        ("introduce_governor", GovernorMessage::Introduce { registry, rewards }),
        ("execute", GovernorMessage::Execute { number: 5, action: action() }),
        ("stop", GovernorMessage::Stop),
    ];
    let lock = [
        ("lengthen", LockMessage::Lengthen(2_999)),
        ("vote", LockMessage::Vote { number: 5, is_yes: true }),
        ("propose", LockMessage::Propose(action())),
        ("unlock", LockMessage::Unlock),
    ];
    let cells = governor.into_iter().map(|(name, message)| (name, message.to_cell(QUERY).unwrap()));
    let cells = cells.chain(lock.into_iter().map(|(name, message)| (name, message.to_cell(QUERY).unwrap())));
    for (name, cell) in cells.chain([("lock_cocoon", lock_payload(2_999).unwrap())]) {
        assert_eq!(vector(name), of_cell(&cell), "{name}");
    }
}

fn lock() -> LockData {
    LockData::new(ContractAddress([0x51; 32]), ContractAddress([0x46; 32]))
}

#[test]
fn a_lock_has_the_data_of_its_vector() {
    let [amount, owed] = [71, 72].map(Amount::from_nano);
    let ballots = [(3, Some(1_800_000_005)), (4, None)].into();
    let data = LockData { amount, owed, ends_week: 2_999, since_s: None, ballots, ..lock() };
    let cell = data.to_cell().unwrap();
    check_states("lock", &lock().to_cell().unwrap(), &cell);
    assert_eq!(LockData::from_cell(&cell).unwrap(), data);
    assert_eq!(data.ends_s(), week_begins_s(2_999));
    assert_eq!(data.address().unwrap(), lock().address().unwrap(), "where it lives has nothing to do with what is locked");
}

fn provider_messages() -> Vec<(&'static str, ProviderMessage)> {
    let ton = |ton: u128| Amount::from_nano(ton * 1_000_000_000);
    vec![
        ("stake", ProviderMessage::Stake { amount: ton(10), bond: ton(1) }),
        ("unbond", ProviderMessage::Unbond { amount: ton(5), bond: ton(1) }),
        ("withdraw", ProviderMessage::Withdraw),
        ("withdraw_operations", ProviderMessage::WithdrawOperations(ton(2))),
        ("set_operator", ProviderMessage::SetOperator(NodeId([0x33; 32]))),
        ("slash", ProviderMessage::Slash { amount: ton(3), to: ContractAddress([0x35; 32]) }),
        ("poke", ProviderMessage::Poke),
        ("poke_over", ProviderMessage::PokeOver),
        ("flush", ProviderMessage::Flush),
        ("attest", ProviderMessage::Attest(Attested { epoch: 41, circuit: 1, lo: 3, hi: 9, fees: 50_000_002, proof: proof() })),
        ("collect_reward", ProviderMessage::CollectReward(41)),
        ("take_reward", ProviderMessage::TakeReward),
    ]
}

#[test]
fn every_message_to_a_provider_and_to_the_vault_has_the_bytes_of_its_vector() {
    for (name, message) in provider_messages() {
        let cell = message.to_cell(QUERY).unwrap();
        assert_eq!(vector(name), of_cell(&cell), "{name}");
        assert_eq!(ProviderMessage::from_cell(&cell).unwrap(), (QUERY, message), "{name} is read back");
    }
    let [amount, credit] = [50_000_002, 40_000_001].map(Amount::from_nano);
    let messages = [
        ("fee", VaultMessage::Fee { amount, credit }),
        ("pay_treasury", VaultMessage::PayTreasury),
        ("close_epoch", VaultMessage::CloseEpoch),
    ];
    for (name, message) in messages {
        assert_eq!(vector(name), of_cell(&message.to_cell(QUERY).unwrap()), "{name}");
    }
}

fn notices() -> Vec<(&'static str, Notice)> {
    let nano = Amount::from_nano;
    let paid = Notice::Paid { from: Amount::from_nano(100_000_000), to: Amount::from_nano(123_456_789), receipts_root: Digest([0xdd; 32]) };
    vec![
        ("channel_paid", paid),
        ("channel_refund", Notice::Refund),
        ("earnings", Notice::Earnings),
        ("withdrawn", Notice::Withdrawn),
        ("slashed", Notice::Slashed),
        ("poke_reward", Notice::PokeReward),
        ("treasury_share", Notice::TreasuryShare),
        ("excesses", Notice::Excesses),
        ("fee_booked", Notice::FeeBooked { epoch: 41, booked: nano(50_000_002), waived: nano(30_000_003), credit: nano(10_000_004) }),
        ("registered", Notice::Registered { epoch: 41, part: nano(81) }),
        ("rewarded", Notice::Rewarded { epoch: 41, amount: nano(82) }),
        ("fee_credit", Notice::FeeCredit(nano(83))),
        ("proposed", Notice::Proposed(5)),
        ("spent", Notice::Spent),
        ("bought", Notice::Bought { bought: nano(5_000_000_000), paid: nano(250_000_000_000) }),
        ("epoch_sold", Notice::EpochSold { epoch: 41, fees: nano(1), lot: nano(2), burned: nano(3), paid: nano(4), median: nano(5) }),
    ]
}

#[test]
fn every_notice_is_read_from_its_vector() {
    let [amount, credit] = [50_000_002, 40_000_001].map(Amount::from_nano);
    for (name, notice) in notices().into_iter().chain([("fee", Notice::Fee { amount, credit })]) {
        assert_eq!(Notice::from_cell(&cell_of(name)).unwrap(), (QUERY, notice), "{name}");
    }
}

/// What the batch of the vectors draws: read from it, so that the list's layout is not said twice.
fn batch() -> Command {
    OperatorOrder::read(&cell_of("operator_message")).unwrap().2
}

#[test]
fn an_operators_messages_have_the_bytes_of_their_vectors() {
    let order = |command: Command| OperatorOrder {
        network: NetworkId::DEVNET,
        contract: here().address,
        number: 7,
        valid_until_s: 1_800_000_000,
        command,
    };
    let key = OperatorKey::from_seed(&[1; 32]);
    for (name, command) in [("allocate", Command::Allocate(Amount::from_nano(4_000_000_000))), ("alive", Command::Alive)] {
        let body = order(command.clone()).sign(&key).unwrap();
        assert_eq!(vector(name), of_cell(body.reference(0).unwrap()), "{name}");
        assert_eq!(OperatorOrder::read(&body).unwrap().2, command, "{name} is read back");
    }
    let expected = cell_of("operator_message");
    let (number, valid_until_s, command, signature) = OperatorOrder::read(&expected).unwrap();
    assert_eq!((number, valid_until_s, signature), (7, 1_800_000_000, Signature([0xee; 64])));
    let Command::Batch(claims) = &command else { panic!("it is a batch") };
    assert!(claims.len() > 1 && claims.iter().all(|claim| claim.signed.voucher.channel == here()));
    assert_eq!(vector("batch"), of_cell(expected.reference(0).unwrap()));
    let statement = hex::decode(vector("operator_order")["bytes"].as_str().unwrap()).unwrap();
    let statement = OperatorStatement::from_bytes(&statement).unwrap();
    assert_eq!((statement.number, statement.contract, statement.valid_until_s), (7, here().address, 1_800_000_000));
    assert_eq!(statement.command.0, hash_of(expected.reference(0).unwrap()));
    let body = order(command).sign(&key).unwrap();
    let (_, _, read, signature) = OperatorOrder::read(&body).unwrap();
    assert_eq!(read, batch(), "what is signed is what is read");
    assert_eq!(
        OperatorStatement { command: Digest(hash_of(body.reference(0).unwrap())), ..statement }.verify(&key.node_id(), &signature),
        Ok(())
    );
}

#[test]
fn a_batch_has_a_claim_and_no_more_than_a_transaction_sends() {
    let Command::Batch(claims) = batch() else { panic!("it is a batch") };
    let order = |count: usize| OperatorOrder {
        network: NetworkId::DEVNET,
        contract: here().address,
        number: 0,
        valid_until_s: 1,
        command: Command::Batch(claims.iter().copied().cycle().take(count).collect()),
    };
    let sign = |count| order(count).sign(&OperatorKey::from_seed(&[1; 32]));
    assert!(sign(0).is_err() && sign(BATCH_MAX + 1).is_err());
    let (_, _, read, _) = OperatorOrder::read(&sign(BATCH_MAX).unwrap()).unwrap();
    assert_eq!(read, order(BATCH_MAX).command);
}

#[test]
fn the_terms_have_the_bytes_of_their_vectors() {
    let initial = provider_terms().initial_data().unwrap();
    let terms = initial.reference(3).unwrap();
    assert_eq!(vector("provider_terms"), of_cell(terms));
    assert_eq!(vector("network_terms"), of_cell(terms.reference(0).unwrap()));
}

#[test]
fn every_vector_file_is_read() {
    let directory = format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let others = [
        "addresses",
        "alive",
        "allocate",
        "attestation",
        "attestation_64",
        "batch",
        "bid",
        "channel",
        "close_epoch",
        "fee",
        "fee_in_cocoon",
        "execute",
        "genesis",
        "governor",
        "introduce_governor",
        "introduce_registry",
        "introduce_rewards",
        "lengthen",
        "lock",
        "lock_cocoon",
        "propose",
        "prove_auditors",
        "registry",
        "rewards",
        "stop",
        "tell_auditors",
        "tell_key",
        "tell_parameter",
        "unlock",
        "vote",
        "jetton_burn",
        "jetton_transfer",
        "jetton_transfer_quiet",
        "jetton_wallet",
        "key_set",
        "network_terms",
        "operator_message",
        "operator_order",
        "pay_treasury",
        "provider",
        "provider_terms",
        "vault",
    ];
    let names = messages().into_iter().map(|(name, _)| name).chain(provider_messages().into_iter().map(|(name, _)| name));
    let names = names.chain(notices().into_iter().map(|(name, _)| name));
    let names = names.chain(actions().into_iter().map(|(name, _)| name)).chain(others);
    let mut known: Vec<_> = names.map(|name| format!("{name}.json")).collect();
    known.sort();
    assert_eq!(found, known);
}
