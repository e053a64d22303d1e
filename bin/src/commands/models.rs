//! `swarm models`: fetch, list and remove models.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cocoon_runtime::{FolderConfig, Gguf, Inspection, LoadError, ModelFolder};
use serde::Serialize;

use super::blocking;
use crate::cli::{ModelsCommand, SourceKind};
use crate::context::Context;
use crate::failure::Failure;
use crate::models::{Model, ModelError, ModelStore, Presence, reporter};
use crate::output::{Table, Tone, bytes_text};
use crate::signals::stop_requested;

/// How long a fetch may take to end after Ctrl-C. It ends at its next byte; a stalled connection has none.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `swarm models`.
///
/// # Errors
/// [`ModelError`].
pub async fn run(context: &Context, command: &ModelsCommand) -> Result<(), Failure> {
    let store = context.models(&context.config()?);
    match command {
        ModelsCommand::Pull { model, name, source } => pull(context, store, model, name.as_deref(), *source).await,
        ModelsCommand::Ls { verify } => list(context, store, *verify).await,
        ModelsCommand::Inspect { model } => inspect(context, &store, model),
        ModelsCommand::Rm { model } => remove(context, &store, model),
    }
}

async fn pull(context: &Context, store: ModelStore, model: &str, name: Option<&str>, source: Option<SourceKind>) -> Result<(), Failure> {
    let mut listener = reporter(context.out());
    let cancel = store.cancel().clone();
    let (given, name) = (model.to_owned(), name.map(str::to_owned));
    let work = move || {
        if is_path(&given) {
            let name = name.ok_or(ModelError::NameMissing)?;
            return store.add(Path::new(&given), &name, &mut listener).map(|model| (store.path(&model), model));
        }
        let model = store.find(&given)?;
        let path = match source {
            None => store.ensure(&model, &mut listener)?,
            Some(kind) => store.fetch(&model, &store.sources(&model, |source| source.kind() == kind), &mut listener)?,
        };
        Ok((path, model))
    };
    let mut work = std::pin::pin!(blocking(work));
    let (path, model) = tokio::select! {
        done = &mut work => done?,
        () = stop_requested() => {
            cancel.cancel();
            tokio::time::timeout(CANCEL_TIMEOUT, work).await.unwrap_or(Err(ModelError::Interrupted { kept_bytes: 0 }))?
        }
    };
    #[derive(Serialize)]
    struct Pulled {
        #[serde(flatten)]
        model: Model,
        path: PathBuf,
    }
    context.out().result(&Pulled { model, path }, |pulled| {
        format!("{} is here: {} ({})", pulled.model.name, pulled.path.display(), bytes_text(pulled.model.size_bytes))
    });
    Ok(())
}

/// Whether a person means a file: it has a separator or the ending of one.
fn is_path(text: &str) -> bool {
    text.contains(std::path::is_separator) || Path::new(text).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    model: Model,
    #[serde(flatten)]
    presence: Presence,
    licence: Option<&'static str>,
    /// Whether its hash was checked just now, and fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    intact: Option<bool>,
}

async fn list(context: &Context, store: ModelStore, verify: bool) -> Result<(), Failure> {
    let rows = blocking(move || {
        let models = store.list()?;
        let listed = models.into_iter().map(|model| {
            let presence = store.presence(&model);
            let licence = model.licence();
            let intact = (verify && presence == Presence::Cached).then(|| store.verify(&model).is_ok());
            Listed { model, presence, licence, intact }
        });
        Ok::<Vec<Listed>, ModelError>(listed.collect())
    })
    .await?;
    context.out().result(&rows, |rows| table(context, rows));
    match rows.into_iter().find(|row| row.intact == Some(false)) {
        Some(damaged) => {
            let path = context.models(&context.config()?).path(&damaged.model);
            Err(ModelError::Damaged { name: damaged.model.name, path }.into())
        }
        None => Ok(()),
    }
}

fn table(context: &Context, rows: &[Listed]) -> String {
    let mut table = Table::new(["MODEL", "SIZE", "HERE", "LICENCE", "ID"]).right([1]);
    for row in rows {
        let here = match (row.presence, row.intact) {
            (Presence::Cached, Some(false)) => context.out().paint(Tone::Bad, "damaged"),
            (Presence::Cached, Some(true)) => context.out().paint(Tone::Good, "yes, verified"),
            (Presence::Cached, None) => context.out().paint(Tone::Good, "yes"),
            (Presence::Partial { bytes }, _) => format!("{} of it", bytes_text(bytes)),
            (Presence::Absent, _) => "no".to_owned(),
        };
        let licence = row.licence.unwrap_or("your own").to_owned();
        table.row([row.model.name.clone(), bytes_text(row.model.size_bytes), here, licence, row.model.id.short()]);
    }
    table.to_string()
}

/// Shares of a context that memory is shown for.
const CONTEXT_SHARES: [usize; 3] = [16, 4, 1];

#[derive(Serialize)]
struct Inspected {
    path: PathBuf,
    family: &'static str,
    name: Option<String>,
    licence: Option<String>,
    parameters: u64,
    layers: usize,
    hidden: usize,
    query_heads: usize,
    key_heads: usize,
    vocabulary: u64,
    context_tokens: usize,
    weight_bytes: u64,
    tensors: Vec<InspectedTensors>,
    memory: Vec<InspectedMemory>,
}

#[derive(Serialize)]
struct InspectedTensors {
    #[serde(rename = "type")]
    kind: &'static str,
    tensors: u64,
    elements: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct InspectedMemory {
    context_tokens: usize,
    cache_bytes: u64,
    /// Weights as in the file, and keys and values.
    cpu_bytes: u64,
    /// Weights in single precision, and keys and values.
    adapter_bytes: u64,
}

fn inspect(context: &Context, store: &ModelStore, given: &str) -> Result<(), Failure> {
    let (path, licence) = if is_path(given) {
        (PathBuf::from(given), None)
    } else {
        let model = store.find(given)?;
        if store.presence(&model) != Presence::Cached {
            return Err(ModelError::NotHere { name: model.name }.into());
        }
        (store.path(&model), model.licence())
    };
    let unreadable = |source: LoadError| ModelError::Unreadable { path: path.clone(), source };
    if path.is_dir() {
        let folder = ModelFolder::open(&path).map_err(|error| unreadable(error.into()))?;
        context.out().result(&InspectedFolder::new(path.clone(), licence, &folder), folder_inspection);
        return Ok(());
    }
    let file = Gguf::open(&path).map_err(|error| unreadable(error.into()))?;
    let found = Inspection::of(&file).map_err(unreadable)?;
    let inspected = Inspected::new(path.clone(), licence, found);
    context.out().result(&inspected, inspection);
    Ok(())
}

#[derive(Serialize)]
struct InspectedFolder {
    path: PathBuf,
    gives: &'static str,
    licence: Option<String>,
    layers: usize,
    hidden: usize,
    heads: usize,
    vocabulary: usize,
    context_tokens: usize,
}

impl InspectedFolder {
    /// `licence` is what the catalogue says, which counts for more than what the folder does.
    fn new(path: PathBuf, licence: Option<&str>, folder: &ModelFolder) -> Self {
        let licence = licence.or(folder.licence()).map(str::to_owned);
        match folder.config() {
            FolderConfig::Encoder(config) => Self {
                path,
                gives: "vectors",
                licence,
                layers: config.layers,
                hidden: config.hidden,
                heads: config.heads,
                vocabulary: config.vocabulary,
                context_tokens: config.sentence.tokens_max,
            },
            FolderConfig::Decoder(config) => Self {
                path,
                gives: "text",
                licence,
                layers: config.layers,
                hidden: config.hidden,
                heads: config.heads,
                vocabulary: config.vocabulary,
                context_tokens: config.context,
            },
        }
    }
}

fn folder_inspection(found: &InspectedFolder) -> String {
    let mut facts = Table::new(["", ""]);
    for (what, value) in [
        ("folder", found.path.display().to_string()),
        ("gives", found.gives.to_owned()),
        ("licence", found.licence.clone().unwrap_or_else(|| "not named in the folder".to_owned())),
        ("layers", format!("{} of width {}, {} heads", found.layers, found.hidden, found.heads)),
        ("vocabulary", format!("{} tokens", found.vocabulary)),
        ("context", format!("{} tokens", found.context_tokens)),
    ] {
        facts.row([what.to_owned(), value]);
    }
    facts.to_string()
}

impl Inspected {
    /// `licence` is what the catalogue says, which counts for more than what the file does.
    fn new(path: PathBuf, licence: Option<&str>, found: Inspection) -> Self {
        let weights = found.weight_bytes();
        let single = found.adapter_weight_bytes();
        let memory = CONTEXT_SHARES.map(|share| {
            let context_tokens = found.context_tokens / share;
            let cache_bytes = found.cache_bytes(context_tokens);
            let (cpu_bytes, adapter_cache) = (weights.saturating_add(cache_bytes), found.adapter_cache_bytes(context_tokens));
            InspectedMemory { context_tokens, cache_bytes, cpu_bytes, adapter_bytes: single.saturating_add(adapter_cache) }
        });
        let tensors = found.tensors.iter().map(|(kind, share)| InspectedTensors {
            kind,
            tensors: share.tensors,
            elements: share.elements,
            bytes: share.bytes,
        });
        Self {
            path,
            family: found.family.name(),
            parameters: found.parameters(),
            tensors: tensors.collect(),
            licence: licence.map(str::to_owned).or(found.licence),
            name: found.name,
            layers: found.layers,
            hidden: found.hidden,
            query_heads: found.heads.0,
            key_heads: found.heads.1,
            vocabulary: found.vocabulary,
            context_tokens: found.context_tokens,
            weight_bytes: weights,
            memory: memory.into(),
        }
    }
}

fn inspection(found: &Inspected) -> String {
    let unnamed = || "not named in the file".to_owned();
    let mut facts = Table::new(["", ""]);
    for (what, value) in [
        ("file", found.path.display().to_string()),
        ("family", found.family.to_owned()),
        ("name", found.name.clone().unwrap_or_else(unnamed)),
        ("licence", found.licence.clone().unwrap_or_else(unnamed)),
        ("parameters", found.parameters.to_string()),
        ("layers", format!("{} of width {}", found.layers, found.hidden)),
        ("heads", format!("{} of queries, {} of keys", found.query_heads, found.key_heads)),
        ("vocabulary", format!("{} tokens", found.vocabulary)),
        ("context", format!("{} tokens", found.context_tokens)),
        ("weights", bytes_text(found.weight_bytes)),
    ] {
        facts.row([what.to_owned(), value]);
    }
    let mut types = Table::new(["TYPE", "TENSORS", "ELEMENTS", "SIZE"]).right([1, 2, 3]);
    for tensors in &found.tensors {
        types.row([tensors.kind.to_owned(), tensors.tensors.to_string(), tensors.elements.to_string(), bytes_text(tensors.bytes)]);
    }
    let mut memory = Table::new(["CONTEXT", "KEYS AND VALUES", "ALL ON THE CPU", "ALL ON AN ADAPTER"]).right([0, 1, 2, 3]);
    for row in &found.memory {
        let bytes = [row.cache_bytes, row.cpu_bytes, row.adapter_bytes].map(bytes_text);
        let [cache, cpu, adapter] = bytes;
        memory.row([row.context_tokens.to_string(), cache, cpu, adapter]);
    }
    format!("{facts}\n\n{types}\n\n{memory}")
}

fn remove(context: &Context, store: &ModelStore, name: &str) -> Result<(), Failure> {
    let model = store.find(name)?;
    let freed = store.remove(&model)?;
    context.out().result(&serde_json::json!({ "name": model.name, "freed_bytes": freed }), |_| match freed {
        0 => format!("{} was not here", model.name),
        freed => format!("removed {}, {} are free again", model.name, bytes_text(freed)),
    });
    Ok(())
}
