//! Runs jobs: language models from GGUF files and model folders, on whatever GPU or CPU the machine has.
//!
//! This crate turns a model file and a request into tokens, text, metered [`Usage`] and the
//! commitments that receipts carry. It is the only one that names burn and wgpu, and it does not
//! touch the network, the file cache, money, or the clock: the program fetches files, decides who
//! is served, and runs a [`Server`] or [`Model::generate`] on a thread of its own.
//!
//! # Modules, in reading order
//!
//! - [`catalogue`]: models known by name, with hash, size, licence and sources.
//! - [`gguf`]: reading model files by strangers, within bounds.
//! - [`safetensors`]: reading checkpoints of that format, in one file or several, by strangers too.
//! - [`folder`]: model folders, of decoders and encoders: configuration, tokenizer, what stands beside.
//! - [`device`]: GPU or CPU, chosen at run time.
//! - `engine`: the few operations that model families are written in, on the CPU and through burn.
//! - [`model`]: loading a Llama or a relative of it, written once for all engines; [`ExactModel`] is one whose
//!   every bit is the same everywhere.
//! - [`serve`]: many jobs read together, with keys and values in pages.
//! - [`tokenizer`] and [`chat`]: text to tokens and back; chats to prompts.
//! - [`sampling`]: choosing a token, the same on every platform.
//! - [`generation`]: requests, the stream of events, and how answers end.
//! - [`reading`]: reading known tokens, as auditors do.
//! - [`embedding`]: vectors of texts.
//! - [`commitment`]: what receipts say about tokens.
//! - [`fingerprint`]: what receipts say about hidden states, and how close an auditor's must be.
//! - `testing` (a feature): devices that fail when a test says so.
//! - [`tiny`]: generated models of some 100 KB for tests.
//!
//! # What it does not do
//!
//! Other architectures than Llama and its relatives, and BERT for vectors of texts; mixtures of
//! experts, vocabularies of decoders that are not byte-level BPE, and training: files and requests
//! of these kinds are refused with a typed error.
//!
//! # Example
//!
//! ```
//! use cocoon_runtime::{Device, Event, GenerationRequest, Gguf, Model, Prompt, tiny};
//!
//! let device = Device::cpu();
//! let file = Gguf::from_bytes(tiny::tiny_llama(1))?;
//! let model = Model::from_gguf(&file, &device)?;
//!
//! let request = GenerationRequest::new(Prompt::Text("once upon".into()), 8);
//! for event in model.start(&request)? {
//!     match event? {
//!         Event::Token(token) => print!("{}", token.text),
//!         Event::Finished(finish) => println!(" [{:?}, {:?}]", finish.reason, finish.usage),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Usage`]: cocoon_market::Usage

pub mod catalogue;
pub mod chat;
pub mod commitment;
pub mod device;
pub mod embedding;
mod engine;
mod file;
pub mod fingerprint;
pub mod folder;
pub mod generation;
pub mod gguf;
pub mod model;
pub mod reading;
pub mod safetensors;
pub mod sampling;
pub mod serve;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tiny;
pub mod tokenizer;

pub use chat::ChatMessage;
pub use device::{AdapterChoice, AdapterInfo, Device, DeviceChoice, DeviceError};
pub use embedding::{EmbedError, Embedder, EmbedderSummary, Embedding};
pub use engine::{EngineError, TensorTooLarge, Unsuitable};
pub use file::FileError;
pub use fingerprint::{Fingerprint, FingerprintBuilder, FingerprintError, Fingerprints, Tolerance, Verdict};
pub use folder::{FolderConfig, FolderError, ModelFolder};
pub use generation::{
    Cancel, Event, Finish, FinishReason, GenerateError, GeneratedToken, Generation, GenerationRequest, Prompt, RequestError,
};
pub use gguf::{Gguf, GgufError};
pub use model::{ActivationError, Activations, ExactModel, Family, Inspection, LoadError, Manifest, Model, ModelSummary};
pub use reading::{AnswerReading, ReadError, ReadToken, Reading};
pub use safetensors::{Checkpoint, CheckpointError, Safetensors, SafetensorsError};
pub use sampling::{Sampling, SamplingError};
pub use serve::{Server, ServingLimits};
pub use tokenizer::{TextEncoder, TextTokens, TokenId, Tokenizer, TokenizerError, TokenizerFileError};
