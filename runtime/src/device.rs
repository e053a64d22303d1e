//! Where a model runs: a GPU through wgpu, or the CPU. Chosen at run time, in one binary.
//!
//! A software adapter (llvmpipe, SwiftShader, WARP) looks like a GPU and is slower than the CPU
//! device, so it is never chosen unless wgpu, or the adapter itself, was asked for by name.
//!
//! A device that is open is shared by everything in the process that asks for the same adapter. When
//! the driver loses it, everything on it is lost as well, and [`Device::reopen`] sets the adapter up
//! anew, once for all who ask.
//!
//! All of this was tested on software Vulkan (llvmpipe) only; no hardware adapter was at hand.

mod adapter;
mod choice;
mod faults;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use burn::tensor::wgpu::WgpuInitError;
use burn::tensor::wgpu::wgpu::PollType;

use adapter::Logical;
pub use adapter::{AdapterInfo, AdapterKind, adapters};
pub use choice::{AdapterChoice, DeviceChoice, Listed, NoAdapterNamed, UnknownDevice};
pub(crate) use faults::Faults;

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// wgpu was asked for and finds no adapter.
    #[error("no wgpu adapter found: install a Vulkan driver (on Debian, mesa-vulkan-drivers), or use --device cpu")]
    NoAdapter,
    /// An adapter was asked for that is not there.
    #[error("no adapter {asked:?}; there are {there}")]
    UnknownAdapter {
        /// What was asked for.
        asked: String,
        /// All adapters.
        there: Listed,
    },
    /// An adapter was asked for by what several are called.
    #[error("{asked:?} names several adapters: {fitting}; name one by its position")]
    AmbiguousAdapter {
        /// What was asked for.
        asked: String,
        /// Those that it fits.
        fitting: Listed,
    },
    /// Adapters were chosen, and the CPU as well.
    #[error("adapters are chosen, and the device is cpu")]
    AdapterForCpu,
    /// An adapter is there and cannot be used.
    #[error("adapter {adapter} cannot be used, try --device cpu")]
    Init {
        /// Which.
        adapter: Box<AdapterInfo>,
        /// Why.
        #[source]
        source: Box<WgpuInitError>,
    },
    /// An adapter was there once.
    #[error("adapter {adapter} is not there any more")]
    Gone {
        /// Which.
        adapter: Box<AdapterInfo>,
    },
}

/// How long a driver may take to say what is wrong: it has finished, or failed, whatever it had to do long before that.
const DRIVER_ANSWERS_IN: Duration = Duration::from_secs(5);

/// An open device. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    adapter: Option<(AdapterInfo, Logical)>,
    threads: NonZeroUsize,
}

/// An adapter can be set up many times, but each time takes memory, so what is open is kept and shared.
static OPEN: Mutex<Vec<Device>> = Mutex::new(Vec::new());

impl Device {
    /// Opens what was asked for. `auto` falls back to the CPU, with a warning in the log when
    /// there is hardware that cannot be used.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when wgpu was asked for by name and is not to be had.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu()),
            DeviceChoice::Wgpu => Self::on(best(adapters()).ok_or(DeviceError::NoAdapter)?),
            DeviceChoice::Auto => Ok(Self::auto()),
        }
    }

    /// Opens the adapters that were chosen, in that order and each once, whatever they are; without any,
    /// one device as [`Device::open`] has it.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when a choice fits no adapter or several, or one of them cannot be used.
    pub fn open_all(choice: DeviceChoice, chosen: &[AdapterChoice]) -> Result<Vec<Self>, DeviceError> {
        if chosen.is_empty() {
            return Ok(vec![Self::open(choice)?]);
        }
        Self::choose(choice, chosen, &adapters())?.into_iter().map(Self::on).collect()
    }

    /// The adapters that are chosen of those that there are, each once, without opening them.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when a choice fits none or several.
    pub fn choose(choice: DeviceChoice, chosen: &[AdapterChoice], there: &[AdapterInfo]) -> Result<Vec<AdapterInfo>, DeviceError> {
        if choice == DeviceChoice::Cpu && !chosen.is_empty() {
            return Err(DeviceError::AdapterForCpu);
        }
        let mut picked: Vec<AdapterInfo> = Vec::new();
        for choice in chosen {
            let adapter = choice.pick(there)?;
            if !picked.contains(adapter) {
                picked.push(adapter.clone());
            }
        }
        Ok(picked)
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self { adapter: None, threads: available_threads() }
    }

    /// The same device with another number of threads for what the CPU computes.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Threads for what the CPU computes: as many as it has, unless told otherwise.
    pub fn threads(&self) -> NonZeroUsize {
        self.threads
    }

    /// The adapter, or none for the CPU.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        self.adapter.as_ref().map(|(adapter, _)| adapter)
    }

    /// Whether this is the CPU device, not an adapter of whichever kind.
    pub fn is_cpu(&self) -> bool {
        self.adapter.is_none()
    }

    /// Whether the driver has lost it, so that everything on it fails. Known once something has failed.
    pub fn is_lost(&self) -> bool {
        self.adapter.as_ref().is_some_and(|(_, logical)| logical.faults.is_lost())
    }

    /// The same adapter set up anew, if this device is lost; who asks later gets what the first one
    /// made. A device that is not lost is given as it is.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when the adapter is not to be had again.
    pub fn reopen(&self) -> Result<Self, DeviceError> {
        let Some((adapter, lost)) = self.adapter.as_ref().filter(|_| self.is_lost()) else { return Ok(self.clone()) };
        // Burn keeps what it knows of a device, so the driver is told to give back what it still holds.
        lost.wgpu.destroy();
        Ok(Self::on(adapter.clone())?.with_threads(self.threads))
    }

    /// The adapter as burn has it; none for the CPU, which has an engine of its own.
    pub(crate) fn burn(&self) -> Option<&burn::tensor::Device> {
        self.adapter.as_ref().map(|(_, logical)| &logical.burn)
    }

    /// What is wrong with it, as far as results do not say so; none for the CPU.
    pub(crate) fn faults(&self) -> Option<Faults> {
        self.adapter.as_ref().map(|(_, logical)| logical.faults.clone())
    }

    /// Has the driver tell what it knows of the device by now. Returns when nothing is left to do, or after a while.
    pub(crate) fn ask_driver(&self) {
        let Some((_, logical)) = &self.adapter else { return };
        if let Err(error) = logical.wgpu.poll(PollType::Wait { submission_index: None, timeout: Some(DRIVER_ANSWERS_IN) }) {
            tracing::debug!(error = &error as &dyn std::error::Error, "the driver gave no answer");
        }
    }

    fn auto() -> Self {
        let Some(adapter) = best(adapters()).filter(|adapter| adapter.kind.is_hardware()) else {
            return Self::cpu();
        };
        Self::on(adapter).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "falling back to the CPU");
            Self::cpu()
        })
    }

    fn on(adapter: AdapterInfo) -> Result<Self, DeviceError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|device| !device.is_lost());
        if let Some(device) = open.iter().find(|device| device.adapter() == Some(&adapter)) {
            return Ok(device.clone());
        }
        let logical = match adapter::set_up(&adapter) {
            Some(Ok(logical)) => logical,
            Some(Err(source)) => return Err(DeviceError::Init { adapter: Box::new(adapter), source: Box::new(source) }),
            None => return Err(DeviceError::Gone { adapter: Box::new(adapter) }),
        };
        let device = Self { adapter: Some((adapter, logical)), threads: available_threads() };
        open.push(device.clone());
        Ok(device)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.adapter() {
            None => f.write_str("CPU"),
            Some(adapter) => adapter.fmt(f),
        }
    }
}

fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The first of the best kind.
fn best(adapters: Vec<AdapterInfo>) -> Option<AdapterInfo> {
    adapters.into_iter().min_by_key(|adapter| adapter.kind)
}

#[cfg(test)]
impl Device {
    /// A device of its own that no other test sees, on the best adapter that there is.
    pub(crate) fn own() -> Option<Self> {
        let adapter = best(adapters())?;
        let logical = adapter::set_up(&adapter)?.unwrap();
        Some(Self { adapter: Some((adapter, logical)), threads: available_threads() })
    }

    /// As [`Device::own`], with a driver that has no memory to give.
    pub(crate) fn without_memory() -> Option<Self> {
        let adapter = best(adapters())?;
        let logical = adapter::set_up_within(0, &adapter)?.unwrap();
        Some(Self { adapter: Some((adapter, logical)), threads: available_threads() })
    }

    /// As the driver would lose it.
    pub(crate) fn destroy(&self) {
        self.adapter.as_ref().unwrap().1.wgpu.destroy();
    }
}

#[cfg(test)]
mod tests {
    use super::adapter::imagined;
    use super::*;

    #[test]
    fn hardware_comes_before_software_and_cards_before_the_rest() {
        use AdapterKind::*;
        let order = [Software, Unknown, Integrated, Discrete, Virtual];
        let all: Vec<_> = order.iter().map(|kind| imagined(0, *kind, "a")).collect();
        assert_eq!(best(all).map(|adapter| adapter.kind), Some(Discrete));
        assert_eq!(best(vec![imagined(0, Discrete, "one"), imagined(1, Discrete, "two")]).unwrap().name, "one");
        assert_eq!(best(vec![imagined(0, Unknown, "a"), imagined(1, Software, "b")]).unwrap().name, "b");
    }

    #[test]
    fn chosen_adapters_come_in_that_order_and_each_once() {
        let there: Vec<_> =
            ["one", "two", "three"].into_iter().enumerate().map(|(at, name)| imagined(at, AdapterKind::Discrete, name)).collect();
        let chosen: Vec<AdapterChoice> = ["three", "0", "2"].map(|text| text.parse().unwrap()).into();
        let picked = Device::choose(DeviceChoice::Auto, &chosen, &there).unwrap();
        assert_eq!(picked.iter().map(|adapter| adapter.position).collect::<Vec<_>>(), [2, 0]);
        assert!(matches!(Device::choose(DeviceChoice::Cpu, &chosen, &there), Err(DeviceError::AdapterForCpu)));
    }

    #[test]
    fn auto_never_takes_software() {
        let device = Device::open(DeviceChoice::Auto).unwrap();
        assert!(device.adapter().is_none_or(|adapter| adapter.kind.is_hardware()));
    }

    #[test]
    fn a_machine_without_adapters_gets_a_typed_error_and_never_a_panic() {
        match Device::open(DeviceChoice::Wgpu) {
            Ok(device) => assert!(!adapters().is_empty() && !device.is_cpu()),
            Err(DeviceError::NoAdapter) => assert_eq!(best(adapters()), None),
            Err(DeviceError::Init { adapter, .. }) => assert!(adapters().contains(&adapter)),
            Err(error) => panic!("{error}"),
        }
        assert!(Device::cpu().is_cpu());
        assert_eq!(Device::cpu().to_string(), "CPU");
    }

    #[test]
    fn a_device_is_shared_until_it_is_lost_and_then_set_up_once_for_all() {
        let Ok(device) = Device::open(DeviceChoice::Wgpu) else { return eprintln!("skipped: there is no adapter") };
        let same = |one: &Device, other: &Device| one.burn() == other.burn();
        assert!(same(&device, &Device::open(DeviceChoice::Wgpu).unwrap()));
        assert!(same(&device, &device.reopen().unwrap()), "nothing is set up anew without a reason");
        let lost = Device::own().unwrap();
        lost.faults().unwrap().lose();
        let (first, second) = (lost.reopen().unwrap(), lost.reopen().unwrap());
        assert!(!same(&first, &lost) && same(&first, &second) && !first.is_lost());
        let cpu = Device::cpu();
        assert!(!cpu.is_lost() && cpu.reopen().unwrap().is_cpu());
    }
}
