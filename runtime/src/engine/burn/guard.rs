//! What stands between an engine and its adapter: it refuses what the adapter has no tensors for, and
//! finds out what was wrong when something failed.
//!
//! # What failures look like
//!
//! Operations are queued and carried out on a thread of burn's, so none of them fails where it is
//! asked for. Reading a result does:
//!
//! | on the adapter | what is seen here |
//! |---|---|
//! | the driver lost the device | an error that calls the device poisoned, now or at the next wait |
//! | no memory for a buffer | the operation that asked for it ends; what it was to write is missing, and reading that fails; [`Faults`] counts it |
//! | a tensor above the limits | an error; not tried where the size is known before |
//! | a defect | an error, or a panic of burn's |

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::tensor::Device;

use crate::device::Faults;
use crate::engine::{EngineError, Host};

/// An adapter as engines use it.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) device: Device,
    /// Most bytes of one tensor.
    pub(crate) tensor_bytes_max: u64,
    /// The same as the rest of the crate has it; none for burn's own engine on the processor, which tests use.
    opened: Option<crate::Device>,
    faults: Faults,
    /// Buffers that had found no place when this began.
    refused_before: u64,
}

impl Guard {
    /// The adapter of a device; none for the CPU.
    pub(crate) fn of(device: &crate::Device) -> Option<Self> {
        let (faults, tensor_bytes_max) = (device.faults()?, device.adapter()?.tensor_bytes_max);
        let refused_before = faults.refused_buffers();
        Some(Self { device: device.burn()?.clone(), tensor_bytes_max, opened: Some(device.clone()), faults, refused_before })
    }

    /// What the device has to say after a failure.
    fn fault(&self, refused_before: u64, error: Option<&EngineError>) -> Option<EngineError> {
        if let Some(reason) = self.loss(error) {
            self.faults.lose();
            return Some(EngineError::Lost { reason });
        }
        (self.faults.refused_buffers() > refused_before).then_some(EngineError::OutOfMemory)
    }

    /// Why the device is lost, if it is. Where the failure does not say so itself, since operations may fail before the driver has told
    /// that the device is gone, asking the driver and waiting once more does.
    fn loss(&self, error: Option<&EngineError>) -> Option<String> {
        if let Some(EngineError::Device(error)) =
            error.filter(|error| matches!(error, EngineError::Device(error) if error.is_device_poisoned()))
        {
            return Some(error.reason().to_owned());
        }
        self.opened.iter().for_each(crate::Device::ask_driver);
        let waited = catch_unwind(AssertUnwindSafe(|| self.device.sync()));
        waited.ok()?.err().filter(|error| error.is_device_poisoned()).map(|error| error.reason().to_owned())
    }
}

impl Host for Guard {
    /// Runs work that ends with reading its result, and says what was wrong if it failed. A panic of
    /// burn's is an error too, if the device explains it.
    fn run<R: Send>(&self, work: impl FnOnce() -> Result<R, EngineError> + Send) -> Result<R, EngineError> {
        let refused_before = self.faults.refused_buffers();
        let failure = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => Ok(error),
            Err(panic) => Err(panic),
        };
        match (self.fault(refused_before, failure.as_ref().ok()), failure) {
            (Some(fault), _) => Err(fault),
            (None, Ok(error)) => Err(error),
            (None, Err(panic)) => resume_unwind(panic),
        }
    }

    /// Of what was put onto the device since this began; what is missing is noticed even when nothing has asked for it yet.
    fn settle(&self) -> Result<(), EngineError> {
        self.run(|| Ok(self.device.sync()?))?;
        if self.faults.refused_buffers() > self.refused_before { Err(EngineError::OutOfMemory) } else { Ok(()) }
    }

    fn tidy(&self) {
        self.device.memory_cleanup();
    }

    fn tensor_bytes_max(&self) -> u64 {
        self.tensor_bytes_max
    }
}

#[cfg(test)]
impl Guard {
    /// The same with other limits.
    pub(crate) fn within(self, tensor_bytes_max: u64) -> Self {
        Self { tensor_bytes_max, ..self }
    }
}

#[cfg(test)]
impl From<Device> for Guard {
    /// A device that has no bounds, such as burn's own engine on the processor.
    fn from(device: Device) -> Self {
        Self { device, tensor_bytes_max: u64::MAX, opened: None, faults: Faults::default(), refused_before: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse_quietly(faults: &Faults) {
        assert!(catch_unwind(AssertUnwindSafe(|| faults.refuse())).is_err());
    }

    #[test]
    fn what_failed_for_want_of_memory_is_told_from_what_failed_otherwise() {
        let guard = Guard::from(Device::flex());
        assert!(matches!(guard.run(|| Err::<(), _>(EngineError::Unreadable)), Err(EngineError::Unreadable)));
        let failed = guard.run(|| {
            refuse_quietly(&guard.faults);
            Err::<(), _>(EngineError::Unreadable)
        });
        assert!(matches!(failed, Err(EngineError::OutOfMemory)));
        assert!(matches!(guard.run(|| Ok(5)), Ok(5)), "what was refused to others before is none of this pass's business");
        assert!(matches!(guard.settle(), Err(EngineError::OutOfMemory)), "but of whoever has waited since then");
    }

    #[test]
    fn a_panic_is_an_error_where_memory_explains_it_and_stays_a_panic_where_nothing_does() {
        let guard = Guard::from(Device::flex());
        let failed = guard.run::<()>(|| {
            guard.faults.refuse();
            Ok(())
        });
        assert!(matches!(failed, Err(EngineError::OutOfMemory)));
        let panic = catch_unwind(AssertUnwindSafe(|| guard.run::<()>(|| resume_unwind(Box::new("a defect")))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"a defect"));
    }
}
