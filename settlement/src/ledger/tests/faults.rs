//! Disks that fill up and processes that die, at every write.

use std::io;
use std::sync::{Arc, Mutex};

use cocoon_market::{ChannelRef, SignedVoucher};
use redb::{Builder, StorageBackend};

use super::*;

/// What a disk that lost power keeps of writes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Survives {
    Everything,
    Nothing,
    EverySecondWrite,
}

#[derive(Debug, Default)]
struct Disk {
    /// As the process sees it.
    bytes: Vec<u8>,
    /// As it was at the last sync.
    synced: Vec<u8>,
    /// Since the last sync.
    unsynced: Vec<Change>,
    /// Changes and syncs so far.
    operations: usize,
    /// The power fails at this operation.
    dies_at: Option<usize>,
    /// No more bytes than this can be written.
    space: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    SetLen(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.dies_at.is_some_and(|at| self.operations >= at) { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.step()?;
        if let (Some(space), Change::Write(_, data)) = (&mut self.space, &change) {
            *space = space.checked_sub(data.len()).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        apply(&mut self.bytes, &change);
        self.unsynced.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        self.synced.clone_from(&self.bytes);
        self.unsynced.clear();
        Ok(())
    }

    fn after_power_cut(&self, survives: Survives) -> Self {
        let mut bytes = self.synced.clone();
        let kept = self.unsynced.iter().enumerate().filter(|(at, change)| match (survives, change) {
            (Survives::Everything, _) | (Survives::EverySecondWrite, Change::SetLen(_)) => true,
            (Survives::Nothing, _) => false,
            (Survives::EverySecondWrite, Change::Write(..)) => at % 2 == 0,
        });
        kept.for_each(|(_, change)| apply(&mut bytes, change));
        Self { synced: bytes.clone(), bytes, ..Self::default() }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len, 0),
        Change::Write(at, data) => {
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
    }
}

#[derive(Clone, Debug)]
struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn new(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    /// A disk with an empty ledger file. Such a file is made aside and renamed, so no death finds it half made.
    fn with_file() -> Self {
        let disk = Self::new(Disk::default());
        disk.store().unwrap();
        disk
    }

    fn dying_at(at: usize) -> Self {
        let disk = Self::with_file();
        disk.with(|disk| (disk.operations, disk.dies_at) = (0, Some(at)));
        disk
    }

    fn store(&self) -> Result<RedbStore, StoreError> {
        let disk = self.clone();
        RedbStore::with_opener(move || Builder::new().create_with_backend(disk.clone()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

impl StorageBackend for SharedDisk {
    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.with(|disk| {
            let found = disk.bytes.get(at..at + out.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|disk| disk.change(Change::SetLen(usize::try_from(len).unwrap())))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Disk::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|disk| disk.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec())))
    }
}

/// What a provider gave away or was told is safe.
#[derive(Default)]
struct Given {
    receipts: Vec<SignedReceipt>,
    acknowledged: Option<SignedVoucher>,
}

const SLICES: u64 = 6;

/// A provider's life on this disk, against a requester whose own disk is good. Ends with the first error.
fn live(ledger: &Ledger, channel: ChannelRef, requester: &Ledger, given: &mut Given) -> Result<(), LedgerError> {
    for slice in 1..=SLICES {
        let receipt = ledger.issue_receipt(draft(channel, 1, slice))?;
        given.receipts.push(receipt);
        let voucher = requester.pay_receipt(receipt).unwrap();
        ledger.accept_voucher(voucher)?;
        given.acknowledged = Some(voucher);
    }
    Ok(())
}

fn start_on(disk: &SharedDisk) -> Result<(Ledger, ChannelRef), LedgerError> {
    let ledger = Ledger::open(disk.store()?, provider_key())?;
    let channel = ledger.record_channel(Role::Provider, terms(), NOW)?;
    ledger.record_sight(channel, sight(10_000))?;
    ledger.record_agreement(&agreement(), NOW)?;
    Ok((ledger, channel))
}

fn requester() -> Ledger {
    let requester = open(MemoryStore::default(), Role::Requester);
    start(&requester, Role::Requester, 10_000);
    requester
}

fn check_nothing_given_is_forgotten(ledger: &Ledger, channel: ChannelRef, given: &Given) {
    let stored: Vec<_> = ledger.receipts(channel, 1, usize::MAX).unwrap().into_iter().map(|record| record.receipt).collect();
    assert!(stored.starts_with(&given.receipts), "a receipt that left is forgotten");
    let book = ledger.channel(channel).unwrap();
    let best = book.head().voucher.map_or(0, |signed| signed.voucher.sequence);
    assert!(best >= given.acknowledged.map_or(0, |signed| signed.voucher.sequence), "an acknowledged voucher is forgotten");
}

/// Dies at operation `at` and comes back. `None` when the life ended before.
fn die_at(at: usize, survives: Survives) -> Option<()> {
    let disk = SharedDisk::dying_at(at);
    let requester = requester();
    let mut given = Given::default();
    let result = start_on(&disk).and_then(|(ledger, channel)| live(&ledger, channel, &requester, &mut given));
    let died = result.is_err();
    let disk = SharedDisk::new(disk.with(|disk| disk.after_power_cut(survives)));
    let (ledger, channel) = start_on(&disk).unwrap();
    check_nothing_given_is_forgotten(&ledger, channel, &given);

    // The life goes on: what was numbered and never sent is sent now, and the requester goes along.
    for receipt in ledger.unpaid_receipts(channel).unwrap() {
        let voucher = requester.pay_receipt(receipt).unwrap();
        assert!(ledger.accept_voucher(voucher).unwrap());
    }
    let next = ledger.issue_receipt(draft(channel, 1, SLICES + 1)).unwrap();
    assert!(next.receipt.header.sequence > given.receipts.last().map_or(0, |last| last.receipt.header.sequence));
    ledger.accept_voucher(requester.pay_receipt(next).unwrap()).unwrap();
    died.then_some(())
}

#[test]
fn a_provider_killed_at_any_write_forgets_nothing_it_gave_away() {
    for survives in [Survives::Everything, Survives::Nothing, Survives::EverySecondWrite] {
        let deaths = (1..).map_while(|at| die_at(at, survives)).count();
        assert!(deaths > 50, "{deaths} deaths with {survives:?}");
    }
}

#[test]
fn a_requester_killed_at_any_write_knows_every_voucher_it_gave_away() {
    let provider = open(MemoryStore::default(), Role::Provider);
    let channel = start(&provider, Role::Provider, 10_000);
    let receipts: Vec<_> = (1..=SLICES).map(|slice| provider.issue_receipt(draft(channel, 1, slice)).unwrap()).collect();
    let start_requester = |disk: &SharedDisk| -> Result<Ledger, LedgerError> {
        let ledger = Ledger::open(disk.store()?, requester_key())?;
        ledger.record_channel(Role::Requester, terms(), NOW)?;
        ledger.record_sight(channel, sight(10_000))?;
        ledger.record_agreement(&agreement(), NOW)?;
        Ok(ledger)
    };
    for at in 1.. {
        let disk = SharedDisk::dying_at(at);
        let mut given: Option<SignedVoucher> = None;
        let mut died = false;
        if let Ok(ledger) = start_requester(&disk) {
            for receipt in &receipts {
                match ledger.pay_receipt(*receipt) {
                    Ok(voucher) => given = Some(voucher),
                    Err(_) => died = true,
                }
            }
        } else {
            died = true;
        }
        let disk = SharedDisk::new(disk.with(|disk| disk.after_power_cut(Survives::Nothing)));
        let ledger = start_requester(&disk).unwrap();
        let best = ledger.channel(channel).unwrap().head().voucher;
        let sequence = |voucher: Option<SignedVoucher>| voucher.map_or(0, |signed| signed.voucher.sequence);
        assert!(sequence(best) >= sequence(given), "a voucher that left is forgotten");
        for receipt in &receipts {
            ledger.record_receipt(*receipt).unwrap();
        }
        assert_eq!(ledger.issue_voucher(channel).unwrap().voucher.cumulative, Amount::from_nano(60));
        if !died {
            break;
        }
    }
}

#[test]
fn a_full_disk_is_a_typed_error_and_the_node_goes_on_when_there_is_space() {
    let disk = SharedDisk::with_file();
    let requester = requester();
    let (ledger, channel) = start_on(&disk).unwrap();
    let mut refusals = 0;
    let mut slice = 0;
    let mut given = Given::default();
    for space in (0..400_000).step_by(10_007) {
        disk.with(|disk| disk.space = Some(space));
        let error = loop {
            let receipt = match ledger.issue_receipt(draft(channel, 1, slice + 1)) {
                Ok(receipt) => receipt,
                Err(error) => break error,
            };
            slice += 1;
            given.receipts.push(receipt);
            let voucher = requester.pay_receipt(receipt).unwrap();
            match ledger.accept_voucher(voucher) {
                Ok(_) => given.acknowledged = Some(voucher),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LedgerError::Store(StoreError::Full(_))), "{error:?}");
        refusals += 1;
        disk.with(|disk| disk.space = None);
        check_nothing_given_is_forgotten(&ledger, channel, &given);
        for receipt in ledger.unpaid_receipts(channel).unwrap() {
            let voucher = requester.pay_receipt(receipt).unwrap();
            ledger.accept_voucher(voucher).unwrap();
            given.acknowledged = Some(voucher);
        }
        slice = ledger.channel(channel).unwrap().sequence();
    }
    assert!(refusals > 30);
}

#[test]
fn a_file_that_was_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(path.with_extension("new"), b"half a ledger").unwrap();
    Ledger::open(RedbStore::open(&path).unwrap(), provider_key()).unwrap();
    assert!(!path.with_extension("new").exists());
}

#[test]
fn two_ledgers_cannot_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let first = Ledger::open(RedbStore::open(&path).unwrap(), provider_key()).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse)));
    let channel = start(&first, Role::Provider, 1_000);
    let receipt = first.issue_receipt(draft(channel, 1, 1)).unwrap();
    drop(first);
    let again = Ledger::open(RedbStore::open(&path).unwrap(), provider_key()).unwrap();
    assert_eq!(again.unpaid_receipts(channel).unwrap(), [receipt]);
}
