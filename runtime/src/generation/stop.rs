//! Stop sequences: text that ends an answer, wherever token boundaries fall.

/// Most stop sequences in a request.
pub const STOPS_MAX: usize = 16;

/// Longest stop sequence, in bytes: as much text as may be held back.
pub const STOP_BYTES_MAX: usize = 256;

/// Why stop sequences were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// More than the limit.
    #[error("{stops} stop sequences are above the limit of {STOPS_MAX}")]
    TooMany {
        /// How many there are.
        stops: usize,
    },
    /// One is empty, which would stop everything.
    #[error("a stop sequence is empty")]
    Empty,
    /// One is longer than the limit.
    #[error("a stop sequence of {bytes} bytes is above the limit of {STOP_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Looks for stop sequences in text that comes in pieces.
///
/// Text that may be the beginning of one is held back until that is decided, so that no part of a
/// stop sequence is ever shown. The first to be complete counts, and of those that are complete at
/// once the longest, so that it does not matter where pieces end.
#[derive(Clone, Debug)]
pub(super) struct StopScanner {
    stops: Vec<String>,
    held: String,
}

impl StopScanner {
    pub(super) fn new(stops: &[String]) -> Result<Self, StopError> {
        if stops.len() > STOPS_MAX {
            return Err(StopError::TooMany { stops: stops.len() });
        }
        for stop in stops {
            if stop.is_empty() {
                return Err(StopError::Empty);
            }
            if stop.len() > STOP_BYTES_MAX {
                return Err(StopError::TooLong { bytes: stop.len() });
            }
        }
        Ok(Self { stops: stops.to_vec(), held: String::new() })
    }

    /// Takes text; gives what may be shown, and whether a stop sequence ended it.
    pub(super) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some((_, start)) = self.stops.iter().filter_map(|stop| found(&self.held, stop)).min() {
            self.held.truncate(start);
            return (self.flush(), true);
        }
        let keep = self.held.len() - self.longest_beginning();
        let rest = self.held.split_off(keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back, when no more text comes.
    pub(super) fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that a stop sequence begins with.
    fn longest_beginning(&self) -> usize {
        let begins = |length: &usize| {
            let at = self.held.len() - length;
            self.held.is_char_boundary(at) && self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]))
        };
        let longest = self.stops.iter().map(|stop| stop.len() - 1).max().unwrap_or(0).min(self.held.len());
        (1..=longest).rev().find(begins).unwrap_or(0)
    }
}

/// Where a stop sequence ends and starts.
fn found(text: &str, stop: &str) -> Option<(usize, usize)> {
    text.find(stop).map(|start| (start + stop.len(), start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanner(stops: &[&str]) -> StopScanner {
        StopScanner::new(&stops.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    /// What is shown of text that comes in pieces, and whether it was stopped.
    fn shown(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut scanner = scanner(stops);
        let mut out = Vec::new();
        for piece in pieces {
            let (text, stopped) = scanner.push(piece);
            out.push(text);
            if stopped {
                return (out, true);
            }
        }
        out.push(scanner.flush());
        (out, false)
    }

    #[test]
    fn a_sequence_is_found_across_pieces_and_never_shown() {
        assert_eq!(shown(&["END"], &["ab E", "N", "D cd"]), (vec!["ab ".into(), String::new(), String::new()], true));
    }

    #[test]
    fn text_that_turns_out_innocent_is_released() {
        assert_eq!(shown(&["END"], &["E", "N", "O"]), (vec![String::new(), String::new(), "ENO".into(), String::new()], false));
        assert_eq!(shown(&["END"], &["xEN"]), (vec!["x".into(), "EN".into()], false), "released at the end");
        assert_eq!(shown(&["aab"], &["aa", "ab"]), (vec![String::new(), "a".into()], true), "overlapping beginnings");
    }

    #[test]
    fn the_first_to_be_complete_wins_wherever_pieces_end() {
        assert_eq!(shown(&["d", "bc"], &["abcd"]), (vec!["a".into()], true));
        assert_eq!(shown(&["abab", "b"], &["abab"]), (vec!["a".into()], true));
        assert_eq!(shown(&["abab", "b"], &["a", "b"]), (vec![String::new(), "a".into()], true));
        assert_eq!(shown(&["bc", "abc"], &["xabc"]), (vec!["x".into()], true));
    }

    #[test]
    fn sequences_that_cannot_work_are_refused() {
        let stops = |stops: Vec<String>| StopScanner::new(&stops).map(|_| ());
        assert_eq!(stops(vec![String::new()]), Err(StopError::Empty));
        assert_eq!(stops(vec!["x".into(); STOPS_MAX + 1]), Err(StopError::TooMany { stops: STOPS_MAX + 1 }));
        assert_eq!(stops(vec!["x".repeat(STOP_BYTES_MAX + 1)]), Err(StopError::TooLong { bytes: STOP_BYTES_MAX + 1 }));
        assert_eq!(stops(vec![]), Ok(()));
    }

    proptest! {
        #[test]
        fn pieces_show_what_the_whole_text_would(
            text in "[abß]{0,30}",
            stops in proptest::collection::vec("[abß]{1,4}", 0..4),
            cuts in proptest::collection::vec(1usize..4, 30),
        ) {
            let first = stops.iter().filter_map(|stop| found(&text, stop)).min().map(|(_, start)| start);
            let mut scanner = StopScanner::new(&stops).unwrap();
            let mut characters = text.chars();
            let (mut all, mut ended) = (String::new(), false);
            for cut in cuts {
                let piece: String = characters.by_ref().take(cut).collect();
                let (text, stopped) = scanner.push(&piece);
                all.push_str(&text);
                if stopped {
                    ended = true;
                    break;
                }
            }
            all.push_str(&scanner.flush());
            prop_assert_eq!(ended, first.is_some());
            prop_assert_eq!(all.as_str(), &text[..first.unwrap_or(text.len())]);
        }
    }
}
