//! The offer book at a million offers: insertions a second, and the time of a top-8 match.
//!
//! Measures the searchable layer ([`Index`]), which is what the book adds per offer; signatures are verified before and
//! cost the same whatever holds the offers. Times are processor time of the one thread. Beside each figure stands a
//! plain vector with a full scan, from the same run.
//!
//! `cargo bench -p cocoon-market --bench book [-- OFFERS]`

use std::hint::black_box;
use std::time::Duration;

use cocoon_market::book::{BookConfig, Index, OfferEntry};
use cocoon_market::matching::{CompactPrice, best_entries};
use cocoon_market::offer::{Confidentiality, Tier};
use cocoon_market::reputation::{EXPERIENCE_MAX, Experience, Experienced};
use rustix::time::{ClockId, clock_gettime};

use cocoon_market::{Amount, Demand, ModelId, NetworkId, NodeId, OfferId, PriceTable, Timestamp, Usage, WorkKind};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const TOP: usize = 8;
const MATCHES: usize = 2000;
const SCANS: usize = 20;

/// A small generator of its own: the same offers in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn id(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.next().to_le_bytes()));
        bytes
    }
}

/// How the offers of a market are spread.
#[derive(Clone, Copy)]
enum Market {
    /// Prices between one and four times the lowest, each of its own; speeds from 10 to 330.
    Spread,
    /// Prices within one part in a hundred of each other: a market that has settled.
    Settled,
    /// All the same.
    Equal,
}

impl Market {
    const ALL: [(Self, &str); 3] = [(Self::Spread, "spread"), (Self::Settled, "settled"), (Self::Equal, "equal")];

    fn offer(self, rng: &mut Rng) -> OfferEntry {
        let near = |rng: &mut Rng, price: u64, spread: u64| price + rng.below(spread + 1);
        let (job, input, output, tokens_per_s) = match self {
            Self::Spread => {
                (near(rng, 10_000, 30_000), near(rng, 10_000_000, 30_000_000), near(rng, 40_000_000, 120_000_000), 10 + rng.below(320))
            }
            Self::Settled => (near(rng, 10_000, 100), near(rng, 10_000_000, 100_000), near(rng, 40_000_000, 400_000), 90 + rng.below(20)),
            Self::Equal => (10_000, 10_000_000, 40_000_000, 100),
        };
        OfferEntry {
            id: OfferId(rng.id()),
            provider: NodeId(rng.id()),
            model: MODEL,
            work: WorkKind::Generate,
            network: NetworkId::DEVNET,
            tier: if rng.below(10) == 0 { Tier::Audited } else { Tier::Plain },
            confidentiality: Confidentiality::Open,
            price: CompactPrice { job, input, output },
            tokens_per_s: u32::try_from(tokens_per_s).unwrap_or(u32::MAX),
            context_tokens: 2048 << rng.below(3),
            sequence: 1,
            expires_at: NOW.plus_ms(1_000_000 + rng.below(2_600_000)),
        }
    }
}

const MODEL: ModelId = ModelId([7; 32]);

fn demand(rng: &mut Rng) -> Demand {
    let limit = PriceTable {
        job: Amount::from_nano(30_000),
        input_per_mtok: Amount::from_nano(30_000_000),
        output_per_mtok: Amount::from_nano(120_000_000),
    };
    Demand {
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        price_max: (rng.below(2) == 0).then_some(limit),
        expected: Usage { input_tokens: 16 << rng.below(10), output_tokens: 16 << rng.below(8) },
        tier: if rng.below(8) == 0 { Tier::Audited } else { Tier::Plain },
        confidentiality: Confidentiality::Open,
        context_tokens: 2048 << rng.below(3),
        tokens_per_s: if rng.below(4) == 0 { 95 } else { 0 },
    }
}

/// Half of what can be remembered, some of it bad.
fn experience(entries: &[OfferEntry], rng: &mut Rng) -> Experience {
    let mut experience = Experience::default();
    for _ in 0..EXPERIENCE_MAX / 2 {
        let at = usize::try_from(rng.below(entries.len() as u64)).unwrap_or(0);
        let event = match rng.below(5) {
            0 => Experienced::Failed,
            _ => Experienced::Succeeded { first_chunk_ms: 200 + rng.below(2000), tokens: 100, ms: 500 + rng.below(4000) },
        };
        experience.learn(NOW, entries[at].provider, event);
    }
    experience
}

/// What a book without an index does: keep all, score all.
fn full_scan(entries: &[OfferEntry], demand: &Demand, experience: &Experience) -> Vec<(u128, usize)> {
    let mut best: Vec<(u128, usize)> = Vec::with_capacity(TOP + 1);
    for (at, e) in entries.iter().enumerate() {
        let fits = e.model == demand.model
            && e.network == demand.network
            && e.tier >= demand.tier
            && e.confidentiality >= demand.confidentiality
            && e.context_tokens >= demand.context_tokens
            && e.tokens_per_s >= demand.tokens_per_s
            && e.expires_at > NOW
            && demand.price_max.is_none_or(|max| e.price.table().is_at_most(&max));
        if !fits {
            continue;
        }
        let cost = e.price.table().cost(demand.expected).map_or(u128::MAX, Amount::nano);
        let reliability = experience.get(&e.provider).copied().unwrap_or_default().reliability_1024(NOW);
        let time_ms = 1000 + demand.expected.output_tokens * 1000 / u64::from(e.tokens_per_s.max(1));
        let rank = cost * u128::from(1024 + (time_ms * 1024 / 30_000).min(3072)) * u128::from(reliability);
        if best.len() < TOP || best.last().is_some_and(|worst| rank < worst.0) {
            let place = best.partition_point(|other| other.0 <= rank);
            best.insert(place, (rank, at));
            best.truncate(TOP);
        }
    }
    best
}

/// Time this thread has spent on a processor, so that the figures are those of one core, however busy the machine is.
fn cpu_time() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn timed<T>(count: usize, mut run: impl FnMut() -> T) -> Vec<Duration> {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let start = cpu_time();
            black_box(run());
            cpu_time() - start
        })
        .collect();
    times.sort_unstable();
    times
}

fn main() {
    let offers: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    println!("offer book, {offers} offers for one model, searchable layer alone (signatures and the signed offers excluded)");
    println!("processor time of one thread; aims: insert >= 500000/s a core, top-{TOP} match p99 <= 1 ms");
    for (market, name) in Market::ALL {
        let mut rng = Rng(42);
        let entries: Vec<_> = (0..offers).map(|_| market.offer(&mut rng)).collect();

        let start = cpu_time();
        let mut plain = Vec::new();
        entries.iter().for_each(|entry| plain.push(*entry));
        let plain_s = (cpu_time() - start).as_secs_f64();
        black_box(&plain);

        let start = cpu_time();
        let mut index = Index::new(BookConfig::with_salt(7));
        for entry in &entries {
            index.insert(NOW, *entry).expect("every provider is new and there is room");
        }
        let insert_s = (cpu_time() - start).as_secs_f64();

        let start = cpu_time();
        let renewed = offers / 10;
        for entry in entries.iter().step_by(10) {
            let renewed = OfferEntry { id: OfferId(rng.id()), sequence: 2, ..*entry };
            index.insert(NOW, renewed).expect("a later sequence replaces");
        }
        let renew_s = (cpu_time() - start).as_secs_f64();

        let experience = experience(&entries, &mut rng);
        let times = timed(MATCHES, || best_entries(&index, &demand(&mut rng), &experience, TOP, NOW));
        let scans = timed(SCANS, || full_scan(&plain, &demand(&mut rng), &experience));

        println!("{name}:");
        println!(
            "  insert  {:>9.0}/s   renew {:>9.0}/s   plain vector {:>11.0}/s",
            offers as f64 / insert_s,
            renewed as f64 / renew_s,
            offers as f64 / plain_s
        );
        println!(
            "  match   p50 {:>9.3?}  p99 {:>9.3?}  max {:>9.3?}   full scan p50 {:>9.3?}  ({}x)",
            percentile(&times, 50),
            percentile(&times, 99),
            percentile(&times, 100),
            percentile(&scans, 50),
            percentile(&scans, 50).as_nanos() / percentile(&times, 50).as_nanos().max(1)
        );
    }
}
