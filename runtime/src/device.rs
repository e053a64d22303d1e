//! Where a model runs: a GPU through wgpu, or the CPU. Chosen at run time, in one binary.
//!
//! A software adapter (llvmpipe, SwiftShader, WARP) looks like a GPU and is slower than the CPU
//! device, so it is never chosen unless wgpu was asked for by name.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use burn::tensor::DeviceKind;
use burn::tensor::wgpu::wgpu::{self, Backend, DeviceType};
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware adapter if there is one, else the CPU.
    #[default]
    Auto,
    /// The best wgpu adapter, be it software.
    Wgpu,
    /// The CPU.
    Cpu,
}

/// A word that is no [`DeviceChoice`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {name:?}, expected auto, wgpu or cpu")]
pub struct UnknownDevice {
    /// The word.
    pub name: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "auto" => Ok(Self::Auto),
            "wgpu" => Ok(Self::Wgpu),
            "cpu" => Ok(Self::Cpu),
            name => Err(UnknownDevice { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        })
    }
}

/// What kind of thing an adapter is. The order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A card of its own.
    Discrete,
    /// Part of the processor, sharing its memory.
    Integrated,
    /// Handed through by a hypervisor.
    Virtual,
    /// A program on the CPU that imitates a GPU.
    Software,
    /// The driver does not say.
    Unknown,
}

impl AdapterKind {
    /// Whether `auto` may take it.
    pub fn is_hardware(self) -> bool {
        matches!(self, Self::Discrete | Self::Integrated | Self::Virtual)
    }
}

impl From<DeviceType> for AdapterKind {
    fn from(kind: DeviceType) -> Self {
        match kind {
            DeviceType::DiscreteGpu => Self::Discrete,
            DeviceType::IntegratedGpu => Self::Integrated,
            DeviceType::VirtualGpu => Self::Virtual,
            DeviceType::Cpu => Self::Software,
            DeviceType::Other => Self::Unknown,
        }
    }
}

/// A wgpu adapter of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// As the driver calls it.
    pub name: String,
    /// The graphics API it was found through.
    pub api: String,
    /// What kind of thing it is.
    pub kind: AdapterKind,
    /// The driver and its version.
    pub driver: String,
    /// Position among the adapters of its kind and API.
    index: usize,
    backend: Backend,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {:?})", self.name, self.api, self.kind)
    }
}

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// wgpu was asked for and finds no adapter.
    #[error("no wgpu adapter found: install a Vulkan driver (on Debian, mesa-vulkan-drivers), or use --device cpu")]
    NoAdapter,
    /// An adapter is there and cannot be used.
    #[error("adapter {adapter} cannot be used, try --device cpu")]
    Init {
        /// Which.
        adapter: AdapterInfo,
        /// Why.
        #[source]
        source: Box<WgpuInitError>,
    },
}

/// An open device. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    adapter: Option<(AdapterInfo, burn::tensor::Device)>,
    threads: NonZeroUsize,
}

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

    /// The adapter as burn has it; none for the CPU, which has an engine of its own.
    pub(crate) fn burn(&self) -> Option<&burn::tensor::Device> {
        self.adapter.as_ref().map(|(_, device)| device)
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
        // An adapter can be set up once in a process, so what is open is kept and shared.
        static OPEN: Mutex<Vec<Device>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.iter().find(|device| device.adapter() == Some(&adapter)) {
            return Ok(device.clone());
        }
        let burn = burn::tensor::Device::wgpu_options()
            .device_kind(burn_kind(&adapter))
            .graphics_api(burn_api(adapter.backend))
            .init()
            .map_err(|source| DeviceError::Init { adapter: adapter.clone(), source: Box::new(source) })?;
        let device = Self { adapter: Some((adapter, burn)), threads: available_threads() };
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

/// The graphics APIs that compute well, best first. OpenGL is left out: its adapters do not say
/// what they are.
const BACKENDS: &[Backend] = if cfg!(target_os = "macos") { &[Backend::Metal] } else { &[Backend::Vulkan, Backend::Dx12] };

/// Every usable wgpu adapter of this machine; none where there is no driver.
pub fn adapters() -> Vec<AdapterInfo> {
    let mut found = Vec::new();
    for backend in BACKENDS {
        let mut indices = [0usize; 5];
        for info in enumerate(*backend) {
            let kind = AdapterKind::from(info.device_type);
            let index = &mut indices[kind as usize];
            found.push(AdapterInfo {
                name: info.name,
                api: format!("{backend:?}"),
                kind,
                driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
                index: *index,
                backend: *backend,
            });
            *index += 1;
        }
    }
    found
}

fn enumerate(backend: Backend) -> Vec<wgpu::AdapterInfo> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backend.into();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = std::pin::pin!(instance.enumerate_adapters(backend.into()));
    // Outside browsers the answer is there at once.
    match adapters.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(adapters) => adapters.iter().map(wgpu::Adapter::get_info).collect(),
        Poll::Pending => Vec::new(),
    }
}

/// The first of the best kind.
fn best(adapters: Vec<AdapterInfo>) -> Option<AdapterInfo> {
    // An adapter that does not say what it is cannot be addressed through burn.
    adapters.into_iter().filter(|adapter| adapter.kind != AdapterKind::Unknown).min_by_key(|adapter| adapter.kind)
}

fn burn_kind(adapter: &AdapterInfo) -> DeviceKind {
    match adapter.kind {
        AdapterKind::Discrete => DeviceKind::DiscreteGpu(adapter.index),
        AdapterKind::Integrated => DeviceKind::IntegratedGpu(adapter.index),
        AdapterKind::Virtual => DeviceKind::VirtualGpu(adapter.index),
        AdapterKind::Software => DeviceKind::Cpu,
        AdapterKind::Unknown => DeviceKind::DefaultDevice,
    }
}

fn burn_api(backend: Backend) -> WgpuBackend {
    match backend {
        Backend::Vulkan => WgpuBackend::Vulkan,
        Backend::Metal => WgpuBackend::Metal,
        Backend::Dx12 => WgpuBackend::Dx12,
        Backend::Gl | Backend::BrowserWebGpu | Backend::Noop => WgpuBackend::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(kind: AdapterKind, name: &str) -> AdapterInfo {
        let (name, api, driver) = (name.to_owned(), "Vulkan".to_owned(), String::new());
        AdapterInfo { name, api, kind, driver, index: 0, backend: Backend::Vulkan }
    }

    #[test]
    fn words_and_choices_correspond() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Wgpu, DeviceChoice::Cpu] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse::<DeviceChoice>(), Err(UnknownDevice { name: "cuda".into() }));
    }

    #[test]
    fn hardware_comes_before_software_and_cards_before_the_rest() {
        use AdapterKind::*;
        let order = [Software, Unknown, Integrated, Discrete, Virtual];
        let all: Vec<_> = order.iter().map(|kind| adapter(*kind, "a")).collect();
        assert_eq!(best(all).map(|adapter| adapter.kind), Some(Discrete));
        assert_eq!(best(vec![adapter(Discrete, "one"), adapter(Discrete, "two")]).unwrap().name, "one");
        assert_eq!(best(vec![adapter(Unknown, "a")]), None);
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
        }
        assert!(Device::cpu().is_cpu());
        assert_eq!(Device::cpu().to_string(), "CPU");
    }
}
