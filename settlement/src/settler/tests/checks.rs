//! Whether an account is what somebody says it is.

use super::*;

#[test]
fn a_provider_that_is_not_who_it_says_is_told_apart() {
    let world = World::new();
    let terms = provider_terms();
    let contract = terms.address().unwrap();
    let account = world.chain.account(&Address::from(contract)).unwrap();
    let operator = provider_key().node_id();
    let view = verify_provider(&account, contract, operator, &terms.network).unwrap();
    assert_eq!((view.data.stake.total, view.data.stake.bond, view.data.stake.standing()), (ton(2), ton(1), ton(2)));
    assert_eq!(u64::from(view.now_s()), account.seen_at.unix_s);
    assert!(view.operations() > nano(990_000_000) && view.operations() <= nano(1_020_000_000), "{}", view.operations());
    let with = |change: &dyn Fn(&mut AccountState)| {
        let mut account = account.clone();
        change(&mut account);
        verify_provider(&account, contract, operator, &terms.network)
    };
    let empty = CellBuilder::new().build().unwrap().to_arc();
    assert_eq!(with(&|a| a.status = AccountStatus::Uninitialized), Err(ProviderCheckError::NotDeployed));
    assert_eq!(with(&|a| a.status = AccountStatus::Frozen), Err(ProviderCheckError::Frozen));
    assert!(matches!(with(&|a| a.code = Some(empty.clone())), Err(ProviderCheckError::ForeignCode { .. })));
    assert_eq!(with(&|a| a.data = Some(empty.clone())), Err(ProviderCheckError::ForeignData));
    assert_eq!(with(&|a| a.code = None), Err(ProviderCheckError::ForeignData));
    assert_eq!(
        with(&|a| a.balance = nano(2_999_999_999)).unwrap_err(),
        ProviderCheckError::Underfunded { balance: nano(2_999_999_999), owed: ton(3) }
    );
    assert!(with(&|a| a.balance = ton(3)).is_ok());
    let elsewhere = ContractAddress([1; 32]);
    assert_eq!(verify_provider(&account, elsewhere, operator, &terms.network), Err(ProviderCheckError::Address));
    let other = NetworkTerms { fee_bps: 499, ..terms.network };
    assert_eq!(verify_provider(&account, contract, operator, &other), Err(ProviderCheckError::OtherNetwork));
    let stranger = requester_key().node_id();
    assert_eq!(verify_provider(&account, contract, stranger, &terms.network), Err(ProviderCheckError::OtherOperator));
}

fn tampered(world: &World, channel: ChannelRef, tamper: impl FnOnce(&mut AccountState)) -> Result<ChannelView, ChannelCheckError> {
    let mut account = world.chain.account(&Address::from(channel.address)).unwrap();
    tamper(&mut account);
    verify_channel(&account, &world.expected(channel))
}

fn with_data(account: &mut AccountState, change: impl FnOnce(&mut ChannelData)) {
    let mut data = ChannelData::from_cell(account.data.as_ref().unwrap()).unwrap();
    change(&mut data);
    account.data = Some(data.to_cell().unwrap());
}

#[test]
fn an_account_that_is_not_the_agreed_channel_is_told_apart() {
    let (world, channel) = World::with_channel(ton(1));
    assert_eq!(tampered(&world, channel, |_| ()).unwrap().sight.deposit, ton(1));
    let empty = CellBuilder::new().build().unwrap().to_arc();
    let error = tampered(&world, channel, |account| account.code = Some(empty.clone())).unwrap_err();
    assert_eq!(error.problem(), ChannelProblem::ForeignCode);
    assert_eq!(tampered(&world, channel, |account| account.data = Some(empty)), Err(ChannelCheckError::ForeignData));
    let greedy = |account: &mut AccountState| with_data(account, |data| data.terms.contract = ContractAddress([1; 32]));
    assert_eq!(tampered(&world, channel, greedy), Err(ChannelCheckError::Address), "terms that do not give the address were made up");
    let richer = |account: &mut AccountState| with_data(account, |data| data.deposit = ton(5));
    assert!(matches!(tampered(&world, channel, richer), Err(ChannelCheckError::Underfunded { .. })));
    let poorer = |account: &mut AccountState| with_data(account, |data| data.deposit = nano(5));
    assert!(matches!(tampered(&world, channel, poorer), Err(ChannelCheckError::SmallDeposit { .. })));
    let nowhere = ChannelRef { address: ContractAddress([1; 32]), ..channel };
    assert_eq!(tampered(&world, nowhere, |_| ()), Err(ChannelCheckError::NotDeployed));
}

#[test]
fn a_channel_with_other_terms_than_offered_is_refused() {
    let (world, channel) = World::with_channel(ton(1));
    let account = world.chain.account(&Address::from(channel.address)).unwrap();
    let good = world.expected(channel);
    let other = |change: fn(&mut Expected)| {
        let mut expected = good;
        change(&mut expected);
        verify_channel(&account, &expected)
    };
    assert!(verify_channel(&account, &good).is_ok());
    for (change, term) in [
        ((|e| e.requester = provider_key().node_id()) as fn(&mut Expected), "requester"),
        (|e| e.provider = requester_key().node_id(), "provider"),
        (|e| e.settlement.contract = PAYOUT, "provider's contract"),
        (|e| e.settlement.challenge_window_s = WINDOW_S + 1, "challenge window"),
        (|e| e.settlement.network = NetworkId::MAINNET, "network"),
    ] {
        assert_eq!(other(change), Err(ChannelCheckError::Term(term)));
    }
    assert!(matches!(other(|e| e.settlement.deposit_min = ton(2)), Err(ChannelCheckError::SmallDeposit { .. })));
    assert!(other(|e| e.settlement.challenge_window_s = WINDOW_S - 1).is_ok(), "a longer window than asked for is fine");
}

#[test]
fn a_provider_books_no_channel_that_it_could_not_check() {
    let world = World::new();
    let channel = world.terms(9).channel().unwrap();
    let refused = world.provider.admit(&world.expected(channel), world.now());
    assert!(matches!(refused, Err(SettleError::Channel(ChannelCheckError::NotDeployed))));
    assert!(world.provider.ledger().channels().unwrap().is_empty());
}
