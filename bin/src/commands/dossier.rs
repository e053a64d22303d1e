//! `swarm dossier`: the evidence of a job, in one file that anybody can check offline.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::JobId;
use cocoon_settlement::dossier::{DOSSIER_BYTES_MAX, Dossier, DossierError, Finding, Report, Verdict};
use serde::Serialize;

use crate::cli::DossierCommand;
use crate::context::Context;
use crate::durable::{self, Existing};
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Output, Tone, ton_text};
use crate::query::Books;
use crate::query::dossier::CollectDossier;

/// Why there is no dossier, or why it proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DossierFailure {
    #[error("the dossier has no form as a file")]
    Form(#[source] DossierError),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no dossier")]
    Malformed {
        path: PathBuf,
        #[source]
        source: DossierError,
    },
    #[error("the dossier does not prove its job")]
    Unsound,
}

impl NextStep for DossierFailure {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Form(_) => "swarm jobs ls, which lists the jobs of this node".into(),
            Self::Write { .. } => "another file: --output FILE".into(),
            Self::Read { .. } | Self::Malformed { .. } => "a file that swarm dossier export wrote".into(),
            Self::Unsound => "do not rely on it; ask its sender for another export".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Usage,
            Self::Form(_) | Self::Write { .. } | Self::Malformed { .. } | Self::Unsound => Exit::Failed,
        }
    }
}

/// Runs `swarm dossier`.
///
/// # Errors
/// A dossier that cannot be read or written, and whatever opening the ledger fails with.
pub fn run(context: &Context, command: &DossierCommand) -> Result<(), Failure> {
    match command {
        DossierCommand::Export { job, output } => export(context, job, output.as_deref()),
        DossierCommand::Verify { file } => Ok(verify(context.out(), file)?),
    }
}

/// What an export says.
#[derive(Serialize)]
struct Exported {
    job: JobId,
    file: PathBuf,
    bytes: usize,
}

fn export(context: &Context, job: &str, output: Option<&Path>) -> Result<(), Failure> {
    let dossier = Books::open(context)?.ask(&CollectDossier { job: job.to_owned() })?;
    let job = dossier.job;
    let file = match output {
        Some(file) => file.to_owned(),
        None => context.home().dossiers_dir().join(format!("{job}.dossier")),
    };
    let bytes = write(&dossier, &file)?;
    context.out().result(&Exported { job, file, bytes }, |exported| {
        format!("{}\n  {} bytes; anybody can check it: swarm dossier verify FILE", exported.file.display(), exported.bytes)
    });
    Ok(())
}

/// Writes a dossier into a file, and gives its size.
pub(crate) fn write(dossier: &Dossier, file: &Path) -> Result<usize, DossierFailure> {
    let json = dossier.to_json().map_err(DossierFailure::Form)?;
    let failed = |source| DossierFailure::Write { path: file.to_owned(), source };
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    durable::write(file, &json, Existing::Replace).map_err(failed)?;
    Ok(json.len())
}

/// Reads a dossier from a file.
pub(crate) fn read(file: &Path) -> Result<Dossier, DossierFailure> {
    let failed = |source| DossierFailure::Read { path: file.to_owned(), source };
    let bytes = std::fs::metadata(file).map_err(failed)?.len();
    let malformed = |source| DossierFailure::Malformed { path: file.to_owned(), source };
    if usize::try_from(bytes).map_or(true, |bytes| bytes > DOSSIER_BYTES_MAX) {
        return Err(malformed(DossierError::TooLarge { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }));
    }
    Dossier::from_json(&std::fs::read(file).map_err(failed)?).map_err(malformed)
}

fn verify(out: &Output, file: &Path) -> Result<(), DossierFailure> {
    let report = read(file)?.verify();
    out.result(&report, |report| report_text(out, report));
    if report.is_sound() { Ok(()) } else { Err(DossierFailure::Unsound) }
}

fn report_text(out: &Output, report: &Report) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(|finding| finding_text(out, finding)).collect();
    if let (Some(usage), Some(cost)) = (report.usage, report.cost) {
        lines.push(format!("{} tokens read and {} written for {}", usage.input_tokens, usage.output_tokens, ton_text(cost)));
    }
    if let Some(landed) = report.look_up {
        lines.push(format!("The claim can be looked up on the chain: transaction {}, logical time {}", landed.transaction, landed.lt));
    }
    let verdict = if report.is_sound() {
        out.paint(Tone::Good, "Sound: the job was agreed, done, receipted and paid.")
    } else {
        out.paint(Tone::Bad, "Not sound.")
    };
    lines.push(verdict);
    lines.join("\n")
}

/// One line of a report.
pub(crate) fn finding_text(out: &Output, finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Holds => out.paint(Tone::Good, "ok     "),
        Verdict::Fails => out.paint(Tone::Bad, "FAILED "),
        Verdict::Missing => out.paint(Tone::Warning, "missing"),
        Verdict::Unchecked => out.paint(Tone::Faint, "-      "),
    };
    format!("  {mark}  {}", finding.check)
}
