//! Finds tokens in texts, whatever stands around them.

use std::collections::HashMap;

use crate::tokenizer::TokenId;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A token that was found.
    Token(TokenId),
    /// What stands between, never empty.
    Text(&'a str),
}

type Node = u32;

/// The empty beginning of all tokens.
const ROOT: Node = 0;

/// Tokens by their beginnings.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// What a beginning and its next byte make.
    steps: HashMap<(Node, u8), Node>,
    /// Beginnings that are tokens.
    ends: HashMap<Node, TokenId>,
}

impl<T: AsRef<[u8]>> FromIterator<(T, TokenId)> for Trie {
    /// Takes in tokens of characters; one without text is nowhere to be found, and of equal ones the first counts.
    fn from_iter<I: IntoIterator<Item = (T, TokenId)>>(tokens: I) -> Self {
        let mut trie = Self::default();
        for (text, id) in tokens {
            let mut node = ROOT;
            for byte in text.as_ref() {
                let next = trie.steps.len() as Node + 1;
                node = *trie.steps.entry((node, *byte)).or_insert(next);
            }
            if node != ROOT {
                trie.ends.entry(node).or_insert(id);
            }
        }
        trie
    }
}

impl Trie {
    /// Cuts a text at the tokens in it: from left to right, of several at one place the longest.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        if self.ends.is_empty() {
            return if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] };
        }
        let mut parts = Vec::new();
        let (mut at, mut plain) = (0, 0);
        while at < text.len() {
            // Tokens are whole characters, so one begins and ends where characters do.
            match self.longest(&text.as_bytes()[at..]) {
                None => at += 1,
                Some((id, bytes)) => {
                    if plain < at {
                        parts.push(Part::Text(&text[plain..at]));
                    }
                    parts.push(Part::Token(id));
                    at += bytes;
                    plain = at;
                }
            }
        }
        if plain < text.len() {
            parts.push(Part::Text(&text[plain..]));
        }
        parts
    }

    /// The longest token that a text begins with, and its bytes.
    fn longest(&self, text: &[u8]) -> Option<(TokenId, usize)> {
        let mut found = None;
        let mut node = ROOT;
        for (bytes, byte) in (1..).zip(text) {
            let Some(next) = self.steps.get(&(node, *byte)) else { break };
            node = *next;
            if let Some(id) = self.ends.get(&node) {
                found = Some((*id, bytes));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_at_the_first_place_is_cut_out() {
        let trie: Trie = [("<a>", 1), ("<a>b", 2), ("", 3), ("é", 4), ("<a>", 5)].into_iter().collect();
        use Part::{Text, Token};
        assert_eq!(trie.cut("x<a>b<a>"), [Text("x"), Token(2), Token(1)]);
        assert_eq!(trie.cut("<a<a>ü"), [Text("<a"), Token(1), Text("ü")]);
        assert_eq!(trie.cut("èé"), [Text("è"), Token(4)], "they begin with the same byte");
        assert_eq!(trie.cut(""), []);
        assert_eq!(Trie::default().cut("ab"), [Text("ab")]);
        assert_eq!(Trie::default().cut(""), []);
    }
}
