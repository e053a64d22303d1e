//! Counts of what tolerances say, and tables of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use cocoon_runtime::Tolerance;
use cocoon_runtime::fingerprint::{CHUNK_ROWS, Comparison};

/// Lengths of chunks that are counted together.
const LENGTHS: [RangeInclusive<usize>; 6] = [1..=1, 2..=4, 5..=8, 9..=16, 17..=31, CHUNK_ROWS..=CHUNK_ROWS];

/// A comparison, and the rows that its chunk has.
pub(crate) type Chunk = (usize, Comparison);

/// An answer that was audited.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) tokens: usize,
    /// Tokens that the auditor drew otherwise.
    pub(crate) drawn_otherwise: usize,
}

/// Answers of one kind.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: String,
    pub(crate) answers: Vec<Audited>,
}

impl Tally {
    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.answers.iter().flat_map(|answer| &answer.chunks)
    }

    fn accepted_answers(&self, tolerance: &Tolerance) -> usize {
        let all = |answer: &&Audited| answer.chunks.iter().all(|chunk| is_accepted(tolerance, chunk));
        self.answers.iter().filter(all).count()
    }
}

fn is_accepted(tolerance: &Tolerance, (_, comparison): &Chunk) -> bool {
    tolerance.judge(comparison).is_accepted()
}

/// The least or greatest figures of chunks.
struct Extremes {
    exponents: [u32; 2],
    mean_milli: [u32; 2],
    median_milli: [u32; 2],
}

impl Extremes {
    fn of<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> Self {
        let mut out = Self { exponents: [u32::MAX, 0], mean_milli: [u32::MAX, 0], median_milli: [u32::MAX, 0] };
        let widen = |[least, most]: &mut [u32; 2], value: u32| {
            *least = value.min(*least);
            *most = value.max(*most);
        };
        for (_, comparison) in chunks {
            widen(&mut out.exponents, comparison.exponent_matches);
            if let Some(error) = comparison.mantissa_error {
                widen(&mut out.mean_milli, error.mean_milli);
                widen(&mut out.median_milli, error.median_milli);
            }
        }
        out
    }

    /// The worst that an honest provider shows: cells of a table.
    fn worst(&self) -> String {
        format!("{} | {} | {}", self.exponents[0], milli(self.mean_milli[1]), milli(self.median_milli[1]))
    }

    /// The best that a cheating provider shows.
    fn best(&self) -> String {
        format!("{} | {} | {}", self.exponents[1], milli(self.mean_milli[0]), milli(self.median_milli[0]))
    }
}

fn milli(value: u32) -> String {
    if value == u32::MAX { "-".into() } else { format!("{:.3}", f64::from(value) / 1_000.0) }
}

/// Honest providers: refused chunks and answers. Names are cells: provider's engine and auditor's.
pub(crate) fn honest_table(model: &str, tallies: &[Tally]) -> String {
    let mut table = "| model | provider's engine | auditor's engine | chunks | refused chunks | answers | refused answers \
        | least exponents | greatest mean | greatest median |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let tolerance = Tolerance::default();
    for tally in tallies {
        let refused = tally.chunks().filter(|chunk| !is_accepted(&tolerance, chunk)).count();
        let (chunks, answers) = (tally.chunks().count(), tally.answers.len());
        let refused_answers = answers - tally.accepted_answers(&tolerance);
        let worst = Extremes::of(tally.chunks()).worst();
        table.push_str(&format!("| {model} | {} | {chunks} | {refused} | {answers} | {refused_answers} | {worst} |\n", tally.name));
    }
    table
}

/// The same chunks by their lengths.
pub(crate) fn length_table<'a>(model: &str, tallies: impl Iterator<Item = &'a Tally>) -> String {
    let mut table = "| model | rows in the chunk | chunks | refused | least exponents | greatest mean | greatest median |\n\
        |---|---|---|---|---|---|---|\n"
        .to_owned();
    let tolerance = Tolerance::default();
    let mut by_length: BTreeMap<usize, Vec<&Chunk>> = BTreeMap::new();
    for chunk in tallies.flat_map(Tally::chunks) {
        let at = LENGTHS.iter().position(|lengths| lengths.contains(&chunk.0)).unwrap_or(LENGTHS.len());
        by_length.entry(at).or_default().push(chunk);
    }
    for (lengths, chunks) in by_length.iter().filter_map(|(at, chunks)| Some((LENGTHS.get(*at)?, chunks))) {
        let name = if lengths.start() == lengths.end() {
            lengths.start().to_string()
        } else {
            format!("{} to {}", lengths.start(), lengths.end())
        };
        let refused = chunks.iter().filter(|chunk| !is_accepted(&tolerance, chunk)).count();
        let worst = Extremes::of(chunks.iter().copied()).worst();
        table.push_str(&format!("| {model} | {name} | {} | {refused} | {worst} |\n", chunks.len()));
    }
    table
}

/// Cheating providers: accepted chunks and answers.
pub(crate) fn cheat_table(model: &str, tallies: &[Tally]) -> String {
    let mut table = "| claimed model | what the provider ran | chunks | accepted chunks | answers | accepted answers \
        | most exponents | least mean | least median |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let tolerance = Tolerance::default();
    for tally in tallies {
        let accepted = tally.chunks().filter(|chunk| is_accepted(&tolerance, chunk)).count();
        let (chunks, answers) = (tally.chunks().count(), tally.answers.len());
        let accepted_answers = tally.accepted_answers(&tolerance);
        let best = Extremes::of(tally.chunks()).best();
        table.push_str(&format!("| {model} | {} | {chunks} | {accepted} | {answers} | {accepted_answers} | {best} |\n", tally.name));
    }
    table
}

/// Answers accepted by several tolerances, given with what the table calls them.
pub(crate) fn tolerance_table<'a>(tolerances: &[(String, Tolerance)], tallies: impl Iterator<Item = &'a Tally>) -> String {
    let names: String = tolerances.iter().map(|(name, _)| format!(" {name} |")).collect();
    let mut table = format!("| answers accepted of | all |{names}\n|---|---|{}\n", "---|".repeat(tolerances.len()));
    for tally in tallies {
        let counts: String = tolerances.iter().map(|(_, tolerance)| format!(" {} |", tally.accepted_answers(tolerance))).collect();
        table.push_str(&format!("| {} | {} |{counts}\n", tally.name.replace(" | ", " to "), tally.answers.len()));
    }
    table
}

/// Tokens that the auditor draws otherwise.
pub(crate) fn drawn_table<'a>(tallies: impl Iterator<Item = &'a Tally>) -> String {
    let mut table = "| provider | tokens | drawn otherwise | least share in an answer | greatest |\n|---|---|---|---|---|\n".to_owned();
    for tally in tallies {
        let tokens: usize = tally.answers.iter().map(|answer| answer.tokens).sum();
        let otherwise: usize = tally.answers.iter().map(|answer| answer.drawn_otherwise).sum();
        let shares = tally.answers.iter().map(|answer| answer.drawn_otherwise as f64 / answer.tokens.max(1) as f64);
        let (least, most) = shares.fold((1f64, 0f64), |(least, most), share| (least.min(share), most.max(share)));
        let percent = 100.0 * otherwise as f64 / tokens.max(1) as f64;
        table.push_str(&format!(
            "| {} | {tokens} | {percent:.1} % | {:.1} % | {:.1} % |\n",
            tally.name.replace(" | ", " to "),
            100.0 * least,
            100.0 * most
        ));
    }
    table
}
