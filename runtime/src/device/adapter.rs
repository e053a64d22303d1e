//! The wgpu adapters of this machine, and logical devices on them.

use std::fmt;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use burn::tensor::wgpu::wgpu::{self, Backend, DeviceType, Features};
use burn::tensor::wgpu::{WgpuInitError, WgpuSetup};

use super::faults::Faults;

/// The graphics APIs that compute well, best first. OpenGL is left out: its adapters do not say
/// what they are.
const BACKENDS: &[Backend] = if cfg!(target_os = "macos") { &[Backend::Metal] } else { &[Backend::Vulkan, Backend::Dx12] };

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

    /// Its name, in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Unknown => "unknown",
        }
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
    /// Its place among those that [`adapters`] lists, from 0.
    pub position: usize,
    /// As the driver calls it.
    pub name: String,
    /// The graphics API it was found through.
    pub api: String,
    /// What kind of thing it is.
    pub kind: AdapterKind,
    /// The driver and its version.
    pub driver: String,
    /// Most bytes that one tensor may have on it.
    pub tensor_bytes_max: u64,
    /// Where it is plugged in, if the driver says so.
    slot: String,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {:?})", self.name, self.api, self.kind)
    }
}

impl AdapterInfo {
    fn new(position: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        Self {
            position,
            name: info.name,
            api: format!("{:?}", info.backend),
            kind: info.device_type.into(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            tensor_bytes_max: limits.max_buffer_size.min(limits.max_storage_buffer_binding_size),
            slot: info.device_pci_bus_id,
        }
    }

    /// Whether both are the same thing, although others may have come or gone before it.
    fn is(&self, other: &Self) -> bool {
        let what = |info: &Self| (info.name.clone(), info.api.clone(), info.kind, info.slot.clone());
        what(self) == what(other)
    }
}

/// Every usable wgpu adapter of this machine, in an order that is the same as long as the machine is;
/// none where there is no driver.
pub fn adapters() -> Vec<AdapterInfo> {
    enumerate(instance()).into_iter().map(|(info, _)| info).collect()
}

/// One instance for the whole process: loaders of Vulkan crash when instances come and go on several
/// threads at once.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| new_instance(wgpu::MemoryBudgetThresholds::default()))
}

fn new_instance(memory_budget_thresholds: wgpu::MemoryBudgetThresholds) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = BACKENDS.iter().map(|backend| wgpu::Backends::from(*backend)).collect();
    descriptor.memory_budget_thresholds = memory_budget_thresholds;
    wgpu::Instance::new(descriptor)
}

fn enumerate(instance: &wgpu::Instance) -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let of = |backend: &Backend| at_once(instance.enumerate_adapters((*backend).into())).unwrap_or_default();
    let found = BACKENDS.iter().flat_map(of).enumerate();
    found.map(|(position, adapter)| (AdapterInfo::new(position, &adapter), adapter)).collect()
}

/// What a future gives that is ready when it is first asked: outside of browsers, those of wgpu are.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A logical device on an adapter.
#[derive(Clone, Debug)]
pub(super) struct Logical {
    pub(super) burn: burn::tensor::Device,
    pub(super) faults: Faults,
    pub(super) wgpu: wgpu::Device,
}

/// Sets an adapter up, none if it is not there any more. Each call makes another logical device.
///
/// # Errors
///
/// When the driver has no device to give, or burn cannot use it.
pub(super) fn set_up(wanted: &AdapterInfo) -> Option<Result<Logical, WgpuInitError>> {
    set_up_in(instance(), wanted)
}

/// As [`set_up`], of a driver that has no memory to give once so many hundredths of it are taken.
#[cfg(test)]
pub(super) fn set_up_within(memory_percent: u8, wanted: &AdapterInfo) -> Option<Result<Logical, WgpuInitError>> {
    let thresholds = wgpu::MemoryBudgetThresholds { for_resource_creation: Some(memory_percent), ..Default::default() };
    // Kept, as the process's own is.
    set_up_in(Box::leak(Box::new(new_instance(thresholds))), wanted)
}

fn set_up_in(instance: &wgpu::Instance, wanted: &AdapterInfo) -> Option<Result<Logical, WgpuInitError>> {
    let mut same: Vec<_> = enumerate(instance).into_iter().filter(|(info, _)| info.is(wanted)).collect();
    // Twins are told apart by their place.
    let at = same.iter().position(|(info, _)| info.position == wanted.position).unwrap_or(0);
    (!same.is_empty()).then(|| logical(instance, same.swap_remove(at).1))
}

fn logical(instance: &wgpu::Instance, adapter: wgpu::Adapter) -> Result<Logical, WgpuInitError> {
    let backend = adapter.get_info().backend;
    let request = wgpu::DeviceDescriptor {
        label: None,
        // Buffers that are mapped and computed with at once are slow on cards, and wgpu's experiments are not ours.
        required_features: adapter.features().difference(Features::MAPPABLE_PRIMARY_BUFFERS.union(Features::all_experimental_mask())),
        required_limits: adapter.limits(),
        // Burn gathers allocations by itself.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let refused = |message: String| WgpuInitError::RequestDevice { message };
    let asked = at_once(adapter.request_device(&request)).ok_or_else(|| refused("the driver did not answer".to_owned()))?;
    let (wgpu, queue) = asked.map_err(|error| refused(error.to_string()))?;
    let setup = WgpuSetup { instance: instance.clone(), adapter, device: wgpu.clone(), queue, backend };
    let burn = burn::tensor::Device::wgpu_options().setup(setup).init()?;
    // Burn has just set a handler that does not keep what was wrong.
    let faults = Faults::default();
    faults.watch(&wgpu);
    Ok(Logical { burn, faults, wgpu })
}

#[cfg(test)]
pub(super) fn imagined(position: usize, kind: AdapterKind, name: &str) -> AdapterInfo {
    let (name, api) = (name.to_owned(), "Vulkan".to_owned());
    AdapterInfo { position, name, api, kind, driver: String::new(), tensor_bytes_max: 1 << 30, slot: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_places_in_the_list() {
        let found = adapters();
        assert!(found.iter().enumerate().all(|(at, adapter)| adapter.position == at && adapter.tensor_bytes_max > 0));
        assert_eq!(found, adapters(), "the order stays");
    }

    #[test]
    fn an_adapter_that_is_gone_is_not_set_up() {
        assert!(set_up(&imagined(0, AdapterKind::Discrete, "Vector Engine 9000")).is_none());
    }
}
