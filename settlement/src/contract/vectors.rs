//! Golden vectors: one file per message, read by this crate and by the contracts' build.

use cocoon_market::ids::{ContractAddress, Digest};
use cocoon_market::{Amount, ChannelRef, CooperativeClose, NetworkId, Signature, Voucher};
use serde_json::{Value, json};
use tonlib_core::cell::BagOfCells;

use super::cells::hash_of;
use super::*;
use crate::contract::channel::tests_terms;

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

fn boc(cell: &tonlib_core::cell::ArcCell) -> String {
    hex::encode(BagOfCells::new(std::slice::from_ref(cell)).serialize(false).unwrap())
}

#[test]
fn every_message_has_the_bytes_of_its_vector() {
    for (name, message) in messages() {
        let cell = message.to_cell(QUERY).unwrap();
        assert_eq!(vector(name), json!({ "hash": hex::encode(hash_of(&cell)), "boc": boc(&cell) }), "{name}");
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
    assert_eq!(
        vector("channel"),
        json!({
            "initial_data": boc(&initial),
            "initial_data_hash": hex::encode(hash_of(&initial)),
            "data": boc(&cell),
            "data_hash": hex::encode(hash_of(&cell)),
        })
    );
    assert_eq!(ChannelData::from_cell(&cell).unwrap(), data);
}

#[test]
fn every_vector_file_is_read() {
    let directory = format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut known: Vec<_> = messages().iter().map(|(name, _)| format!("{name}.json")).chain(["channel.json".to_owned()]).collect();
    known.sort();
    assert_eq!(found, known);
}
