//! `swarm models`: fetch, list and remove models.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::blocking;
use crate::cli::{ModelsCommand, SourceKind};
use crate::context::Context;
use crate::failure::Failure;
use crate::models::{Model, ModelError, ModelStore, Origin, Presence, reporter};
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
            return store.add(Path::new(&given), &name, &mut listener).map(|model| (store.path(model.id), model));
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
        path: std::path::PathBuf,
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
            let licence = match model.origin {
                Origin::Catalogue(entry) => Some(entry.licence),
                Origin::Own => None,
            };
            let intact = (verify && presence == Presence::Cached).then(|| store.verify(&model).is_ok());
            Listed { model, presence, licence, intact }
        });
        Ok::<Vec<Listed>, ModelError>(listed.collect())
    })
    .await?;
    context.out().result(&rows, |rows| table(context, rows));
    match rows.into_iter().find(|row| row.intact == Some(false)) {
        Some(damaged) => {
            let path = context.models(&context.config()?).path(damaged.model.id);
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

fn remove(context: &Context, store: &ModelStore, name: &str) -> Result<(), Failure> {
    let model = store.find(name)?;
    let freed = store.remove(&model)?;
    context.out().result(&serde_json::json!({ "name": model.name, "freed_bytes": freed }), |_| match freed {
        0 => format!("{} was not here", model.name),
        freed => format!("removed {}, {} are free again", model.name, bytes_text(freed)),
    });
    Ok(())
}
