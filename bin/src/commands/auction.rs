//! `swarm auction`: the network's fees, sold for COCOON that is burned.

use std::borrow::Cow;

use cocoon_market::amount::{BPS_WHOLE, NANO};
use cocoon_market::{Amount, AmountError, ContractAddress};
use cocoon_settlement::chain::{Address, Bounce, Chain};
use cocoon_settlement::contract::{ContractMessage, Notice, Purpose, VaultData, VaultMessage};
use cocoon_settlement::economy::auction::{BID_MIN, BidError, Fill, Rate};
use cocoon_settlement::settler::{NetworkContracts, Placed, ProviderCheckError, ProviderView, verify_contract};
use serde::Serialize;

use super::blocking;
use super::looking::Look;
use super::telling::{Ask, Course, Scene, TellError, account_of, tell};
use super::token::{ask_wallet, with_enough};
use crate::cli::{AuctionArgs, AuctionCommand};
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{cocoon_text, percent_text, span_text, time_text, ton_text};
use crate::wiring::desk::DeskError;

/// Why nothing is sold, or nothing can be paid.
#[derive(Debug, thiserror::Error)]
enum AuctionError {
    #[error("it would buy nothing")]
    Bid(#[source] BidError),
    #[error("the bid buys {} now, which is less than {}", ton_text(*buys), ton_text(*least))]
    Least { buys: Amount, least: Amount },
    #[error("the least of {} is more than any vault can have", ton_text(*.0))]
    Beyond(Amount),
    #[error("a fee is paid ahead with {} at least", cocoon_text(BID_MIN))]
    Small,
    #[error("the epoch cannot be closed before {}, in {}", time_text(*from_s), span_text(*left_s))]
    Running { from_s: u64, left_s: u64 },
    #[error("{} is no provider's contract of this network", at.friendly(Bounce::Yes))]
    NoProvider {
        at: Address,
        #[source]
        source: ProviderCheckError,
    },
}

impl NextStep for AuctionError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Bid(BidError::TooLittle { .. }) => format!("more: {} at least", cocoon_text(BID_MIN)).into(),
            Self::Bid(_) => "swarm auction, which says when the next one can be opened".into(),
            Self::Least { .. } => "a smaller --least, or later: the rate falls until the auction ends".into(),
            Self::Beyond(_) => "a smaller --least".into(),
            Self::Small => "more".into(),
            Self::Running { .. } => "again after that".into(),
            Self::NoProvider { .. } => "the address of a contract, which its owner sees with swarm stake".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Beyond(_) | Self::Small => Exit::Usage,
            Self::Bid(_) | Self::Least { .. } | Self::Running { .. } | Self::NoProvider { .. } => Exit::Failed,
        }
    }
}

/// Runs `swarm auction`.
///
/// # Errors
/// No keys, no chain, no auction, or a contract that refuses.
pub async fn run(context: &Context, args: AuctionArgs) -> Result<(), Failure> {
    match args.command {
        None => {
            let context = context.clone();
            blocking(move || show(&context)).await
        }
        Some(AuctionCommand::Bid { amount, least, sending }) => {
            let least = least.unwrap_or_default();
            let ask = move |scene: &Scene| ask_to_bid(scene, amount, least);
            tell(context, sending, "bid", ask, move |scene, course| Ok(Bought::of(scene, course, amount)), Bought::text).await
        }
        Some(AuctionCommand::Close { sending }) => {
            tell(context, sending, "closed", ask_to_close, |scene, _| after(scene), State::text).await
        }
        Some(AuctionCommand::Credit { amount, provider, sending }) => {
            let provider = provider.map(account_of).transpose()?;
            let ask = move |scene: &Scene| ask_to_credit(scene, amount, provider);
            tell(context, sending, "credited", ask, move |scene, _| Credit::of(scene, provider), Credit::text).await
        }
    }
}

/// The auction as it is shown.
#[derive(Clone, Debug, Serialize)]
struct State {
    vault: Address,
    /// The open epoch; what it books is sold in the next.
    epoch: u32,
    opened_s: u64,
    /// From when on it can be closed.
    closes_s: u64,
    /// Fees of it so far, and what waits to be sold.
    fees_nanoton: Amount,
    waiting_nanoton: Amount,
    /// On sale since the epoch was opened, and what of it nobody bought yet.
    lot_nanoton: Amount,
    unsold_nanoton: Amount,
    /// Paid for the rest.
    paid_nanococoon: Amount,
    /// COCOON for a whole TON now; none when the auction is over, or not begun.
    rate_nanococoon: Option<Amount>,
    /// What that was at the end of the last one, and the median of the last seven.
    recorded_nanococoon: Amount,
    median_nanococoon: Amount,
    /// When the auction is over.
    ends_s: u64,
    discount_bps: u16,
    seen_at_s: u64,
}

impl State {
    fn of(vault: &Placed<VaultData>) -> Result<Self, AmountError> {
        let (data, opened_s) = (&vault.data, u64::from(vault.data.epoch.opened_s));
        Ok(Self {
            vault: Address::from(vault.at),
            epoch: data.epoch.number,
            opened_s,
            closes_s: data.closes_s(),
            fees_nanoton: data.epoch.fees,
            waiting_nanoton: data.burn,
            lot_nanoton: data.auction.lot,
            unsold_nanoton: data.unsold,
            paid_nanococoon: data.auction.paid,
            rate_nanococoon: data.auction_now().rate(vault.seen_at_s)?.map(Rate::per_ton),
            recorded_nanococoon: data.auction.recorded.last().per_ton(),
            median_nanococoon: data.auction.recorded.median().per_ton(),
            ends_s: opened_s.saturating_add(data.auction.duration_s.into()),
            discount_bps: data.auction.discount_bps,
            seen_at_s: vault.seen_at_s,
        })
    }

    fn text(&self) -> String {
        let left_s = |at_s: u64| at_s.saturating_sub(self.seen_at_s);
        let rate = match self.rate_nanococoon {
            Some(rate) => format!("{} for a TON, falling for another {}", cocoon_text(rate), span_text(left_s(self.ends_s))),
            None if self.epoch == 0 => "none before the first epoch is closed".to_owned(),
            None => "the auction is over".to_owned(),
        };
        let close = match left_s(self.closes_s) {
            0 => "swarm auction close ends it now".to_owned(),
            left_s => format!("it can be closed from {} on, in {}", time_text(self.closes_s), span_text(left_s)),
        };
        [
            format!("vault    {}", self.vault.friendly(Bounce::Yes)),
            format!("lot      {}, of which {} is not sold", ton_text(self.lot_nanoton), ton_text(self.unsold_nanoton)),
            format!("rate     {rate}"),
            format!("paid     {}, which is burned when the epoch ends", cocoon_text(self.paid_nanococoon)),
            format!("median   {} for a TON in the last seven auctions", cocoon_text(self.median_nanococoon)),
            format!("credit   a fee paid ahead costs {} less than that", percent_text(self.discount_bps)),
            format!("epoch    {}: {} of fees; {close}", self.epoch, ton_text(self.fees_nanoton)),
            format!("next     {} and what is left", ton_text(self.waiting_nanoton)),
        ]
        .join("\n")
    }
}

/// Shows the auction. It needs the chain alone, so that it can be asked while a node runs.
fn show(context: &Context) -> Result<(), Failure> {
    let Look { network, .. } = Look::open(&context.config()?)?;
    context.out().result(&state(&network)?, State::text);
    Ok(())
}

fn state(network: &NetworkContracts) -> Result<State, TellError> {
    Ok(State::of(network.vault()).map_err(DeskError::from)?)
}

fn after(scene: &Scene) -> Result<State, Failure> {
    Ok(state(&scene.network()?)?)
}

/// What a bid would buy now.
fn fill(vault: &Placed<VaultData>, amount: Amount, least: Amount) -> Result<Fill, AuctionError> {
    let fill = vault.data.auction_now().bid(amount, vault.seen_at_s).map_err(AuctionError::Bid)?;
    if fill.bought < least { Err(AuctionError::Least { buys: fill.bought, least }) } else { Ok(fill) }
}

fn ask_to_bid(scene: &Scene, amount: Amount, least: Amount) -> Result<Ask, Failure> {
    let network = with_enough(scene, amount)?;
    let Fill { bought, burned, change } = fill(network.vault(), amount, least)?;
    let least = u64::try_from(least.nano()).map_err(|_| AuctionError::Beyond(least))?;
    let back = if change.is_zero() { String::new() } else { format!(", and {} would come back", cocoon_text(change)) };
    let changes = format!("{} would buy about {}{back}", cocoon_text(burned), ton_text(bought));
    let to = network.vault().at;
    ask_wallet(scene, &network, ContractMessage::Move { amount, to, purpose: Purpose::Bid { least } }, changes)
}

/// What a bid bought.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bought {
    bought_nanoton: Amount,
    paid_nanococoon: Amount,
    /// What came back of the bid.
    back_nanococoon: Amount,
    /// Whether the chain showed all of it in time.
    known: bool,
}

impl Bought {
    fn of(scene: &Scene, course: &Course, amount: Amount) -> Self {
        let told = course.notices(scene.owner()).find_map(|notice| match notice {
            Notice::Bought { bought, paid } => Some((bought, paid)),
            _ => None,
        });
        let (bought_nanoton, paid_nanococoon) = told.unwrap_or_default();
        let known = course.is_whole() || told.is_some();
        Self { bought_nanoton, paid_nanococoon, back_nanococoon: amount.saturating_sub(paid_nanococoon), known }
    }

    fn text(&self) -> String {
        let Self { bought_nanoton, paid_nanococoon, back_nanococoon, known } = self;
        if !known {
            return "The bid is on its way; swarm token and swarm wallet balance show what became of it".to_owned();
        }
        if bought_nanoton.is_zero() {
            return format!("The bid bought nothing, and all {} came back", cocoon_text(*back_nanococoon));
        }
        let back = if back_nanococoon.is_zero() { String::new() } else { format!("; {} came back", cocoon_text(*back_nanococoon)) };
        format!("Bought {} for {}{back}", ton_text(*bought_nanoton), cocoon_text(*paid_nanococoon))
    }
}

fn ask_to_close(scene: &Scene) -> Result<Ask, Failure> {
    let network = scene.network()?;
    let vault = network.vault();
    let data = &vault.data;
    let from_s = data.closes_s();
    let left_s = from_s.saturating_sub(vault.seen_at_s);
    if left_s > 0 {
        return Err(AuctionError::Running { from_s, left_s }.into());
    }
    let changes = format!(
        "{} that was paid would be burned, and {} of fees would go on sale beside {} that nobody bought",
        cocoon_text(data.auction.unburned),
        ton_text(data.burn),
        ton_text(data.unsold)
    );
    Ok(Ask::message(scene, &network, None, vault.at, ContractMessage::Vault(VaultMessage::CloseEpoch), changes)?)
}

/// What so much COCOON counts as, when it pays a fee ahead: in TON, at the median rate less the discount.
fn credit_of(data: &VaultData, amount: Amount) -> Option<Amount> {
    let rate = data.auction.recorded.median().per_ton().nano();
    let whole = amount.nano().checked_mul(NANO)?.checked_div(rate)?;
    let share = u128::from(BPS_WHOLE).checked_sub(data.auction.discount_bps.into())?;
    Some(Amount::from_nano(whole.checked_mul(BPS_WHOLE.into())?.checked_div(share)?))
}

/// A provider's contract of this network, whoever it belongs to.
pub(super) fn provider_at(chain: &dyn Chain, network: &NetworkContracts, at: ContractAddress) -> Result<ProviderView, Failure> {
    let account = chain.account(&Address::from(at))?;
    let view = verify_contract(&account, at, network.terms());
    Ok(view.map_err(|source| AuctionError::NoProvider { at: Address::from(at), source })?)
}

fn ask_to_credit(scene: &Scene, amount: Amount, provider: Option<ContractAddress>) -> Result<Ask, Failure> {
    if amount < BID_MIN {
        return Err(AuctionError::Small.into());
    }
    let network = with_enough(scene, amount)?;
    let provider = match provider {
        None => scene.own_contract()?.contract,
        Some(at) => provider_at(scene.chain(), &network, at)?.contract,
    };
    let counts = credit_of(&network.vault().data, amount).unwrap_or_default();
    let changes = format!(
        "{} would be burned, and {} of later fees of {} would count as paid",
        cocoon_text(amount),
        ton_text(counts),
        Address::from(provider).friendly(Bounce::Yes)
    );
    let to = network.vault().at;
    ask_wallet(scene, &network, ContractMessage::Move { amount, to, purpose: Purpose::Credit { provider } }, changes)
}

/// What a provider has paid ahead.
#[derive(Clone, Debug, Serialize)]
struct Credit {
    provider: Address,
    credit_nanoton: Amount,
}

impl Credit {
    fn of(scene: &Scene, provider: Option<ContractAddress>) -> Result<Self, Failure> {
        let view = match provider {
            None => scene.own_contract()?,
            Some(at) => provider_at(scene.chain(), &scene.network()?, at)?,
        };
        Ok(Self { provider: Address::from(view.contract), credit_nanoton: view.data.rewards.credit })
    }

    fn text(&self) -> String {
        format!("{} of fees of {} are paid ahead", ton_text(self.credit_nanoton), self.provider.friendly(Bounce::Yes))
    }
}

#[cfg(test)]
mod tests {
    use cocoon_settlement::contract::{Sale, VaultEpoch};

    use super::*;
    use crate::config::devnet_founding;

    const OPENED_S: u32 = 1_800_000_000;

    fn whole(whole: u128) -> Amount {
        Amount::from_nano(whole * NANO)
    }

    /// An auction of 7 TON, half a minute after it was opened.
    fn vault() -> Placed<VaultData> {
        let mut data = VaultData::new(devnet_founding().unwrap().vault).unwrap();
        data.epoch = VaultEpoch { number: 1, opened_s: OPENED_S, fees: whole(2) };
        (data.unsold, data.burn) = (whole(7), whole(1));
        data.auction = Sale { lot: whole(8), duration_s: 60, ..data.auction };
        Placed { at: ContractAddress([1; 32]), data, balance: whole(9), seen_at_s: u64::from(OPENED_S) + 30 }
    }

    #[test]
    fn an_auction_is_shown_with_its_rate_and_its_end() {
        let state = State::of(&vault()).unwrap();
        assert_eq!(state.rate_nanococoon, Some(whole(50)), "halfway it is what was recorded last");
        let text = state.text();
        assert!(text.contains("8 TON, of which 7 TON is not sold"), "{text}");
        assert!(text.contains("50 COCOON for a TON, falling for another 30 s") && text.contains("10% less"), "{text}");
        let over = State::of(&Placed { seen_at_s: u64::from(OPENED_S) + 60, ..vault() }).unwrap();
        assert!(over.rate_nanococoon.is_none() && over.text().contains("swarm auction close ends it now"), "{}", over.text());
    }

    #[test]
    fn a_bid_is_checked_against_the_moment() {
        let buys = |amount, least| fill(&vault(), amount, least);
        assert_eq!(buys(whole(100), whole(2)).unwrap().bought, whole(2));
        assert!(matches!(buys(whole(100), whole(3)), Err(AuctionError::Least { .. })));
        assert_eq!(buys(whole(500), Amount::ZERO).unwrap(), Fill { bought: whole(7), burned: whole(350), change: whole(150) });
        assert!(matches!(buys(Amount::from_nano(1), Amount::ZERO), Err(AuctionError::Bid(BidError::TooLittle { .. }))));
        let late = Placed { seen_at_s: u64::from(OPENED_S) + 60, ..vault() };
        let error = fill(&late, whole(100), Amount::ZERO).unwrap_err();
        assert!(matches!(error, AuctionError::Bid(BidError::NotOpen)) && error.next_step().contains("swarm auction"), "{error}");
    }

    #[test]
    fn a_fee_paid_ahead_costs_a_tenth_less() {
        assert_eq!(credit_of(&vault().data, whole(45)), Some(whole(1)));
    }

    #[test]
    fn a_bid_says_what_it_bought() {
        let bought = Bought { bought_nanoton: whole(2), paid_nanococoon: whole(100), back_nanococoon: Amount::ZERO, known: true };
        assert_eq!(bought.text(), "Bought 2 TON for 100 COCOON");
        let nothing = Bought { bought_nanoton: Amount::ZERO, paid_nanococoon: Amount::ZERO, back_nanococoon: whole(100), known: true };
        assert!(nothing.text().contains("all 100 COCOON came back"), "{}", nothing.text());
        assert!(Bought { known: false, ..nothing }.text().contains("on its way"));
    }
}
