//! What is one promise given, and what does it give back? How often to try, and a verdict.

use std::any::Any;
use std::panic;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

/// How much of a promise is tried.
#[derive(Clone, Copy)]
pub struct Trial {
    scale: f64,
}

impl Trial {
    pub fn new(scale: f64) -> Trial {
        Trial { scale }
    }

    /// So often, in a full run.
    pub fn times(self, full: usize) -> usize {
        self.at_least(1, full)
    }

    /// The same, where fewer than `least` would show nothing.
    pub fn at_least(self, least: usize, full: usize) -> usize {
        ((full as f64 * self.scale).ceil() as usize).clamp(least, full)
    }

    /// So long, in a full run; never less than a second.
    pub fn seconds(self, full: u64) -> Duration {
        Duration::from_secs_f64((full as f64 * self.scale).max(1.0))
    }
}

/// What became of a promise: the figures, or why it was not tried.
pub enum Verdict {
    Kept(String),
    Broken(String),
    Skipped(String),
}

impl Verdict {
    /// Kept where nothing is wrong; `wrong` names what is.
    pub fn of(figures: String, wrong: &[String]) -> Verdict {
        match wrong {
            [] => Verdict::Kept(figures),
            _ => Verdict::Broken(format!("{}; {figures}", wrong.join("; "))),
        }
    }

    /// With these figures before its own.
    pub fn after(self, figures: String) -> Verdict {
        match self {
            Verdict::Kept(text) => Verdict::Kept(format!("{figures}; {text}")),
            Verdict::Broken(text) => Verdict::Broken(format!("{text}; {figures}")),
            skipped => skipped,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Kept(_) => "pass",
            Verdict::Broken(_) => "FAIL",
            Verdict::Skipped(_) => "skipped",
        }
    }

    pub fn text(&self) -> &str {
        let (Verdict::Kept(text) | Verdict::Broken(text) | Verdict::Skipped(text)) = self;
        text
    }

    /// As one line from the process of the promise to that of the run.
    pub fn line(&self) -> String {
        let text: Vec<&str> = self.text().split_whitespace().collect();
        format!("{}\t{}", self.word(), text.join(" "))
    }

    pub fn parse(line: &str) -> Option<Verdict> {
        let (word, text) = line.split_once('\t')?;
        match word {
            "pass" => Some(Verdict::Kept(text.to_owned())),
            "FAIL" => Some(Verdict::Broken(text.to_owned())),
            "skipped" => Some(Verdict::Skipped(text.to_owned())),
            _ => None,
        }
    }
}

/// Adds `what` to what is wrong, unless `holds`.
pub fn require(wrong: &mut Vec<String>, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        wrong.push(what());
    }
}

/// What a panic has said.
pub fn message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words")
        .chars()
        .take(300)
        .collect()
}

/// What a thread has found; a panic in it goes on here.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
}

// ---- Figures ----

/// The smallest of the values that `percent` of them do not exceed (nearest rank).
pub fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

/// `1.5 ms`, `2.3 s`.
pub fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}
