//! Local experience with providers: what this node saw for itself, and nobody's word.
//!
//! Successes and failures are weighed in 1024ths of a job and lose half of their weight every week, so an old fault is
//! forgiven and an old merit spent. A provider nobody has met counts as one that fails 2 jobs in 100; twenty jobs of one's
//! own outweigh that guess.
//!
//! ```text
//! failure rate = (failures + 0.4) / (successes + failures + 20)
//! reliability  = 1 + 7 * failure rate          1.14 for a stranger, 1.0 at best, 8 at worst
//! ```

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::time::Timestamp;

/// Providers remembered. A requester meets a few dozen; matching looks each of them up, which must stay a small part of
/// its millisecond.
pub const EXPERIENCE_MAX: usize = 1024;

/// One, in the fixed-point numbers of reputation and matching.
pub const ONE_1024: u64 = 1024;

/// The time in which experience loses half of its weight.
pub const HALF_LIFE_MS: u64 = 7 * 86_400_000;

/// Weight of the guess about a stranger: twenty jobs.
const PRIOR_WEIGHT: u64 = 20 * ONE_1024;

/// Failures in that guess: 0.4 jobs, two in a hundred.
const PRIOR_FAILURES: u64 = 410;

/// How much dearer a provider gets that always fails: eight times, because a failed job costs its prompt twice and a
/// person's patience.
const FAILURE_COST: u64 = 7;

/// The most that successes or failures weigh: a thousand jobs. More would take months to turn.
const WEIGHT_MAX: u64 = 1000 * ONE_1024;

/// What is remembered of one provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Weight of the jobs that went well, in 1024ths.
    good: u64,
    /// Weight of the jobs that did not.
    bad: u64,
    /// Moving average of the time to the first tokens.
    first_chunk_ms: Option<u64>,
    /// Moving average of the speed after that, in thousandths of a token a second.
    tokens_per_s_milli: Option<u64>,
    /// Whether it broke a rule that honest software keeps.
    barred: bool,
    /// When it was last dealt with.
    seen: Timestamp,
}

/// How a job went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experienced {
    /// The answer was complete.
    Succeeded {
        /// Time to the first tokens.
        first_chunk_ms: u64,
        /// Tokens after those.
        tokens: u64,
        /// The time they took.
        ms: u64,
    },
    /// It was refused late, stopped, or too slow.
    Failed,
    /// The provider broke a rule that honest software keeps.
    Cheated,
}

impl Record {
    /// The factor by which its price counts as higher, in 1024ths.
    pub fn reliability_1024(&self, now: Timestamp) -> u64 {
        let (good, bad) = self.decayed(now);
        let weight = good.saturating_add(bad).saturating_add(PRIOR_WEIGHT);
        let rate_1024 = bad.saturating_add(PRIOR_FAILURES).saturating_mul(ONE_1024).checked_div(weight).unwrap_or(ONE_1024);
        ONE_1024.saturating_add(rate_1024.saturating_mul(FAILURE_COST))
    }

    /// The measured time to the first tokens.
    pub const fn first_chunk_ms(&self) -> Option<u64> {
        self.first_chunk_ms
    }

    /// The measured speed, in thousandths of a token a second.
    pub const fn tokens_per_s_milli(&self) -> Option<u64> {
        self.tokens_per_s_milli
    }

    /// Whether it is never dealt with again.
    pub const fn is_barred(&self) -> bool {
        self.barred
    }

    /// Weights at `now`: halved for each whole half-life.
    fn decayed(&self, now: Timestamp) -> (u64, u64) {
        let halvings = u32::try_from(now.since_ms(self.seen).checked_div(HALF_LIFE_MS).unwrap_or(0)).unwrap_or(u32::MAX);
        (self.good.checked_shr(halvings).unwrap_or(0), self.bad.checked_shr(halvings).unwrap_or(0))
    }

    fn learn(&mut self, now: Timestamp, experienced: Experienced) {
        (self.good, self.bad) = self.decayed(now);
        self.seen = self.seen.max(now);
        match experienced {
            Experienced::Succeeded { first_chunk_ms, tokens, ms } => {
                self.good = self.good.saturating_add(ONE_1024).min(WEIGHT_MAX);
                self.first_chunk_ms = Some(averaged(self.first_chunk_ms, first_chunk_ms));
                if let Some(speed) = tokens.saturating_mul(1_000_000).checked_div(ms).filter(|_| tokens > 0) {
                    self.tokens_per_s_milli = Some(averaged(self.tokens_per_s_milli, speed));
                }
            }
            Experienced::Failed => self.bad = self.bad.saturating_add(ONE_1024).min(WEIGHT_MAX),
            Experienced::Cheated => self.barred = true,
        }
    }
}

/// Three parts old, one part new.
fn averaged(old: Option<u64>, new: u64) -> u64 {
    old.map_or(new, |old| old.saturating_mul(3).saturating_add(new).checked_div(4).unwrap_or(new))
}

/// All that this node remembers of providers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Experience {
    records: BTreeMap<NodeId, Record>,
}

impl Experience {
    /// What is remembered of a provider.
    pub fn get(&self, provider: &NodeId) -> Option<&Record> {
        self.records.get(provider)
    }

    /// All that are remembered.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Record)> {
        self.records.iter()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Remembers how a job went.
    pub fn learn(&mut self, now: Timestamp, provider: NodeId, experienced: Experienced) {
        if !self.records.contains_key(&provider) && self.records.len() >= EXPERIENCE_MAX {
            self.forget_one(now);
        }
        self.records.entry(provider).or_default().learn(now, experienced);
    }

    /// Makes room: whoever matters least. A barred provider matters more than any other.
    fn forget_one(&mut self, now: Timestamp) {
        let matters = |record: &Record| {
            let (good, bad) = record.decayed(now);
            (record.barred, good.saturating_add(bad), record.seen)
        };
        if let Some(least) = self.records.iter().min_by_key(|(_, record)| matters(record)).map(|(node, _)| *node) {
            self.records.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NOW;

    const GOOD: Experienced = Experienced::Succeeded { first_chunk_ms: 400, tokens: 100, ms: 2000 };

    fn node(n: u32) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        NodeId(bytes)
    }

    fn after(events: &[Experienced]) -> Record {
        let mut experience = Experience::default();
        for event in events {
            experience.learn(NOW, node(1), *event);
        }
        *experience.get(&node(1)).unwrap()
    }

    #[test]
    fn failures_make_a_provider_dearer_and_successes_cheaper() {
        let stranger = Record::default().reliability_1024(NOW);
        assert_eq!(stranger, 1024 + 7 * 20);
        assert_eq!(after(&[GOOD; 20]).reliability_1024(NOW), 1024 + 7 * 10);
        assert_eq!(after(&[Experienced::Failed; 20]).reliability_1024(NOW), 1024 + 7 * 522);
        assert!(after(&[GOOD; 5000]).reliability_1024(NOW) >= 1024);
        assert!(after(&[Experienced::Failed; 5000]).reliability_1024(NOW) <= 8 * 1024);
    }

    #[test]
    fn experience_fades() {
        let bad = after(&[Experienced::Failed; 4]);
        assert_eq!(HALF_LIFE_MS, 604_800_000, "a week");
        let at = |weeks: u64| bad.reliability_1024(NOW.plus_ms(weeks * HALF_LIFE_MS));
        assert_eq!(bad.reliability_1024(NOW.plus_ms(HALF_LIFE_MS - 1)), at(0));
        assert_eq!(at(1), after(&[Experienced::Failed; 2]).reliability_1024(NOW));
        assert_eq!(at(2), after(&[Experienced::Failed]).reliability_1024(NOW));
        assert_eq!(at(1000), Record::default().reliability_1024(NOW));
    }

    #[test]
    fn weights_have_a_ceiling() {
        let mut turned = after(&[GOOD; 5000]);
        let before = turned.reliability_1024(NOW);
        for _ in 0..100 {
            turned.learn(NOW, Experienced::Failed);
        }
        assert!(
            turned.reliability_1024(NOW) > before + 7 * 80,
            "a tenth of failures shows after a thousand jobs, however many went before"
        );
        let fallen = after(&[Experienced::Failed; 5000]);
        let mut risen = fallen;
        for _ in 0..1000 {
            risen.learn(NOW, GOOD);
        }
        assert!(risen.reliability_1024(NOW) < 1024 + 7 * 530);
    }

    #[test]
    fn speed_is_a_moving_average_of_what_was_measured() {
        let mut record = after(&[GOOD]);
        assert_eq!((record.first_chunk_ms(), record.tokens_per_s_milli()), (Some(400), Some(50_000)));
        record.learn(NOW, Experienced::Succeeded { first_chunk_ms: 800, tokens: 100, ms: 1000 });
        assert_eq!((record.first_chunk_ms(), record.tokens_per_s_milli()), (Some(500), Some(62_500)));
        record.learn(NOW, Experienced::Succeeded { first_chunk_ms: 500, tokens: 0, ms: 10 });
        record.learn(NOW, Experienced::Succeeded { first_chunk_ms: 500, tokens: 1, ms: 0 });
        assert_eq!(record.tokens_per_s_milli(), Some(62_500), "an answer of one chunk says nothing about speed");
    }

    #[test]
    fn it_is_bounded_and_forgets_who_matters_least() {
        let mut experience = Experience::default();
        experience.learn(NOW, node(0), Experienced::Cheated);
        for n in 1..u32::try_from(EXPERIENCE_MAX).unwrap() {
            experience.learn(NOW.plus_ms(n.into()), node(n), GOOD);
        }
        experience.learn(NOW.plus_ms(5000), node(1), GOOD);
        experience.learn(NOW.plus_ms(5000), node(5000), GOOD);
        assert_eq!(experience.len(), EXPERIENCE_MAX);
        assert!(experience.get(&node(0)).is_some_and(Record::is_barred), "who cheated is not forgotten");
        assert!(experience.get(&node(1)).is_some());
        assert!(experience.get(&node(2)).is_none(), "one job, the longest ago");
        experience.learn(NOW.plus_ms(6000), node(5000), GOOD);
        assert!(experience.get(&node(3)).is_some(), "a known one takes nobody's place");
        assert!(!experience.is_empty() && Experience::default().is_empty());
        assert_eq!(experience.iter().count(), EXPERIENCE_MAX);
    }
}
