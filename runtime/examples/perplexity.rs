//! How well a model foresees texts: the perplexity of each and of all, as a table in Markdown.
//!
//! ```text
//! cargo run --locked --profile=ci -p cocoon-runtime --example perplexity -- MODEL.gguf TEXT...
//! ```
//!
//! `COCOON_DEVICE` (auto, wgpu, cpu; default cpu) is where it runs. Every text is read from its
//! beginning in one context, its first token being given. The texts in `tests/reference/texts` are
//! those that `tests/reference/exact.py perplexity` measures with a reference of its own.
//!
//! The first column is what others are compared with: the difference of their perplexities, its
//! standard error by the differences of single tokens, and the share of tokens at which both have
//! the same favourite.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use cocoon_runtime::{Device, DeviceChoice, ExactModel, Model, Reading, TokenId};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A way of computing a model.
struct Column {
    name: &'static str,
    model: Arc<Model>,
}

/// What a model made of a text.
#[derive(Clone, Default)]
struct Scored {
    /// Negative logarithms of the probabilities it gave each token but the first, in nats.
    surprises: Vec<f64>,
    /// The likeliest token behind each.
    favourites: Vec<TokenId>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(model), texts) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        return Err("usage: perplexity MODEL TEXT...".into());
    };
    let columns = columns(Path::new(&model))?;
    println!("{}", header(&columns));
    let mut all = vec![Scored::default(); columns.len()];
    for path in texts.iter().map(Path::new) {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let scored: Vec<Scored> = columns.iter().map(|column| score(&column.model, &text)).collect::<Result<_>>()?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        println!("{}", row(&name.to_string_lossy(), &scored));
        all.iter_mut().zip(scored).for_each(|(all, text)| all.extend(text));
    }
    println!("{}", row("all", &all));
    Ok(())
}

/// All ways that the model is computed in, the float tier first.
fn columns(path: &Path) -> Result<Vec<Column>> {
    let choice: DeviceChoice = std::env::var("COCOON_DEVICE").as_deref().unwrap_or("cpu").parse()?;
    let device = Device::open(choice)?;
    Ok(vec![
        Column { name: "float", model: Arc::new(Model::load(path, &device)?) },
        Column { name: "exact", model: Arc::clone(ExactModel::load(path, &device)?.model()) },
    ])
}

fn score(model: &Model, text: &str) -> Result<Scored> {
    let ids = model.tokenizer().encode(text)?;
    let mut scored = Scored::default();
    model.read(&ids, &Reading { states: false, ..Reading::default() }, |token| {
        scored.favourites.push(favourite(token.scores));
        // What follows the last token is not in the text.
        if let Some(next) = ids.get(token.index + 1) {
            scored.surprises.push(surprise(token.scores, *next));
        }
    })?;
    if scored.surprises.is_empty() { Err("a text of one token foresees nothing".into()) } else { Ok(scored) }
}

/// The negative logarithm of a token's probability.
fn surprise(scores: &[f32], token: TokenId) -> f64 {
    let top = f64::from(scores.iter().copied().fold(f32::MIN, f32::max));
    let sum: f64 = scores.iter().map(|score| (f64::from(*score) - top).exp()).sum();
    sum.ln() + top - f64::from(scores[token as usize])
}

fn favourite(scores: &[f32]) -> TokenId {
    let best = scores.iter().enumerate().fold(0, |best, (at, score)| if *score > scores[best] { at } else { best });
    best as TokenId
}

impl Scored {
    fn extend(&mut self, other: Self) {
        self.surprises.extend(other.surprises);
        self.favourites.extend(other.favourites);
    }

    fn perplexity(&self) -> f64 {
        mean(&self.surprises).exp()
    }
}

fn header(columns: &[Column]) -> String {
    let (mut names, mut lines) = ("| text | tokens |".to_owned(), "|---|---|".to_owned());
    for (at, column) in columns.iter().enumerate() {
        names.push_str(&format!(" {} |", column.name));
        lines.push_str("---|");
        if at > 0 {
            names.push_str(" difference | its standard error | same favourite |");
            lines.push_str("---|---|---|");
        }
    }
    format!("{names}\n{lines}")
}

fn row(name: &str, columns: &[Scored]) -> String {
    let Some((base, others)) = columns.split_first() else { return String::new() };
    let mut row = format!("| {name} | {} | {:.3} |", base.favourites.len(), base.perplexity());
    for other in others {
        let differences: Vec<f64> = other.surprises.iter().zip(&base.surprises).map(|(other, base)| other - base).collect();
        let same = other.favourites.iter().zip(&base.favourites).filter(|(other, base)| other == base).count();
        row.push_str(&format!(
            " {:.3} | {:+.2}% | {:.2}% | {:.3} |",
            other.perplexity(),
            100.0 * mean(&differences).exp_m1(),
            100.0 * standard_error(&differences),
            same as f64 / base.favourites.len() as f64,
        ));
    }
    row
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn standard_error(values: &[f64]) -> f64 {
    let centre = mean(values);
    let variance = values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / values.len() as f64;
    (variance / values.len() as f64).sqrt()
}
