//! Models that this node serves: loaded, measured, and described as offers describe them.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cocoon_market::offer::{DeviceClaim, DeviceKind, ModelClaim, ModelClass, NAME_BYTES_MAX, Serves};
use cocoon_market::{ModelId, WorkKind};
use cocoon_runtime::device::AdapterKind;
use cocoon_runtime::{
    AdapterChoice, Device, DeviceChoice, DeviceError, EmbedError, Embedder, EngineError, Event, FolderConfig, GenerateError,
    GenerationRequest, LoadError, Model, ModelFolder, Prompt, ServingLimits,
};

use crate::config::ProvideConfig;
use crate::failure::NextStep;

/// Tokens written to measure the speed of one job. Enough that the clock's grain and the first token do not matter.
const MEASURED_TOKENS: u32 = 24;

/// Tokens written before, so that kernels are compiled and tuned when the clock starts.
const WARM_UP_TOKENS: u32 = 4;

/// Texts read to measure how fast vectors are made: one pass of short ones.
const MEASURED_TEXTS: usize = 16;

/// Tokens of a job by which the room for several is counted: a long question and a page of answer. Shorter ones leave room, and longer
/// ones wait for it.
const JOB_TOKENS: usize = 2048;

/// What the model continues or reads while it is measured; any text would do.
const MEASURED_PROMPT: &str = "The bees dance in the hive to tell the others where flowers are, and";

/// A model in memory.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// One that writes text.
    Text(Arc<Model>),
    /// One that gives vectors of texts.
    Vectors(Arc<Embedder>),
}

impl Loaded {
    fn open(path: &Path, device: &Device) -> Result<Self, LoadError> {
        if path.is_dir() {
            let folder = ModelFolder::open(path)?;
            if matches!(folder.config(), FolderConfig::Encoder(_)) {
                return Ok(Self::Vectors(Arc::new(Embedder::from_folder(&folder, device)?)));
            }
        }
        Ok(Self::Text(Arc::new(Model::load(path, device)?)))
    }

    /// The kind of work that it does.
    pub const fn work(&self) -> WorkKind {
        match self {
            Self::Text(_) => WorkKind::Generate,
            Self::Vectors(_) => WorkKind::Embed,
        }
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        match self {
            Self::Text(model) => model.device(),
            Self::Vectors(model) => model.device(),
        }
    }

    /// Number of its weights.
    fn parameters(&self) -> u64 {
        match self {
            Self::Text(model) => model.summary().parameters,
            Self::Vectors(model) => model.summary().parameters,
        }
    }
}

/// Who can load a model once more.
pub trait Reload: fmt::Debug + Send + Sync {
    /// Loads the model onto a device. Blocks for seconds.
    ///
    /// # Errors
    /// [`LoadError`].
    fn reload(&self, device: &Device) -> Result<Loaded, LoadError>;
}

/// A file, or a folder.
impl Reload for PathBuf {
    fn reload(&self, device: &Device) -> Result<Loaded, LoadError> {
        Loaded::open(self, device)
    }
}

/// Opens the one device of a command.
///
/// # Errors
/// [`ServeModelError::Device`].
pub fn open_device(choice: DeviceChoice, adapter: Option<AdapterChoice>) -> Result<Device, ServeModelError> {
    let mut devices = Device::open_all(choice, adapter.as_slice())?;
    // One choice, or none, is one device.
    Ok(devices.swap_remove(0))
}

/// A model that is ready to serve.
#[derive(Clone, Debug)]
pub struct Served {
    /// Blake3 of its file, or of the list of its files.
    pub id: ModelId,
    /// Name for people.
    pub name: String,
    /// The model.
    pub model: Loaded,
    /// Who loads it again, when its device was lost.
    pub reload: Arc<dyn Reload>,
    /// Tokens written, or read for vectors; measured here, of one job.
    pub tokens_per_s: u32,
}

/// Why a model is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeModelError {
    /// The device that was asked for is not to be had.
    #[error("no device to compute on")]
    Device(#[from] DeviceError),
    /// The file cannot be loaded.
    #[error("cannot load {path}")]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// It was loaded and does not work.
    #[error("the model {name} does not work on {device}")]
    Broken {
        /// The model.
        name: String,
        /// Where.
        device: String,
        /// How it failed.
        #[source]
        source: WorkError,
    },
}

/// How a model failed at its work.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Writing text.
    #[error("it cannot write")]
    Generate(#[from] GenerateError),
    /// Making vectors.
    #[error("it cannot make vectors")]
    Embed(#[from] EmbedError),
}

impl NextStep for ServeModelError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Device(DeviceError::UnknownAdapter { .. } | DeviceError::AmbiguousAdapter { .. }) => {
                "one of these with --adapter, by its number or more of its name".into()
            }
            Self::Device(DeviceError::AdapterForCpu) => "leave out --adapter, or --device cpu".into(),
            Self::Device(_) => "use --device cpu, or install a driver; `swarm doctor` lists the adapters".into(),
            error if error.is_for_room() => {
                "another adapter with --adapter, --device cpu, or a smaller model; `swarm models inspect` says what each takes".into()
            }
            Self::Load { .. } => "fetch it anew (swarm models rm, then swarm models pull), or serve another model".into(),
            Self::Broken { .. } => "try --device cpu; `swarm doctor` checks the adapter".into(),
        }
    }
}

impl ServeModelError {
    /// Whether the device has no room for the model, which another may have.
    pub fn is_for_room(&self) -> bool {
        let of_engine = |error: &EngineError| matches!(error, EngineError::OutOfMemory | EngineError::TooLarge(_));
        match self {
            Self::Device(_) => false,
            Self::Load { source, .. } => source.is_for_room(),
            Self::Broken { source: WorkError::Generate(GenerateError::Engine(error)), .. }
            | Self::Broken { source: WorkError::Embed(EmbedError::Engine(error)), .. } => of_engine(error),
            Self::Broken { .. } => false,
        }
    }
}

impl Served {
    /// Loads the model onto a device, and measures it. Blocks for seconds.
    ///
    /// # Errors
    /// [`ServeModelError`].
    pub fn load(id: ModelId, name: &str, path: &Path, device: &Device) -> Result<Self, ServeModelError> {
        let started = Instant::now();
        let model = Loaded::open(path, device).map_err(|source| ServeModelError::Load { path: path.to_owned(), source })?;
        let loaded = started.elapsed();
        let broken = |source| ServeModelError::Broken { name: name.to_owned(), device: device.to_string(), source };
        let tokens_per_s = measure(&model).map_err(broken)?;
        tracing::info!(model = name, %device, load_ms = millis(loaded), tokens_per_s, "model loaded");
        if device.adapter().is_some_and(|adapter| adapter.kind == AdapterKind::Software) {
            tracing::warn!(%device, "this adapter is emulated in software and slower than --device cpu");
        }
        Ok(Self { id, name: name.to_owned(), model, reload: Arc::new(path.to_owned()), tokens_per_s })
    }

    /// Bytes of its weights on an adapter, in single precision.
    pub fn adapter_bytes(&self) -> u64 {
        self.model.parameters().saturating_mul(4)
    }

    /// Jobs at once of a model with so many copies: as many as are configured, else as many as each copy reads together, and has room for
    /// keys and values of. Fewer would give away speed, since one job alone leaves a device idle; more would wait for each other.
    pub fn capacity(&self, config: &ProvideConfig, copies: usize) -> NonZeroU16 {
        let limits = config.serving_limits();
        let room = match &self.model {
            Loaded::Text(model) => limits.room(model, JOB_TOKENS),
            Loaded::Vectors(_) => limits.jobs,
        };
        // A job that takes all the room is one.
        let room = u16::try_from(room.saturating_mul(copies)).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
        config.capacity.unwrap_or(room)
    }

    /// What an offer says of the model; no more context than there is memory for.
    pub fn model_claim(&self, limits: &ServingLimits) -> ModelClaim {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (serves, context_tokens) = match &self.model {
            Loaded::Text(model) => (Serves::Text, limits.tokens_max(model).max(1)),
            Loaded::Vectors(model) => (Serves::Vectors { width: number(model.summary().width) }, model.summary().tokens_max),
        };
        ModelClaim {
            id: self.id,
            name: short(&self.name),
            class: ModelClass::of_parameters(self.model.parameters()),
            serves,
            context_tokens: number(context_tokens),
        }
    }

    /// What an offer says of the device.
    pub fn device_claim(&self) -> DeviceClaim {
        let device = self.model.device();
        let kind = match device.adapter().map(|adapter| adapter.kind) {
            None => DeviceKind::Cpu,
            Some(AdapterKind::Software) => DeviceKind::SoftwareGpu,
            Some(AdapterKind::Discrete | AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Unknown) => DeviceKind::Gpu,
        };
        DeviceClaim { name: short(&device.to_string()), kind, tokens_per_s: self.tokens_per_s }
    }
}

/// Tokens a second, written after the first one or read for vectors; at least one.
fn measure(model: &Loaded) -> Result<u32, WorkError> {
    let (tokens, taken) = match model {
        Loaded::Text(model) => {
            write(model, WARM_UP_TOKENS)?;
            write(model, MEASURED_TOKENS)?
        }
        Loaded::Vectors(model) => {
            read(model)?;
            read(model)?
        }
    };
    let per_second = f64::from(tokens) / taken.as_secs_f64().max(f64::EPSILON);
    // Far below what a u32 holds, and a fraction of a token a second says nothing.
    Ok((per_second as u32).max(1))
}

/// Writes tokens, and gives how many came after the first, in which time.
fn write(model: &Model, tokens_max: u32) -> Result<(u32, Duration), GenerateError> {
    let request = GenerationRequest::new(Prompt::Text(MEASURED_PROMPT.to_owned()), tokens_max);
    let (mut since_first, mut tokens) = (None, 0);
    for event in model.start(&request)? {
        if let Event::Token(_) = event? {
            tokens += u32::from(since_first.is_some());
            since_first.get_or_insert_with(Instant::now);
        }
    }
    Ok((tokens, since_first.map_or(Duration::ZERO, |first: Instant| first.elapsed())))
}

/// Reads texts, and gives how many tokens they had, and the time it took.
fn read(model: &Embedder) -> Result<(u32, Duration), EmbedError> {
    let started = Instant::now();
    let found = model.embed(&[MEASURED_PROMPT; MEASURED_TEXTS])?;
    let tokens: usize = found.iter().map(|embedding| embedding.tokens).sum();
    Ok((u32::try_from(tokens).unwrap_or(u32::MAX), started.elapsed()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The name, cut to what an offer may say.
fn short(name: &str) -> String {
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= NAME_BYTES_MAX).last();
    name[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use cocoon_runtime::tiny;

    #[test]
    fn a_folder_of_an_encoder_serves_vectors() {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in tiny::tiny_bert(1) {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        let served = Served::load(ModelId([1; 32]), "tiny-bert", dir.path(), &Device::cpu()).unwrap();
        let claim = served.model_claim(&ServingLimits::default());
        assert_eq!((claim.serves, claim.class, claim.context_tokens), (Serves::Vectors { width: 48 }, ModelClass::TextTiny, 256));
        assert!(served.tokens_per_s > 1);
    }

    #[test]
    fn a_served_model_describes_itself_within_an_offers_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.gguf");
        std::fs::write(&path, tiny::tiny_llama(1)).unwrap();
        let served = Served::load(ModelId([1; 32]), &"ö".repeat(90), &path, &Device::cpu()).unwrap();
        assert!(served.tokens_per_s >= 1);
        assert_eq!(served.model_claim(&ServingLimits::default()).name, "ö".repeat(NAME_BYTES_MAX / 2));
        assert_eq!(served.model_claim(&ServingLimits::default()).class, ModelClass::TextTiny);
        assert_eq!(served.device_claim().kind, DeviceKind::Cpu);
    }

    #[test]
    fn as_many_jobs_are_offered_as_have_room_and_no_more_context_than_there_is_memory_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.gguf");
        std::fs::write(&path, tiny::tiny_llama(1)).unwrap();
        let one = ProvideConfig { threads: NonZeroU16::new(1), ..ProvideConfig::default() };
        let served = Served::load(ModelId([1; 32]), "tiny", &path, &one.on(Device::cpu())).unwrap();
        assert_eq!(served.model.device().threads().get(), 1);
        let with = |memory_mib| {
            let config = ProvideConfig { memory_mib: NonZeroU32::new(memory_mib).unwrap(), ..ProvideConfig::default() };
            (served.capacity(&config, 1).get(), served.model_claim(&config.serving_limits()).context_tokens)
        };
        // A page of 32 positions takes 13 KiB, so all 2048 tokens of the context take 832.
        assert_eq!(with(1), (1, 2048));
        assert_eq!(with(4), (4, 2048));
        assert_eq!(with(1024), (16, 2048), "no more than are read together");
        assert_eq!(served.capacity(&ProvideConfig::default(), 2).get(), 32, "two copies carry twice as many");
        let config = ProvideConfig { capacity: NonZeroU16::new(40), ..ProvideConfig::default() };
        assert_eq!(served.capacity(&config, 2).get(), 40, "as configured");
        let half = ServingLimits { cache_bytes: 1 << 19, ..ServingLimits::default() };
        assert_eq!(served.model_claim(&half).context_tokens, 39 * 32 + 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_with_a_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.gguf");
        std::fs::write(&path, b"GGUF").unwrap();
        let error = Served::load(ModelId([1; 32]), "bad", &path, &Device::cpu()).unwrap_err();
        assert!(matches!(error, ServeModelError::Load { .. }) && error.next_step().contains("models pull"), "{error}");
    }
}
