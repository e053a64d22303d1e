//! What commands print: text for people, JSON for programs. Results go to stdout; remarks, prompts and logs to stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use cocoon_market::Amount;
use serde::Serialize;

use crate::environment::Environment;

/// Who reads stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A person: text and tables.
    Text,
    /// A program: one JSON value a line.
    Json,
}

/// Where results go, and in which form.
#[derive(Clone, Debug)]
pub struct Output {
    format: Format,
    color: bool,
    quiet: bool,
    watched: bool,
}

/// What a colour means. Colour never says anything that the text does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
    /// A heading or a name.
    Strong,
    /// Detail.
    Faint,
}

impl Tone {
    /// The SGR parameter of ANSI terminals.
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

impl Output {
    /// Output for this process: colour only on a terminal and without `NO_COLOR`.
    pub fn new(format: Format, quiet: bool, environment: &Environment) -> Self {
        let color = format == Format::Text && !environment.no_color && io::stdout().is_terminal();
        Self { format, color, quiet, watched: format == Format::Text && !quiet && io::stderr().is_terminal() }
    }

    /// Who reads stdout.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether a person watches stderr, so that a moving progress bar makes sense.
    pub const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Prints a result: the value itself to programs, its text to people.
    pub fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json => self.json(value),
            Format::Text => print(io::stdout(), &text(value)),
        }
    }

    /// Prints one step of something longer: `{"event": name, ...value}` to programs, its text to people.
    pub fn event<T: Serialize>(&self, name: &str, value: &T, text: impl FnOnce(&T) -> String) {
        #[derive(Serialize)]
        struct Event<'a, T> {
            event: &'a str,
            #[serde(flatten)]
            value: &'a T,
        }
        match self.format {
            Format::Json => self.json(&Event { event: name, value }),
            Format::Text => print(io::stdout(), &text(value)),
        }
    }

    /// Prints a text to people as it is, without a line end: for answers that stream.
    pub fn stream(&self, text: &str) {
        if self.format == Format::Text {
            let mut stdout = io::stdout().lock();
            // A reader who left needs nothing more.
            let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        }
    }

    /// Says something beside the result to a person; programs and `--quiet` do not hear it.
    pub fn note(&self, text: &str) {
        if self.format == Format::Text && !self.quiet {
            print(io::stderr(), text);
        }
    }

    /// The text in a tone, if this output has colour.
    pub fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        if self.color { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text.to_string() }
    }

    fn json<T: Serialize>(&self, value: &T) {
        // Every value printed here is made of maps with text keys, which always have a JSON form.
        if let Ok(line) = serde_json::to_string(value) {
            print(io::stdout(), &line);
        }
    }
}

/// Prints lines. A reader who left (`swarm models ls | head -1`) is no error.
fn print(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{}", text.trim_end_matches('\n')).and_then(|()| to.flush());
}

/// A table for people: columns as wide as their widest cell.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()], right: Vec::new() }
    }

    /// Aligns columns to the right: numbers.
    #[must_use]
    pub fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right.extend(columns);
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is nothing under the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| console::measure_text_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width.saturating_sub(console::measure_text_width(cell)));
                line += if column == 0 { "" } else { "  " };
                line += &if self.right.contains(&column) { format!("{gap}{cell}") } else { format!("{cell}{gap}") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number of bytes as people read it, in powers of ten: `98.4 MB`.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Three digits are shown, far fewer than a float holds exactly.
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Basis points as people read them: `1%`, `0.5%`.
pub fn percent_text(bps: u16) -> String {
    let (whole, part) = (bps / 100, bps % 100);
    let text = format!("{whole}.{part:02}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// An amount as people read it: `1.5 TON`.
pub fn ton_text(amount: Amount) -> String {
    format!("{amount} TON")
}

/// An amount of the token as people read it: `1.5 COCOON`.
pub fn cocoon_text(amount: Amount) -> String {
    format!("{amount} COCOON")
}

/// A moment as people read it, the same everywhere: `2026-11-22 20:15:03 UTC`.
pub fn time_text(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The date so many days after the first of 1970. Counts in years that begin in March, so that the leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let days = days.saturating_add(DAYS_FROM_MARCH_OF_YEAR_0);
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// A length of time as people read it, in its largest unit: `3 h`.
pub fn span_text(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_795_378_503, "2026-11-22 20:15:03 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(time_text(unix_s), text);
        }
    }

    #[test]
    fn spans_have_one_unit() {
        assert_eq!([119, 120, 7_199, 7_200, 172_800].map(span_text), ["119 s", "2 min", "119 min", "2 h", "2 days"]);
    }

    #[test]
    fn tables_align_their_columns() {
        let mut table = Table::new(["MODEL", "SIZE", "STATE"]).right([1]);
        table.row(["tiny".into(), "1.0 MB".into(), "cached".into()]);
        table.row(["größer".into(), "98.4 MB".into(), String::new()]);
        assert_eq!(table.to_string(), "MODEL      SIZE  STATE\ntiny     1.0 MB  cached\ngrößer  98.4 MB\n");
    }

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (98_362_432, "98.4 MB"), (999_960_000, "1.0 GB"), (u64::MAX, "18446.7 PB")]
        {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    #[test]
    fn without_colour_a_painted_text_is_the_text() {
        let plain = Output { format: Format::Text, color: false, quiet: false, watched: false };
        assert_eq!(plain.paint(Tone::Bad, "no"), "no");
        let colored = Output { color: true, ..plain };
        assert_eq!(colored.paint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
