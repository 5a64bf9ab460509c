//! How is a grade shown? A line a rule for people, a table for a page, and JSON for programs, from the same
//! findings.

use crate::check::probe::{Transcript, shown};
use crate::check::{Graded, Rule, Why};
use crate::json::Writer;
use std::fmt::Write as _;

/// What one rule found, and what crossed the wire meanwhile.
pub struct Finding {
    pub rule: &'static Rule,
    pub graded: Graded,
    pub transcript: Transcript,
}

impl Finding {
    pub fn is_pass(&self) -> bool {
        matches!(self.graded, Ok(true) | Err(Why::Remark(_)))
    }

    pub fn is_failure(&self) -> bool {
        matches!(self.graded, Ok(false) | Err(Why::Wrong | Why::Because(_)))
    }

    fn word(&self) -> &'static str {
        match self.graded {
            Ok(true) => "PASS",
            Ok(false) | Err(Why::Wrong | Why::Because(_)) => "FAIL",
            Err(Why::Skip(_)) => "SKIP",
            Err(Why::Remark(_)) => "NOTE",
        }
    }

    /// The word for programs. A remark is no failure: the protocol does not demand what it tells of.
    fn result(&self) -> &'static str {
        match self.word() {
            "FAIL" => "fail",
            "SKIP" => "skip",
            _ => "pass",
        }
    }

    /// Why it failed or was skipped, or what else is to be known; empty when it simply passed.
    pub fn cause(&self) -> &str {
        match &self.graded {
            Ok(true) => "",
            Ok(false) | Err(Why::Wrong) => self.rule.cause,
            Err(Why::Because(text) | Why::Skip(text) | Why::Remark(text)) => text,
        }
    }

    /// Its line, and what else is to be known: for a failure also what crossed the wire.
    pub fn lines(&self) -> String {
        let rule = self.rule;
        let mut out = format!("  {} {:<16} {}\n", self.word(), rule.name, rule.expected);
        let (sent, received) = (shown(&self.transcript.sent), self.received());
        let about: &[(&str, &str)] = match self.word() {
            "PASS" => &[],
            "FAIL" => &[("sent", &sent), ("received", &received), ("cause", self.cause())],
            "SKIP" => &[("skipped", self.cause())],
            _ => &[("remark", self.cause())],
        };
        for (what, text) in about {
            let _ = writeln!(out, "       {what:<9} {text}");
        }
        out
    }

    fn received(&self) -> String {
        let Transcript { received, end, .. } = &self.transcript;
        match (received.is_empty(), end.is_empty()) {
            (true, true) => "nothing".to_owned(),
            (true, false) => end.strip_prefix("then ").unwrap_or(end).to_owned(),
            (false, true) => shown(received),
            (false, false) => format!("{} ({end})", shown(received)),
        }
    }
}

/// The groups in the order of their first rule, each with its findings.
fn groups(findings: &[Finding]) -> Vec<(&'static str, Vec<&Finding>)> {
    let mut groups: Vec<(&'static str, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        let name = finding.rule.group;
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(finding),
            None => groups.push((name, vec![finding])),
        }
    }
    groups
}

/// `framing 8 of 9`: passed, of those that were tried.
fn score(group: &str, findings: &[&Finding]) -> String {
    let passed = findings.iter().filter(|finding| finding.is_pass()).count();
    let failed = findings.iter().filter(|finding| finding.is_failure()).count();
    format!("{group} {passed} of {}", passed + failed)
}

/// What stays on the server, as a sentence; empty when nothing does.
fn leftovers(left: &[String]) -> String {
    if left.is_empty() {
        String::new()
    } else {
        format!("left on the server: {}\n", left.join(", "))
    }
}

pub fn text(findings: &[Finding], left: &[String]) -> String {
    let mut out = String::new();
    let groups = groups(findings);
    for (group, findings) in &groups {
        let _ = writeln!(out, "{group}");
        findings.iter().for_each(|finding| out += &finding.lines());
    }
    let scores: Vec<String> = groups
        .iter()
        .map(|(group, findings)| score(group, findings))
        .collect();
    out + &format!("score: {}\n{}", scores.join(", "), leftovers(left))
}

pub fn markdown(findings: &[Finding], left: &[String]) -> String {
    let mut out = String::from("| group | rule | result | sent | received | expected | cause |\n");
    out += "| --- | --- | --- | --- | --- | --- | --- |\n";
    for finding in findings {
        let Finding { rule, transcript, .. } = finding;
        let (sent, received) = (shown(&transcript.sent), finding.received());
        let cells = [
            rule.group,
            rule.name,
            finding.word(),
            &sent,
            &received,
            rule.expected,
            finding.cause(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    for (group, findings) in groups(findings) {
        let _ = write!(out, "\n{}", score(group, &findings));
    }
    out + "\n" + &leftovers(left)
}

pub fn json(findings: &[Finding], _left: &[String]) -> String {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.open(b'[');
    for finding in findings {
        writer.open(b'{');
        writer.pair("rule", finding.rule.name);
        writer.pair("group", finding.rule.group);
        writer.pair("result", finding.result());
        writer.pair("sent", &shown(&finding.transcript.sent));
        writer.pair("received", &finding.received());
        writer.pair("expected", finding.rule.expected);
        writer.pair("cause", finding.cause());
        writer.close(b'}');
    }
    writer.close(b']');
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}
