//! What happens while a model is fetched, and how it is shown: a bar on a terminal, lines elsewhere, events to programs.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::SourceError;
use crate::failure::chain_text;
use crate::output::{Format, Output, bytes_text};

/// Something that happened while a model was fetched.
#[derive(Debug)]
pub enum FetchEvent<'a> {
    /// Another process fetches it; we wait for its turn to end.
    Waiting {
        /// The model.
        name: &'a str,
    },
    /// A source is tried.
    Source {
        /// The model.
        name: &'a str,
        /// The source.
        source: &'a str,
    },
    /// An earlier download is continued.
    Resuming {
        /// The model.
        name: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// More bytes are here.
    Bytes {
        /// The model.
        name: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// A source failed for now.
    Retrying {
        /// Why.
        error: &'a SourceError,
    },
    /// A source failed for good; the next one is tried.
    SourceFailed {
        /// The source.
        source: &'a str,
        /// Why.
        error: &'a SourceError,
    },
    /// All bytes are here and are hashed.
    Verifying {
        /// The model.
        name: &'a str,
    },
    /// The file is there.
    Ready {
        /// The model.
        name: &'a str,
        /// Where.
        path: &'a Path,
        /// Its size.
        bytes: u64,
        /// Whether it was fetched just now.
        fetched: bool,
    },
}

/// Hears of a fetch. It is called from the thread that fetches.
pub type Listener<'a> = &'a mut (dyn FnMut(FetchEvent<'_>) + Send);

/// How often programs and logs hear of bytes: often enough to see that it moves.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// A listener that shows the fetch where `out` says.
pub fn reporter(out: &Output) -> Box<dyn FnMut(FetchEvent<'_>) + Send> {
    let out = out.clone();
    match out.format() {
        Format::Json => Box::new(events(out)),
        Format::Text if out.is_watched() => Box::new(bar(out)),
        Format::Text => Box::new(lines(out)),
    }
}

/// A bar that moves.
fn bar(out: Output) -> impl FnMut(FetchEvent<'_>) + Send {
    const TEMPLATE: &str = "  {wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
    let mut bar: Option<ProgressBar> = None;
    move |event| match event {
        FetchEvent::Resuming { done, total, .. } | FetchEvent::Bytes { done, total, .. } => {
            let bar = bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(total).with_style(style).with_position(done);
                bar.reset_eta();
                bar
            });
            bar.set_position(done);
        }
        other => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            say(&out, &other);
        }
    }
}

/// A line now and then.
fn lines(out: Output) -> impl FnMut(FetchEvent<'_>) + Send {
    let mut pace = Pace::default();
    move |event| match event {
        FetchEvent::Bytes { done, total, .. } => {
            if pace.is_due(done == total) {
                out.note(&format!("  {} of {}", bytes_text(done), bytes_text(total)));
            }
        }
        other => say(&out, &other),
    }
}

/// An event a line.
fn events(out: Output) -> impl FnMut(FetchEvent<'_>) + Send {
    let mut pace = Pace::default();
    move |event| {
        let value = match &event {
            FetchEvent::Bytes { done, total, .. } if !pace.is_due(done == total) => return,
            FetchEvent::Bytes { name, done, total } => json!({ "model": name, "bytes": done, "size_bytes": total }),
            FetchEvent::Resuming { name, done, total } => json!({ "model": name, "bytes": done, "size_bytes": total }),
            FetchEvent::Waiting { name } | FetchEvent::Verifying { name } => json!({ "model": name }),
            FetchEvent::Source { name, source } => json!({ "model": name, "source": source }),
            FetchEvent::Retrying { error } => json!({ "error": chain_text(error) }),
            FetchEvent::SourceFailed { source, error } => json!({ "source": source, "error": chain_text(error) }),
            FetchEvent::Ready { name, path, bytes, fetched } => {
                json!({ "model": name, "path": path, "size_bytes": bytes, "fetched": fetched })
            }
        };
        out.event(event_name(&event), &value, |_| String::new());
    }
}

const fn event_name(event: &FetchEvent<'_>) -> &'static str {
    match event {
        FetchEvent::Waiting { .. } => "fetch_waiting",
        FetchEvent::Source { .. } => "fetch_source",
        FetchEvent::Resuming { .. } => "fetch_resuming",
        FetchEvent::Bytes { .. } => "fetch_bytes",
        FetchEvent::Retrying { .. } => "fetch_retrying",
        FetchEvent::SourceFailed { .. } => "fetch_source_failed",
        FetchEvent::Verifying { .. } => "fetch_verifying",
        FetchEvent::Ready { .. } => "fetch_ready",
    }
}

/// Tells a person about an event that is worth a line.
fn say(out: &Output, event: &FetchEvent<'_>) {
    match event {
        FetchEvent::Waiting { name } => out.note(&format!("{name} is being fetched by another process; waiting for it")),
        FetchEvent::Source { name, source } => out.note(&format!("fetching {name} from {source}")),
        FetchEvent::Resuming { done, total, .. } => {
            out.note(&format!("  going on at {} of {}", bytes_text(*done), bytes_text(*total)));
        }
        FetchEvent::Retrying { error } => out.note(&format!("  {}; trying again", chain_text(error))),
        FetchEvent::SourceFailed { error, .. } => out.note(&format!("  that did not work: {}", chain_text(error))),
        FetchEvent::Verifying { .. } => out.note("  checking its hash"),
        FetchEvent::Bytes { .. } | FetchEvent::Ready { .. } => {}
    }
}

/// Lets something through at most once a [`REPORT_PERIOD`].
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
}

impl Pace {
    fn is_due(&mut self, last_one: bool) -> bool {
        let due = last_one || self.last.is_none_or(|last| last.elapsed() >= REPORT_PERIOD);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}
