//! The token's rules as pure machines, in whole numbers: what the economy's contracts will decide, said once and tested alone.
//!
//! Time comes in as seconds since the Unix epoch, an *epoch* is a number that its contract counts, and money is [`Amount`]: TON where an
//! auction or a collateral says so, COCOON everywhere else. All divisions round down, against whoever asks; what is left over stays
//! where it was.
//!
//! | module | decides |
//! |---|---|
//! | [`genesis`] | how the cap is divided at the start |
//! | [`emission`] | how much of the reserve an epoch may pay, and when that halves |
//! | [`reward`] | what verified usage is paid out of the reserve |
//! | [`vesting`] | how much of what somebody earned is theirs by now |
//! | [`auction`] | what burned fees fetch: TON for COCOON at a falling rate |
//! | [`price`] | the published reference price of a class of work |
//! | [`collateral`] | what stands behind how many open jobs |
//! | [`locks`] | what is locked for how long, and the weight it votes with |
//! | [`parameter`] | what a vote may change, how far and how often |
//! | [`votes`] | how a change is decided, and when it may be carried out |
//!
//! Sources and reasons: `docs/economy.md`.

pub mod auction;
pub mod collateral;
pub mod emission;
pub mod genesis;
pub mod locks;
pub mod parameter;
pub mod price;
pub mod reward;
pub mod vesting;
pub mod votes;

use cocoon_market::{Amount, AmountError};

const DAY_S: u32 = 86_400;

/// An amount halved so many times, rounded down.
fn halved(amount: Amount, times: u32) -> Amount {
    Amount::from_nano(amount.nano().checked_shr(times).unwrap_or(0))
}

/// `amount * part / whole`, rounded down.
fn portion(amount: Amount, part: u128, whole: u128) -> Result<Amount, AmountError> {
    let product = amount.nano().checked_mul(part).ok_or(AmountError::Overflow)?;
    product.checked_div(whole).map(Amount::from_nano).ok_or(AmountError::Overflow)
}
