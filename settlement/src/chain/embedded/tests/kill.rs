//! Death at every write of a chain's persistence: before it, after it, in the middle of what the disk was told; and a disk that is full.
//!
//! Every write has a name in [`WritePoint::ALL`], and the disk is told nothing outside of a write with a name.
//!
//! A chain lives through messages from outside, some accepted, some of them sent twice, and through messages between accounts that wait for a
//! later block. It dies, is opened again from what the disk can hold by then, is checked, and lives on. What it is in the end must be what it
//! is without a death: the same blocks, the same balances and fees, the same logical times.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::Disk;
use super::*;
use crate::chain::embedded::store::Place;
use crate::chain::embedded::write::Writes;
use crate::chain::testing::{START_MS, VALID_UNTIL_S};

/// Transactions of a block here, so that messages wait for the next.
const BLOCK_TRANSACTIONS: usize = 2;

/// On which side of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It is not made.
    Before,
    /// It is made, and whoever asked for it is told that it failed.
    After,
}

/// What dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The process: what it had in memory is gone.
    Process,
    /// The write alone: the process lives on and is told.
    Write,
}

#[derive(Debug, Clone, Copy)]
struct Death {
    point: WritePoint,
    /// At the so many-th write of that name.
    nth: usize,
    side: Side,
    victim: Victim,
}

/// What was written, and what is to happen then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    death: Option<Death>,
    disk: Option<Disk>,
    met: BTreeMap<WritePoint, usize>,
    has_died: bool,
}

impl Fate {
    /// Called by every write.
    pub(crate) fn meet(&self, point: WritePoint, side: Side) -> Result<(), StoreError> {
        let mut plan = self.0.lock().unwrap();
        plan.disk.iter().for_each(|disk| disk.set_named(side == Side::Before));
        let count = plan.met.entry(point).or_insert(0);
        *count += usize::from(side == Side::Before);
        let nth = *count;
        let Some(death) = plan.death.filter(|death| (death.point, death.nth, death.side) == (point, nth, side)) else { return Ok(()) };
        (plan.has_died, plan.death) = (true, None);
        if death.victim == Victim::Process {
            plan.disk.iter().for_each(Disk::cut);
        }
        Err(StoreError::Write { point, source: redb::Error::Io(std::io::Error::other("killed")) })
    }

    fn met(&self) -> BTreeMap<WritePoint, usize> {
        self.0.lock().unwrap().met.clone()
    }

    fn has_died(&self) -> bool {
        self.0.lock().unwrap().has_died
    }
}

/// A chain's disk, and those who use the chain.
struct Stage {
    disk: Disk,
    fate: Fate,
    clock: Arc<crate::chain::testing::ManualClock>,
    options: Options,
    wallet: TestWallet,
    messages: Vec<Vec<u8>>,
    /// The newest block that somebody was told of.
    told: Option<Head>,
}

/// What a life came to.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    state: Hash,
    blocks: Vec<Head>,
    supply: Supply,
}

impl Stage {
    fn new(death: Option<Death>) -> Self {
        let disk = Disk::holding(&[]);
        let fate = Fate(Arc::new(Mutex::new(Plan { death, disk: Some(disk.clone()), ..Plan::default() })));
        let (options, clock) = options(Blocks::Instant);
        let wallet = TestWallet::new(1);
        let give = |seqno: u32, count: u8, bounce| {
            let parts: Vec<_> =
                (0..count).map(|to| internal(&Address::basechain([seqno as u8 * 4 + to + 1; 32]), ton(1), bounce)).collect();
            wallet.signed(seqno, VALID_UNTIL_S, &parts)
        };
        let messages = vec![give(0, 2, Bounce::No), give(1, 4, Bounce::Yes), give(2, 1, Bounce::No)];
        Self { disk, fate, clock, options, wallet, messages, told: None }
    }

    fn open(&self) -> Result<Embedded, OpenError> {
        let writes = Writes { fate: self.fate.clone() };
        let mut chain = Embedded::with_store(Store::at(Place::Disk(self.disk.clone()), writes)?, self.options.clone())?;
        chain.limits.transactions = BLOCK_TRANSACTIONS;
        Ok(chain)
    }

    /// One life, from wherever the last one ended. Each step looks at what is there and does what is missing; each message is sent twice.
    fn live(&mut self, chain: &Embedded) -> Result<(), ChainError> {
        self.clock.set_ms(START_MS);
        self.deliver_all(chain)?;
        if chain.transactions(&self.wallet.address, Page::newest(1))?.is_empty() {
            self.clock.set_ms(START_MS + 1_000);
            chain.fund(&self.wallet.address, ton(20))?;
            self.deliver_all(chain)?;
        }
        for (at, message) in self.messages.clone().iter().enumerate() {
            self.clock.set_ms(START_MS + 2_000 + 1_000 * at as u64);
            match chain.send_boc(message) {
                Ok(_) => self.told = Some(chain.head()?),
                // Wallets refuse a number that was used: the message has had its effect.
                Err(ChainError::Rejected(Rejection::NotAccepted { exit_code: Some(33) })) => {}
                Err(error) => return Err(error),
            }
            self.deliver_all(chain)?;
            let again = chain.send_boc(message);
            assert!(matches!(again, Err(ChainError::Rejected(Rejection::NotAccepted { exit_code: Some(33) }))), "{again:?}");
        }
        Ok(())
    }

    /// Makes blocks until no message is under way.
    fn deliver_all(&mut self, chain: &Embedded) -> Result<(), ChainError> {
        while !chain.settled()?.committed.queue().is_empty() {
            self.told = chain.tick()?.or(self.told);
        }
        Ok(())
    }
}

fn outcome(chain: &Embedded) -> Outcome {
    let blocks = (0..=chain.head().unwrap().seqno).map(|seqno| chain.block(seqno).unwrap()).collect();
    Outcome { state: chain.state_hash().unwrap(), blocks, supply: chain.supply().unwrap() }
}

/// A chain as it was found after a death: whole blocks of the undisturbed one, none lost that somebody was told of.
fn check_found(chain: &Embedded, told: Option<Head>, undisturbed: &Outcome, what: &dyn std::fmt::Debug) {
    check_blocks(chain, told, undisturbed, what);
    assert_eq!(chain.replay().unwrap(), chain.committed_head().seqno, "{what:?}: not what its messages make");
}

fn check_blocks(chain: &Embedded, told: Option<Head>, undisturbed: &Outcome, what: &dyn std::fmt::Debug) {
    let found = outcome(chain);
    assert_eq!(found.blocks[..], undisturbed.blocks[..found.blocks.len()], "{what:?}: other blocks");
    assert!(told.is_none_or(|told| found.blocks.contains(&told)), "{what:?}: a block is lost");
    assert!(found.supply.is_balanced(), "{what:?}: {:?}", found.supply);
    let inner = chain.lock();
    let block = |seqno| inner.committed.store.block(seqno).unwrap().unwrap();
    for seqno in 1..found.blocks.len() as u32 {
        let (before, block) = (block(seqno - 1), block(seqno));
        assert_eq!(block.previous, before.hash, "{what:?}: a gap before block {seqno}");
        assert!(before.lt_end < block.lt_start && block.lt_start <= block.lt_end, "{what:?}: logical time at block {seqno}");
        let listed = inner.committed.store.block_transactions(seqno).unwrap().unwrap();
        assert_eq!(listed.len(), block.transactions as usize, "{what:?}: half a block {seqno}");
    }
}

/// What a life comes to in which nothing fails, and which writes it makes.
fn undisturbed() -> (Outcome, BTreeMap<WritePoint, usize>) {
    let mut stage = Stage::new(None);
    let chain = stage.open().unwrap();
    stage.live(&chain).unwrap();
    check_found(&chain, stage.told, &outcome(&chain), &"undisturbed");
    assert_eq!(stage.disk.unnamed(), 0, "the disk was told something outside of every write that has a name");
    let waited = outcome(&chain).blocks.len();
    assert!(waited > stage.messages.len() + 2, "messages waited for later blocks: {waited}");
    (outcome(&chain), stage.fate.met())
}

/// Lives, dies, and lives on with each of the images that the disk can hold.
fn die_and_live_on(death: Death, undisturbed: &Outcome) {
    let mut stage = Stage::new(Some(death));
    let lived = stage.open().map_err(drop).and_then(|chain| stage.live(&chain).map(|()| chain).map_err(drop));
    assert!(stage.fate.has_died(), "{death:?} was not met");
    let images = match death.victim {
        Victim::Process => stage.disk.images(),
        Victim::Write => vec![stage.disk.written()],
    };
    drop(lived);
    for image in images {
        let mut next = Stage { disk: Disk::holding(&image), told: stage.told, ..Stage::new(None) };
        let chain = next.open().unwrap();
        check_found(&chain, next.told, undisturbed, &death);
        next.live(&chain).unwrap();
        assert_eq!(outcome(&chain), *undisturbed, "{death:?}");
    }
}

/// Dies at each write of these names, at the first three of a name, since what comes later is the same again.
fn die_at_each(victim: Victim, is_it: impl Fn(WritePoint) -> bool) {
    let (outcome, met) = undisturbed();
    for (point, count) in met.into_iter().filter(|(point, _)| is_it(*point)) {
        for nth in 1..=count.min(3) {
            for side in [Side::Before, Side::After] {
                die_and_live_on(Death { point, nth, side, victim }, &outcome);
            }
        }
    }
}

const fn is_snapshot(point: WritePoint) -> bool {
    matches!(point, WritePoint::SnapshotFile | WritePoint::SnapshotTable | WritePoint::SnapshotCommit | WritePoint::SnapshotName)
}

const fn is_block(point: WritePoint) -> bool {
    matches!(point, WritePoint::Account | WritePoint::Transaction | WritePoint::Contents | WritePoint::Delivered | WritePoint::Queued)
}

#[test]
fn every_write_has_a_name_and_every_name_is_written() {
    let (_, mut met) = undisturbed();
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(None);
    stage.open().unwrap().snapshot(&dir.path().join("snapshot")).unwrap();
    met.extend(stage.fate.met().into_iter().filter(|(point, _)| is_snapshot(*point)));
    let met: BTreeSet<_> = met.into_keys().collect();
    assert_eq!(met, WritePoint::ALL.into(), "each name is in the list, and each of the list is met in these lives");
    let names: BTreeSet<_> = WritePoint::ALL.map(WritePoint::name).into();
    assert_eq!(names.len(), WritePoint::ALL.len(), "no two have one name");
}

#[test]
fn a_process_killed_at_any_write_within_a_block_loses_and_doubles_nothing() {
    die_at_each(Victim::Process, is_block);
}

#[test]
fn a_process_killed_at_the_beginning_or_end_of_a_block_loses_and_doubles_nothing() {
    die_at_each(Victim::Process, |point| !is_block(point));
}

#[test]
fn a_write_that_fails_while_the_process_lives_on_loses_and_doubles_nothing() {
    let (undisturbed, met) = undisturbed();
    for (point, count) in met {
        for (nth, side) in (1..=count.min(3)).flat_map(|nth| [(nth, Side::Before), (nth, Side::After)]) {
            let death = Death { point, nth, side, victim: Victim::Write };
            let mut stage = Stage::new(Some(death));
            // Who was not told that a write is there tries again, with the same chain if it is open.
            let chain = stage.open().or_else(|_| stage.open()).unwrap();
            if stage.live(&chain).is_err() {
                stage.live(&chain).unwrap();
            }
            assert!(stage.fate.has_died(), "{death:?} was not met");
            assert_eq!(outcome(&chain), undisturbed, "{death:?}");
            check_found(&chain, stage.told, &undisturbed, &death);
        }
    }
}

/// Of the images that a power cut can leave, one in so many is replayed and lived on with; all are looked at.
const IMAGES_A_LIFE: usize = 16;

/// EC-1, for every moment at which the power can be cut while blocks are written, and everything that can be on the disk then.
#[test]
fn a_power_cut_leaves_the_block_or_the_one_before() {
    let (undisturbed, _) = undisturbed();
    let mut funded = Stage::new(None);
    let first = std::mem::take(&mut funded.messages).remove(0);
    let chain = funded.open().unwrap();
    funded.live(&chain).unwrap();
    drop(chain);
    let (mut cuts, mut images) = (0, BTreeSet::new());
    for power in 0.. {
        let stage = Stage { disk: Disk::holding(&funded.disk.written()), ..Stage::new(None) };
        let chain = stage.open().unwrap();
        stage.clock.set_ms(START_MS + 2_000);
        stage.disk.cut_after(power);
        let sent = chain.send_boc(&first);
        let is_whole = sent.is_ok() && chain.settled().is_ok_and(|inner| inner.committed.queue().is_empty());
        stage.disk.cut();
        drop(chain);
        for image in stage.disk.images() {
            if !images.insert((sent.is_ok(), Sha256::digest(&image))) {
                continue;
            }
            let mut next = Stage { disk: Disk::holding(&image), ..Stage::new(None) };
            let chain = next.open().unwrap();
            check_blocks(&chain, funded.told, &undisturbed, &power);
            let known = chain.transactions(&next.wallet.address, Page::newest(2)).unwrap().len();
            assert!(known == 2 || known == 1 && sent.is_err(), "power for {power} operations: {known} transactions");
            if images.len() % IMAGES_A_LIFE == 0 {
                assert_eq!(chain.replay().unwrap(), chain.head().unwrap().seqno);
                next.live(&chain).unwrap();
                assert_eq!(outcome(&chain), undisturbed, "power for {power} operations");
            }
        }
        if is_whole {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10 && images.len() > 5 * cuts, "{cuts} cuts, {} images", images.len());
}

#[test]
fn a_full_disk_stops_the_chain_and_room_lets_it_go_on() {
    let stage = Stage::new(None);
    let chain = stage.open().unwrap();
    let before = outcome(&chain);
    // The file cannot grow any more; what room it has of its own is used up by and by.
    stage.disk.set_room(stage.disk.bytes());
    let fill = |n| chain.fund(&Address::basechain(somebody(n)), Amount::from_nano(1)).err();
    let error = (0..10_000).find_map(fill).expect("a disk that never fills");
    assert!(error.is_retryable(), "{error}");
    let ChainError::Storage(cause) = &error else { panic!("{error:?}") };
    assert!(matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Full { .. })), "{cause:?}");
    let filled_up = outcome(&chain);
    assert!(filled_up.supply.is_balanced() && filled_up.blocks.len() > before.blocks.len());
    assert!(chain.fund(&Address::basechain([7; 32]), ton(1)).is_err(), "still full");
    assert_eq!(outcome(&chain), filled_up, "what is refused leaves no trace");

    stage.disk.set_room(usize::MAX);
    chain.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
    assert_eq!(balance(&chain, &Address::basechain([7; 32])), ton(1));
    assert_eq!(chain.head().unwrap().seqno, filled_up.blocks.last().unwrap().seqno + 1, "the chain goes on without a gap");
    chain.replay().unwrap();
    drop(chain);
    let chain = stage.open().unwrap();
    assert_eq!(chain.head().unwrap().seqno, filled_up.blocks.last().unwrap().seqno + 1);
}

fn somebody(n: u32) -> Hash {
    std::array::from_fn(|at| n.to_be_bytes()[at % 4] ^ at as u8)
}

/// A snapshot that is cut off has no name: neither a chain begins anew under it, nor does it stand in the way of the next.
#[test]
fn a_snapshot_is_whole_or_not_there() {
    for point in WritePoint::ALL.into_iter().filter(|point| is_snapshot(*point)) {
        let nths = if point == WritePoint::SnapshotTable { 6 } else { 1 };
        for (nth, side) in (1..=nths).flat_map(|nth| [(nth, Side::Before), (nth, Side::After)]) {
            let death = Death { point, nth, side, victim: Victim::Write };
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("snapshot");
            let mut stage = Stage::new(Some(death));
            let chain = stage.open().unwrap();
            stage.live(&chain).unwrap();
            let lived = outcome(&chain);
            assert!(matches!(chain.snapshot(&path), Err(ChainError::Storage(_))), "{death:?}");
            assert!(stage.fate.has_died(), "{death:?} was not met");
            let is_named = point == WritePoint::SnapshotName && side == Side::After;
            assert_eq!(path.exists(), is_named, "{death:?}");
            if !is_named {
                assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{death:?}: nothing is left");
                chain.snapshot(&path).unwrap();
            }
            assert_eq!(outcome(&chain), lived, "{death:?}: the chain itself has not changed");
            let mut copy = Embedded::open(&path, stage.options.clone()).unwrap();
            copy.limits.transactions = BLOCK_TRANSACTIONS;
            assert_eq!(outcome(&copy), lived, "{death:?}");
            assert_eq!(copy.replay().unwrap(), chain.head().unwrap().seqno, "{death:?}");
        }
    }
}

/// What a killed process leaves of a snapshot is no chain and is replaced.
#[test]
fn the_part_of_a_snapshot_that_a_killed_process_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, part) = (dir.path().join("snapshot"), dir.path().join("snapshot.part"));
    let (chain, _) = chain(Blocks::Instant);
    std::fs::write(&part, b"half of a snapshot").unwrap();
    let head = chain.snapshot(&path).unwrap();
    assert!(!part.exists());
    assert_eq!(Embedded::open(&path, options(Blocks::Manual).0).unwrap().head().unwrap(), head);
}
