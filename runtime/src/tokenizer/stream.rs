//! Bytes to text, as they come.

/// Turns a stream of bytes into text without ever emitting half a character.
///
/// All pieces together equal the lossy decoding of all bytes together.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    /// The start of a character whose end has not come; at most three bytes.
    partial: Vec<u8>,
}

impl TextStream {
    /// Takes bytes, gives the text that is complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.partial.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.partial.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(invalid) = error.error_len() else {
                        self.partial = after.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[invalid..];
                }
            }
        }
    }

    /// What is left at the end: a replacement character for an unfinished one.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_is_held_until_it_is_whole() {
        let mut stream = TextStream::default();
        let pieces: Vec<String> = "a😀".bytes().map(|byte| stream.push(&[byte])).collect();
        assert_eq!(pieces, ["a", "", "", "", "😀"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn an_unfinished_character_ends_as_a_replacement() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(&"😀".as_bytes()[..3]), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_lossy_text(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..12)) {
            let mut stream = TextStream::default();
            let mut text: String = pieces.iter().map(|piece| stream.push(piece)).collect();
            text.push_str(&stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&pieces.concat()).into_owned());
        }

        #[test]
        fn text_cut_anywhere_is_text(text in ".{0,20}", size in 1usize..5) {
            let mut stream = TextStream::default();
            let joined: String = text.as_bytes().chunks(size).map(|piece| stream.push(piece)).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
