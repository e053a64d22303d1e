//! A disk that fails as told: its power is cut after so many operations, or it is full.
//!
//! What was written and not synced may be there after a power cut, in any choice and in part. [`Disk::images`] lists what can be left.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a disk reaches the platter in one piece, at the least.
const SECTOR_BYTES: usize = 512;

/// Choices of what was not synced that are tried beside the regular ones.
const CHOICES: u64 = 6;

#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync, the operation in which the power was cut among them.
    pending: Vec<Operation>,
    /// Operations until the power is cut.
    power: usize,
    is_dead: bool,
    /// Bytes that fit.
    room: usize,
    /// Whether a write that has a name is being made.
    is_named: bool,
    /// Operations outside of any.
    unnamed: usize,
}

#[derive(Debug, Clone)]
enum Operation {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Operation {
    /// Does it to an image, up to its so many-th byte.
    fn apply(&self, image: &mut Vec<u8>, bytes: usize) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len().min(bytes);
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(&data[..end - offset]);
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Length(_) => 0,
            Self::Write(_, data) => data.len(),
        }
    }
}

impl Disk {
    pub(crate) fn holding(image: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(State {
            written: image.to_vec(),
            synced: image.to_vec(),
            pending: Vec::new(),
            power: usize::MAX,
            is_dead: false,
            room: usize::MAX,
            is_named: false,
            unnamed: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Cuts the power after so many more operations.
    pub(crate) fn cut_after(&self, operations: usize) {
        self.state().power = operations;
    }

    /// Cuts the power now.
    pub(crate) fn cut(&self) {
        self.state().is_dead = true;
    }

    /// Lets no more than so many bytes onto the disk.
    pub(crate) fn set_room(&self, bytes: usize) {
        self.state().room = bytes;
    }

    /// A write that has a name begins or is over.
    pub(crate) fn set_named(&self, is_named: bool) {
        self.state().is_named = is_named;
    }

    /// How often the disk was told something outside of a write that has a name.
    pub(crate) fn unnamed(&self) -> usize {
        self.state().unnamed
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().written.len()
    }

    /// What is there when no power was cut.
    pub(crate) fn written(&self) -> Vec<u8> {
        self.state().written.clone()
    }

    /// What can be there after the power was cut: nothing of what was not synced, all of it, all but one operation, one operation alone, the
    /// operations up to one that is torn, at its middle and at a sector's border, and some choices by chance.
    pub(crate) fn images(&self) -> Vec<Vec<u8>> {
        let State { synced, pending, .. } = &*self.state();
        let build = |kept: &dyn Fn(usize) -> usize| {
            let mut image = synced.clone();
            pending.iter().enumerate().for_each(|(at, operation)| match kept(at) {
                0 if operation.bytes() > 0 => {}
                bytes => operation.apply(&mut image, bytes),
            });
            image
        };
        let mut images = vec![synced.clone(), build(&|_| usize::MAX)];
        for (torn, operation) in pending.iter().enumerate() {
            images.push(build(&|at| if at == torn { 0 } else { usize::MAX }));
            images.push(build(&|at| if at == torn { usize::MAX } else { 0 }));
            for piece in [operation.bytes() / 2, operation.bytes().min(SECTOR_BYTES)] {
                let up_to = |at: usize| {
                    if at < torn {
                        usize::MAX
                    } else if at == torn {
                        piece
                    } else {
                        0
                    }
                };
                images.push(build(&up_to));
            }
        }
        for seed in 1..=CHOICES {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let choice: Vec<usize> = pending
                .iter()
                .map(|operation| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match random % 3 {
                        0 => 0,
                        1 => operation.bytes() / 3,
                        _ => usize::MAX,
                    }
                })
                .collect();
            images.push(build(&|at| choice[at]));
        }
        images.sort();
        images.dedup();
        images
    }
}

impl State {
    /// Does an operation, as long as there is power and room.
    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        self.spend(Some(&operation))?;
        let end = match &operation {
            Operation::Length(length) => *length,
            Operation::Write(offset, data) => offset + data.len(),
        };
        if end > self.room.max(self.written.len()) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        operation.apply(&mut self.written, usize::MAX);
        self.pending.push(operation);
        Ok(())
    }

    fn spend(&mut self, operation: Option<&Operation>) -> io::Result<()> {
        self.unnamed += usize::from(!self.is_named);
        if self.is_dead {
            return Err(io::Error::other("no power"));
        }
        if self.power == 0 {
            self.is_dead = true;
            self.pending.extend(operation.cloned());
            return Err(io::Error::other("the power was cut"));
        }
        self.power = self.power.saturating_sub(1);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, offset) = (self.state(), offset as usize);
        out.copy_from_slice(&state.written[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().perform(Operation::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.spend(None)?;
        state.pending.clear();
        state.synced = state.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state().perform(Operation::Write(offset as usize, data.to_vec()))
    }
}
