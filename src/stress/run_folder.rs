//! Where do the results of a run go, so that no other run spoils them? Into a folder of the run's own, named
//! after the second in which it began and after what it measures; with `--out` the user names the folder, and
//! one that has rows already is refused. `machine.txt` tells how the rows were measured. It never says
//! `complete` when a row is missing: after a run that was killed it still says `running`.

use crate::cli::{Failure, MODES, failed};
use crate::stats::utc;
use crate::stress::forms::tables_of;
use crate::stress::machine::machine;
use crate::stress::matrix::Plan;
use crate::stress::report::short_size;
use crate::stress::trace_file::TRACE;
use crate::stress::words::{self, Language};
use crate::sys;
use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

/// The symbolic link to the newest run.
const LATEST: &str = "latest";

/// The file that tells how the rows were measured.
pub const ABOUT: &str = "machine.txt";

/// The tables for people, with all rows.
const TABLES: &str = "tables.md";

/// The rows of all tables in one, where there are several.
const JOINT: &str = "all.csv";

/// A folder that the user has named. Dropping it removes the folders that this start has made, if they are
/// empty: a start that is refused leaves nothing.
pub struct MadeFolder {
    /// The folders that were made: it and those above it, the innermost first.
    made: Vec<PathBuf>,
}

impl MadeFolder {
    /// Makes the folder of `option`, and what is missing above it; `given`: the user has named it.
    pub fn make(option: &str, given: bool, path: &Path) -> Result<MadeFolder, Failure> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        let folder = MadeFolder { made };
        let (name, remedy) = match given {
            true => (option, String::new()),
            false => ("the folder", format!("; name another one with {option} DIR")),
        };
        fs::create_dir_all(path)
            .or_else(|error| failed(format!("cannot make {name} {}: {error}{remedy}", path.display())))?;
        Ok(folder)
    }
}

impl Drop for MadeFolder {
    fn drop(&mut self) {
        // rmdir(2) refuses a folder that is not empty, and then those above it are not empty either.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}

/// The folder of one run.
///
/// ```text
///   results/2026-11-21T070809-full/    thread.csv process.csv all.csv tables.md machine.txt
///   results/2026-11-21T071011-quick/   thread.csv process.csv all.csv tables.md machine.txt
///   results/latest ──────────────────► 2026-11-21T071011-quick
/// ```
pub struct RunFolder {
    pub path: PathBuf,
    /// What `machine.txt` says from the beginning on: lines with names and values.
    about: String,
    start: Instant,
    /// `machine.txt`, locked as long as the run lives: no other start may continue it.
    _lock: File,
}

/// Lines of `machine.txt`: names and values.
pub type About = Vec<(&'static str, String)>;

fn lines(about: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| format!("{name:<8} {}\n", value.replace('\n', " "));
    about.iter().map(line).collect()
}

/// The failure to do `what` with a file or folder.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot {what} {}: {error}", path.display()))
}

/// Refuses a folder that the user has named and that has rows already, before anything else is done.
pub fn check(plan: &Plan) -> Result<(), Failure> {
    match old_rows(&plan.out).filter(|_| plan.exact && !plan.force) {
        None => Ok(()),
        Some(name) => failed(format!(
            "--out {}: {name} is there already; name another folder, or add --force (make: FORCE=yes) to \
             replace it",
            plan.out.display()
        )),
    }
}

/// The name of a file with rows in `folder`, if there is one.
fn old_rows(folder: &Path) -> Option<String> {
    let rows = MODES.iter().flat_map(|mode| tables_of(mode));
    let rows = rows.map(|table| format!("{table}.csv"));
    let mut names = rows.chain([TABLES, JOINT, TRACE].map(str::to_owned));
    names.find(|name| folder.join(name).symlink_metadata().is_ok())
}

impl RunFolder {
    /// Makes the folder, notes in it that the run has begun, and lets `latest` point to it. Returns a note
    /// for the user, if there is one. `more`: about other machines.
    pub fn make(plan: &Plan, more: About) -> Result<(RunFolder, Option<String>), Failure> {
        check(plan)?;
        // It was made before; but `sweep` removes an empty one with the name of a tester's folder.
        fs::create_dir_all(&plan.out).map_err(|error| cannot("make --out", &plan.out, &error))?;
        let path = match plan.exact {
            true => plan.out.clone(),
            false => {
                let second = utc(SystemTime::now())[..19].replace(':', "");
                make_first_free(&plan.out, &format!("{second}-{}", plan.what()))?
            }
        };
        while let Some(name) = old_rows(&path) {
            let old = path.join(name);
            fs::remove_file(&old).map_err(|error| cannot("replace", &old, &error))?;
        }
        let mut about = machine(&plan.root);
        about.push(("command", command_line()));
        about.push(("options", options(plan)));
        about.push(("started", utc(SystemTime::now())));
        if let Some(launch) = plan.launch() {
            about.push(("launch", launch.command.clone()));
        }
        about.extend(more);
        let folder = RunFolder::begin(path, lines(&about))?;
        let note = match plan.exact {
            true => None,
            false => folder.point_latest(&plan.out, plan.language),
        };
        Ok((folder, note))
    }

    /// The folder `--out`, for rows that were measured elsewhere, as `about` tells.
    pub fn joined(plan: &Plan, about: About) -> Result<RunFolder, Failure> {
        let (mut folder, _) = RunFolder::make(plan, About::new())?;
        folder.about = lines(&[("command", command_line())]) + &lines(&about);
        Ok(folder)
    }

    /// The folder of a run that is continued. The tables that its end makes anew are removed.
    pub fn again(path: &Path, about: &str) -> Result<RunFolder, Failure> {
        let resumed = lines(&[("resumed", utc(SystemTime::now()))]);
        let folder = RunFolder::begin(path.to_owned(), about.to_owned() + &resumed)?;
        for old in [TABLES, JOINT].map(|name| path.join(name)) {
            match fs::remove_file(&old) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(cannot("replace", &old, &error));
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    /// A run begins or goes on in `path`.
    fn begin(path: PathBuf, about: String) -> Result<RunFolder, Failure> {
        let machine = path.join(ABOUT);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&machine);
        let lock = file.map_err(|error| cannot("write", &machine, &error))?;
        // Where locks do not work, the user has to take care.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return failed(format!(
                "{}: another start of this run is still running",
                path.display()
            ));
        }
        let (start, _lock) = (Instant::now(), lock);
        let folder = RunFolder {
            path,
            about,
            start,
            _lock,
        };
        folder.write_about(&[("state", "running".to_owned())])?;
        Ok(folder)
    }

    /// A new file that begins with `text`. The file of another run is not touched, also when that run began
    /// in the meantime.
    fn create(&self, name: &str, text: &str) -> Result<File, Failure> {
        let path = self.path.join(name);
        let file = File::create_new(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            Ok(file)
        });
        file.map_err(|error| cannot("write", &path, &error))
    }

    /// A file for the rows of `table`, with `head` as its first line.
    pub fn create_csv(&self, table: &str, head: &str) -> Result<File, Failure> {
        self.create(&format!("{table}.csv"), &format!("{head}\n"))
    }

    /// Writes the tables, which are Markdown, and all rows as one CSV; what is empty gets no file.
    pub fn write_tables(&self, tables: &str, joint: &str) -> Result<(), Failure> {
        let texts = [(TABLES, tables), (JOINT, joint)];
        let mut texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        texts.try_for_each(|(name, text)| self.create(name, text).map(drop))
    }

    /// Notes how the run ended: `complete`, `interrupted` or `failed: …`.
    pub fn ended(&self, state: &str) -> Result<(), Failure> {
        let (now, took) = (utc(SystemTime::now()), self.start.elapsed().as_secs_f64());
        let took = format!("{took:.1} s");
        self.write_about(&[("ended", now), ("took", took), ("state", state.to_owned())])
    }

    /// Writes `machine.txt`, over the old one: lines change only near its end, and a full disk has room for
    /// them, since a file's last block is longer than its content.
    fn write_about(&self, last: &[(&str, String)]) -> Result<(), Failure> {
        let text = self.about.clone() + &lines(last);
        let path = self.path.join(ABOUT);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        });
        written.map_err(|error| cannot("write", &path, &error))
    }

    /// The page with pictures, which `kolam report` makes: as the user would, with that command.
    pub fn make_report(&self, language: Language) -> Result<(), Failure> {
        let lang = language.code();
        let made = env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command
                .arg("report")
                .arg(&self.path)
                .args(["--lang", lang])
                .status()
        });
        match made {
            // It has said itself why it failed.
            Ok(_) => Ok(()),
            Err(error) => Err(cannot("make the report of", &self.path, &error)),
        }
    }

    /// Lets `latest` in `parent` point to this folder. If that fails, returns a note, and the run goes on.
    fn point_latest(&self, parent: &Path, language: Language) -> Option<String> {
        let (latest, name) = (parent.join(LATEST), self.path.file_name()?);
        if latest.symlink_metadata().is_ok_and(|about| !about.is_symlink()) {
            return Some(language.fill(words::NO_LINK, &[&latest.display()]));
        }
        // A link that has the name already cannot be changed, but one with another name can replace it.
        let fresh = parent.join(format!(".{LATEST}-{}", name.display()));
        let pointed = symlink(name, &fresh).and_then(|()| fs::rename(&fresh, &latest));
        pointed.err().map(|error| {
            let _ = fs::remove_file(&fresh);
            language.fill(words::NOT_LINKED, &[&latest.display(), &error])
        })
    }
}

/// Makes the folder `name`, or `name-2` when there is one already, and so on.
fn make_first_free(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    let (mut path, mut number) = (parent.join(name), 1);
    loop {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot("make", &path, &error)),
            Ok(()) => return Ok(path),
        }
        number += 1;
        path = parent.join(format!("{name}-{number}"));
    }
}

/// Checks whether the largest row fits on the disk.
pub fn require_space(plan: &Plan) -> Result<(), Failure> {
    let free = sys::free_space(&plan.root).map_err(|error| cannot("look at", &plan.root, &error))?;
    if plan.space() <= free {
        return Ok(());
    }
    let [need, missing] = [plan.space(), plan.space() - free].map(|bytes| short_size(bytes as f64));
    failed(format!(
        "{}: the largest row needs {need}, {missing} more than there is",
        plan.root.display()
    ))
}

/// How the run ended, for `machine.txt`.
pub fn state(ran: &Result<(), Failure>, interrupted: bool) -> String {
    match ran {
        Err(Failure::Failed(why)) => format!("failed: {why}"),
        Err(_) => "failed".to_owned(),
        Ok(()) if interrupted => "interrupted".to_owned(),
        Ok(()) => "complete".to_owned(),
    }
}

/// Appends a whole line or, on a full disk, nothing.
pub fn append(file: &mut File, line: &str) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line.as_bytes())
        .inspect_err(|_| drop(file.set_len(before)))
}

/// The options of a run, and where its files are.
pub fn options(plan: &Plan) -> String {
    format!(
        "{} --root {}",
        plan.options(),
        quote(&plan.root.to_string_lossy())
    )
}

/// The user's command line, quoted for a shell.
fn command_line() -> String {
    let words = env::args_os().map(|word| quote(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

/// Quotes a word, unless it holds only plain characters (Shell Command Language, 2.2.2).
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;

    #[test]
    fn runs_of_one_second_get_different_folders() {
        let folder = Folder::new();
        let names = ["a", "a-2", "a-3"];
        for name in names {
            assert_eq!(
                make_first_free(folder.path(), "a").unwrap(),
                folder.path().join(name)
            );
        }
        assert_eq!(folder.names(), names);
        assert!(make_first_free(&folder.path().join("missing"), "a").is_err());
    }

    #[test]
    fn words_survive_a_shell() {
        let table = [
            ("--modes", "--modes"),
            ("1,5,50", "1,5,50"),
            ("", "''"),
            ("my results", "'my results'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ];
        for (word, quoted) in table {
            assert_eq!(quote(word), quoted);
        }
    }
}
