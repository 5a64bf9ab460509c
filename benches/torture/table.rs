//! How are the rows shown? In a terminal as they come, and as a table in Markdown.

use crate::promises::Promise;
use crate::run::{self, Outcome, failed, said};
use crate::trial::Verdict;
use std::fs;
use std::path::Path;

/// A promise that was tried.
pub struct Row {
    pub promise: &'static Promise,
    pub verdict: Verdict,
    pub seconds: f64,
}

/// Where the table stands in a document: between these lines.
const BEGIN: &str = "<!-- written by make torture -->";
const END: &str = "<!-- the end of what make torture has written -->";

/// Columns of text in a terminal, after the margin.
const WIDE: usize = 66;

impl Row {
    pub fn is_broken(&self) -> bool {
        matches!(self.verdict, Verdict::Broken(_))
    }

    /// For a terminal: a line for the promise, and below it in its columns the modes, the figure, the limit.
    pub fn shown(&self) -> String {
        let Promise {
            number,
            says,
            modes,
            limit,
            ..
        } = self.promise;
        let head = format!("{number:>2} {:<8}{says}", self.verdict.word());
        let name = match self.verdict {
            Verdict::Skipped(_) => "why",
            _ => "figure",
        };
        let mut text = head;
        for (name, value) in [("modes", *modes), (name, self.verdict.text()), ("limit", *limit)] {
            for (at, line) in folded(value).iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                text += &format!("\n   {name:<8}{}", line);
            }
        }
        format!("{text}\n   time    {:.1} s", self.seconds)
    }

    /// Its cells in the document.
    fn cells(&self) -> [String; 6] {
        let Promise {
            number,
            says,
            modes,
            limit,
            ..
        } = self.promise;
        let verdict = &self.verdict;
        let cells = [
            &number.to_string(),
            *says,
            *modes,
            verdict.text(),
            *limit,
            verdict.word(),
        ];
        cells.map(|cell| cell.replace('|', "\\|"))
    }
}

/// Cut at blanks into lines that fit.
fn folded(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDE {
            lines.push(word.to_owned());
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines
}

/// All rows, with the day, the machine and the commit.
pub fn markdown(rows: &[Row], scale: f64) -> String {
    let commit = said("git --no-optional-locks describe --always --dirty --abbrev=12 --exclude=*");
    let part = if scale < 1.0 {
        format!(" Not a full run: SCALE={scale}.")
    } else {
        String::new()
    };
    let titles = ["no", "promise", "modes", "figure", "limit", ""];
    let cells: String = rows.iter().map(|row| run::markdown(&row.cells())).collect();
    let head = run::markdown(&titles) + &run::markdown(&["---"; 6]);
    let when = format!("{}, commit {commit}.{part}", run::measured_on());
    format!("{when}\n\n{head}{cells}\n{}\n", summary(rows))
}

/// `20 promises: 18 kept, 0 broken, 2 skipped, in 310 s`.
pub fn summary(rows: &[Row]) -> String {
    let count = |word| rows.iter().filter(|row| row.verdict.word() == word).count();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let [kept, broken, skipped] = ["pass", "FAIL", "skipped"].map(count);
    let all = run::counted(rows.len() as u64, "promise");
    format!("{all}: {kept} kept, {broken} broken, {skipped} skipped, in {seconds:.0} s")
}

/// Replaces the table in a document.
pub fn put_into(document: &Path, rows: &[Row]) -> Outcome {
    let text = fs::read_to_string(document)?;
    let parts = text.split_once(BEGIN);
    let Some((before, Some((_, after)))) = parts.map(|(before, rest)| (before, rest.split_once(END))) else {
        return failed(format!(
            "{}: it has no lines {BEGIN} and {END}",
            document.display()
        ));
    };
    let table = markdown(rows, 1.0);
    Ok(fs::write(
        document,
        format!("{before}{BEGIN}\n\n{table}\n{END}{after}"),
    )?)
}
