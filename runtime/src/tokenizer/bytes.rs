//! The byte alphabet of byte-level BPE.
//!
//! Each byte is spelled as one printable character: itself where it is printable Latin-1, else the
//! next free one from U+0100 on.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Whether a byte spells itself.
fn spells_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that spells a byte.
pub(crate) fn spell(byte: u8) -> char {
    if spells_itself(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|other| !spells_itself(*other)).count() as u32;
    char::from_u32(0x100 + rank).expect("there are 68 such bytes, and U+0100 to U+0143 are characters")
}

/// The byte that a character spells, if it spells one.
fn unspell(character: char) -> Option<u8> {
    static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| (0..=u8::MAX).map(|byte| (spell(byte), byte)).collect());
    BYTES.get(&character).copied()
}

/// The bytes that a token's text spells. Characters outside the alphabet stand for themselves.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match unspell(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_spelling() {
        for byte in 0..=u8::MAX {
            assert_eq!(unspell(spell(byte)), Some(byte));
        }
        assert_eq!(spell(b' '), 'Ġ');
        assert_eq!(spell(b'\n'), 'Ċ');
        assert_eq!(spell(0xad), 'Ń');
        assert_eq!(unspell('\u{144}'), None);
    }

    #[test]
    fn spelled_text_gives_its_bytes_back() {
        let text = " größe\n";
        let spelled: String = text.bytes().map(spell).collect();
        assert_eq!(decode(&spelled), text.as_bytes());
        assert_eq!(decode("日"), "日".as_bytes(), "outside the alphabet");
    }
}
