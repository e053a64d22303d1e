//! Which vouchers to draw now: a pure decision over what a provider's channels owe.
//!
//! A claim costs the chain's fees, so it waits until they are a small part of what it draws; and it does not wait when a channel is
//! closing, or when more is undrawn in all than the owner wants to have at risk.

use cocoon_market::{Amount, SignedVoucher};

use crate::contract::order::BATCH_MAX;

/// What a claim costs within a batch, all messages included, at the prices of 2026. `docs/gas.md` has the measurement.
pub const CLAIM_COST: Amount = Amount::from_nano(1_500_000);

/// What a batch costs beside its claims: the operator's message, passing fees and earnings on, and what the vault answers.
pub const BATCH_COST: Amount = Amount::from_nano(2_200_000);

/// When a provider claims: its owner's two figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// The most that fees may be of what is drawn, in basis points.
    pub fee_bps_max: u16,
    /// The most that may be paid by voucher and not drawn, of all channels together.
    pub undrawn_max: Amount,
}

impl ClaimPolicy {
    /// Draw whatever is worth more than its claim costs.
    pub const EVERYTHING: Self = Self { fee_bps_max: 10_000, undrawn_max: Amount::ZERO };
}

/// A channel with something to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimable {
    /// The best voucher.
    pub voucher: SignedVoucher,
    /// What it would draw.
    pub drawable: Amount,
    /// Whether this is the last chance.
    pub is_closing: bool,
}

/// The vouchers to draw in one batch now: those of closing channels first, then the largest. None is drawn for less than it costs.
pub fn choose(mut channels: Vec<Claimable>, policy: ClaimPolicy) -> Vec<SignedVoucher> {
    channels.retain(|channel| channel.drawable > CLAIM_COST);
    let undrawn = Amount::sum(channels.iter().map(|channel| channel.drawable)).unwrap_or(Amount::MAX);
    let is_too_much = undrawn > policy.undrawn_max;
    let is_pressing = is_too_much || channels.iter().any(|channel| channel.is_closing);
    if !is_too_much {
        channels.retain(|channel| channel.is_closing || is_cheap(CLAIM_COST, channel.drawable, policy));
    }
    channels.sort_by_key(|channel| (!channel.is_closing, std::cmp::Reverse(channel.drawable)));
    channels.truncate(BATCH_MAX);
    if !is_pressing && !is_cheap_in_all(&channels, policy) {
        return Vec::new();
    }
    channels.into_iter().map(|channel| channel.voucher).collect()
}

fn is_cheap_in_all(channels: &[Claimable], policy: ClaimPolicy) -> bool {
    let fees = Amount::sum(channels.iter().map(|_| CLAIM_COST).chain([BATCH_COST]));
    let drawn = Amount::sum(channels.iter().map(|channel| channel.drawable));
    matches!((fees, drawn), (Ok(fees), Ok(drawn)) if is_cheap(fees, drawn, policy))
}

/// Whether fees are so small a part of what is drawn.
fn is_cheap(fees: Amount, drawn: Amount, policy: ClaimPolicy) -> bool {
    let parts = |amount: Amount, times: u128| amount.nano().saturating_mul(times);
    parts(fees, 10_000) <= parts(drawn, u128::from(policy.fee_bps_max))
}

#[cfg(test)]
mod tests {
    use cocoon_market::ids::Digest;
    use cocoon_market::{ChannelRef, ContractAddress, NetworkId, Signature, Voucher};

    use super::*;

    const USUAL: ClaimPolicy = ClaimPolicy { fee_bps_max: 100, undrawn_max: Amount::from_nano(5_000_000_000) };

    fn channel(number: u8, drawable: u128, is_closing: bool) -> Claimable {
        let voucher = Voucher {
            channel: ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([number; 32]) },
            sequence: u64::from(number),
            cumulative: Amount::from_nano(drawable),
            receipts_root: Digest([0; 32]),
        };
        Claimable { voucher: SignedVoucher { voucher, signature: Signature([0; 64]) }, drawable: Amount::from_nano(drawable), is_closing }
    }

    fn chosen(channels: &[Claimable], policy: ClaimPolicy) -> Vec<u64> {
        choose(channels.to_vec(), policy).iter().map(|signed| signed.voucher.sequence).collect()
    }

    #[test]
    fn a_claim_waits_until_fees_are_the_part_of_it_that_its_owner_accepts() {
        // One claim and its batch cost 0.0037 TON: a hundredth of 0.37 TON.
        assert_eq!(chosen(&[channel(1, 369_999_999, false)], USUAL).len(), 0);
        assert_eq!(chosen(&[channel(1, 370_000_000, false)], USUAL), [1]);
        // Beside a large one, a claim alone has to be worth its own cost.
        let large = channel(1, 1_000_000_000, false);
        assert_eq!(chosen(&[large, channel(2, 149_999_999, false)], USUAL), [1]);
        assert_eq!(chosen(&[large, channel(2, 150_000_000, false)], USUAL), [1, 2]);
    }

    #[test]
    fn a_closing_channel_is_claimed_at_once_and_does_not_take_the_others_along() {
        assert_eq!(chosen(&[channel(1, 1_500_001, true), channel(2, 100_000_000, false)], USUAL), [1]);
        assert_eq!(chosen(&[channel(1, 200_000_000, false), channel(2, 10_000_000, true)], USUAL), [2, 1], "the closing one first");
    }

    #[test]
    fn nothing_is_drawn_for_less_than_it_costs() {
        assert_eq!(chosen(&[channel(1, 1_500_000, true)], USUAL).len(), 0);
        assert_eq!(chosen(&[channel(1, 1_500_000, false)], ClaimPolicy::EVERYTHING).len(), 0);
        assert_eq!(chosen(&[channel(1, 1_500_001, false)], ClaimPolicy::EVERYTHING), [1]);
        assert_eq!(chosen(&[], ClaimPolicy::EVERYTHING).len(), 0);
    }

    #[test]
    fn no_more_stays_undrawn_in_all_than_the_owner_accepts() {
        let small: Vec<_> = (1..=50).map(|number| channel(number, 100_000_000, false)).collect();
        assert_eq!(chosen(&small, USUAL).len(), 0, "5 TON in all");
        let more: Vec<_> = (1..=51).map(|number| channel(number, 100_000_000, false)).collect();
        assert_eq!(chosen(&more, USUAL).len(), 51);
    }

    #[test]
    fn a_batch_takes_the_largest_that_fit() {
        let many: Vec<_> = (0..=250).map(|number| channel(number, 1_000_000_000 + u128::from(number), false)).collect();
        let chosen = chosen(&many, USUAL);
        assert_eq!((chosen.len(), chosen[0], chosen[249]), (BATCH_MAX, 250, 1));
    }
}
