//! A provider's desk that is told anything at all, by any peer, at any time.
#![no_main]

use cocoon_market::agreement::NEGOTIATE_BYTES_MAX;
use cocoon_market::negotiation::{Answer, DESK_NEGOTIATIONS_PER_PEER_MAX, Seller};
use cocoon_market::{NegotiateRequest, OperatorKey, PeerId, ProviderDesk, Timestamp, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|messages: Vec<(u8, u32, Vec<u8>)>| {
    let seller = Seller { key: OperatorKey::from_seed(&[1; 32]), peer: PeerId(vec![1; 38]) };
    let mut desk = ProviderDesk::new(seller);
    let mut now = Timestamp(1_800_000_000_000);
    for (peer, wait_ms, bytes) in messages.into_iter().take(64) {
        now = now.plus_ms(wait_ms.into());
        let Ok(request) = codec::decode::<NegotiateRequest>(&bytes, NEGOTIATE_BYTES_MAX) else { continue };
        if let (Answer::CheckChannel(agreement), _) = desk.handle(now, &PeerId(vec![peer]), request) {
            let _ = desk.channel_checked(now, agreement, Ok(()));
        }
        assert!(desk.len() <= 256 * DESK_NEGOTIATIONS_PER_PEER_MAX);
    }
});
