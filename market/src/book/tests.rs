//! The book and its index.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::amount::Amount;
use crate::fixtures::{MODEL, NOW, key, offer, price};
use crate::offer::{Confidentiality, Tier};

fn config() -> BookConfig {
    BookConfig::with_salt(1)
}

fn signed(n: u8, alter: impl FnOnce(&mut Offer)) -> Verified<Offer> {
    let mut offer = offer(n);
    alter(&mut offer);
    Verified::sign(offer, &key(n)).unwrap()
}

fn withdrawal(n: u8, sequence: u64) -> Verified<Withdrawal> {
    let withdrawal = Withdrawal { provider: key(n).node_id(), model: MODEL, sequence, issued_at: NOW };
    Verified::sign(withdrawal, &key(n)).unwrap()
}

fn id(offer: &Verified<Offer>) -> OfferId {
    OfferId(offer.hash())
}

fn model(n: u8) -> ModelId {
    ModelId([n; 32])
}

#[test]
fn a_later_sequence_takes_the_place_of_an_earlier_one() {
    let mut book = Book::new(config());
    let (first, second) = (signed(1, |_| ()), signed(1, |o| (o.sequence, o.capacity) = (2, 9)));
    assert_eq!(book.insert(NOW, first.clone()), Ok(None));
    assert_eq!(book.insert(NOW, second.clone()), Ok(Some(id(&first))));
    assert_eq!(book.insert(NOW, first.clone()), Err(BookError::Stale { have: 2, got: 1 }));
    assert_eq!(book.insert(NOW, second.clone()), Err(BookError::Stale { have: 2, got: 2 }));
    assert_eq!(book.len(), 1);
    assert_eq!(book.get(&id(&first)), None);
    assert_eq!(book.get(&id(&second)), Some(&second));
    assert_eq!(book.iter().collect::<Vec<_>>(), [&second]);
    assert_eq!(book.of_model(&MODEL).collect::<Vec<_>>(), [&second]);
    assert_eq!(book.of_model(&model(9)).count(), 0);
}

#[test]
fn each_model_of_a_provider_has_its_own_place() {
    let mut book = Book::new(config());
    for n in 0..3 {
        book.insert(NOW, signed(1, |o| o.model.id = model(n))).unwrap();
    }
    book.insert(NOW, signed(2, |_| ())).unwrap();
    assert_eq!(book.len(), 4);
    book.remove_provider(&key(1).node_id());
    assert_eq!(book.len(), 1);
    assert_eq!(book.of_model(&model(0)).count(), 0);
    assert!(!book.is_empty());
}

#[test]
fn only_offers_of_now_are_taken() {
    let mut book = Book::new(config());
    assert!(matches!(book.insert(offer(1).expires_at, signed(1, |_| ())), Err(BookError::Time(OfferTimeError::Expired { .. }))));
    let early = Timestamp(NOW.0 - CLOCK_SKEW_MS - 1);
    let refused = book.insert(early, signed(1, |_| ())).unwrap_err();
    assert_eq!((refused, refused.penalty()), (BookError::Time(OfferTimeError::FromTheFuture { ahead_ms: 1 }), Penalty::Low));
    let entry = OfferEntry::of(&signed(1, |_| ())).unwrap();
    assert_eq!(Index::new(config()).insert(entry.expires_at, entry), Err(BookError::Expired));
    assert!(book.is_empty());
}

#[test]
fn offers_of_no_use_are_not_taken() {
    let mut book = Book::new(BookConfig { networks: vec![NetworkId::TESTNET], ..config() });
    let refused = book.insert(NOW, signed(1, |_| ())).unwrap_err();
    assert_eq!((refused, refused.penalty()), (BookError::OtherNetwork(NetworkId::DEVNET), Penalty::None));
    let mut book = Book::new(config());
    for alter in [
        (|o| o.price.job = Amount::from_nano(1 << 64)) as fn(&mut Offer),
        |o| o.price.input_per_mtok = Amount::from_nano(1 << 64),
        |o| o.price.output_per_mtok = Amount::from_nano(1 << 64),
    ] {
        let refused = book.insert(NOW, signed(1, alter)).unwrap_err();
        assert_eq!((refused, refused.penalty()), (BookError::PriceTooHigh, Penalty::Ban));
    }
    book.insert(NOW, signed(1, |o| o.price = price(u64::MAX.into(), u64::MAX.into(), u64::MAX.into()))).unwrap();
}

#[test]
fn a_withdrawal_ends_what_came_before_it_and_nothing_after() {
    let mut book = Book::new(config());
    let second = signed(1, |o| o.sequence = 2);
    book.insert(NOW, second.clone()).unwrap();
    assert_eq!(book.withdraw(NOW, &withdrawal(1, 1)), Err(BookError::Stale { have: 2, got: 1 }));
    assert_eq!(book.withdraw(NOW, &withdrawal(1, 2)), Err(BookError::Stale { have: 2, got: 2 }));
    assert_eq!(book.withdraw(NOW, &withdrawal(1, 3)), Ok(Some(id(&second))));
    assert!(book.is_empty() && book.get(&id(&second)).is_none() && book.iter().next().is_none());
    assert_eq!(book.insert(NOW, second), Err(BookError::Stale { have: 3, got: 2 }), "gossip brings it once more");
    assert_eq!(book.withdraw(NOW, &withdrawal(1, 3)), Err(BookError::Stale { have: 3, got: 3 }));
    assert_eq!(book.insert(NOW, signed(1, |o| o.sequence = 4)), Ok(None));
    assert_eq!(book.withdraw(NOW, &withdrawal(2, 1)), Ok(None), "it may come before its offer");
    assert!(book.insert(NOW, signed(2, |_| ())).is_err());
    assert_eq!(book.len(), 1);
}

#[test]
fn a_withdrawal_is_remembered_as_long_as_its_offers_could_live() {
    let mut book = Book::new(config());
    book.withdraw(NOW, &withdrawal(1, 1)).unwrap();
    let until = NOW.plus_ms(OFFER_LIFETIME_MS_MAX);
    assert_eq!(book.poll_timeout().unwrap().0, until.plus_ms(1000));
    assert_eq!(book.expire(Timestamp(until.0 + 999)), 0);
    assert_eq!(book.expire(until.plus_ms(1000)), 1);
    assert_eq!(book.withdraw(until, &withdrawal(1, 1)), Err(BookError::Expired));
    let early = Timestamp(NOW.0 - CLOCK_SKEW_MS - 1);
    assert!(matches!(book.withdraw(early, &withdrawal(1, 1)), Err(BookError::Time(OfferTimeError::FromTheFuture { ahead_ms: 1 }))));
    assert_eq!(book.poll_timeout(), None);
}

#[test]
fn what_is_over_is_removed_a_bounded_number_at_a_time() {
    let mut book = Book::new(config());
    let mut at = |n: u8, ms| {
        let offer = signed(n, |o| o.expires_at = NOW.plus_ms(ms));
        book.insert(NOW, offer.clone()).unwrap();
        offer
    };
    let (soon, late) = (at(1, 10), at(2, 2020));
    assert_eq!(book.poll_timeout().unwrap().0, NOW.plus_ms(1000));
    assert_eq!(book.expire(NOW.plus_ms(999)), 0);
    assert_eq!(book.expire(NOW.plus_ms(1000)), 1);
    assert!(book.get(&id(&soon)).is_none() && book.get(&id(&late)).is_some());
    let mut index = Index::new(config());
    for n in 0..10_u64 {
        index.insert(NOW, entry(n, MODEL, 1)).unwrap();
    }
    assert_eq!(index.expire(NOW.plus_ms(100_000_000), 4).len(), 4);
    assert_eq!(index.len(), 6);
}

fn entry(provider: u64, model: ModelId, sequence: u64) -> OfferEntry {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&provider.to_be_bytes());
    let provider = NodeId(bytes);
    bytes[8..16].copy_from_slice(&sequence.to_be_bytes());
    bytes[16..24].copy_from_slice(&model.0[..8]);
    OfferEntry {
        id: OfferId(bytes),
        provider,
        model,
        work: crate::job::WorkKind::Generate,
        network: NetworkId::DEVNET,
        tier: Tier::Plain,
        confidentiality: Confidentiality::Open,
        price: crate::matching::CompactPrice { job: 1, input: 2, output: 3 },
        tokens_per_s: 10,
        context_tokens: 2048,
        sequence,
        expires_at: NOW.plus_ms(1000),
    }
}

#[test]
fn one_provider_and_all_together_are_bounded() {
    let mut index = Index::new(BookConfig { offers_max: 70, ..config() });
    let nth = |n: u8| entry(1, model(n), 1);
    for n in 0..64 {
        index.insert(NOW, nth(n)).unwrap();
    }
    assert_eq!(index.insert(NOW, nth(64)), Err(BookError::ProviderFull));
    let (provider, until) = (nth(0).provider, NOW.plus_ms(1000));
    assert_eq!(index.withdraw(NOW, provider, model(64), 1, until), Err(BookError::ProviderFull));
    index.insert(NOW, entry(1, model(3), 2)).unwrap();
    for n in 2..8 {
        index.insert(NOW, entry(n, MODEL, 1)).unwrap();
    }
    assert_eq!(index.insert(NOW, entry(9, MODEL, 1)), Err(BookError::Full));
    assert_eq!(BookError::Full.penalty(), Penalty::None);
    index.insert(NOW, entry(7, MODEL, 2)).unwrap();
    let slot = index.slot(&entry(7, MODEL, 2).id).unwrap();
    index.remove(slot);
    let placed = index.insert(NOW, entry(9, MODEL, 1)).unwrap();
    assert_eq!(placed.slot, slot, "an empty slot is used again");
    assert_eq!(index.insert(NOW, entry(10, MODEL, 1)), Err(BookError::Full));
}

#[test]
fn an_offer_renewed_without_end_leaves_nothing_behind() {
    let mut index = Index::new(config());
    for sequence in 0..10_000 {
        index.insert(NOW, OfferEntry { expires_at: NOW.plus_ms(1 + sequence * 300), ..entry(1, MODEL, sequence) }).unwrap();
    }
    assert!(index.next_expiry().unwrap() > NOW.plus_ms(2_000_000), "the calendar was written anew");
    assert!(index.expire(NOW.plus_ms(2_900_000), usize::MAX).is_empty());
    assert_eq!(index.expire(NOW.plus_ms(3_100_000), usize::MAX).len(), 1);
    assert!(index.is_empty());
}

#[test]
fn ties_depend_on_the_books_secret() {
    let tie = |salt| Index::new(BookConfig::with_salt(salt)).tie(&key(1).node_id());
    assert_eq!(tie(1), tie(1));
    assert_ne!(tie(1), tie(2));
}

#[test]
fn ties_are_as_good_as_drawn_by_lot_whatever_the_secret() {
    for salt in [0, 1, 99, u64::MAX] {
        let index = Index::new(BookConfig::with_salt(salt));
        // Keys may be chosen: these differ as little as they can.
        let of = |n: u64| NodeId([n.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat().try_into().unwrap());
        let ties: Vec<u64> = (0..4096).map(|n| index.tie(&of(n))).collect();
        for bit in 0..u64::BITS {
            let set = ties.iter().filter(|tie| (*tie >> bit) & 1 == 1).count();
            assert!((1800..2300).contains(&set), "bit {bit} is set in {set} of 4096 ties under {salt}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { provider: u8, model: u8, sequence: u8, lives_ms: u16 },
    Withdraw { provider: u8, model: u8, sequence: u8, lives_ms: u16 },
    Wait(u16),
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Step> {
    let name = || (0u8..6, 0u8..4, 0u8..6, 1u16..5000);
    prop_oneof![
        6 => name().prop_map(|(provider, model, sequence, lives_ms)| Step::Insert { provider, model, sequence, lives_ms }),
        2 => name().prop_map(|(provider, model, sequence, lives_ms)| Step::Withdraw { provider, model, sequence, lives_ms }),
        1 => (0u16..2000).prop_map(Step::Wait),
        1 => (0u8..6).prop_map(Step::Remove),
    ]
}

proptest! {
    /// The index against a map from (provider, model) to what was last said about it.
    #[test]
    fn the_index_holds_what_a_simple_map_would(steps in prop::collection::vec(steps(), 0..200)) {
        let mut now = NOW;
        let mut index = Index::new(config());
        let mut map: BTreeMap<(u8, u8), (u64, Timestamp, Option<OfferId>)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert { provider, model: m, sequence, lives_ms } => {
                    let until = now.plus_ms(lives_ms.into());
                    let new = OfferEntry { expires_at: until, ..entry(provider.into(), model(m), sequence.into()) };
                    let old = map.get(&(provider, m)).copied();
                    let placed = index.insert(now, new);
                    prop_assert_eq!(placed.is_ok(), old.is_none_or(|old| old.0 < u64::from(sequence)));
                    if let Ok(placed) = placed {
                        prop_assert_eq!(placed.replaced, old.and_then(|old| old.2));
                        map.insert((provider, m), (sequence.into(), until, Some(new.id)));
                    }
                }
                Step::Withdraw { provider, model: m, sequence, lives_ms } => {
                    let until = now.plus_ms(lives_ms.into());
                    let node = entry(provider.into(), model(m), 0).provider;
                    if index.withdraw(now, node, model(m), sequence.into(), until).is_ok() {
                        map.insert((provider, m), (sequence.into(), until, None));
                    }
                }
                Step::Wait(ms) => {
                    now = now.plus_ms(ms.into());
                    index.expire(now, usize::MAX);
                    map.retain(|_, held| held.1.0 / 1000 >= now.0 / 1000);
                }
                Step::Remove(provider) => {
                    let node = entry(provider.into(), MODEL, 0).provider;
                    index.slots_of(&node).to_vec().into_iter().for_each(|slot| index.remove(slot));
                    map.retain(|(p, _), _| *p != provider);
                }
            }
            let mut held: Vec<_> = index.entries().map(|(_, entry)| entry.id).collect();
            held.sort();
            let mut expect: Vec<_> = map.values().filter_map(|held| held.2).collect();
            expect.sort();
            prop_assert_eq!(index.len(), expect.len());
            prop_assert_eq!(&held, &expect);
            let mut shelved: Vec<_> = (0..4)
                .flat_map(|m| index.shelves(&model(m)).flat_map(|(_, shelf)| shelf.items()).collect::<Vec<_>>())
                .map(|item| index.entry(item.slot).unwrap().id)
                .collect();
            shelved.sort();
            prop_assert_eq!(&shelved, &expect);
            prop_assert!(expect.iter().all(|id| index.slot(id).and_then(|slot| index.entry(slot)).is_some_and(|entry| entry.id == *id)));
            let due = map.values().map(|held| Timestamp((held.1.0 / 1000 + 1) * 1000)).min();
            prop_assert!(due.is_none_or(|due| index.next_expiry().is_some_and(|next| next <= due)));
        }
    }
}
