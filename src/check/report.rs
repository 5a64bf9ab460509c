//! How is a grade shown? A line a rule for people, a table for a page, and JSON for programs, from the same
//! findings.

use crate::check::probe::{Transcript, shown};
use crate::check::{Graded, Rule, Why};
use crate::json::Writer;

/// What one rule found, and what crossed the wire meanwhile.
pub struct Finding {
    pub rule: &'static Rule,
    pub graded: Graded,
    pub transcript: Transcript,
}

impl Finding {
    pub fn is_pass(&self) -> bool {
        self.result() == "pass"
    }

    pub fn is_failure(&self) -> bool {
        self.result() == "fail"
    }

    /// The word for programs. A remark is no failure: the protocol does not demand what it tells of.
    fn result(&self) -> &'static str {
        match self.graded {
            Ok(true) | Err(Why::Remark(_)) => "pass",
            Ok(false) | Err(Why::Wrong | Why::Because(_)) => "fail",
            Err(Why::Skip(_)) => "skip",
        }
    }

    /// The word for people.
    fn word(&self) -> String {
        match self.graded {
            Err(Why::Remark(_)) => "NOTE".to_owned(),
            _ => self.result().to_uppercase(),
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
        let (rule, cause) = (self.rule, self.cause());
        let mut out = format!(
            "  {} {:<16} {}
",
            self.word(),
            rule.name,
            rule.expected
        );
        let (sent, received) = (self.sent(), self.received());
        let about: &[(&str, &str)] = match self.graded {
            Ok(true) => &[],
            Err(Why::Skip(_)) => &[("skipped", cause)],
            Err(Why::Remark(_)) => &[("remark", cause)],
            // Found without a word on the wire, such as memory.
            _ if sent.is_empty() => &[("cause", cause)],
            _ => &[("sent", &sent), ("received", &received), ("cause", cause)],
        };
        for (what, text) in about {
            out += &format!(
                "       {what:<9} {text}
"
            );
        }
        out
    }

    fn sent(&self) -> String {
        shown(&self.transcript.sent)
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

/// `framing 8 of 9`, group by group: passed, of those that were tried. And what stays on the server.
fn summary(findings: &[Finding], left: &[String], between: &str) -> String {
    // Some groups come twice.
    let mut groups: Vec<&str> = Vec::new();
    for finding in findings {
        if !groups.contains(&finding.rule.group) {
            groups.push(finding.rule.group);
        }
    }
    let scores = groups.iter().map(|group| {
        let members = || findings.iter().filter(|finding| finding.rule.group == *group);
        let passed = members().filter(|finding| finding.is_pass()).count();
        let failed = members().filter(|finding| finding.is_failure()).count();
        format!("{group} {passed} of {}", passed + failed)
    });
    let scores = scores.collect::<Vec<_>>().join(between);
    match left {
        [] => format!("{scores}\n"),
        _ => format!("{scores}\nleft on the server: {}\n", left.join(", ")),
    }
}

pub fn text(findings: &[Finding], left: &[String]) -> String {
    let (mut out, mut group) = (String::new(), "");
    for finding in findings {
        if group != finding.rule.group {
            group = finding.rule.group;
            out += &format!(
                "{group}
"
            );
        }
        out += &finding.lines();
    }
    out + "score: " + &summary(findings, left, ", ")
}

pub fn markdown(findings: &[Finding], left: &[String]) -> String {
    let mut out = String::from("| group | rule | result | sent | received | expected | cause |\n");
    out += "| --- | --- | --- | --- | --- | --- | --- |\n";
    for finding in findings {
        let (rule, word) = (finding.rule, finding.word());
        let (sent, received, cause) = (finding.sent(), finding.received(), finding.cause());
        let cells = [
            rule.group,
            rule.name,
            &word,
            &sent,
            &received,
            rule.expected,
            cause,
        ];
        out += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    out + "\n" + &summary(findings, left, "\n")
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
        writer.pair("sent", &finding.sent());
        writer.pair("received", &finding.received());
        writer.pair("expected", finding.rule.expected);
        writer.pair("cause", finding.cause());
        writer.close(b'}');
    }
    writer.close(b']');
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}
