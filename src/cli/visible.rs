//! What does a name look like to people? As it is, but a character that shows nothing is written as its
//! number: without that, two different names can look the same. Most of these characters have the property
//! Default_Ignorable_Code_Point of Unicode (UAX #44); the others are blanks.

use std::iter;

/// Characters that show nothing, or turn the letters around them: first and last of each run.
///
/// They are the ignorable ones (soft hyphen, joiners, fillers, marks of direction, variation selectors,
/// tags), every blank but the two that `is_plain_blank` knows, separators, annotations.
const HIDDEN: [u32; 46] = [
    0xa0, 0xa0, 0xad, 0xad, 0x34f, 0x34f, 0x61c, 0x61c, 0x115f, 0x1160, 0x1680, 0x1680, 0x17b4, 0x17b5,
    0x180b, 0x180f, 0x2000, 0x200f, 0x2028, 0x202f, 0x205f, 0x206f, 0x2800, 0x2800, 0x3164, 0x3164, 0xfe00,
    0xfe0f, 0xfeff, 0xfeff, 0xffa0, 0xffa0, 0xfff0, 0xfffb, 0x1107f, 0x1107f, 0x13441, 0x13442, 0x1bca0,
    0x1bca3, 0x1d159, 0x1d159, 0x1d173, 0x1d17a, 0xe0000, 0xe0fff,
];

/// Asks for the coloured form of the symbol in front of it (UTS #51, "emoji presentation selector").
const COLOURED: char = '\u{fe0f}';

/// Is `c` in one of `runs`, of which each pair of numbers is the first and the last character?
pub fn within(runs: &[u32], c: char) -> bool {
    runs.chunks_exact(2)
        .any(|run| (run[0]..=run[1]).contains(&u32::from(c)))
}

/// Control characters, which act on a terminal, and those that hide. Names may contain the second kind.
fn is_hidden(c: char) -> bool {
    // Nearly every name is ASCII, so the runs are rarely looked through.
    c.is_control() || !c.is_ascii() && within(&HIDDEN, c)
}

/// The blanks that people type: they are seen by the gap between two letters.
fn is_plain_blank(c: char) -> bool {
    matches!(c, ' ' | '\u{3000}')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '\u{2100}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}') && !is_hidden(c)
}

/// The characters of a name; `true`: people must be shown an escape instead. A blank at the beginning or at
/// the end, or beside another blank, has no gap of its own: `ok.txt ` would look like `ok.txt`.
pub fn characters(name: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut rest, mut before) = (name.chars().peekable(), None);
    iter::from_fn(move || {
        let c = rest.next()?;
        let no_letter = |neighbour: Option<char>| neighbour.is_none_or(is_plain_blank);
        let hides = match c {
            c if is_plain_blank(c) => no_letter(before) || no_letter(rest.peek().copied()),
            COLOURED => !before.is_some_and(is_symbol),
            c => is_hidden(c),
        };
        before = Some(c);
        Some((c, hides))
    })
}

/// A name as people may read it: what hides is written as `\u{202e}`. A name holds no backslash, so nothing
/// that was in it looks like that.
pub fn visible_name(name: &str) -> String {
    written(characters(name))
}

/// A text of a peer as people may read it. Its blanks stay: they are no part of a name.
pub fn visible(text: &str) -> String {
    written(characters(text).map(|(c, hides)| (c, hides && !is_plain_blank(c))))
}

fn written(characters: impl Iterator<Item = (char, bool)>) -> String {
    let mut out = String::new();
    for (c, hides) in characters {
        match hides {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_made_visible_and_the_rest_stays() {
        let plain = [
            "a b.txt",
            "naïve",
            "日本語",
            "年度\u{3000}報告",
            "مرحبا",
            "हिन्दी",
            "👍",
            "❤\u{fe0f}",
            "☀\u{fe0f} a",
            "e\u{301}",
        ];
        for plain in plain {
            assert_eq!(
                (visible(plain), visible_name(plain)),
                (plain.to_owned(), plain.to_owned())
            );
        }
        assert_eq!(visible("photo\u{202e}gpj.exe"), "photo\\u{202e}gpj.exe");
        assert_eq!(visible("\u{1b}[2J\n\u{9b}"), "\\u{1b}[2J\\u{a}\\u{9b}");
        let marks = "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{61c}\u{feff}\u{2028}\u{2029}\u{202a}\u{202e}\
                     \u{2066}\u{2069}\u{2060}\u{ad}\u{7f}\u{0}\u{e0041}\u{a0}\u{2000}\u{200a}\u{202f}\u{205f}\
                     \u{2800}\u{fe0e}\u{fe0f}\u{e0100}\u{34f}\u{17b4}\u{17b5}\u{180b}\u{1680}\u{3164}";
        assert!(marks.chars().all(is_hidden));
        let beside = "\u{a1}\u{ac}\u{ae}\u{34e}\u{350}\u{17b3}\u{17b6}\u{2010}\u{2027}\u{2030}\u{205e}\
                      \u{2070}\u{27ff}\u{2801}\u{fdff}\u{fe10}\u{fefe}\u{ff00}\u{ffef}\u{fffd}\u{dffff}\
                      \u{e1000}";
        assert!(!beside.chars().any(is_hidden));
    }

    #[test]
    fn names_that_differ_look_different() {
        for (name, shown) in [
            (" ", "\\u{20}"),
            (" ok.txt", "\\u{20}ok.txt"),
            ("ok.txt ", "ok.txt\\u{20}"),
            ("a  b", "a\\u{20}\\u{20}b"),
            ("a \u{3000}b", "a\\u{20}\\u{3000}b"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("\u{3000}", "\\u{3000}"),
            ("\u{fe0f}", "\\u{fe0f}"),
            ("ok\u{fe0f}", "ok\\u{fe0f}"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}\\u{fe0f}"),
            ("\u{2800}\u{fe0f}", "\\u{2800}\\u{fe0f}"),
        ] {
            assert_eq!(visible_name(name), shown);
        }
        // A sentence of a peer is no name.
        assert_eq!(visible(" no such  file "), " no such  file ");
    }
}
