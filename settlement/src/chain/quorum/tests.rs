use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cocoon_market::Amount;

use super::*;
use crate::chain::embedded::{Blocks, Embedded};
use crate::chain::testing::{TestWallet, chain, empty_external, ton};
use crate::chain::{AccountStatus, Faucet, Rejection, pass_on};

thread_local! {
    static PAUSES: Cell<u32> = const { Cell::new(0) };
}

fn patience() -> Patience {
    Patience { attempts: 3, pause: Duration::from_secs(5), sleep: |_| PAUSES.set(PAUSES.get() + 1) }
}

/// A chain that lies about balances, a bounded number of times.
struct Liar {
    chain: Arc<Embedded>,
    lies: AtomicUsize,
}

impl Chain for Liar {
    pass_on!(this => this.chain; network head);
    fn block(&self, seqno: u32) -> Result<Head, ChainError> {
        let mut block = self.chain.block(seqno)?;
        if self.lies.load(Ordering::SeqCst) > 0 {
            block.root_hash = [0; 32];
        }
        Ok(block)
    }
    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let mut state = self.chain.account(address)?;
        let lies = self.lies.load(Ordering::SeqCst);
        if lies > 0 {
            self.lies.store(lies - 1, Ordering::SeqCst);
            state.balance = ton(1_000_000);
        }
        Ok(state)
    }
    fn transactions(&self, address: &Address, page: Page) -> Result<Vec<Transaction>, ChainError> {
        let mut transactions = self.chain.transactions(address, page)?;
        transactions.truncate(usize::from(self.lies.load(Ordering::SeqCst) == 0) * 100);
        Ok(transactions)
    }
    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        let mut result = self.chain.run_get_method(address, method, arguments)?;
        if self.lies.load(Ordering::SeqCst) > 0 {
            result.stack = vec![StackItem::int(77)];
        }
        Ok(result)
    }
    fn send_boc(&self, _: &[u8]) -> Result<Hash, ChainError> {
        Err(ChainError::BlockFull)
    }
    fn config_param(&self, index: u32) -> Result<ArcCell, ChainError> {
        let index = if self.lies.load(Ordering::SeqCst) > 0 { 20 } else { index };
        self.chain.config_param(index)
    }
}

fn with_lies(lies: usize) -> (Arc<Embedded>, Quorum<Arc<Embedded>, Liar>) {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    chain.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
    let liar = Liar { chain: Arc::clone(&chain), lies: AtomicUsize::new(lies) };
    PAUSES.set(0);
    (Arc::clone(&chain), Quorum::new(chain, liar, patience()).unwrap())
}

#[test]
fn chains_that_agree_answer_at_once() {
    let (chain, quorum) = with_lies(0);
    ask_all(&quorum).unwrap();
    assert_eq!(quorum.head().unwrap(), chain.head().unwrap());
    assert_eq!(PAUSES.get(), 0);
}

fn ask_all(chain: &dyn Chain) -> Result<(), ChainError> {
    let address = Address::basechain([7; 32]);
    chain.account(&address)?;
    chain.transactions(&address, Page::newest(5))?;
    chain.block(1)?;
    chain.config_param(21).map(|_| ())
}

#[test]
fn a_difference_that_passes_is_forgiven() {
    let (_, quorum) = with_lies(2);
    assert_eq!(quorum.account(&Address::basechain([7; 32])).unwrap().balance, ton(1));
    assert_eq!(PAUSES.get(), 2);
}

#[test]
fn a_difference_that_lasts_is_an_error() {
    let (chain, quorum) = with_lies(usize::MAX);
    let address = Address::basechain([7; 32]);
    let disputed = |result: Result<(), ChainError>| match result {
        Err(error @ ChainError::Disagreement { about }) if error.is_retryable() => about,
        other => panic!("{other:?}"),
    };
    assert_eq!(disputed(quorum.account(&address).map(drop)), Disputed::Balance);
    assert_eq!(PAUSES.get(), 2, "no pause after the last attempt");
    assert_eq!(disputed(quorum.transactions(&address, Page::newest(5)).map(drop)), Disputed::Transactions);
    assert_eq!(disputed(quorum.block(1).map(drop)), Disputed::Block);
    assert_eq!(disputed(quorum.config_param(21).map(drop)), Disputed::Config);
    assert_eq!(disputed(quorum.run_get_method(&chain.faucet(), "seqno", &[]).map(drop)), Disputed::Method);
}

#[test]
fn one_endpoint_that_takes_a_message_is_enough() {
    let (chain, quorum) = with_lies(0);
    let wallet = TestWallet::funded(&chain, 1, ton(5));
    let boc = wallet.transfer(0, &Address::basechain([8; 32]), ton(1), crate::chain::Bounce::No);
    quorum.send_boc(&boc).unwrap();
    assert_eq!(quorum.account(&wallet.address).unwrap().status, AccountStatus::Active);
    let error = quorum.send_boc(&boc).unwrap_err();
    assert!(matches!(error, ChainError::Rejected(Rejection::NotAccepted { .. })), "a refusal says more than a full block: {error}");
    assert!(quorum.send_boc(&empty_external(&Address::basechain([9; 32]))).is_err());
    assert_eq!(quorum.account(&Address::basechain([9; 32])).unwrap().balance, Amount::ZERO);
}

#[test]
fn the_head_is_the_newest_block_both_have() {
    let (first, _) = chain(Blocks::Instant);
    let first = Arc::new(first);
    struct Late(Arc<Embedded>);
    impl Chain for Late {
        pass_on!(this => this.0; network block);
        fn head(&self) -> Result<Head, ChainError> {
            self.0.block(1)
        }
        fn account(&self, _: &Address) -> Result<AccountState, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn transactions(&self, _: &Address, _: Page) -> Result<Vec<Transaction>, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn run_get_method(&self, _: &Address, _: &str, _: &[StackItem]) -> Result<MethodResult, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn send_boc(&self, _: &[u8]) -> Result<Hash, ChainError> {
            Err(ChainError::BlockFull)
        }
        fn config_param(&self, _: u32) -> Result<ArcCell, ChainError> {
            Err(ChainError::BlockFull)
        }
    }
    for _ in 0..3 {
        first.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
    }
    let quorum = Quorum::new(Arc::clone(&first), Late(Arc::clone(&first)), patience()).unwrap();
    assert_eq!(quorum.head().unwrap(), first.block(1).unwrap());
    let error = quorum.account(&Address::basechain([7; 32])).unwrap_err();
    assert!(matches!(error, ChainError::BlockFull), "an endpoint that fails is no agreement");
}

/// A chain behind which somebody changes what it says about accounts, or about the time.
struct Forger {
    chain: Arc<Embedded>,
    forge: fn(&mut AccountState),
}

impl Chain for Forger {
    pass_on!(this => this.chain; network block transactions run_get_method send_boc config_param);
    fn head(&self) -> Result<Head, ChainError> {
        let mut state = self.chain.account(&self.chain.faucet())?;
        (self.forge)(&mut state);
        Ok(state.seen_at)
    }
    fn covered_lt(&self, address: &Address, seqno: u32) -> Result<u64, ChainError> {
        Ok(self.chain.covered_lt(address, seqno)?.saturating_add(1_000))
    }
    fn account(&self, address: &Address) -> Result<AccountState, ChainError> {
        let mut state = self.chain.account(address)?;
        (self.forge)(&mut state);
        Ok(state)
    }
}

/// What both orders of an honest chain and a forger say about the faucet's account.
fn with_forger(forge: fn(&mut AccountState)) -> [Result<AccountState, ChainError>; 2] {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let forger = || Forger { chain: Arc::clone(&chain), forge };
    [
        Quorum::new(Arc::clone(&chain), forger(), patience()).unwrap().account(&chain.faucet()),
        Quorum::new(forger(), Arc::clone(&chain), patience()).unwrap().account(&chain.faucet()),
    ]
}

#[test]
fn whatever_two_endpoints_say_differently_about_an_account_is_named() {
    type Forge = fn(&mut AccountState);
    let cases: [(Forge, Disputed); 5] = [
        (|state| state.balance = Amount::ZERO, Disputed::Balance),
        (|state| state.code = state.data.clone(), Disputed::Code),
        (|state| state.data = None, Disputed::Data),
        (|state| state.last_transaction = Some(crate::chain::TxId { lt: 9, hash: [0; 32] }), Disputed::Transactions),
        (|state| state.status = AccountStatus::Frozen, Disputed::Status),
    ];
    for (forge, expected) in cases {
        for answer in with_forger(forge) {
            assert!(matches!(answer, Err(ChainError::Disagreement { about }) if about == expected), "{expected}: {answer:?}");
        }
    }
}

#[test]
fn of_two_times_the_earlier_counts() {
    let [honest] = with_forger(|_| {}).map(Result::unwrap).map(|state| state.seen_at.unix_s)[..1] else { panic!() };
    for answer in with_forger(|state| state.seen_at.unix_s += 3_600) {
        assert_eq!(answer.unwrap().seen_at.unix_s, honest, "no message is dead because one endpoint says it is late");
    }
    for answer in with_forger(|state| state.seen_at.unix_s -= 3_600) {
        assert_eq!(answer.unwrap().seen_at.unix_s, honest - 3_600, "nor because it is the only one that is not");
    }
}

#[test]
fn an_endpoint_that_lags_too_far_is_named_as_such() {
    for answer in with_forger(|state| state.seen_at.seqno += APART_MAX) {
        answer.unwrap();
    }
    for answer in with_forger(|state| {
        state.seen_at.seqno += APART_MAX + 1;
        state.balance = Amount::ZERO;
    }) {
        assert!(matches!(answer, Err(ref error @ ChainError::Lagging { blocks: 31 }) if error.is_retryable()), "{answer:?}");
    }
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let head = |forge| Quorum::new(Arc::clone(&chain), Forger { chain: Arc::clone(&chain), forge }, patience()).unwrap().head();
    assert_eq!(head(|state| state.seen_at.seqno += APART_MAX).unwrap(), chain.head().unwrap());
    let late = head(|state| state.seen_at.seqno += APART_MAX + 1);
    assert!(matches!(late, Err(ChainError::Lagging { blocks: 31 })), "{late:?}");
}

/// A chain that says what it likes of get-methods and of messages.
struct Outspoken {
    chain: Arc<Embedded>,
    answer: fn(&mut MethodResult),
    refuse: fn() -> ChainError,
}

impl Chain for Outspoken {
    pass_on!(this => this.chain; network head block account transactions config_param);
    fn run_get_method(&self, address: &Address, method: &str, arguments: &[StackItem]) -> Result<MethodResult, ChainError> {
        let mut result = self.chain.run_get_method(address, method, arguments)?;
        (self.answer)(&mut result);
        Ok(result)
    }
    fn send_boc(&self, _: &[u8]) -> Result<Hash, ChainError> {
        Err((self.refuse)())
    }
}

#[test]
fn a_get_method_is_answered_when_code_and_stack_are_the_same() {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let ask = |answer| {
        let other = Outspoken { chain: Arc::clone(&chain), answer, refuse: || ChainError::BlockFull };
        Quorum::new(Arc::clone(&chain), other, patience()).unwrap().run_get_method(&chain.faucet(), "seqno", &[])
    };
    // How much gas an endpoint counts says nothing about the answer.
    assert_eq!(ask(|answer| answer.gas_used += 1).unwrap(), chain.run_get_method(&chain.faucet(), "seqno", &[]).unwrap());
    for answer in [ask(|answer| answer.exit_code = 1), ask(|answer| answer.stack.clear())] {
        assert!(matches!(answer, Err(ChainError::Disagreement { about: Disputed::Method })), "{answer:?}");
    }
}

#[test]
fn of_two_refusals_the_one_that_stays_is_told_and_else_the_first() {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    type Refuse = fn() -> ChainError;
    let quorum = |refusals: [Refuse; 2]| {
        let [first, second] = refusals.map(|refuse| Outspoken { chain: Arc::clone(&chain), answer: |_| {}, refuse });
        Quorum::new(first, second, patience()).unwrap().send_boc(&[]).unwrap_err()
    };
    let (full, apart): (Refuse, Refuse) = (|| ChainError::BlockFull, || ChainError::Lagging { blocks: 9 });
    let (bad, odd): (Refuse, Refuse) = (|| ChainError::BadRequest("bad"), || ChainError::Unsupported("odd"));
    assert!(matches!(quorum([full, apart]), ChainError::BlockFull));
    assert!(matches!(quorum([apart, full]), ChainError::Lagging { .. }));
    assert!(matches!(quorum([bad, full]), ChainError::BadRequest(_)));
    assert!(matches!(quorum([full, bad]), ChainError::BadRequest(_)));
    assert!(matches!(quorum([bad, odd]), ChainError::BadRequest(_)));
    assert!(matches!(quorum([odd, bad]), ChainError::Unsupported(_)));
}

#[test]
fn how_deep_a_transaction_lies_takes_two_who_say_so() {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let quorum = |second| Quorum::new(Arc::clone(&chain), second, patience()).unwrap();
    let honest = Quorum::new(Arc::clone(&chain), Arc::clone(&chain), patience()).unwrap();
    assert_eq!(honest.covered_lt(&chain.faucet(), 0).unwrap(), chain.covered_lt(&chain.faucet(), 0).unwrap());
    let forged = quorum(Forger { chain: Arc::clone(&chain), forge: |_| {} }).covered_lt(&chain.faucet(), 0);
    assert!(matches!(forged, Err(ChainError::Disagreement { about: Disputed::Block })), "{forged:?}");
}

#[test]
fn a_message_that_may_have_arrived_is_not_said_to_be_refused() {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(5));
    let chain = Arc::new(chain);
    let boc = wallet.transfer(0, &Address::basechain([8; 32]), ton(1), crate::chain::Bounce::No);
    // It took the message, and the line broke before it could say so.
    struct Mute(Arc<Embedded>);
    impl Chain for Mute {
        pass_on!(this => this.0; network head block account transactions run_get_method config_param);
        fn send_boc(&self, boc: &[u8]) -> Result<Hash, ChainError> {
            let _ = self.0.send_boc(boc);
            Err(ChainError::Unreachable { endpoint: "mute".to_owned(), source: "broken".into() })
        }
    }
    let quorum = Quorum::new(Mute(Arc::clone(&chain)), Arc::clone(&chain), patience()).unwrap();
    let error = quorum.send_boc(&boc).unwrap_err();
    assert!(matches!(error, ChainError::Unclear) && error.is_retryable(), "{error}");
    assert_eq!(quorum.account(&Address::basechain([8; 32])).unwrap().balance, ton(1), "it was taken, once");
}

#[cfg(feature = "http")]
mod over_http {
    use super::*;
    use crate::chain::AnswerFault;
    use crate::chain::testing::ManualTimer;
    use crate::chain::toncenter::{HttpTransport, Post, Request, Response, Server, Toncenter, TransportError, Verb};

    type Answering = dyn Fn(Post<'_>) -> Result<Response, TransportError> + Send + Sync;

    /// An endpoint that does what it likes.
    struct Endpoint(Box<Answering>);

    impl HttpTransport for Endpoint {
        fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
            (self.0)(post)
        }
    }

    fn client(answer: impl Fn(Post<'_>) -> Result<Response, TransportError> + Send + Sync + 'static) -> Toncenter<Endpoint> {
        Toncenter::with_transport(Endpoint(Box::new(answer)), ManualTimer::new(), "http://devnet/api/v2", NetworkId::DEVNET, None)
    }

    fn honest(chain: &Arc<Embedded>) -> Toncenter<Endpoint> {
        let server = Server::new(Arc::clone(chain) as Arc<dyn Chain>);
        client(move |post| {
            let reply = server.serve(Request { verb: Verb::Post, target: "/jsonRPC", body: post.body });
            Ok(Response { status: reply.status, retry_after: None, body: reply.json.to_string().into_bytes() })
        })
    }

    fn body(status: u16, body: &[u8]) -> Result<Response, TransportError> {
        Ok(Response { status, retry_after: None, body: body.to_vec() })
    }

    /// What everything that money depends on comes to when one of two endpoints is bad, whichever.
    fn with_bad(bad: fn(Post<'_>) -> Result<Response, TransportError>, is_right: fn(&ChainError) -> bool) {
        let (chain, _) = chain(Blocks::Instant);
        let chain = Arc::new(chain);
        let check = |quorum: &dyn Chain| {
            let faucet = chain.faucet();
            let answers = [
                quorum.head().map(drop),
                quorum.account(&faucet).map(drop),
                quorum.transactions(&faucet, Page::newest(1)).map(drop),
                quorum.run_get_method(&faucet, "seqno", &[]).map(drop),
                quorum.config_param(21).map(drop),
                quorum.covered_lt(&faucet, 0).map(drop),
            ];
            for answer in answers {
                let error = answer.expect_err("one answer is no agreement");
                assert!(is_right(&error), "{error:?}");
            }
        };
        check(&Quorum::new(honest(&chain), client(bad), patience()).unwrap());
        check(&Quorum::new(client(bad), honest(&chain), patience()).unwrap());
        // Sending takes one that works.
        let wallet = TestWallet::funded(&chain, 1, ton(5));
        let boc = wallet.transfer(0, &Address::basechain([8; 32]), ton(1), crate::chain::Bounce::No);
        Quorum::new(client(bad), honest(&chain), patience()).unwrap().send_boc(&boc).unwrap();
        assert_eq!(chain.account(&Address::basechain([8; 32])).unwrap().balance, ton(1));
    }

    #[test]
    fn one_endpoint_that_stalls_is_no_agreement() {
        with_bad(|_| Err(TransportError::Connection("timed out".into())), |error| matches!(error, ChainError::Unreachable { .. }));
    }

    #[test]
    fn one_endpoint_that_answers_garbage_is_no_agreement() {
        let is_malformed = |error: &ChainError| matches!(error, ChainError::Malformed { .. });
        with_bad(|_| body(200, b"<html>"), is_malformed);
        with_bad(|_| body(200, b""), is_malformed);
        with_bad(|_| body(200, &[0xff; 1_000]), is_malformed);
        with_bad(|_| body(200, b"{\"ok\":true,\"result\":{}}"), is_malformed);
        with_bad(|_| body(200, b"{\"ok\":true}"), is_malformed);
        with_bad(|_| body(200, "[".repeat(100_000).as_bytes()), is_malformed);
    }

    #[test]
    fn one_endpoint_with_huge_answers_is_no_agreement() {
        with_bad(|_| Err(TransportError::TooLarge), |error| matches!(error, ChainError::Malformed { fault: AnswerFault::TooLarge(_), .. }));
    }

    #[test]
    fn one_endpoint_that_limits_us_or_locks_us_out_is_no_agreement() {
        with_bad(|_| body(429, b"slow down"), |error| matches!(error, ChainError::RateLimited { .. }));
        with_bad(|_| body(503, b"down"), |error| matches!(error, ChainError::Unavailable { status: 503, .. }));
        with_bad(|_| body(403, b"who are you"), |error| matches!(error, ChainError::KeyRefused { status: 403, .. }));
    }

    #[test]
    fn two_honest_endpoints_agree_about_everything() {
        let (chain, _) = chain(Blocks::Instant);
        let chain = Arc::new(chain);
        chain.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
        let quorum = Quorum::new(honest(&chain), honest(&chain), patience()).unwrap();
        ask_all(&quorum).unwrap();
        let faucet = chain.faucet();
        assert_eq!(quorum.account(&faucet).unwrap(), chain.account(&faucet).unwrap());
        assert_eq!(quorum.covered_lt(&faucet, 1).unwrap(), chain.covered_lt(&faucet, 1).unwrap());
        assert_eq!(quorum.head().unwrap(), chain.head().unwrap());
    }
}
