//! `swarm embed`: the vectors of texts, made and paid.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use cocoon_market::job::Vector;
use cocoon_market::{NodeId, WorkKind};
use cocoon_p2p::JobEvent;
use tokio_util::sync::CancellationToken;

use super::blocking;
use super::purchase::{agree, in_session, look, remark, want};
use crate::cli::EmbedArgs;
use crate::context::Context;
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Format, Output, Table};
use crate::signals::StopSignals;
use crate::story::Event;
use crate::wiring::buying::{Buyer, Deal, Want};
use crate::wiring::embedding::{Bought, EmbedTextsError};
use crate::wiring::session::Session;

/// Bytes read of a file or of stdin: some hundred thousand sentences, which fill the memory of no machine with their vectors.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Texts of one command: the vectors of so many take some hundred MB.
const TEXTS_MAX: usize = 100_000;

/// Elements of a vector that a person is shown.
const ELEMENTS_SHOWN: usize = 4;

/// Characters of a text that a person is shown.
const TEXT_SHOWN: usize = 40;

/// Texts between which cosines are shown: as many columns as a terminal has room for.
const COSINES_MAX: usize = 10;

/// Why no vectors were made.
#[derive(Debug, thiserror::Error)]
enum EmbedError {
    #[error("cannot read texts from {}", .path.as_ref().map_or("stdin".into(), |path| path.to_string_lossy()))]
    Read { path: Option<PathBuf>, source: io::Error },
    #[error("more than {} MiB of texts", INPUT_BYTES_MAX >> 20)]
    TooMuch,
    #[error("{texts} texts, where one command takes {TEXTS_MAX}")]
    TooMany { texts: usize },
    #[error("there is no text")]
    Empty,
    #[error("interrupted before the first vector was ordered")]
    Interrupted,
}

impl NextStep for EmbedError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Read { .. } | Self::Empty => "swarm embed \"a text\" \"another\"; or --file FILE, one text a line, in UTF-8".into(),
            Self::TooMuch | Self::TooMany { .. } => "split the file".into(),
            Self::Interrupted => "again; nothing was paid. A channel that was being opened is used next time".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Interrupted => Exit::Failed,
            Self::TooMuch | Self::TooMany { .. } | Self::Empty => Exit::Usage,
        }
    }
}

impl NextStep for EmbedTextsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Buy(error) => error.next_step(),
            Self::Cancelled { .. } => "again, with the rest; what came was paid, and nothing else".into(),
            Self::Unfinished { .. } => "again; another provider (--provider) may do better".into(),
        }
    }
}

/// Runs `swarm embed`.
///
/// # Errors
/// No texts, no keys, no offer, no agreement, no money, or a job that did not come to its end.
pub async fn run(context: &Context, args: &EmbedArgs) -> Result<(), Failure> {
    let given = args.clone();
    let texts = blocking(move || texts(&given)).await?;
    in_session(context, &args.purchase, async |session| embed(context, args, session, texts).await).await
}

async fn embed(context: &Context, args: &EmbedArgs, session: &Session, texts: Vec<String>) -> Result<(), Failure> {
    let buyer = session.buyer()?;
    let want = want(context, session, &args.purchase, WorkKind::Embed).await?;
    if args.purchase.dry_run {
        return Ok(look(&buyer, &want, context.out()).await?);
    }
    let mut signals = StopSignals::listen();
    let deal = tokio::select! {
        biased;
        () = signals.requested() => return Err(EmbedError::Interrupted.into()),
        deal = agree(&buyer, &want, context.out()) => deal?,
    };
    let stop = CancellationToken::new();
    let mut making = std::pin::pin!(make(&buyer, &deal, &want, context.out(), texts, &stop));
    loop {
        tokio::select! {
            biased;
            () = signals.requested(), if !stop.is_cancelled() => stop.cancel(),
            made = &mut making => return made,
        }
    }
}

async fn make(buyer: &Buyer, deal: &Deal, want: &Want, out: &Output, texts: Vec<String>, stop: &CancellationToken) -> Result<(), Failure> {
    let (started, provider) = (Instant::now(), deal.agreement.body().provider);
    let mut so_far = Bought::default();
    let mut telling =
        Telling { out, shown: 0, receipts: Table::new(["RECEIPT", "TOKENS READ", "TON", "CHANNEL PAID"]).right([0, 1, 2, 3]) };
    let made = buyer.embed(deal, texts.clone(), want.cap, &mut so_far, stop, |event| telling.hear(event)).await;
    if !telling.receipts.is_empty() {
        out.note(&telling.receipts.to_string());
    }
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tell_end(out, provider, &texts, so_far, took_ms);
    Ok(made?)
}

fn tell_end(out: &Output, provider: NodeId, texts: &[String], made: Bought, took_ms: u64) {
    if out.format() == Format::Text && !made.vectors.is_empty() {
        out.result(&(), |()| text_of(texts, &made.vectors));
    }
    let Bought { jobs, vectors, usage, paid } = made;
    if jobs.is_empty() {
        return;
    }
    remark(out, &Event::Embedded { jobs, provider, vectors: vectors.len(), usage, paid_nanoton: paid, took_ms });
}

/// Tells programs of each vector and payment as it comes, and keeps a table of payments for people.
struct Telling<'a> {
    out: &'a Output,
    shown: usize,
    receipts: Table,
}

impl Telling<'_> {
    fn hear(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Vectors(some) => some.vectors.iter().for_each(|vector| self.vector(vector)),
            JobEvent::Receipted { receipt, voucher } => {
                let paid = Event::of_payment(receipt, voucher);
                let (body, voucher) = (&receipt.receipt.body, &voucher.voucher);
                let (sequence, tokens) = (voucher.sequence, body.usage.input_tokens);
                self.receipts.row([sequence.to_string(), tokens.to_string(), body.amount.to_string(), voucher.cumulative.to_string()]);
                if self.out.format() == Format::Json {
                    paid.tell(self.out);
                }
            }
            JobEvent::Chunk(_) | JobEvent::Done { .. } => {}
        }
    }

    fn vector(&mut self, vector: &Vector) {
        if self.out.format() == Format::Json {
            Event::Vector { index: self.shown, vector: vector.elements().collect() }.tell(self.out);
        }
        self.shown += 1;
    }
}

/// Vectors for a person: how they begin, and how near they are to each other.
fn text_of(texts: &[String], vectors: &[Vector]) -> String {
    let width = vectors.first().map_or(0, Vector::width);
    let mut table = Table::new(["", "TEXT", "VECTOR"]).right([0]);
    for (at, (text, vector)) in texts.iter().zip(vectors).enumerate() {
        let begin: Vec<String> = vector.elements().take(ELEMENTS_SHOWN).map(|element| format!("{element:>8.4}")).collect();
        table.row([(at + 1).to_string(), shortened(text), format!("{} ..", begin.join(" "))]);
    }
    let count = vectors.len();
    let vectors_word = if count == 1 { "vector" } else { "vectors" };
    let shown = format!("{table}\n{count} {vectors_word} of {width} elements; --json prints them all");
    match count {
        2..=COSINES_MAX => format!("{shown}\n\n{}", cosines(vectors)),
        _ => shown,
    }
}

/// The cosines between all texts: 1 for the same direction.
fn cosines(vectors: &[Vector]) -> String {
    let mut text = String::from("cosine");
    (0..vectors.len()).for_each(|at| text += &format!("{:>7}", at + 1));
    for (at, one) in vectors.iter().enumerate() {
        text += &format!("\n{:>6}", at + 1);
        vectors.iter().for_each(|other| text += &format!("{:>7.3}", cosine(one, other)));
    }
    text
}

fn cosine(one: &Vector, other: &Vector) -> f64 {
    let dot = |a: &Vector, b: &Vector| a.elements().zip(b.elements()).map(|(x, y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    // A vector of zeros is near to none.
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}

/// The beginning of a text, fit to be shown: terminals obey control characters.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let short: String = text.chars().take(TEXT_SHOWN).map(plain).collect();
    if text.chars().nth(TEXT_SHOWN).is_some() { format!("{short}..") } else { short }
}

/// The texts of the command line, of a file, or of stdin.
fn texts(args: &EmbedArgs) -> Result<Vec<String>, EmbedError> {
    let texts = match &args.file {
        None if !args.texts.is_empty() => args.texts.iter().filter(|text| !text.is_empty()).cloned().collect(),
        None => lines_of(io::stdin(), None)?,
        Some(path) => {
            let failed = |source| EmbedError::Read { path: Some(path.clone()), source };
            lines_of(File::open(path).map_err(failed)?, Some(path))?
        }
    };
    match texts.len() {
        0 => Err(EmbedError::Empty),
        1..=TEXTS_MAX => Ok(texts),
        texts => Err(EmbedError::TooMany { texts }),
    }
}

fn lines_of(from: impl Read, path: Option<&PathBuf>) -> Result<Vec<String>, EmbedError> {
    let mut text = String::new();
    let failed = |source| EmbedError::Read { path: path.cloned(), source };
    from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
        return Err(EmbedError::TooMuch);
    }
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(options: &[&str]) -> EmbedArgs {
        let cli = Cli::try_parse_from(["swarm", "embed"].iter().chain(options)).unwrap();
        let Command::Embed(args) = cli.command else { panic!("not an embed") };
        args
    }

    #[test]
    fn texts_come_from_the_command_line_or_a_file() {
        assert_eq!(texts(&args(&["a b", "c"])).unwrap(), ["a b", "c"]);
        assert!(matches!(texts(&args(&[""])), Err(EmbedError::Empty)));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("texts");
        let given = args(&["--file", file.to_str().unwrap()]);
        assert!(matches!(texts(&given), Err(EmbedError::Read { path: Some(_), .. })));
        std::fs::write(&file, "one\r\n\n  \ntwo words\n").unwrap();
        assert_eq!(texts(&given).unwrap(), ["one", "two words"]);
        std::fs::write(&file, "a\n".repeat(TEXTS_MAX + 1)).unwrap();
        assert!(matches!(texts(&given), Err(EmbedError::TooMany { texts: 100_001 })));
        std::fs::write(&file, [0xff]).unwrap();
        assert!(matches!(texts(&given), Err(EmbedError::Read { .. })));
        assert!(Cli::try_parse_from(["swarm", "embed", "a", "--file", "b"]).is_err());
    }

    #[test]
    fn more_than_fits_is_refused() {
        let endless = io::repeat(b'a');
        assert!(matches!(lines_of(endless, None), Err(EmbedError::TooMuch)));
    }

    #[test]
    fn a_person_sees_how_vectors_begin_and_how_near_they_are() {
        let vectors = [[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]].map(|elements| Vector::new(&elements));
        let texts = ["one", "a\nb", &"x".repeat(50)].map(str::to_owned);
        let text = text_of(&texts, &vectors);
        assert!(text.contains("1  one ") && text.contains("2  a b ") && text.contains(&format!("{}..", "x".repeat(40))), "{text}");
        assert!(text.contains("  1.0000   0.0000 .."), "{text}");
        assert!(
            text.ends_with(
                "cosine      1      2      3\n     1  1.000  0.000  0.707\n     2  0.000  1.000  0.707\n     3  0.707  0.707  1.000"
            ),
            "{text}"
        );
        assert!(text.contains("3 vectors of 2 elements"), "{text}");
        assert_eq!(cosine(&Vector::new(&[0.0]), &Vector::new(&[1.0])), 0.0);
        assert!(!text_of(&texts[..1], &vectors[..1]).contains("cosine"));
    }
}
