//! Why nothing fits, and what would.

use std::collections::BTreeMap;
use std::fmt;

use crate::book::{Index, OfferEntry};
use crate::demand::Demand;
use crate::ids::NetworkId;
use crate::matching::CompactPrice;
use crate::offer::{Confidentiality, Tier};
use crate::price::PriceTable;
use crate::reputation::{Experience, ONE_1024};
use crate::time::Timestamp;

/// What one step down in verification counts against halving the context (512) or doubling the price (1024).
const TIER_STEP: u128 = 1024;

/// What one step down in confidentiality counts: more than any price up to three times as high.
const CONFIDENTIALITY_STEP: u128 = 2048;

/// What moving to another chain counts: it needs other money.
const NETWORK_STEP: u128 = 8192;

/// A part of a demand that excludes offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Constraint {
    /// The kind of work.
    Work,
    /// The chain.
    Network,
    /// The least verification.
    Tier,
    /// The least confidentiality.
    Confidentiality,
    /// The least context.
    Context,
    /// The least speed.
    Speed,
    /// The highest price.
    Price,
    /// Not to deal with who cheated.
    Barred,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Work => "kind of work",
            Self::Network => "network",
            Self::Tier => "tier",
            Self::Confidentiality => "confidentiality",
            Self::Context => "context",
            Self::Speed => "speed",
            Self::Price => "price",
            Self::Barred => "bad experience",
        })
    }
}

/// A change to a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Pay more.
    Price {
        /// The most that is paid now.
        from: PriceTable,
        /// The least that is enough.
        to: PriceTable,
    },
    /// Take less context.
    Context(u32),
    /// Take a slower one.
    Speed(u32),
    /// Take less verification.
    Tier(Tier),
    /// Take less confidentiality.
    Confidentiality(Confidentiality),
    /// Pay on another chain.
    Network(NetworkId),
}

impl fmt::Display for Change {
    /// What a person would do: `raise the output price to 0.004`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Price { from, to } => {
                let parts = [
                    (from.job, to.job, "price of a job"),
                    (from.input_per_mtok, to.input_per_mtok, "input price"),
                    (from.output_per_mtok, to.output_per_mtok, "output price"),
                ];
                let mut verb = "raise the";
                for (_, to, name) in parts.into_iter().filter(|(from, to, _)| from < to) {
                    write!(f, "{verb} {name} to {to}")?;
                    verb = " and the";
                }
                Ok(())
            }
            Self::Context(tokens) => write!(f, "accept a context of {tokens}"),
            Self::Speed(tokens_per_s) => write!(f, "accept {tokens_per_s} tokens a second"),
            Self::Tier(tier) => write!(f, "accept the tier {tier}"),
            Self::Confidentiality(level) => write!(f, "accept the confidentiality {level}"),
            Self::Network(network) => write!(f, "pay on {network}"),
        }
    }
}

/// How the offers for a model fare against a demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// Offers for the model that are not over.
    pub offers: usize,
    /// How many of them fit.
    pub fitting: usize,
    /// How many each constraint excludes. An offer that breaks two counts for both.
    pub excluded: BTreeMap<Constraint, usize>,
    /// When nothing fits: the smallest single change after which something would.
    pub change: Option<Change>,
}

impl fmt::Display for Why {
    /// `12 offers for this model; price excludes 12, tier 3; raise the output price to 0.004`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offers == 0 {
            return f.write_str("nobody offers this model");
        }
        write!(f, "{} offers for this model, {} fit", self.offers, self.fitting)?;
        let mut separator = "; excluded by";
        for (constraint, count) in &self.excluded {
            write!(f, "{separator} {constraint}: {count}")?;
            separator = ",";
        }
        match &self.change {
            Some(change) => write!(f, "; {change}"),
            None => Ok(()),
        }
    }
}

/// Counts what excludes the offers for a demand's model, and finds the smallest change when nothing fits. Reads every
/// offer for the model.
pub fn explain(index: &Index, demand: &Demand, experience: &Experience, now: Timestamp) -> Why {
    let mut why = Why::default();
    let mut nearest: Option<(u128, Constraint, Change)> = None;
    let items = index.shelves(&demand.model).flat_map(|(_, shelf)| shelf.items()).filter(|item| item.expires_at > now);
    for entry in items.filter_map(|item| index.entry(item.slot)) {
        why.offers = why.offers.saturating_add(1);
        let mut broken = broken(entry, demand, experience);
        let Some(first) = broken.next() else {
            why.fitting = why.fitting.saturating_add(1);
            continue;
        };
        count(&mut why.excluded, first);
        let mut only = true;
        for constraint in broken {
            count(&mut why.excluded, constraint);
            only = false;
        }
        if only && let Some((loss, change)) = change(first, entry, demand) {
            nearest = nearest.into_iter().chain([(loss, first, change)]).min_by_key(|(loss, first, _)| (*loss, *first));
        }
    }
    why.change = nearest.filter(|_| why.fitting == 0).map(|(_, _, change)| change);
    why
}

fn count(excluded: &mut BTreeMap<Constraint, usize>, constraint: Constraint) {
    let count = excluded.entry(constraint).or_default();
    *count = count.saturating_add(1);
}

/// The constraints that an offer breaks.
fn broken(entry: &OfferEntry, demand: &Demand, experience: &Experience) -> impl Iterator<Item = Constraint> {
    let limit = demand.price_max.as_ref().map(CompactPrice::ceiling);
    [
        (entry.work == demand.work, Constraint::Work),
        (entry.network == demand.network, Constraint::Network),
        (entry.tier >= demand.tier, Constraint::Tier),
        (entry.confidentiality >= demand.confidentiality, Constraint::Confidentiality),
        (entry.context_tokens >= demand.context_tokens, Constraint::Context),
        (entry.tokens_per_s >= demand.tokens_per_s, Constraint::Speed),
        (limit.is_none_or(|limit| entry.price.is_at_most(&limit)), Constraint::Price),
        (experience.get(&entry.provider).is_none_or(|record| !record.is_barred()), Constraint::Barred),
    ]
    .into_iter()
    .filter_map(|(kept, constraint)| (!kept).then_some(constraint))
}

/// The change that would let in an offer that breaks one constraint, and what it takes from the person, in 1024ths.
fn change(constraint: Constraint, entry: &OfferEntry, demand: &Demand) -> Option<(u128, Change)> {
    let share =
        |asked: u32, got: u32| u128::from(asked.saturating_sub(got)).saturating_mul(ONE_1024.into()).checked_div(asked.into()).unwrap_or(0);
    match constraint {
        Constraint::Price => {
            let from = demand.price_max?;
            let to = from.at_least(&entry.price.table());
            let (before, after) = (from.cost(demand.expected).ok()?.nano(), to.cost(demand.expected).ok()?.nano());
            let loss = after.saturating_sub(before).saturating_mul(ONE_1024.into()).checked_div(before.max(1))?;
            Some((loss, Change::Price { from, to }))
        }
        Constraint::Context => Some((share(demand.context_tokens, entry.context_tokens), Change::Context(entry.context_tokens))),
        Constraint::Speed => Some((share(demand.tokens_per_s, entry.tokens_per_s), Change::Speed(entry.tokens_per_s))),
        Constraint::Tier => {
            Some((TIER_STEP.saturating_mul(demand.tier.level().saturating_sub(entry.tier.level()).into()), Change::Tier(entry.tier)))
        }
        Constraint::Confidentiality => {
            let steps = demand.confidentiality.level().saturating_sub(entry.confidentiality.level());
            Some((CONFIDENTIALITY_STEP.saturating_mul(steps.into()), Change::Confidentiality(entry.confidentiality)))
        }
        Constraint::Network => Some((NETWORK_STEP, Change::Network(entry.network))),
        // Another model is wanted, or another command.
        Constraint::Work | Constraint::Barred => None,
    }
}
