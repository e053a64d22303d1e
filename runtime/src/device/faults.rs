//! What went wrong on a device, as far as the results of operations do not say it.
//!
//! A buffer that the driver has no memory for is an error that no operation returns: wgpu tells a
//! handler of the device, on whichever thread asked for the buffer, and what was to be written into
//! it is missing later. So engines note how often that has happened before a pass, and look again if
//! the pass fails.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burn::tensor::wgpu::wgpu;

/// Faults of one logical device. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    heard: AtomicU64,
    refused_buffers: AtomicU64,
    lost: AtomicBool,
}

impl Faults {
    /// Makes a device tell.
    pub(super) fn watch(&self, device: &wgpu::Device) {
        let faults = self.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| faults.hear(&error)));
    }

    /// Whether the device is gone, and everything on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    /// Remembers that it is.
    pub(crate) fn lose(&self) {
        self.0.lost.store(true, Ordering::Release);
    }

    /// How many buffers the driver had no memory for.
    pub(crate) fn refused_buffers(&self) -> u64 {
        self.0.refused_buffers.load(Ordering::Acquire)
    }

    /// As if the driver had had no memory for a buffer.
    #[cfg(test)]
    pub(crate) fn refuse(&self) {
        self.hear(&wgpu::Error::OutOfMemory { source: "no memory".into() });
    }

    /// Takes what wgpu could tell nobody else.
    ///
    /// # Panics
    ///
    /// On a device that is not known to be lost, without a word to the panic hook. The caller is burn,
    /// which ends the operation by that and goes on with the next; to return would have it use a buffer
    /// that is none.
    fn hear(&self, error: &wgpu::Error) {
        if matches!(error, wgpu::Error::OutOfMemory { .. }) {
            self.0.refused_buffers.fetch_add(1, Ordering::AcqRel);
        }
        // One fault may have an error for each operation of a pass; what it was is said where the pass fails.
        match self.0.heard.fetch_add(1, Ordering::AcqRel) {
            0 => tracing::warn!(error = error as &dyn std::error::Error, "the first error of this device that no operation returns"),
            _ => tracing::debug!(error = error as &dyn std::error::Error, "an error that no operation returns"),
        }
        if !self.is_lost() {
            resume_unwind(Box::new(format!("wgpu: {error}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_refused_buffer_is_counted_and_ends_the_operation_unless_the_device_is_lost() {
        let faults = Faults::default();
        assert!(catch_unwind(AssertUnwindSafe(|| faults.refuse())).is_err());
        assert_eq!(faults.refused_buffers(), 1);
        faults.lose();
        faults.refuse();
        assert_eq!(faults.refused_buffers(), 2);
    }
}
