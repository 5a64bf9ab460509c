//! Why does a test of another server go as it goes? The grader asks that server a few questions first, and
//! what it finds is said instead of rows that would all time out. A test in which nothing succeeds any more
//! is given up. What the figures of the rows show about their server is said at the end.

use crate::check;
use crate::cli::{Args, Failure, Opt, failed, opt};
use crate::stress::live::print;
use crate::stress::matrix::Plan;
use crate::stress::report::{Outcome, name, short_size};
use crate::stress::target;
use crate::stress::words::{self, Language, fill};
use crate::sys::Stop;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

pub const OPTIONS: &[Opt] = &[opt(
    "--pid",
    "PID",
    "the process of the --target on this machine: its memory and processor time are measured",
)];

/// How long a reply to a small question may take, unless `--timeout` is shorter.
const QUESTION: Duration = Duration::from_secs(2);

/// Workers of which neither server nor user has told the number are counted up to this one.
const MOST: u64 = 32;

/// A test is given up after this many rows one after another in which no client succeeds.
const HOPELESS: usize = 3;

/// Asks a target how it works; returns the plan with what it has told, and notes for the user.
///
/// # Errors
///
/// It is no server of this protocol, or rows would tell nothing: the failure says why.
pub fn ask(
    args: &Args,
    plan: &Plan,
    address: SocketAddr,
    stop: Stop,
) -> Result<(Plan, Vec<String>), Failure> {
    let (language, question) = (plan.language, plan.timeout.min(QUESTION));
    let timeout = plan.timeout.min(target::REPLY_TIMEOUT);
    // Said before it is asked: a server that accepts and is silent looks like a test that hangs.
    let asked = language.fill(words::HOW_IT_WORKS, &[&address, &timeout.as_secs_f64()]);
    print(&language.line(words::ASKING, &asked))?;
    let found = check::quick(address, question, stop);
    let mut notes = found.map_err(|failure| match failure {
        Failure::Failed(why) => Failure::Failed(format!("--target {why}")),
        other => other,
    })?;
    let mut told = target::ask(address, timeout, stop)?;
    let typed = args.text("--servers").and_then(|typed| typed.parse::<u64>().ok());
    let claimed = told.workers.or(typed);
    let most = claimed.unwrap_or(MOST).min(MOST);
    let served = check::served_at_once(address, question, most as usize) as u64;
    if claimed.is_none() && (1..MOST).contains(&served) {
        told.at_once = Some(served);
    }
    notes.extend(concurrency(claimed, served, most, language));
    Ok((Plan::from(args, &told)?, notes))
}

/// What to say about `served` connections at once, counted up to `most`.
fn concurrency(claimed: Option<u64>, served: u64, most: u64, language: Language) -> Option<String> {
    let counted = fill(language.counted(served, words::AT_ONCE), &[&served]);
    match claimed {
        _ if served >= most || served == 0 => None,
        None => Some(counted),
        Some(claimed) => {
            let workers = language.workers(claimed);
            Some(language.fill(words::CLAIMED, &[&workers, &counted]))
        }
    }
}

/// Fails when nothing has succeeded for so long that nothing will.
pub fn give_up(done: &[Outcome], plan: &Plan) -> Result<(), Failure> {
    let (Some(address), Some(last)) = (plan.target, done.last_chunk::<HOPELESS>()) else {
        return Ok(());
    };
    if last.iter().any(|outcome| !outcome.times.is_empty()) {
        return Ok(());
    }
    let row = name(&last[HOPELESS - 1].row, plan.language);
    let why = last[0].example.as_deref().unwrap_or_default();
    failed(
        plan.language
            .fill(words::GIVEN_UP, &[&row, &HOPELESS, &why, &address]),
    )
}

/// What the rows of a target show about it, as lines.
pub fn remarks(done: &[Outcome], plan: &Plan) -> String {
    let (language, whole) = (plan.language, |outcome: &&Outcome| outcome.failed() == 0);
    if plan.target.is_none() {
        return String::new();
    }
    // Rows that differ in their volume only.
    let alike = |a: &Outcome, b: &Outcome| {
        (a.row.operation, a.row.clients, &a.row.table) == (b.row.operation, b.row.clients, &b.row.table)
            && a.row.volume_mib < b.row.volume_mib
            && a.row.operation != "list"
    };
    let pairs = done.iter().filter(whole).flat_map(|small| {
        let larger = done.iter().filter(whole).filter(move |large| alike(small, large));
        larger.map(move |large| (small, large))
    });
    let pairs: Vec<(&Outcome, &Outcome)> = pairs.collect();
    // The plainest of each kind.
    let memory = pairs.iter().max_by_key(|(small, large)| grown(small, large));
    let time = pairs.iter().max_by(|a, b| a.1.wall.total_cmp(&b.1.wall));
    let notes = [
        memory.and_then(|pair| memory_follows(*pair, language)),
        time.and_then(|pair| time_runs_away(*pair, language)),
    ];
    let line = |note: String| language.line(words::NOTE, &note);
    notes.into_iter().flatten().map(line).collect()
}

/// KiB by which the peak of the memory is higher.
fn grown(small: &Outcome, large: &Outcome) -> Option<u64> {
    Some(
        large
            .server_peak_rss_kib?
            .saturating_sub(small.server_peak_rss_kib?),
    )
}

/// Does memory grow by half of what one file grows, or more?
fn memory_follows((small, large): (&Outcome, &Outcome), language: Language) -> Option<String> {
    let more_kib = (large.row.volume_mib - small.row.volume_mib) << 10;
    let size = |outcome: &Outcome| Some(short_size((outcome.server_peak_rss_kib? << 10) as f64));
    let values = [
        size(small)?,
        small.row.volume_mib.to_string(),
        size(large)?,
        large.row.volume_mib.to_string(),
        name(&large.row, language),
    ];
    let values = values.each_ref().map(|value| value as &dyn Display);
    (grown(small, large)? > more_kib / 2).then(|| language.fill(words::MEMORY_FOLLOWS, &values))
}

/// Does a row take long, and three times as long as its bytes would explain?
fn time_runs_away((small, large): (&Outcome, &Outcome), language: Language) -> Option<String> {
    let bytes = large.row.volume_mib as f64 / small.row.volume_mib as f64;
    let times = large.wall / small.wall;
    let [bytes_text, times_text] = [bytes, times].map(|factor| format!("{factor:.0}"));
    let values: [&dyn Display; 3] = [&bytes_text, &times_text, &name(&large.row, language)];
    (large.wall > 1.0 && times > 3.0 * bytes).then(|| language.fill(words::TIME_RUNS_AWAY, &values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::matrix::Row;
    use crate::stress::words::Language::English;

    fn outcome(volume_mib: u64, peak_mib: u64, wall: f64) -> Outcome {
        let row = Row {
            number: volume_mib as usize,
            table: "thread".to_owned(),
            volume_mib,
            ..Row::default()
        };
        Outcome {
            row,
            wall,
            server_peak_rss_kib: Some(peak_mib << 10),
            ..Outcome::default()
        }
    }

    #[test]
    fn memory_follows_a_file_when_it_grows_by_half_of_it() {
        let tell = |peak| memory_follows((&outcome(10, 5, 1.0), &outcome(100, peak, 1.0)), English);
        assert_eq!((tell(5), tell(3), tell(50)), (None, None, None));
        let text = "memory follows the file: 5.00 MiB with files of 10 MiB, 51.0 MiB with 100 MiB \
                    (thread row 100); decode and write each piece as it comes";
        assert_eq!(tell(51).as_deref(), Some(text));
        let unknown = Outcome {
            server_peak_rss_kib: None,
            ..outcome(10, 5, 1.0)
        };
        assert_eq!(memory_follows((&unknown, &outcome(100, 99, 1.0)), English), None);
    }

    #[test]
    fn time_runs_away_when_bytes_do_not_explain_it() {
        let tell = |small, large| time_runs_away((&outcome(10, 5, small), &outcome(100, 5, large)), English);
        assert_eq!(
            (tell(0.1, 1.0), tell(0.1, 3.0), tell(0.01, 0.9)),
            (None, None, None)
        );
        let text = "10 times the bytes took 45 times as long (thread row 100): search and copy only \
                    what is new, not all that has come";
        assert_eq!(tell(0.1, 4.5).as_deref(), Some(text));
    }

    #[test]
    fn what_is_claimed_is_compared_with_what_was_counted() {
        let tell = |claimed, served, most| concurrency(claimed, served, most, English);
        assert_eq!(
            (tell(Some(4), 4, 4), tell(None, 32, 32), tell(Some(4), 0, 4)),
            (None, None, None)
        );
        assert_eq!(
            tell(None, 4, 32).as_deref(),
            Some("4 connections at a time served")
        );
        let text = "50 workers claimed, one connection at a time served: who accepts must hand each \
                    connection to a worker that is free";
        assert_eq!(tell(Some(50), 1, 32).as_deref(), Some(text));
    }
}
