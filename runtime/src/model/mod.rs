//! A language model: weights, tokenizer and chat template out of one file or folder.

mod config;
mod decoder;
pub(crate) mod encoder;
mod exact;
mod inspect;
mod load;
mod naming;
mod tensors;

#[cfg(test)]
mod families;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::chat::{ChatError, ChatMessage, ChatTemplate};
use crate::device::Device;
use crate::engine::{EngineError, TensorTooLarge, Unsuitable, WeightsError};
use crate::folder::{FolderConfig, FolderError, ModelFolder};
use crate::gguf::{Gguf, GgufError};
use crate::safetensors::SafetensorsError;
use crate::tokenizer::{Tokenizer, TokenizerError};
use config::Config;
pub use config::Family;
pub(crate) use decoder::{Network, Outputs, Session};
pub use exact::{ActivationError, Activations, ExactModel, Manifest};
pub use inspect::{Inspection, TensorShare};
use load::{Loaded, Source};

/// Why a model file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not a sound GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The folder was refused.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A tensor of a folder's checkpoint cannot be read.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// An encoder of longer texts than are read.
    #[error("model takes texts of {tokens_max} tokens, above the limit of {}", crate::embedding::TEXT_TOKENS_MAX)]
    TextsTooLong {
        /// What it takes.
        tokens_max: usize,
    },
    /// Its tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The system has no threads to give.
    #[error("cannot start the threads that compute")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The engine cannot take its weights.
    #[error("model does not suit the exact tier: {0}")]
    Unsuitable(#[from] Unsuitable),
    /// A tensor that the adapter has no buffer for.
    #[error("model does not fit the adapter: {0}")]
    TooLarge(#[from] TensorTooLarge),
    /// The adapter has not enough memory left.
    #[error("the adapter has no memory left; the model's weights take {needed_bytes} bytes there, in single precision")]
    OutOfMemory {
        /// What all weights take, as [`Inspection::adapter_weight_bytes`] says.
        needed_bytes: u64,
    },
    /// The device failed.
    #[error("the weights could not be put onto the device")]
    Engine(#[source] EngineError),
    /// Another kind of model.
    #[error("architecture {found:?} is not supported, only llama, qwen2 and qwen3 are")]
    UnsupportedArchitecture {
        /// The kind as the file names it.
        found: String,
    },
    /// A mixture of experts.
    #[error("model has {experts} experts, which are not supported")]
    Experts {
        /// How many.
        experts: u64,
    },
    /// A way of stretching positions that is not known.
    #[error("position scaling {kind:?} is not supported, only \"none\" and \"linear\" are")]
    UnsupportedRope {
        /// Its name in the file.
        kind: String,
    },
    /// A hyperparameter is missing.
    #[error("model file has no {key:?}")]
    MissingMetadata {
        /// Its key.
        key: String,
    },
    /// A hyperparameter is out of range, or contradicts another.
    #[error("model file has an unusable {key:?}")]
    BadHyperparameter {
        /// Its key.
        key: String,
    },
    /// A tensor is missing.
    #[error("model file has no tensor {name:?}")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor is there that a plain model of the family does not have.
    #[error("model file has a tensor {name:?} that is not understood")]
    UnexpectedTensor {
        /// Its name.
        name: String,
    },
    /// A tensor with elements that are no numbers.
    #[error("tensor {name:?} has elements that are infinite or no numbers: the file is damaged")]
    NotFinite {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the hyperparameters say.
    #[error("tensor {name:?} has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Extents in the file, slowest first.
        found: Vec<u64>,
        /// Extents by the hyperparameters.
        expected: Vec<u64>,
    },
}

impl LoadError {
    /// Whether the model may be loaded onto another device, or onto this one when others have left it.
    pub fn is_for_room(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::OutOfMemory { .. })
    }
}

impl From<WeightsError> for LoadError {
    fn from(error: WeightsError) -> Self {
        match error {
            WeightsError::Unsuitable(error) => error.into(),
            WeightsError::TooLarge(error) => error.into(),
        }
    }
}

/// What a model is, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// What it is built like.
    pub family: Family,
    /// The name inside the file, if any.
    pub name: Option<String>,
    /// Most tokens of prompt and answer together.
    pub context_tokens: usize,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Number of weights.
    pub parameters: u64,
}

/// A loaded model.
///
/// It is `Send` and `Sync`, and generating does not change it. Many jobs at once go through
/// [`crate::serve::Server`], which reads them together.
#[derive(Debug)]
pub struct Model {
    network: Arc<dyn Network>,
    tokenizer: Tokenizer,
    template: Option<String>,
    summary: ModelSummary,
    device: Device,
}

/// What a file or folder says beside weights.
struct OfFile {
    config: Config,
    tokenizer: Tokenizer,
    name: Option<String>,
    template: Option<String>,
}

impl OfFile {
    fn read(file: &Gguf) -> Result<Self, LoadError> {
        Ok(Self {
            config: Config::from_gguf(file)?,
            tokenizer: Tokenizer::from_gguf(file)?,
            name: file.string("general.name")?.map(str::to_owned),
            template: file.string("tokenizer.chat_template")?.map(str::to_owned),
        })
    }

    /// Where the weights are in the file that this was read from.
    fn source<'a>(&self, file: &'a Gguf) -> Source<'a, Gguf> {
        let tokens = self.tokenizer.vocabulary();
        Source { tensors: file, naming: &naming::GGUF, rows: tokens, tokens }
    }
}

impl Model {
    /// Loads a GGUF file, or a model folder, onto a device. The CPU keeps weights as they are
    /// quantised, and rounds others to thirteen bits; on an adapter they become `f32`, about seven
    /// times the size of a four-bit file.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when the file or folder is damaged, or a model of another kind.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        match path.as_ref() {
            folder if folder.is_dir() => Self::from_folder(&ModelFolder::open(folder)?, device),
            file => Self::from_gguf(&Gguf::open(file)?, device),
        }
    }

    /// As [`Model::load`], from a file that is already open.
    ///
    /// # Errors
    ///
    /// As [`Model::load`].
    pub fn from_gguf(file: &Gguf, device: &Device) -> Result<Self, LoadError> {
        let of_file = OfFile::read(file)?;
        let Loaded { network, parameters } = load::load_on(&of_file.source(file), of_file.config.clone(), device)?;
        Ok(Self::new(network, parameters, of_file, device))
    }

    /// As [`Model::load`], from a folder that is already open.
    ///
    /// # Errors
    ///
    /// As [`Model::load`].
    pub fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self, LoadError> {
        let FolderConfig::Decoder(config) = folder.config() else {
            return Err(FolderError::OtherKind { wanted: "decoder" }.into());
        };
        let tokenizer = folder.tokenizer()?;
        let (checkpoint, tokens) = (folder.checkpoint()?, tokenizer.vocabulary());
        let source = Source { tensors: &checkpoint, naming: &naming::FOLDER, rows: config.vocabulary, tokens };
        let config = Config::from_folder(config);
        let Loaded { network, parameters } = load::load_on(&source, config.clone(), device)?;
        let of_file = OfFile { config, tokenizer, name: None, template: folder.text().chat_template.clone() };
        Ok(Self::new(network, parameters, of_file, device))
    }

    fn new(network: Arc<dyn Network>, parameters: u64, of_file: OfFile, device: &Device) -> Self {
        let OfFile { config, tokenizer, name, template } = of_file;
        let (family, context_tokens) = (config.family, config.context);
        let summary = ModelSummary { family, name, context_tokens, vocabulary: tokenizer.vocabulary(), parameters };
        Self { network, tokenizer, template, summary, device: device.clone() }
    }

    /// What the model is, in numbers.
    pub fn summary(&self) -> &ModelSummary {
        &self.summary
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where the model runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The text of a chat as the model wants it, ready for the assistant's next message.
    ///
    /// # Errors
    ///
    /// [`ChatError`] when the model has no template, or it refuses the messages.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<String, ChatError> {
        let source = self.template.as_deref().ok_or(ChatError::NoTemplate)?;
        ChatTemplate::parse(source, self.tokenizer.begin_text(), self.tokenizer.end_text())?.render(messages)
    }

    pub(crate) fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn map_network(self, map: impl FnOnce(Arc<dyn Network>) -> Arc<dyn Network>) -> Self {
        Self { network: map(self.network), ..self }
    }
}
