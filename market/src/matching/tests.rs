//! Matching against a full scan, and one test for each constraint.

use proptest::prelude::*;

use super::*;
use crate::amount::Amount;
use crate::book::BookConfig;
use crate::fixtures::{MODEL, NOW, key, offer, price};
use crate::ids::{ModelId, NetworkId, NodeId, OfferId};
use crate::job::WorkKind;
use crate::offer::{Confidentiality, Tier};
use crate::price::{PriceTable, Usage};
use crate::reputation::Experienced;

fn demand() -> Demand {
    Demand {
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        price_max: None,
        expected: Usage { input_tokens: 1000, output_tokens: 500 },
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        context_tokens: 1024,
        tokens_per_s: 0,
    }
}

fn entry(n: u32) -> OfferEntry {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    OfferEntry {
        id: OfferId(bytes),
        provider: NodeId(bytes),
        model: MODEL,
        work: WorkKind::Generate,
        network: NetworkId::DEVNET,
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        price: CompactPrice { job: 1000, input: 1_000_000, output: 4_000_000 },
        tokens_per_s: 50,
        context_tokens: 2048,
        sequence: 1,
        expires_at: NOW.plus_ms(1000),
    }
}

fn index_of(entries: &[OfferEntry]) -> Index {
    let mut index = Index::new(BookConfig::with_salt(99));
    for entry in entries {
        index.insert(NOW, *entry).unwrap();
    }
    index
}

/// The definition: score all that fits, sort, take the first.
fn by_full_scan(index: &Index, demand: &Demand, experience: &Experience, k: usize, now: Timestamp) -> Vec<Found> {
    let mut all: Vec<_> = index
        .entries()
        .filter(|(_, e)| e.model == demand.model && e.network == demand.network && e.expires_at > now)
        .filter(|(_, e)| e.tier >= demand.tier && e.confidentiality >= demand.confidentiality)
        .filter(|(_, e)| e.context_tokens >= demand.context_tokens && e.tokens_per_s >= demand.tokens_per_s)
        .filter(|(_, e)| demand.price_max.is_none_or(|max| e.price.table().is_at_most(&max)))
        .filter(|(_, e)| !experience.get(&e.provider).is_some_and(Record::is_barred))
        .map(|(slot, e)| {
            let score = score::score(now, &e.price, e.tokens_per_s, demand, experience.get(&e.provider));
            ((score.rank, index.tie(&e.provider), slot), Found { slot, score })
        })
        .collect();
    all.sort_by_key(|(order, _)| *order);
    all.into_iter().take(k).map(|(_, found)| found).collect()
}

fn ranked(entries: &[OfferEntry], demand: &Demand, experience: &Experience) -> Vec<u32> {
    let found = best_entries(&index_of(entries), demand, experience, 8, NOW);
    found.into_iter().map(|found| found.slot).collect()
}

fn learned(n: u32, events: &[Experienced]) -> Experience {
    let mut experience = Experience::default();
    events.iter().for_each(|event| experience.learn(NOW, entry(n).provider, *event));
    experience
}

#[test]
fn cheap_fast_and_reliable_come_first() {
    let nobody = Experience::default();
    let with_price = |n, output| OfferEntry { price: CompactPrice { output, ..entry(n).price }, ..entry(n) };
    assert_eq!(ranked(&[with_price(0, 3), with_price(1, 1), with_price(2, 2)], &demand(), &nobody), [1, 2, 0]);
    let with_speed = |n, tokens_per_s| OfferEntry { tokens_per_s, ..entry(n) };
    assert_eq!(ranked(&[with_speed(0, 10), with_speed(1, 30), with_speed(2, 20)], &demand(), &nobody), [1, 2, 0]);
    let failed = learned(0, &[Experienced::Failed; 3]);
    assert_eq!(ranked(&[with_price(0, 4_000_000), with_price(1, 5_000_000)], &demand(), &failed), [1, 0]);
    let good = Experienced::Succeeded { first_chunk_ms: 100, tokens: 500, ms: 10_000 };
    assert_eq!(ranked(&[with_price(0, 4_000_000), with_price(1, 4_000_001)], &demand(), &learned(1, &[good])), [1, 0]);
}

#[test]
fn another_kind_of_work_is_no_match_however_cheap() {
    let vectors = |n| OfferEntry { work: WorkKind::Embed, price: CompactPrice { job: 0, input: 0, output: 0 }, ..entry(n) };
    let embed = Demand { work: WorkKind::Embed, ..demand() };
    assert_eq!(ranked(&[vectors(0), entry(1)], &demand(), &Experience::default()), [1]);
    assert_eq!(ranked(&[vectors(0), entry(1)], &embed, &Experience::default()), [0]);
    assert_eq!(ranked(&[vectors(0)], &demand(), &learned(0, &[])), [0; 0]);
    let known = learned(0, &[Experienced::Succeeded { first_chunk_ms: 1, tokens: 1, ms: 1 }]);
    assert_eq!(ranked(&[vectors(0), entry(1)], &demand(), &known), [1], "nor of a provider that is known");
    let why = explain(&index_of(&[vectors(0)]), &demand(), &Experience::default(), NOW);
    assert_eq!((why.excluded.get(&Constraint::Work), &why.change), (Some(&1), &None));
    assert!(why.to_string().contains("excluded by kind of work: 1"), "{why}");
}

#[test]
fn vectors_take_the_time_of_the_tokens_read_at_the_claimed_speed() {
    let demand = Demand { work: WorkKind::Embed, expected: Usage { input_tokens: 5_000, output_tokens: 0 }, ..demand() };
    assert_eq!(score::score(NOW, &entry(0).price, 1_000, &demand, None).time_ms, 1000 + 5_000);
    let writes_slowly = Experienced::Succeeded { first_chunk_ms: 70, tokens: 10, ms: 10_000 };
    let record = *learned(0, &[writes_slowly]).get(&entry(0).provider).unwrap();
    assert_eq!(score::score(NOW, &entry(0).price, 1_000, &demand, Some(&record)).time_ms, 70 + 5_000);
}

#[test]
fn free_offers_differ_by_their_speed() {
    let free = |n, tokens_per_s| OfferEntry { price: CompactPrice { job: 0, input: 0, output: 0 }, tokens_per_s, ..entry(n) };
    assert_eq!(ranked(&[free(0, 10), free(1, 50)], &demand(), &Experience::default()), [1, 0]);
}

#[test]
fn a_measured_speed_outweighs_the_claim() {
    let slow = Experienced::Succeeded { first_chunk_ms: 1000, tokens: 10, ms: 10_000 };
    let boast = OfferEntry { tokens_per_s: u32::MAX, ..entry(0) };
    assert_eq!(ranked(&[boast, entry(1)], &demand(), &learned(0, &[slow])), [1, 0]);
    let measured = score::score(NOW, &entry(0).price, 50, &demand(), learned(0, &[slow]).get(&entry(0).provider));
    assert_eq!(measured.time_ms, 1000 + 500_000);
    assert_eq!(measured.latency_1024, 4 * 1024, "slowness has a ceiling");
    let unmeasured = Experienced::Succeeded { first_chunk_ms: 70, tokens: 0, ms: 0 };
    let record = *learned(0, &[unmeasured]).get(&entry(0).provider).unwrap();
    assert_eq!(score::score(NOW, &entry(0).price, 50, &demand(), Some(&record)).time_ms, 70 + 10_000);
}

#[test]
fn the_score_is_the_documented_product() {
    let score = score::score(NOW, &entry(0).price, 50, &demand(), None);
    assert_eq!(score.cost, Amount::from_nano(1000 + 1000 + 2000));
    assert_eq!(score.time_ms, 1000 + 10_000);
    assert_eq!(score.latency_1024, 1024 + 11_000 * 1024 / 30_000);
    assert_eq!(score.reliability_1024, 1024 + 7 * 20);
    assert_eq!(score.rank, 4001 * 1_000_000 * u128::from(score.latency_1024) * u128::from(score.reliability_1024));
    assert_eq!(score.effective(), Amount::from_nano(4001 * 1399 * 1164 / (1024 * 1024) - 1));
    assert_eq!(score::score(NOW, &entry(0).price, 0, &demand(), None).latency_1024, 4 * 1024, "no claim is the slowest");
}

#[test]
fn each_constraint_excludes_what_breaks_it_and_nothing_at_its_edge() {
    let limit = PriceTable { job: Amount::from_nano(1000), ..entry(0).price.table() };
    let strict = Demand {
        price_max: Some(limit),
        tier: Tier::Audited,
        confidentiality: Confidentiality::Sealed,
        context_tokens: 2048,
        tokens_per_s: 50,
        ..demand()
    };
    let good = OfferEntry { tier: Tier::Audited, confidentiality: Confidentiality::Sealed, ..entry(0) };
    let better = OfferEntry { tier: Tier::Attested, confidentiality: Confidentiality::Attested, ..entry(1) };
    let check = |alter: &dyn Fn(&mut OfferEntry)| {
        let mut bad = OfferEntry { id: entry(2).id, provider: entry(2).provider, ..good };
        alter(&mut bad);
        // Cheapest of all in every other way.
        for known in [Experience::default(), learned(2, &[Experienced::Failed])] {
            let mut found = ranked(&[good, better, bad], &strict, &known);
            found.sort_unstable();
            assert_eq!(found, [0, 1], "{bad:?}");
        }
    };
    check(&|e| e.model = ModelId([0; 32]));
    check(&|e| e.network = NetworkId::TESTNET);
    check(&|e| e.tier = Tier::Plain);
    check(&|e| e.confidentiality = Confidentiality::Open);
    check(&|e| e.context_tokens = 2047);
    check(&|e| e.tokens_per_s = 49);
    check(&|e| e.price.job = 1001);
    check(&|e| e.price.input += 1);
    check(&|e| e.price.output += 1);
}

#[test]
fn what_is_over_or_barred_is_not_matched() {
    let index = index_of(&[entry(0)]);
    assert_eq!(best_entries(&index, &demand(), &Experience::default(), 8, NOW).len(), 1);
    assert_eq!(best_entries(&index, &demand(), &Experience::default(), 8, entry(0).expires_at).len(), 0);
    let known = learned(0, &[Experienced::Failed]);
    assert_eq!(best_entries(&index, &demand(), &known, 8, entry(0).expires_at).len(), 0);
    let barred = learned(0, &[Experienced::Cheated]);
    assert_eq!(best_entries(&index, &demand(), &barred, 8, NOW).len(), 0);
    let why = explain(&index, &demand(), &barred, NOW);
    assert_eq!((why.excluded.get(&Constraint::Barred), why.change), (Some(&1), None));
    assert_eq!(explain(&index, &demand(), &barred, entry(0).expires_at), Why::default());
}

#[test]
fn no_more_is_returned_than_asked_for() {
    let entries: Vec<_> = (0..100).map(entry).collect();
    let index = index_of(&entries);
    let count = |k| best_entries(&index, &demand(), &Experience::default(), k, NOW).len();
    assert_eq!((count(0), count(1), count(8), count(1000)), (0, 1, 8, MATCHES_MAX));
}

#[test]
fn equal_offers_are_not_all_led_by_the_same_provider() {
    let entries: Vec<_> = (0..50).map(entry).collect();
    let first = |salt| {
        let mut index = Index::new(BookConfig::with_salt(salt));
        for entry in &entries {
            index.insert(NOW, *entry).unwrap();
        }
        best_entries(&index, &demand(), &Experience::default(), 1, NOW)[0].slot
    };
    let mut firsts: Vec<_> = (0..10).map(first).collect();
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 3, "{firsts:?}");
}

fn change(entries: &[OfferEntry], demand: &Demand) -> (String, Why) {
    let why = explain(&index_of(entries), demand, &Experience::default(), NOW);
    (why.change.map(|change| change.to_string()).unwrap_or_default(), why)
}

#[test]
fn the_smallest_single_change_is_named() {
    let limit = Some(price(1000, 1_000_000, 3_900_000));
    let plain = Demand { price_max: limit, ..demand() };
    assert_eq!(change(&[entry(0)], &plain).0, "raise the output price to 0.004");
    let nothing = Demand { price_max: Some(price(0, 0, 4_000_000)), ..demand() };
    assert_eq!(change(&[entry(0)], &nothing).0, "raise the price of a job to 0.000001 and the input price to 0.001");
    let context = Demand { context_tokens: 4096, ..demand() };
    let both = [OfferEntry { context_tokens: 1000, ..entry(1) }, entry(0)];
    assert_eq!(change(&both, &context).0, "accept a context of 2048");
    assert_eq!(change(&[entry(0)], &Demand { tokens_per_s: 60, ..demand() }).0, "accept 50 tokens a second");
    assert_eq!(change(&[entry(0)], &Demand { tier: Tier::Exact, ..demand() }).0, "accept the tier plain");
    let sealed = Demand { confidentiality: Confidentiality::Sealed, ..demand() };
    assert_eq!(change(&[entry(0)], &sealed).0, "accept the confidentiality open");
    assert_eq!(change(&[entry(0)], &Demand { network: NetworkId::TESTNET, ..demand() }).0, "pay on devnet");
    let two = Demand { tier: Tier::Exact, tokens_per_s: 60, ..demand() };
    let (change_text, why) = change(&[entry(0)], &two);
    assert_eq!((change_text.as_str(), why.excluded.len()), ("", 2), "no single change is enough");
}

#[test]
fn the_smallest_change_is_the_one_that_costs_least() {
    let asked = Demand { tier: Tier::Audited, price_max: Some(price(1000, 1_000_000, 4_000_000)), tokens_per_s: 50, ..demand() };
    let dear = OfferEntry { tier: Tier::Audited, price: CompactPrice { job: 1400, ..entry(0).price }, ..entry(0) };
    let slow = OfferEntry { tier: Tier::Audited, tokens_per_s: 46, ..entry(1) };
    assert_eq!(change(&[entry(2), dear, slow], &asked).0, "accept 46 tokens a second", "8 of 100 against 10 of 100 and a whole tier");
    assert_eq!(change(&[entry(2), dear], &asked).0, "raise the price of a job to 0.0000014");
    let twice = OfferEntry { price: CompactPrice { job: 6000, ..dear.price }, ..dear };
    assert_eq!(change(&[entry(2), twice], &asked).0, "accept the tier plain", "rather than 2.25 times the price");
    let exact = Demand { tier: Tier::Exact, ..asked };
    let twice_exact = OfferEntry { tier: Tier::Exact, ..twice };
    assert_eq!(change(&[entry(2), twice_exact], &exact).0, "raise the price of a job to 0.000006", "rather than two tiers");
}

#[test]
fn why_counts_each_constraint() {
    let slow = OfferEntry { tokens_per_s: 1, ..entry(1) };
    let both = OfferEntry { tokens_per_s: 1, context_tokens: 1, ..entry(2) };
    let (change_text, why) = change(&[entry(0), slow, both], &Demand { tokens_per_s: 50, ..demand() });
    assert_eq!((why.offers, why.fitting), (3, 1));
    assert_eq!(why.excluded.into_iter().collect::<Vec<_>>(), [(Constraint::Context, 1), (Constraint::Speed, 2)]);
    assert_eq!(change_text, "", "something fits, so nothing has to change");
    let why = change(&[slow, both], &Demand { tokens_per_s: 50, ..demand() }).1;
    let text = "2 offers for this model, 0 fit; excluded by context: 1, speed: 2; accept 1 tokens a second";
    assert_eq!(why.to_string(), text);
    assert_eq!(change(&[], &demand()).1.to_string(), "nobody offers this model");
}

#[test]
fn a_book_returns_the_offers_and_why_there_are_no_more() {
    let mut book = Book::new(BookConfig::with_salt(1));
    for n in 1..4 {
        book.insert(NOW, Verified::sign(offer(n), &key(n)).unwrap()).unwrap();
    }
    let two = best(&book, &demand(), &Experience::default(), 2, NOW);
    assert_eq!((two.ranked.len(), two.why), (2, None));
    let many = best(&book, &demand(), &Experience::default(), 9, NOW);
    assert_eq!(many.ranked.len(), 3);
    assert_eq!(many.why.map(|why| (why.offers, why.fitting)), Some((3, 3)));
    assert!(many.ranked.iter().all(|found| found.offer.model.id == MODEL));
}

/// How many leaves a search for strangers reads, of how many.
fn leaves_read(index: &Index, demand: &Demand) -> (usize, usize) {
    let none = Experience::default();
    let mut search = Search::new(index, demand, &none, 8, NOW);
    search.among_strangers();
    (search.leaves_read, index.shelves(&MODEL).map(|(_, shelf)| shelf.leaves().len()).sum())
}

#[test]
fn a_search_reads_only_where_something_better_may_be() {
    let priced = |n: u32| OfferEntry { price: CompactPrice { job: 1000 + u64::from(n) * 1000, ..entry(n).price }, ..entry(n) };
    let by_price = index_of(&(0..5000).map(priced).collect::<Vec<_>>());
    let (read, leaves) = leaves_read(&by_price, &demand());
    assert!(read == 1 && leaves > 9, "{read} of {leaves} leaves, the cheapest");
    let by_speed = index_of(&(0..5000).map(|n| OfferEntry { tokens_per_s: 1 + n, ..entry(n) }).collect::<Vec<_>>());
    let (read, leaves) = leaves_read(&by_speed, &demand());
    assert!(read <= 2 && leaves > 9, "{read} of {leaves} leaves, the fastest");
    let equal = index_of(&(0..5000).map(entry).collect::<Vec<_>>());
    let (read, leaves) = leaves_read(&equal, &demand());
    assert!(read <= 2 && leaves > 9, "{read} of {leaves} leaves, those first in the book's order");
    // Two axes each: the tree must be divided along the one that matters to the price.
    let two = |at: fn(u32) -> (u64, u64, u64, u32)| {
        let entries = (0..5000).map(|n| {
            let (job, input, output, tokens_per_s) = at(n);
            OfferEntry { price: CompactPrice { job, input, output }, tokens_per_s, ..entry(n) }
        });
        let (read, leaves) = leaves_read(&index_of(&entries.collect::<Vec<_>>()), &demand());
        assert!(read <= 3 && leaves > 9, "{read} of {leaves} leaves");
    };
    two(|n| (u64::from(n * 37 % 97), 1_000_000, u64::from(n) * 1_000_000, 50));
    two(|n| (u64::from(n * 37 % 97), u64::from(n) * 1_000_000, 1_000_000, 50));
    two(|n| (u64::from(n) * 1000, u64::from(n * 37 % 97), 1_000_000, 50));
    two(|n| (100_000 + u64::from(n * 37 % 97), 1_000_000, 1_000_000, 5 + n / 50));
    for nothing in [
        Demand { context_tokens: 2049, ..demand() },
        Demand { tokens_per_s: 51, ..demand() },
        Demand { price_max: Some(price(999, 1_000_000, 4_000_000)), ..demand() },
    ] {
        assert_eq!(leaves_read(&equal, &nothing).0, 0, "{nothing:?}");
    }
}

#[test]
fn a_leaf_that_promises_only_what_is_held_already_is_not_read() {
    // Two keys with the same head tie, and two tiers lie on two shelves.
    let mut twin = OfferEntry { tier: Tier::Audited, id: entry(1).id, ..entry(0) };
    twin.provider.0[31] = 1;
    let index = index_of(&[entry(0), twin]);
    let none = Experience::default();
    let demand = demand();
    let mut search = Search::new(&index, &demand, &none, 1, NOW);
    search.among_strangers();
    assert_eq!((search.leaves_read, search.found()[0].slot), (1, 0));
}

fn entries() -> impl Strategy<Value = Vec<OfferEntry>> {
    let tiers = prop_oneof![5 => Just(Tier::Plain), 1 => Just(Tier::Audited), 1 => Just(Tier::Exact)];
    let one = (0u64..4, 1u64..40, 1u64..40, 0u32..100, prop_oneof![Just(1024u32), Just(2048), Just(8192)], tiers, 0u64..2000, 0u8..20);
    prop::collection::vec(one, 0..1500).prop_map(|all| {
        let made = (0u32..).zip(all).map(|(n, (job, input, output, speed, context_tokens, tier, lives_ms, rare))| OfferEntry {
            price: CompactPrice { job: job * 1000, input: input * 100_000, output: output * 100_000 },
            tokens_per_s: speed,
            context_tokens,
            tier,
            confidentiality: if rare == 0 { Confidentiality::Sealed } else { Confidentiality::Open },
            network: if rare == 1 { NetworkId::TESTNET } else { NetworkId::DEVNET },
            model: if rare == 2 { ModelId([0; 32]) } else { MODEL },
            expires_at: NOW.plus_ms(1 + lives_ms),
            ..entry(n)
        });
        made.collect()
    })
}

fn demands() -> impl Strategy<Value = Demand> {
    let usage = (0u64..5000, 0u64..5000).prop_map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens });
    let limit = prop::option::of((0u128..4, 1u128..40, 1u128..40).prop_map(|(j, i, o)| price(j * 1000, i * 100_000, o * 100_000)));
    (usage, limit, 0u32..3, 0u32..60, any::<bool>(), any::<bool>()).prop_map(|(expected, price_max, context, speed, audited, sealed)| {
        Demand {
            expected,
            price_max,
            context_tokens: 1024 << context,
            tokens_per_s: speed / 3,
            tier: if audited { Tier::Audited } else { Tier::Plain },
            confidentiality: if sealed { Confidentiality::Sealed } else { Confidentiality::Open },
            ..demand()
        }
    })
}

fn experiences() -> impl Strategy<Value = Experience> {
    let event = prop_oneof![
        4 => (0u64..3000, 1u64..500, 1u64..20_000)
            .prop_map(|(first_chunk_ms, tokens, ms)| Experienced::Succeeded { first_chunk_ms, tokens, ms }),
        2 => Just(Experienced::Failed),
        1 => Just(Experienced::Cheated),
    ];
    prop::collection::vec((0u32..1500, event), 0..100).prop_map(|events| {
        let mut experience = Experience::default();
        events.into_iter().for_each(|(n, event)| experience.learn(NOW, entry(n).provider, event));
        experience
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_search_finds_exactly_what_a_full_scan_finds(
        entries in entries(), demands in prop::collection::vec(demands(), 1..8), experience in experiences(), k in 0usize..20, wait in 0u64..1500,
    ) {
        let index = index_of(&entries);
        let now = NOW.plus_ms(wait);
        for demand in demands {
            let found = best_entries(&index, &demand, &experience, k, now);
            prop_assert_eq!(&found, &by_full_scan(&index, &demand, &experience, k, now));
            let why = explain(&index, &demand, &experience, now);
            prop_assert_eq!(why.fitting.min(k), found.len());
            if let Some(change) = why.change {
                let changed = changed(demand, change);
                prop_assert_eq!(explain(&index, &changed, &experience, now).fitting > 0, true, "{} does not help", change);
            }
        }
    }

    #[test]
    fn equal_prices_are_searched_exactly_too(n in 0u32..2500, k in 1usize..20) {
        let entries: Vec<_> = (0..n).map(entry).collect();
        let index = index_of(&entries);
        let none = Experience::default();
        prop_assert_eq!(best_entries(&index, &demand(), &none, k, NOW), by_full_scan(&index, &demand(), &none, k, NOW));
    }
}

fn changed(demand: Demand, change: Change) -> Demand {
    match change {
        Change::Price { to, .. } => Demand { price_max: Some(to), ..demand },
        Change::Context(context_tokens) => Demand { context_tokens, ..demand },
        Change::Speed(tokens_per_s) => Demand { tokens_per_s, ..demand },
        Change::Tier(tier) => Demand { tier, ..demand },
        Change::Confidentiality(confidentiality) => Demand { confidentiality, ..demand },
        Change::Network(network) => Demand { network, ..demand },
    }
}
