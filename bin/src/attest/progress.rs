//! How work on attestations is shown: something that moves on a terminal, lines elsewhere, events to programs.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_settlement::attest::KeyFileError;
use cocoon_settlement::attest::groth16::Circuit;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::circuit_name;
use super::keys::Pair;
use super::prove::{Proven, State};
use crate::failure::chain_text;
use crate::output::{Format, Output};

/// How often the mark on a terminal moves.
const TICK: Duration = Duration::from_millis(100);

/// A step of the work.
#[derive(Debug)]
pub enum Step<'a> {
    /// Keys are made.
    Making {
        /// Of this circuit.
        circuit: Circuit,
        /// What is wrong with those that are there.
        damage: Option<&'a KeyFileError>,
    },
    /// Keys are there.
    Keys(&'a Pair),
    /// A proving key is read.
    Loading {
        /// Of this circuit.
        circuit: Circuit,
    },
    /// A file that should hold a batch's proof does not, and is proven again.
    Wrong {
        /// The file.
        file: &'a Path,
        /// Why it does not.
        why: &'a (dyn Error + 'static),
    },
    /// A batch is proven.
    Proving {
        /// The batch.
        batch: &'a Proven,
        /// Which, counted from one.
        at: usize,
        /// Of how many.
        of: usize,
    },
    /// A batch is proven, or was.
    Proof(&'a Proven),
    /// The run waits, to stay within its share of the processors.
    Pausing(Duration),
}

/// Shows steps. Copies show in the same place.
#[derive(Clone, Debug)]
pub struct Progress {
    out: Output,
    mark: Arc<Mutex<Option<ProgressBar>>>,
}

impl Progress {
    /// Shows where `out` says.
    pub fn new(out: &Output) -> Self {
        Self { out: out.clone(), mark: Arc::default() }
    }

    /// Shows a step.
    pub fn tell(&self, step: &Step<'_>) {
        self.clear();
        match self.out.format() {
            Format::Json => self.event(step),
            Format::Text => self.say(step),
        }
    }

    /// Takes away what moves.
    pub fn clear(&self) {
        if let Some(mark) = self.mark.lock().unwrap_or_else(PoisonError::into_inner).take() {
            mark.finish_and_clear();
        }
    }

    fn say(&self, step: &Step<'_>) {
        match step {
            Step::Making { circuit, damage: None } => self.long(format!("making the keys of circuit {}", circuit_name(*circuit))),
            Step::Making { circuit, damage: Some(damage) } => {
                self.out.note(&format!("the keys of circuit {} are damaged: {}", circuit_name(*circuit), chain_text(damage)));
                self.long("making them again".to_owned());
            }
            Step::Keys(_) => {}
            Step::Loading { circuit } => self.long(format!("reading the proving key of circuit {}", circuit_name(*circuit))),
            Step::Wrong { file, why } => self.out.note(&format!("{} holds no proof of its batch: {}", file.display(), chain_text(*why))),
            Step::Proving { batch, at, of } => {
                let Proven { certificates, epoch, first, last, .. } = batch;
                self.long(format!("proof {at} of {of}: {certificates} certificates of epoch {epoch}, claims {first} to {last}"));
            }
            Step::Proof(Proven { state: State::There, first, last, .. }) => {
                self.out.note(&format!("claims {first} to {last} are proven already"));
            }
            Step::Proof(_) => {}
            Step::Pausing(time) => self.long(format!("waiting {:.1} s, to stay within --cpu", time.as_secs_f64())),
        }
    }

    /// Says what takes a while: with a mark that moves where somebody watches, else as a line.
    fn long(&self, text: String) {
        if !self.out.is_watched() {
            self.out.note(&text);
            return;
        }
        let style = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let mark = ProgressBar::new_spinner().with_style(style).with_message(text);
        mark.enable_steady_tick(TICK);
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }

    fn event(&self, step: &Step<'_>) {
        let text = |_: &_| String::new();
        match step {
            Step::Making { circuit, damage } => {
                let value = json!({ "circuit": circuit_name(*circuit), "damage": damage.map(|damage| chain_text(damage)) });
                self.out.event("attest_making_keys", &value, text);
            }
            Step::Keys(pair) => self.out.event("attest_keys", pair, |_| String::new()),
            Step::Loading { circuit } => self.out.event("attest_reading_key", &json!({ "circuit": circuit_name(*circuit) }), text),
            Step::Wrong { file, why } => {
                self.out.event("attest_wrong_file", &json!({ "file": file, "error": chain_text(*why) }), text);
            }
            Step::Proving { batch, at, of } => {
                let value = json!({ "file": batch.file, "first": batch.first, "last": batch.last, "proof": at, "proofs": of });
                self.out.event("attest_proving", &value, text);
            }
            Step::Proof(proven) => self.out.event("attest_proof", proven, |_| String::new()),
            Step::Pausing(time) => self.out.event("attest_pausing", &json!({ "seconds": time.as_secs_f64() }), text),
        }
    }
}
