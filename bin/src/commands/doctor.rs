//! `swarm doctor`: whether everything a node needs is there, and what to do about what is not.

mod checks;
mod device;
mod ports;

use std::borrow::Cow;

use serde::Serialize;

use self::device::AdapterRow;
use super::blocking;
use crate::cli::DoctorArgs;
use crate::config::Config;
use crate::context::Context;
use crate::failure::{Failure, NextStep};
use crate::output::Tone;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Light {
    /// As it should be.
    Green,
    /// It works, and somebody may want it otherwise.
    Yellow,
    /// It does not work.
    Red,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    light: Light,
    found: String,
    /// What to do; only where there is something to do.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The graphics adapter that was found; only where one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterRow>,
}

impl Finding {
    fn green(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, light: Light::Green, found: found.into(), advice: None, adapter: None }
    }

    fn yellow(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, light: Light::Yellow, found: found.into(), advice: Some(advice.into()), adapter: None }
    }

    fn red(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, light: Light::Red, found: found.into(), advice: Some(advice.into()), adapter: None }
    }

    /// A red finding out of an error, which knows what to do.
    fn error(check: &'static str, error: impl Into<Failure>) -> Self {
        let failure = error.into();
        let told: Vec<String> = std::iter::once(failure.headline()).chain(failure.causes()).collect();
        Self::red(check, told.join(": ").replace('\n', "; "), failure.next_step())
    }
}

/// Something is red.
#[derive(Debug, thiserror::Error)]
#[error("{count} of the checks are red")]
struct RedError {
    count: usize,
}

impl NextStep for RedError {
    fn next_step(&self) -> Cow<'static, str> {
        "what the red lines say, then swarm doctor again".into()
    }
}

/// Runs `swarm doctor`.
///
/// # Errors
/// When something is red.
pub async fn run(context: &Context, args: &DoctorArgs) -> Result<(), Failure> {
    let mut red = 0;
    for check in all(args.verify_models) {
        let asker = context.clone();
        let findings = blocking(move || check(&asker)).await;
        for finding in findings {
            red += usize::from(finding.light == Light::Red);
            context.out().event("check", &finding, |finding| line(context, finding));
        }
    }
    if red == 0 { Ok(()) } else { Err(RedError { count: red }.into()) }
}

type Check = Box<dyn FnOnce(&Context) -> Vec<Finding> + Send>;

/// Every check, in the order in which one would repair things.
fn all(verify_models: bool) -> Vec<Check> {
    vec![
        Box::new(checks::config),
        Box::new(checks::keys),
        Box::new(checks::disk),
        Box::new(checks::books),
        Box::new(device::check),
        Box::new(move |context| checks::models(context, verify_models)),
        Box::new(ports::check),
        Box::new(checks::chain),
    ]
}

/// The configuration to check by. One that is wrong is reported by its own check; the others then look at the defaults.
fn config_of(context: &Context) -> Config {
    context.config().unwrap_or_default()
}

fn line(context: &Context, finding: &Finding) -> String {
    let (tone, word) = match finding.light {
        Light::Green => (Tone::Good, "green "),
        Light::Yellow => (Tone::Warning, "yellow"),
        Light::Red => (Tone::Bad, "red   "),
    };
    let advice = finding.advice.as_ref().map(|advice| format!("\n{:17}try: {advice}", "")).unwrap_or_default();
    format!("{}  {:8} {}{advice}", context.out().paint(tone, word), finding.check, finding.found)
}
