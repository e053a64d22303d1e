//! The licence that a model card states.

/// Longest name of a licence, several times the longest that model cards use.
const LICENCE_BYTES_MAX: usize = 128;

/// The `license` of a card's front matter, or the `license_name` where that is `other`. Only the
/// plain form `key: value` is read; anything else is as good as no licence.
pub(super) fn of_card(card: &str) -> Option<String> {
    let licence = entry(card, "license")?;
    match licence {
        "other" => Some(entry(card, "license_name").unwrap_or(licence).to_owned()),
        _ => Some(licence.to_owned()),
    }
}

/// The value of an outermost key between the two lines of three dashes.
fn entry<'a>(card: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = card.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let matter = lines.take_while(|line| line.trim_end() != "---");
    let value = matter.filter_map(|line| line.strip_prefix(key)?.strip_prefix(':')).next()?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let value = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value);
    let plain = |character: char| character.is_ascii_alphanumeric() || "-._+ ".contains(character);
    (!value.is_empty() && value.len() <= LICENCE_BYTES_MAX && value.chars().all(plain)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_read_from_the_front_matter() {
        for (card, licence) in [
            ("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model", Some("apache-2.0")),
            ("\u{feff}---\r\nlicense: mit\r\n---\r\n", Some("mit")),
            ("---\nlicense: \"llama3.2\" # of Meta\n---", Some("llama3.2")),
            ("---\nlicense: 'mit'\n---", Some("mit")),
            ("---\nlicense: other\nlicense_name: qwen-research\n---", Some("qwen-research")),
            ("---\nlicense: other\n---", Some("other")),
            ("---\nmodel:\n  license: mit\n---", None),
            ("---\nlicense_link: mit\n---", None),
            ("---\nlicense:\n- mit\n---", None),
            ("---\nlicense: [mit, apache-2.0]\n---", None),
            ("---\ntags: x\n---\nlicense: mit", None),
            ("# Model\nlicense: mit", None),
            ("---\nlicense: mit\u{1b}[31m\n---", None),
            ("---", None),
            ("", None),
        ] {
            assert_eq!(of_card(card).as_deref(), licence, "{card:?}");
        }
        assert_eq!(of_card(&format!("---\nlicense: {}\n---", "a".repeat(LICENCE_BYTES_MAX + 1))), None);
    }
}
