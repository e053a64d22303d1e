//! `swarm ask`: one question, answered and paid.

use std::borrow::Cow;
use std::io::{self, Read};
use std::time::Instant;

use cocoon_market::job::{ChatMessage, JOB_FRAME_BYTES_MAX, Prompt, Sampling};
use cocoon_market::{NodeId, WorkKind};
use cocoon_p2p::{GenerateOrder, JobEvent};
use futures::StreamExt as _;

use super::purchase::{agree, in_session, look, remark, want};
use crate::cli::AskArgs;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Format, Output};
use crate::signals::StopSignals;
use crate::story::Event;
use crate::wiring::answering::seed_bytes;
use crate::wiring::buying::{BuyError, Deal, RunningJob};
use crate::wiring::session::Session;

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot read the prompt from stdin")]
    Stdin(#[source] io::Error),
    #[error("the prompt is empty")]
    Empty,
    #[error("a temperature of {0} means nothing")]
    Temperature(f32),
    #[error("a top-p of {0} means nothing")]
    TopP(f32),
    #[error("interrupted before the answer began")]
    Interrupted,
}

impl NextStep for AskError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Stdin(_) | Self::Empty => "swarm ask \"Why is the sky blue?\"".into(),
            Self::Temperature(_) => "a temperature from 0 to 2".into(),
            Self::TopP(_) => "a top-p above 0 and at most 1".into(),
            Self::Interrupted => "again; nothing was paid. A channel that was being opened is used next time".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Stdin(_) | Self::Interrupted => Exit::Failed,
            Self::Empty | Self::Temperature(_) | Self::TopP(_) => Exit::Usage,
        }
    }
}

/// Runs `swarm ask`.
///
/// # Errors
/// No keys, no offer, no agreement, no money, or a job that did not come to its end.
pub async fn run(context: &Context, args: &AskArgs) -> Result<(), Failure> {
    let order = order(args)?;
    in_session(context, &args.purchase, async |session| ask(context, args, session, order).await).await
}

async fn ask(context: &Context, args: &AskArgs, session: &Session, order: GenerateOrder) -> Result<(), Failure> {
    let buyer = session.buyer()?;
    let want = want(context, session, &args.purchase, WorkKind::Generate).await?;
    if args.purchase.dry_run {
        return Ok(look(&buyer, &want, context.out()).await?);
    }
    let mut signals = StopSignals::listen();
    let deal = tokio::select! {
        biased;
        () = signals.requested() => return Err(AskError::Interrupted.into()),
        deal = agree(&buyer, &want, context.out()) => deal?,
    };
    let started = Instant::now();
    let job = tokio::select! {
        biased;
        () = signals.requested() => return Err(AskError::Interrupted.into()),
        job = buyer.run(&deal, order, want.cap) => job?,
    };
    Ok(Telling::new(context.out(), &deal, job, started).follow(&mut signals).await?)
}

/// Shows a job as it goes.
struct Telling<'a> {
    out: &'a Output,
    provider: NodeId,
    job: RunningJob,
    started: Instant,
    first: Option<(Instant, u64)>,
}

impl<'a> Telling<'a> {
    fn new(out: &'a Output, deal: &Deal, job: RunningJob, started: Instant) -> Self {
        let provider = deal.agreement.body().provider;
        Self { out, provider, job, started, first: None }
    }

    async fn follow(mut self, signals: &mut StopSignals) -> Result<(), BuyError> {
        let mut stopping = false;
        loop {
            let event = tokio::select! {
                biased;
                () = signals.requested(), if !stopping => {
                    stopping = true;
                    self.job.cancel();
                    continue;
                }
                event = self.job.next() => event,
            };
            match event {
                None => return Ok(()),
                Some(event) => self.tell(event.inspect_err(|_| self.out.stream("\n"))?),
            }
        }
    }

    fn tell(&mut self, event: JobEvent) {
        match event {
            JobEvent::Chunk(chunk) => {
                self.first.get_or_insert_with(|| (Instant::now(), chunk.usage.output_tokens));
                self.out.stream(&chunk.text);
                if self.out.format() == Format::Json {
                    Event::of_chunk(chunk).tell(self.out);
                }
            }
            // Text was ordered, and the client lets nothing else pass.
            JobEvent::Vectors(_) => {}
            JobEvent::Receipted { receipt, voucher } => {
                if self.out.format() == Format::Json {
                    Event::of_payment(&receipt, &voucher).tell(self.out);
                }
            }
            JobEvent::Done { reason, usage, paid } => {
                self.out.stream("\n");
                let (first, first_tokens) = self.first.unwrap_or((Instant::now(), 0));
                let after = usage.output_tokens.saturating_sub(first_tokens);
                let done = Event::Done {
                    job: self.job.job(),
                    provider: self.provider,
                    reason,
                    usage,
                    paid_nanoton: paid,
                    first_token_ms: u64::try_from(first.duration_since(self.started).as_millis()).unwrap_or(u64::MAX),
                    tokens_per_s: after as f64 / first.elapsed().as_secs_f64().max(f64::EPSILON),
                };
                remark(self.out, &done);
            }
        }
    }
}

fn order(args: &AskArgs) -> Result<GenerateOrder, AskError> {
    let text = prompt_text(&args.prompt)?;
    let prompt = if args.raw { Prompt::Raw(text) } else { chat(args.system.clone(), text) };
    Ok(GenerateOrder {
        prompt,
        output_tokens_max: args.max_tokens,
        sampling: sampling(args)?,
        stop: args.stop.clone(),
        seed: args.seed.map(|seed| seed_bytes(&seed.to_be_bytes())),
        job: None,
    })
}

fn chat(system: Option<String>, text: String) -> Prompt {
    let system = system.map(|content| ChatMessage { role: "system".to_owned(), content });
    let user = ChatMessage { role: "user".to_owned(), content: text };
    Prompt::Chat(system.into_iter().chain([user]).collect())
}

fn prompt_text(given: &str) -> Result<String, AskError> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let limit = u64::try_from(JOB_FRAME_BYTES_MAX).unwrap_or(u64::MAX);
        io::stdin().take(limit).read_to_string(&mut text).map_err(AskError::Stdin)?;
    }
    if text.trim().is_empty() { Err(AskError::Empty) } else { Ok(text) }
}

fn sampling(args: &AskArgs) -> Result<Sampling, AskError> {
    if !(0.0..=2.0).contains(&args.temperature) {
        return Err(AskError::Temperature(args.temperature));
    }
    if !(args.top_p > 0.0 && args.top_p <= 1.0) {
        return Err(AskError::TopP(args.top_p));
    }
    // Checked to be small and not negative.
    let milli = |value: f32| (value * 1000.0).round() as u32;
    Ok(Sampling { temperature_milli: milli(args.temperature), top_k: args.top_k, top_p_milli: milli(args.top_p).max(1) })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(options: &[&str]) -> Result<GenerateOrder, AskError> {
        let cli = Cli::try_parse_from(["swarm", "ask", "hi"].iter().chain(options)).unwrap();
        let Command::Ask(args) = cli.command else { panic!("not an ask") };
        order(&args)
    }

    #[test]
    fn an_order_is_greedy_unless_told_otherwise() {
        let order = parsed(&[]).unwrap();
        assert_eq!((order.sampling, order.seed), (Sampling::GREEDY, None));
        assert_eq!(order.prompt, chat(None, "hi".into()));
        let order = parsed(&["--temperature", "0.7", "--top-p", "0.9", "--top-k", "40", "--seed", "7", "--raw"]).unwrap();
        assert_eq!(order.sampling, Sampling { temperature_milli: 700, top_k: 40, top_p_milli: 900 });
        assert_eq!((order.prompt, order.seed), (Prompt::Raw("hi".into()), Some(seed_bytes(&7u64.to_be_bytes()))));
    }

    #[test]
    fn impossible_sampling_is_refused_before_anything_is_paid() {
        assert!(matches!(parsed(&["--temperature", "2.5"]), Err(AskError::Temperature(_))));
        assert!(matches!(parsed(&["--top-p", "0"]), Err(AskError::TopP(_))));
        assert!(matches!(parsed(&["--top-p", "NaN"]), Err(AskError::TopP(_))));
    }
}
