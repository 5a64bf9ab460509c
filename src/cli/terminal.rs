//! How does a program show something that changes, and how wide may it be? In one line, drawn again and again
//! in its own place and cut to the columns that there are; in a file or a pipe, not at all.

use super::visible::within;
use crate::sys;
use std::env;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Columns of a terminal that does not tell how wide it is.
const USUAL_COLUMNS: usize = 80;

/// The time between two drawings: short enough to follow the run, long enough to read the line.
const REFRESH: Duration = Duration::from_millis(200);

/// How many columns a text on `stream` may take: what COLUMNS says if that is a number from 1 to 9999, or
/// what the terminal says, or 80. Ask again before each use: a window can be resized at any time.
pub fn columns(stream: &impl AsFd) -> usize {
    let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let told = told.filter(|columns| (1..=9999).contains(columns));
    let known = told.or_else(|| Some(sys::terminal_size(stream.as_fd()).ok()?.0));
    known.filter(|&columns| columns > 0).unwrap_or(USUAL_COLUMNS)
}

/// How many rows the terminal at `stream` has; 24 when it does not tell.
pub fn rows(stream: &impl AsFd) -> usize {
    let known = sys::terminal_size(stream.as_fd()).ok().map(|size| size.1);
    known.filter(|&rows| rows > 0).unwrap_or(24)
}

/// Would the terminal print escape sequences instead of obeying them, as far as TERM says (environ(7))?
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether escape sequences are welcome: NO_COLOR is not set, or empty (no-color.org), and the terminal is
/// not one that would print them.
pub fn escapes_allowed() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && !is_dumb()
}

/// Characters that take no column: accents and vowel signs that are put on the character before them,
/// joiners, marks of direction, variation selectors.
const NO_COLUMN: [u32; 28] = [
    0x300, 0x36f, 0x483, 0x489, 0x591, 0x5bd, 0x610, 0x61a, 0x64b, 0x65f, 0xe34, 0xe3a, 0xe47, 0xe4e, 0x1ab0,
    0x1aff, 0x1dc0, 0x1dff, 0x200b, 0x200f, 0x202a, 0x202e, 0x2060, 0x2069, 0x20d0, 0x20ff, 0xfe00, 0xfe0f,
];

/// Characters that take two columns: the scripts of East Asia, full-width forms, emoji.
const TWO_COLUMNS: [u32; 26] = [
    0x1100, 0x115f, 0x2e80, 0x303e, 0x3041, 0xa4cf, 0xa960, 0xa97c, 0xac00, 0xd7a3, 0xf900, 0xfaff, 0xfe30,
    0xfe6f, 0xff00, 0xff60, 0xffe0, 0xffe6, 0x1f300, 0x1f64f, 0x1f680, 0x1f6ff, 0x1f900, 0x1faff, 0x20000,
    0x3fffd,
];

/// Columns of one character. The tables are the large blocks of Unicode's East Asian Width (UAX #11), not all
/// of it: rare scripts with combining marks, emoji that are joined into one, and characters that only an East
/// Asian terminal draws wide (`×` is one) may be counted wrong by a column.
fn columns_of(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        _ if within(&NO_COLUMN, c) => 0,
        _ if within(&TWO_COLUMNS, c) => 2,
        _ => 1,
    }
}

/// Columns that `text` takes on a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// As much of `text` as fits into `columns`; `…` stands for what was left out. A control character becomes
/// `?`: it would move the cursor.
pub fn cut(text: &str, columns: usize) -> String {
    let visible = |c: char| if c.is_control() { '?' } else { c };
    if width(text) <= columns {
        return text.chars().map(visible).collect();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut used = 0;
    let fits = |c: &char| {
        used += columns_of(*c);
        used <= room
    };
    text.chars().map(visible).take_while(fits).chain(['…']).collect()
}

/// One line on a terminal that is drawn again in its own place; silent where there is no terminal. It is
/// wiped when it is dropped.
///
/// ```text
///   text ── cut to the columns − 1 ──►  \r text ESC[J \r
///                                       │           └─ the cursor rests at the start of the line
///                                       └─ over the old text, which does not flicker then
/// ```
///
/// No line that is drawn here wraps: each drawing of one that takes two rows would leave a row as rubbish.
/// When the terminal becomes narrower between two drawings, it may break the old line in two; as the cursor
/// rests at its start, the next drawing wipes both rows and nothing above them. A handler of SIGWINCH, which
/// tells of the new width, would interrupt system calls that are being measured.
pub struct LiveLine<S: Write + AsFd> {
    stream: S,
    escapes: bool,
    /// Columns of what stands in the line now; 0: nothing.
    drawn: usize,
    /// When it is to be drawn next; `None`: there is no terminal.
    due: Option<Instant>,
}

impl<S: Write + AsFd + IsTerminal> LiveLine<S> {
    pub fn new(stream: S) -> LiveLine<S> {
        let due = stream.is_terminal().then(Instant::now);
        LiveLine {
            stream,
            escapes: escapes_allowed(),
            drawn: 0,
            due,
        }
    }
}

impl<S: Write + AsFd> LiveLine<S> {
    /// When the next drawing is due, for callers that wait; `None`: never, since there is no terminal.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// There is a terminal, and the last drawing was long enough ago.
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }

    /// Draws `text` and, after it, `figures`. On a narrow terminal the text is cut first. Errors are ignored:
    /// the work goes on without its terminal.
    pub fn draw(&mut self, text: &str, figures: &str) {
        if self.due.is_some() {
            let (line, width) = self.drawing(text, figures, columns(&self.stream));
            self.drawn = width;
            self.due = Some(Instant::now() + REFRESH);
            self.write(&line);
        }
    }

    /// Wipes the line, so that something else can be printed in its place.
    pub fn clear(&mut self) {
        if self.drawn > 0 {
            let (line, _) = self.drawing("", "", columns(&self.stream));
            self.drawn = 0;
            self.write(&line);
        }
    }

    /// The bytes of one drawing on a terminal with `columns`, and the columns that it takes. The last column
    /// stays free: some terminals begin a new row as soon as it is written to.
    fn drawing(&self, text: &str, figures: &str, columns: usize) -> (String, usize) {
        let room = columns.saturating_sub(1);
        let line = cut(text, room.saturating_sub(width(figures))) + figures;
        let line = cut(&line, room);
        let width = width(&line);
        if self.escapes {
            // ESC[J wipes from the cursor to the end of the screen (ECMA-48, "erase in page").
            return (format!("\r{line}\x1b[J\r"), width);
        }
        let blanks = " ".repeat(self.drawn.min(room).saturating_sub(width));
        (format!("\r{line}{blanks}\r"), width)
    }

    /// In one write, so that half a line is never seen.
    fn write(&mut self, text: &str) {
        let _ = self
            .stream
            .write_all(text.as_bytes())
            .and_then(|()| self.stream.flush());
    }
}

impl<S: Write + AsFd> Drop for LiveLine<S> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn characters_are_counted_as_terminals_draw_them() {
        let table = [
            ("", 0),
            ("kolam", 5),
            ("50 MiB × 5", 10),
            ("cafe\u{301}", 4),
            ("\u{300}\u{36f}\u{370}\u{2ff}", 2),
            ("文件", 4),
            ("\u{10ff}\u{1100}\u{115f}\u{1160}", 6),
            ("한글.txt", 8),
            ("🐟 kolam", 8),
            ("a\u{200b}b\u{fe0f}", 2),
            ("é", 1),
        ];
        for (text, columns) in table {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn a_cut_text_is_never_wider_than_asked() {
        let table = [
            ("kolam", 6, "kolam"),
            ("kolam", 5, "kolam"),
            ("kolam", 4, "kol…"),
            ("kolam", 1, "…"),
            ("kolam", 0, ""),
            ("", 0, ""),
            ("文件", 4, "文件"),
            ("文件", 3, "文…"),
            ("文件", 2, "…"),
            ("a\nb\x1b[Jc", 9, "a?b?[Jc"),
            ("cafe\u{301}s", 5, "cafe\u{301}s"),
            ("cafe\u{301}s", 4, "caf…"),
        ];
        for (text, columns, expected) in table {
            assert_eq!(cut(text, columns), expected, "{text:?} in {columns}");
            assert!(width(&cut(text, columns)) <= columns);
        }
    }

    fn line(escapes: bool, drawn: usize) -> LiveLine<File> {
        let stream = File::options().write(true).open("/dev/null").unwrap();
        LiveLine {
            stream,
            escapes,
            drawn,
            due: Some(Instant::now()),
        }
    }

    #[test]
    fn a_drawing_fits_and_its_text_gives_way_to_its_figures() {
        let drawing = |escapes, drawn, columns| line(escapes, drawn).drawing("row 1 of 9", " | 5/s", columns);
        assert_eq!(
            drawing(true, 0, 80),
            ("\rrow 1 of 9 | 5/s\x1b[J\r".to_owned(), 16)
        );
        assert_eq!(
            drawing(true, 0, 17),
            ("\rrow 1 of 9 | 5/s\x1b[J\r".to_owned(), 16)
        );
        assert_eq!(drawing(true, 0, 16), ("\rrow 1 of… | 5/s\x1b[J\r".to_owned(), 15));
        assert_eq!(drawing(true, 0, 8), ("\r… | 5/s\x1b[J\r".to_owned(), 7));
        assert_eq!(drawing(true, 0, 5), ("\r | …\x1b[J\r".to_owned(), 4));
        assert_eq!(drawing(true, 0, 1), ("\r\x1b[J\r".to_owned(), 0));
        for columns in 1..40 {
            assert!(drawing(false, 79, columns).1 < columns, "{columns}");
        }
    }

    #[test]
    fn the_next_drawing_is_due_a_fifth_of_a_second_later_and_never_without_a_terminal() {
        let mut line = line(true, 0);
        assert!(line.is_due());
        let before = Instant::now();
        line.draw("row 1", "");
        assert!(line.due().is_some_and(|due| due >= before + REFRESH) && !line.is_due());
        let mut silent = LiveLine::new(File::open("/dev/null").unwrap());
        silent.draw("row 1", "");
        assert_eq!((silent.due(), silent.is_due(), silent.drawn), (None, false, 0));
    }

    #[test]
    fn without_escapes_blanks_wipe_what_was_longer() {
        assert_eq!(line(false, 9).drawing("abc", "de", 80).0, "\rabcde    \r");
        assert_eq!(line(false, 3).drawing("abc", "de", 80).0, "\rabcde\r");
        assert_eq!(line(false, 3).drawing("", "", 80).0, "\r   \r");
        assert_eq!(
            line(false, 70).drawing("", "", 41).0.len(),
            42,
            "no blank may wrap"
        );
    }
}
