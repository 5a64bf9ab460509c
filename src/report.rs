//! # Chapter 19. What do the rows of a run say, at a glance?
//!
//! A run leaves a hundred rows of figures; a class wants to see which pool is faster, by how much, and where
//! the time goes. So the rows become pictures, sentences and tables in one page that needs nothing else: no
//! script, no other file, no network. Each sentence is computed from rows that it names, and says no more
//! than they do.
//!
//! ```text
//!   thread.csv, process.csv, … ─► rows ─┬─► findings ─┬─► report.html, report.md
//!   machine.txt, tables of `ab` ────────┴─► charts ───┘
//! ```
//!
//! The invariant: no figure here that is not in the files, or computed from them; a difference is called one
//! only when it is larger than what the repeats of a row, or one tenth without them, can explain.
//!
//! What must not live here: measuring. It reads the files of any run, also of one by an older version.
//!
//! before: `check.rs` … after: `dialects.rs`
//!
//! Experiment:
//! edit: a difference counts, however small it is
//! run: cargo test --locked --bin kolam report::findings
//! see: what_is_hardly_a_difference_is_called_none ... FAILED

mod chart; // lines and bars in SVG
mod compare; // two runs
mod findings; // sentences computed from rows
mod page; // the page, and the same in Markdown
mod rows; // CSV
mod timeline; // who was served when
mod words; // English and Indonesian

pub use compare::COMPARE;

use crate::cli::{Args, Command, Failure, failed, opt, print};
use crate::stress::Language;
use rows::Run;
use std::fs;
use std::path::Path;

pub static REPORT: Command = Command {
    name: "report",
    words: &["[DIR]"],
    about: "show the results of a stress test as pictures and sentences\n\
            It writes report.html and report.md into DIR, which is results/latest if it is not given;\n\
            and timeline.html, if the run was made with --trace.",
    options: &[&[opt(
        "--lang",
        "LANGUAGE",
        "en or id, the language of the report (en)",
    )]],
    run,
};

fn run(args: &Args) -> Result<(), Failure> {
    let folder = args.path_word(0).unwrap_or(Path::new("results/latest"));
    let language = match args.choice("--lang", "en", &["en", "id"])? {
        "id" => Language::Indonesian,
        _ => Language::English,
    };
    let run = Run::read(folder)?;
    let timeline = timeline::html(&run, language).map(|text| ("timeline.html", text));
    let pages = [
        ("report.html", page::html(&run, language)),
        ("report.md", page::markdown(&run, language)),
    ];
    for (name, text) in pages.into_iter().chain(timeline) {
        let path = folder.join(name);
        fs::write(&path, text)
            .or_else(|error| failed(format!("cannot write {}: {error}", path.display())))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}
