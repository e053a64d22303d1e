//! Vectors of texts: encoders out of model folders.
//!
//! Texts are read together, as many in one pass as there are rows for. What a text's vector is
//! does not depend on the texts beside it: on the CPU, not in a single bit.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::device::Device;
use crate::engine::{Batch, EngineError, PageId, pages_of};
use crate::folder::{EncoderConfig, FolderConfig, FolderError, ModelFolder, Pooling};
use crate::model::LoadError;
use crate::model::encoder::{self, TextNetwork};
use crate::tokenizer::{EncodeError, TextEncoder, TextTokens};

/// Rows of a pass: enough that weights are read for many tokens at once, few enough that the
/// states of a pass take some MiB. A text that is longer has a pass of its own.
pub const PASS_ROWS: usize = 512;

/// Longest texts that a model may take. No published BERT with a table of positions takes more,
/// and on adapters the scores of a text take memory by the square of its length.
pub const TEXT_TOKENS_MAX: usize = 8_192;

/// Vectors are divided by no less than this: one of zeros stays one.
const LENGTH_MIN: f32 = 1e-12;

/// Why texts were not embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// A text was not turned into tokens.
    #[error("text {index} (counted from 0) cannot be embedded")]
    Text {
        /// Which of the texts, from 0.
        index: usize,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The device gave no result.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model's numbers left the range of single precision.
    #[error("vector of text {index} (counted from 0) has elements that are no numbers: the model's weights are damaged")]
    NotFinite {
        /// Which of the texts, from 0.
        index: usize,
    },
}

/// The vector of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The vector, as wide as [`EmbedderSummary::width`].
    pub vector: Vec<f32>,
    /// Tokens that were read, with those at the text's two ends.
    pub tokens: usize,
    /// Tokens at the text's end that the model has no place for; the vector is that of the rest.
    pub tokens_cut: usize,
}

/// What an embedder is, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedderSummary {
    /// Elements of a vector.
    pub width: usize,
    /// Most tokens of a text, with those at its two ends.
    pub tokens_max: usize,
    /// Number of weights that vectors depend on.
    pub parameters: u64,
}

/// A loaded encoder.
///
/// It is `Send` and `Sync`, and embedding does not change it.
#[derive(Debug)]
pub struct Embedder {
    network: Arc<dyn TextNetwork>,
    tokenizer: TextEncoder,
    pooling: Pooling,
    normalised: bool,
    summary: EmbedderSummary,
    device: Device,
}

impl Embedder {
    /// Loads the encoder of a folder onto a device.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when the folder is refused, or its model is a decoder.
    pub fn open(folder: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        Self::from_folder(&ModelFolder::open(folder.as_ref())?, device)
    }

    /// As [`Embedder::open`], from a folder that is already open.
    ///
    /// # Errors
    ///
    /// As [`Embedder::open`].
    pub fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self, LoadError> {
        let config = encoder_config(folder)?;
        let sentence = config.sentence;
        if sentence.tokens_max > TEXT_TOKENS_MAX {
            return Err(LoadError::TextsTooLong { tokens_max: sentence.tokens_max });
        }
        let tokenizer = folder.text_encoder()?;
        let loaded = encoder::load_on(&folder.checkpoint()?, config, device)?;
        Ok(Self {
            network: loaded.network,
            tokenizer,
            pooling: sentence.pooling,
            normalised: sentence.normalised,
            summary: EmbedderSummary { width: config.hidden, tokens_max: sentence.tokens_max, parameters: loaded.parameters },
            device: device.clone(),
        })
    }

    /// What the model is, in numbers.
    pub fn summary(&self) -> EmbedderSummary {
        self.summary
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &TextEncoder {
        &self.tokenizer
    }

    /// Where the model runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The vectors of texts, in their order, pooled and scaled as the folder says.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] when a text is above the limit of bytes, or the device fails.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        self.embed_encoded(&self.encode(texts)?)
    }

    /// The tokens of texts, as [`Embedder::embed_encoded`] takes them.
    ///
    /// # Errors
    ///
    /// [`EmbedError::Text`] when one is above the limit of bytes.
    pub fn encode(&self, texts: &[impl AsRef<str>]) -> Result<Vec<TextTokens>, EmbedError> {
        let encode = |(index, text): (usize, &_)| {
            self.tokenizer.encode_counted(AsRef::<str>::as_ref(text)).map_err(|source| EmbedError::Text { index, source })
        };
        texts.iter().enumerate().map(encode).collect()
    }

    /// As [`Embedder::embed`], of texts that are tokens already, by this embedder's [`Embedder::encode`].
    ///
    /// # Errors
    ///
    /// As [`Embedder::embed`].
    pub fn embed_encoded(&self, texts: &[TextTokens]) -> Result<Vec<Embedding>, EmbedError> {
        let mut out = Vec::with_capacity(texts.len());
        for pass in passes(texts) {
            self.embed_pass(&texts[pass], &mut out)?;
        }
        Ok(out)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn map_network(self, map: impl FnOnce(Arc<dyn TextNetwork>) -> Arc<dyn TextNetwork>) -> Self {
        Self { network: map(self.network), ..self }
    }

    fn embed_pass(&self, texts: &[TextTokens], out: &mut Vec<Embedding>) -> Result<(), EmbedError> {
        // After a failure for want of memory, what it left behind is not to stand in the way of the next pass.
        let mut states = self.network.pass(&batch(texts, self.pooling)).inspect_err(|_| self.network.tidy())?;
        let mut rest = states.as_mut_slice();
        for text in texts {
            let (own, others) = rest.split_at_mut(wanted_rows(text, self.pooling) * self.summary.width);
            rest = others;
            let mut vector = mean(own, self.summary.width);
            if self.normalised {
                scale_to_one(&mut vector);
            }
            if !vector.iter().all(|element| element.is_finite()) {
                return Err(EmbedError::NotFinite { index: out.len() });
            }
            out.push(Embedding { vector, tokens: text.ids.len(), tokens_cut: text.cut });
        }
        Ok(())
    }
}

fn encoder_config(folder: &ModelFolder) -> Result<&EncoderConfig, LoadError> {
    match folder.config() {
        FolderConfig::Encoder(config) => Ok(config),
        FolderConfig::Decoder(_) => Err(FolderError::OtherKind { wanted: "encoder" }.into()),
    }
}

/// Runs of texts that are read together.
fn passes(texts: &[TextTokens]) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let mut rows = 0;
    for (at, text) in texts.iter().enumerate() {
        match passes.last_mut() {
            Some(pass) if rows + text.ids.len() <= PASS_ROWS => {
                pass.end = at + 1;
                rows += text.ids.len();
            }
            _ => {
                passes.push(at..at + 1);
                rows = text.ids.len();
            }
        }
    }
    passes
}

/// Rows of a text whose states make its vector.
fn wanted_rows(text: &TextTokens, pooling: Pooling) -> usize {
    match pooling {
        Pooling::Mean => text.ids.len(),
        Pooling::Cls => 1,
    }
}

fn batch(texts: &[TextTokens], pooling: Pooling) -> Batch {
    let mut batch = Batch::default();
    let mut pages = 0..PageId::MAX;
    for text in texts {
        let first = batch.ids.len();
        let own = pages.by_ref().take(pages_of(text.ids.len())).collect();
        batch.push(&text.ids, 0, own, false);
        batch.wanted.extend(first..first + wanted_rows(text, pooling));
    }
    batch
}

/// The mean of rows.
fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let count = (rows.len() / width) as f32;
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

fn scale_to_one(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(LENGTH_MIN);
    vector.iter_mut().for_each(|x| *x /= length);
}
