//! Which sentences do the rows carry? Ratios of rows that differ in one thing only. With repeats, a ratio has
//! an interval, from the slowest of one row against the fastest of the other; without them, less than a tenth
//! counts as none.

use crate::report::chart::short;
use crate::report::rows::{Row, Run};
use crate::report::words::{self, Verdicts};
use crate::stress::{Language, NOISY, fill};

/// Without repeats nothing tells how much a row varies; on a quiet machine a tenth is common.
const NOISE: f64 = 0.1;

/// A sentence, and the rows that it is computed from.
pub struct Finding {
    pub text: String,
    /// `thread 4, 5`; empty: all.
    pub rows: String,
}

/// How much faster, and the interval that the repeats allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub factor: f64,
    pub interval: Option<(f64, f64)>,
}

/// The rate of `row` by that of `base`.
pub fn ratio(row: &Row, base: &Row) -> Option<Ratio> {
    let ((rate, spread), (other, base_spread)) = (row.rate()?, base.rate()?);
    let interval = spread.zip(base_spread);
    Some(Ratio {
        factor: rate / other,
        interval: interval.map(|((low, high), (from, to))| (low / to, high / from)),
    })
}

/// Index of the form of a sentence: faster, slower, no difference.
pub fn verdict(ratio: Ratio) -> usize {
    let (low, high) = ratio
        .interval
        .unwrap_or((ratio.factor * (1.0 - NOISE), ratio.factor * (1.0 + NOISE)));
    match () {
        () if low > 1.0 => 0,
        () if high < 1.0 => 1,
        () => 2,
    }
}

/// The rows by their numbers in a mode.
fn named(rows: &[&Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (mode, number) = (row.mode(), row.count("no"));
        let known = text
            .rsplit("; ")
            .next()
            .is_some_and(|last| last.starts_with(mode));
        text += &match (text.is_empty(), known) {
            (true, _) => format!("{mode} {number}"),
            (false, true) => format!(", {number}"),
            (false, false) => format!("; {mode} {number}"),
        };
    }
    text
}

pub fn findings(run: &Run, language: Language) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(failures(run, language));
    found.extend(noise(run, language));
    for operation in run.operations() {
        found.extend(by_mode(run, language, operation));
    }
    for operation in run.operations() {
        for mode in run.modes() {
            found.extend(by_workers(run, language, mode, operation));
        }
    }
    for operation in run.operations() {
        let Some(mode) = run.modes().first().copied() else {
            break;
        };
        found.extend(by_clients(run, language, mode, operation));
        found.extend(by_volume(run, language, mode, operation));
    }
    found.extend(worst_wait(run, language));
    found.extend(by_memory(run, language));
    for finding in &mut found {
        // All that a sentence can begin with is ASCII: names of modes, and our own words.
        let first = finding.text.get_mut(..1);
        first.map(str::make_ascii_uppercase);
    }
    found
}

fn failures(run: &Run, language: Language) -> Option<Finding> {
    let sum = |title| run.rows.iter().map(|row| row.count(title)).sum::<u64>();
    let (ok, failed) = (sum("client_ok"), sum("client_failed"));
    let text = match failed {
        0 => language.fill(words::NONE_FAILED, &[&ok]),
        _ => language.fill(words::FAILED, &[&failed, &(ok + failed)]),
    };
    let rows = String::new();
    (ok + failed > 0).then_some(Finding { text, rows })
}

/// Which rows say little, because their repeats lie far apart.
fn noise(run: &Run, language: Language) -> Option<Finding> {
    let noisy: Vec<&Row> = run.rows.iter().filter(|row| row.is_noisy()).collect();
    let text = language.fill(words::NOISY_ROWS, &[&noisy.len(), &run.rows.len(), &NOISY]);
    let rows = named(&noisy);
    (!noisy.is_empty()).then_some(Finding { text, rows })
}

/// All pairs of rows that differ in the mode only.
pub fn pairs<'r>(run: &'r Run, modes: [&'r str; 2]) -> Vec<(&'r Row, &'r Row)> {
    let other = |row: &'r Row| Some((row, run.find(modes[1], row.combination())?));
    run.of_mode(modes[0]).filter_map(other).collect()
}

/// Process against thread; with other modes, each of them against the first.
fn by_mode(run: &Run, language: Language, operation: &str) -> Vec<Finding> {
    let modes = run.modes();
    let Some((base, others)) = modes.split_first() else {
        return Vec::new();
    };
    let finding = |mode: &&str| {
        let rows = pairs(run, [base, mode]).into_iter();
        let rows = rows.filter(|(row, _)| row.text("operation") == operation);
        let mut factors: Vec<f64> = rows
            .filter_map(|(row, other)| Some(ratio(other, row)?.factor))
            .collect();
        factors.sort_by(f64::total_cmp);
        let (least, most) = (*factors.first()?, *factors.last()?);
        let (middle, count) = (factors[factors.len() / 2], factors.len());
        // The pairs are not repeats: half of them on the other side of 1 carry no verdict.
        let quarter = count / 4;
        let interval = Some((factors[quarter], factors[count - 1 - quarter]));
        let middle_ratio = Ratio {
            factor: middle,
            interval,
        };
        let [factor, low, high] = [middle, least, most].map(short);
        let text = match verdict(middle_ratio) {
            0 => language.fill(
                words::BY_MODE[0],
                &[mode, &operation, &factor, base, &count, &low, &high],
            ),
            form => language.fill(
                words::BY_MODE[form],
                &[mode, base, &operation, &factor, &count, &low, &high],
            ),
        };
        let rows = String::new();
        Some(Finding { text, rows })
    };
    others.iter().filter_map(finding).collect()
}

/// More workers, with the most clients and the largest files.
fn by_workers(run: &Run, language: Language, mode: &str, operation: &str) -> Vec<Finding> {
    let (clients, volume) = (run.values("client_workers"), run.values("volume_mib"));
    let (Some(&clients), Some(&volume)) = (clients.last(), volume.last()) else {
        return Vec::new();
    };
    let workers = run.values("server_workers");
    let finding = |pair: &[u64]| {
        let row = |workers| run.find(mode, (operation, volume, clients, workers));
        let (before, after) = (row(pair[0])?, row(pair[1])?);
        let ratio = ratio(after, before)?;
        let interval = ratio.interval.map_or(String::new(), |(low, high)| {
            language.fill(words::INTERVAL, &[&short(low), &short(high)])
        });
        let form = verdict(ratio);
        let factor = if form == 1 {
            1.0 / ratio.factor
        } else {
            ratio.factor
        };
        Some(Finding {
            text: sentence(
                language,
                words::BY_WORKERS,
                form,
                &[
                    &clients,
                    &pair[0],
                    &pair[1],
                    &operation,
                    &volume,
                    &mode,
                    &short(factor),
                    &interval,
                ],
            ),
            rows: named(&[before, after]),
        })
    };
    workers.windows(2).filter_map(finding).collect()
}

fn sentence(language: Language, forms: Verdicts, form: usize, values: &[&dyn std::fmt::Display]) -> String {
    fill(language.of(forms[form]), values)
}

/// The fewest clients and the most, with the largest files and the fewest workers.
fn by_clients(run: &Run, language: Language, mode: &str, operation: &str) -> Option<Finding> {
    let (clients, workers) = (
        run.values("client_workers"),
        *run.values("server_workers").first()?,
    );
    let (few, many, volume) = (
        *clients.first()?,
        *clients.last()?,
        *run.values("volume_mib").last()?,
    );
    let row = |clients| run.find(mode, (operation, volume, clients, workers));
    let (before, after) = (row(few)?, row(many).filter(|_| few < many)?);
    let (now, then) = (short(after.number("p50_s")?), short(before.number("p50_s")?));
    let with = language.workers(workers);
    Some(Finding {
        text: language.fill(
            words::BY_CLIENTS,
            &[&many, &few, &operation, &volume, &mode, &with, &now, &then],
        ),
        rows: named(&[before, after]),
    })
}

/// The smallest files and the largest, for one client.
fn by_volume(run: &Run, language: Language, mode: &str, operation: &str) -> Option<Finding> {
    let (clients, workers) = (
        *run.values("client_workers").first()?,
        *run.values("server_workers").first()?,
    );
    let volumes = run.values("volume_mib");
    let (small, large) = (*volumes.first()?, *volumes.last()?);
    let row = |volume| run.find(mode, (operation, volume, clients, workers));
    let (before, after) = (row(small)?, row(large).filter(|_| small < large)?);
    let factor = short(after.number("p50_s")? / before.number("p50_s").filter(|time| *time > 0.0)?);
    let (of, with) = (format!("{clients} client"), language.workers(workers));
    let bytes = format!("{:.0}", large as f64 / small.max(1) as f64);
    Some(Finding {
        text: language.fill(
            words::BY_VOLUME,
            &[&operation, &mode, &of, &with, &large, &factor, &small, &bytes],
        ),
        rows: named(&[before, after]),
    })
}

/// The longest wait of a client, by the middle one of its row: a worker that was held up.
fn worst_wait(run: &Run, language: Language) -> Option<Finding> {
    let waits = run
        .rows
        .iter()
        .filter_map(|row| Some((row.number("max_s")?, row)));
    let (longest, row) = waits.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let middle = row.number("p50_s").filter(|middle| *middle > 0.0)?;
    Some(Finding {
        text: language.fill(words::WORST_WAIT, &[&short(longest), &short(longest / middle)]),
        rows: named(&[row]),
    })
}

/// The highest memory of the server in any row of a mode, in MiB.
pub fn peak_memory(run: &Run, mode: &str) -> Option<f64> {
    let rows = run.of_mode(mode);
    let peaks = rows.filter_map(|row| row.number("server_peak_rss_kib"));
    peaks.max_by(f64::total_cmp).map(|kib| kib / 1024.0)
}

fn by_memory(run: &Run, language: Language) -> Option<Finding> {
    let modes = run.modes().into_iter();
    let peaks = modes.filter_map(|mode| Some((mode, peak_memory(run, mode)?)));
    let parts: Vec<String> = peaks
        .map(|(mode, peak)| language.fill(words::IN_MODE, &[&short(peak), &mode]))
        .collect();
    let rows = String::new();
    let text = language.fill(words::BY_MEMORY, &[&parts.join(", ")]);
    (!parts.is_empty()).then_some(Finding { text, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows::parse;
    use crate::report::rows::tests::run;

    fn texts(run: &Run) -> Vec<String> {
        let found = findings(run, Language::English).into_iter();
        found
            .map(|finding| format!("{} [{}]", finding.text, finding.rows))
            .collect()
    }

    #[test]
    fn more_workers_are_compared_with_fewer() {
        let run = run(&[
            ("thread", "download", 10, 5, 1, 100.0),
            ("thread", "download", 10, 5, 5, 190.0),
            ("thread", "download", 10, 5, 50, 95.0),
        ]);
        let texts = texts(&run);
        for text in [
            "With 5 clients, going from 1 to 5 server workers made downloads of 10 MiB in thread mode 1.90 × \
             faster. [thread 1, 2]",
            "With 5 clients, going from 5 to 50 server workers made downloads of 10 MiB in thread mode \
             2.00 × \
             slower. [thread 2, 3]",
        ] {
            assert!(texts.iter().any(|found| found == text), "{texts:#?}");
        }
    }

    #[test]
    fn what_is_hardly_a_difference_is_called_none() {
        for factor in [0.95, 1.0, 1.05] {
            assert_eq!(
                verdict(Ratio {
                    factor,
                    interval: None
                }),
                2,
                "{factor}"
            );
        }
        assert_eq!(
            verdict(Ratio {
                factor: 1.2,
                interval: None
            }),
            0
        );
        assert_eq!(
            verdict(Ratio {
                factor: 0.8,
                interval: None
            }),
            1
        );
        // The repeats decide where there are any.
        let interval = Some((0.9, 3.0));
        assert_eq!(
            verdict(Ratio {
                factor: 2.0,
                interval
            }),
            2
        );
        let interval = Some((1.01, 1.03));
        assert_eq!(
            verdict(Ratio {
                factor: 1.02,
                interval
            }),
            0
        );
    }

    #[test]
    fn an_interval_is_from_the_worst_to_the_best_pair() {
        let rows = parse("total_Bps,total_low_Bps,total_high_Bps\n20,18,25\n10,9,12\n");
        let interval = Some((1.5, 25.0 / 9.0));
        assert_eq!(
            ratio(&rows[0], &rows[1]),
            Some(Ratio {
                factor: 2.0,
                interval
            })
        );
    }

    #[test]
    fn modes_are_compared_row_by_row() {
        let run = run(&[
            ("thread", "upload", 10, 1, 1, 100.0),
            ("thread", "upload", 10, 5, 1, 100.0),
            ("process", "upload", 10, 1, 1, 150.0),
            ("process", "upload", 10, 5, 1, 130.0),
            ("process", "upload", 10, 50, 1, 900.0),
        ]);
        let text = "Process mode moved uploads 1.50 × as fast as thread mode (middle of 2 pairs of rows; \
                    the pairs \
                    reach from 1.30 to 1.50 ×). []";
        assert!(
            texts(&run).iter().any(|found| found == text),
            "{:#?}",
            texts(&run)
        );
    }

    #[test]
    fn rows_are_named_by_their_mode() {
        let run = run(&[
            ("thread", "a", 1, 1, 1, 1.0),
            ("thread", "a", 1, 1, 2, 1.0),
            ("event", "a", 1, 1, 1, 1.0),
        ]);
        let rows: Vec<&Row> = run.rows.iter().collect();
        assert_eq!(named(&rows), "thread 1, 2; event 3");
    }
}
