//! Does it make sense to measure that server? A few of the rules, for a stress test that is about to begin:
//! whether a reply ends, is JSON, and whether a file comes back. And how many connections are served at once.

use crate::check::examiner::Examiner;
use crate::check::probe::{LIST, Wire};
use crate::check::report::Finding;
use crate::check::{RULES, Rule, Why, grade, recognise};
use crate::cli::{Failure, failed, print};
use crate::sys::Stop;
use std::net::SocketAddr;
use std::time::Duration;

/// The rules that are asked, in this order. The milestones (true) are what a measurement needs: when one is
/// passed, failures before it do not count.
const QUESTIONS: [(&str, bool); 7] = [
    ("end", true),
    ("object", false),
    ("round-trip", true),
    ("split-reads", false),
    ("every-byte", true),
    ("missing-file", false),
    ("deletes", false),
];

/// Asks the server at `address`, and waits at most `timeout` for each step. Returns what a user should know.
///
/// # Errors
///
/// It is no server of the file protocol, or no file comes back from it: the first failure that explains it.
pub fn quick(address: SocketAddr, timeout: Duration, stop: Stop) -> Result<Vec<String>, Failure> {
    let examiner = Examiner::new(Wire::new(address, timeout));
    recognise(&examiner.wire, "delimiter")?;
    let (failures, missed) = ask(&examiner, stop);
    let left = examiner.clean_up().join(", ");
    let left = (!left.is_empty()).then(|| format!("may be left there: {left}"));
    if stop.requested() {
        return Err(Failure::Interrupted);
    }
    if missed {
        let left = left.map_or(String::new(), |left| left + "\n");
        print(&(failures[0].lines() + &left))?;
        return failed(format!(
            "{address}: no row would succeed: {}; kolam check {address} asks more",
            failures[0].cause()
        ));
    }
    let notes = failures.iter().map(|finding| finding.cause().to_owned());
    Ok(notes.chain(left).collect())
}

/// What failed, the plainest first, and whether a milestone was missed, which ends it.
fn ask(examiner: &Examiner, stop: Stop) -> (Vec<Finding>, bool) {
    let mut failures: Vec<Finding> = Vec::new();
    for (name, milestone) in QUESTIONS {
        let failed = |needed: &str| failures.iter().any(|finding| finding.rule.name == needed);
        let can_tell = |rule: &&Rule| milestone || !rule.needs.split_whitespace().any(failed);
        let Some(rule) = RULES.iter().find(|rule| rule.name == name).filter(can_tell) else {
            continue;
        };
        let mut finding = Finding {
            rule,
            graded: grade(rule, &RULES[0], examiner, stop),
            transcript: examiner.wire.transcript.take(),
        };
        if stop.requested() {
            break;
        }
        match (finding.is_failure(), milestone) {
            (true, true) => {
                if finding
                    .transcript
                    .received
                    .windows(7)
                    .any(|word| word == b"\"ERROR\"")
                {
                    finding.graded = Err(Why::Because("the server refuses it, and says why".to_owned()));
                }
                failures.push(finding);
                return (failures, true);
            }
            (true, false) => failures.push(finding),
            (false, true) => failures.clear(),
            (false, false) => {}
        }
    }
    (failures, false)
}

/// How many connections are served at once, counted up to `most`: each gets a reply while those before it
/// are still open, until one gets none within `timeout`. So the workers are counted, and none is believed.
pub fn served_at_once(address: SocketAddr, timeout: Duration, most: usize) -> usize {
    let wire = Wire::new(address, timeout);
    let (mut open, mut closes) = (Vec::new(), None);
    while open.len() < most {
        let Ok(mut next) = wire.open() else { break };
        // Any reply counts: LIST may be missing there.
        if next.ask(LIST).is_err() {
            break;
        }
        if *closes.get_or_insert_with(|| next.is_closed()) {
            // After its reply it is free again; a client that says nothing keeps it busy as well.
            let Ok(silent) = wire.open() else { break };
            next = silent;
            wire.pause();
        }
        open.push(next);
    }
    open.len()
}
