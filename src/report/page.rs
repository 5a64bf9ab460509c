//! How are findings, pictures and tables one page? Plain HTML with its style inside: it can be mailed,
//! printed and read on a telephone, and it asks no other machine for anything.

use crate::report::chart::{Line, Panel, bars, escape, round_up, short};
use crate::report::findings::{findings, pairs, peak_memory};
use crate::report::rows::{Row, Run};
use crate::report::{timeline, words};
use crate::stress::{Language, Text, headings};
use std::collections::BTreeMap;
use std::fmt::Write;

pub const MIB: f64 = 1_048_576.0;

/// Colours that colour-blind readers tell apart (Okabe and Ito); dashes and names at the lines say the same.
const STYLE: &str = "\
:root{--ink:#1a1a1a;--soft:#595959;--grid:#d9d9d9;--page:#fff;\
--c0:#0072b2;--c1:#b34a00;--c2:#007a58;--c3:#8a4f7d}
@media(prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b0b0b0;--grid:#444;--page:#161616;\
--c0:#56b4e9;--c1:#f0a35e;--c2:#3cc79b;--c3:#d9a3c7}}
body{margin:0 auto;padding:1rem;max-width:70rem;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);\
background:var(--page)}
h1{font-size:1.6rem;line-height:1.2}h2{margin-top:2.5rem;font-size:1.25rem}h3{font-size:1rem}
.soft,.rows{color:var(--soft)}.rows{font-size:.85rem}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:.5rem 1rem}
svg{width:100%;height:auto;font:10px system-ui,sans-serif;break-inside:avoid}
svg text{fill:var(--soft)}svg .title{fill:var(--ink);font-weight:600;font-size:11px}
.left{text-anchor:end}.below{text-anchor:middle}
.axis{stroke:var(--soft)}.grid{stroke:var(--grid)}.line{fill:none;stroke-width:1.8}rect{fill:var(--c0)}
.spread{stroke-width:1.2;opacity:.7}.spread.c0{stroke:var(--c0)}.spread.c1{stroke:var(--c1)}
.spread.c2{stroke:var(--c2)}.spread.c3{stroke:var(--c3)}
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1);stroke-dasharray:6 2}
.line.c2{stroke:var(--c2);stroke-dasharray:2 2}
.line.c3{stroke:var(--c3);stroke-dasharray:8 2 2 2}
circle.c0,svg .name.c0{fill:var(--c0)}circle.c1,svg .name.c1{fill:var(--c1)}
circle.c2,svg .name.c2{fill:var(--c2)}
circle.c3,svg .name.c3{fill:var(--c3)}
.lanes{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(var(--lane),100%),1fr));gap:1rem}
.lanes svg{max-width:26rem}.lanes{--lane:26rem}.whole .lanes{--lane:16rem}body:has(.whole){max-width:90rem}
figure{margin:0;break-inside:avoid}figcaption{font-size:.85rem;color:var(--soft)}.bars{fill:none}
.bars.c0,.wait{stroke:var(--c0)}.wait{opacity:.35}.bars.c1{stroke:var(--c1)}.bars.c2{stroke:var(--c2)}
.bars.c3,.death{stroke:var(--c3)}.death{stroke-width:1.5}
svg .note{paint-order:stroke;stroke:var(--page);stroke-width:3}
.keys{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;list-style:none;font-size:.85rem}
.key::before{content:\"\";display:inline-block;width:1.8em;height:.6em;margin-right:.4em;background:var(--c0)}
.key.wait{opacity:1}.key.wait::before{opacity:.35}.key.c1::before{background:var(--c1)}
.key.c2::before{background:var(--c2)}.key.c3::before{background:var(--c3)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .5rem;text-align:right;border-bottom:1px solid var(--grid)}th{vertical-align:bottom}
td.word,th.word{text-align:left}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}
@media print{body{max-width:none;padding:0;font-size:.8rem}h2{break-after:avoid}tr{break-inside:avoid}\
.panels{grid-template-columns:repeat(3,1fr)}.wide{overflow:visible}}
";

/// A table: its headings, which column holds words, and its lines.
pub struct Table {
    pub head: Vec<String>,
    pub word: usize,
    pub lines: Vec<Vec<String>>,
}

impl Table {
    pub fn html(&self, name: &str) -> String {
        let class = |at: usize| if at == self.word { " class=\"word\"" } else { "" };
        let row = |cells: &[String], open: &str, close: &str| {
            let cells = cells.iter().enumerate();
            let cells = cells.map(|(at, cell)| format!("<{open}{}>{}</{close}>", class(at), escape(cell)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let lines: String = self.lines.iter().map(|line| row(line, "td", "td")).collect();
        // What scrolls must be reachable by the keyboard, and have a name.
        format!(
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{}\"><table>\n<thead>{}</thead>\n\
             <tbody>\n{lines}</tbody></table></div>\n",
            escape(name),
            row(&self.head, "th scope=\"col\"", "th")
        )
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = |at| if at == self.word { ":---" } else { "---:" }.to_owned();
        let rules: Vec<String> = (0..self.head.len()).map(rule).collect();
        let lines: String = self.lines.iter().map(|cells| line(cells)).collect();
        line(&self.head) + &line(&rules) + &lines
    }
}

/// A whole document: `body` is HTML, `title` is text.
pub fn document(language: Language, title: &str, body: &str) -> String {
    let (lang, title) = (language.code(), escape(title));
    format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>kolam: {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         {body}</main>\n</body>\n</html>\n"
    )
}

pub fn html(run: &Run, language: Language) -> String {
    let of = |text| escape(language.of(text));
    let mut page = format!(
        "<p class=\"soft\">{}</p>\n<h2>{}</h2>\n<ul>\n",
        escape(&summary(run, language)),
        of(words::FINDINGS)
    );
    for finding in findings(run, language) {
        let rows = match finding.rows.as_str() {
            "" => String::new(),
            rows => format!(" <span class=\"rows\">({} {rows})</span>", of(words::ROWS)),
        };
        let _ = writeln!(page, "<li>{}{rows}</li>", escape(&finding.text));
    }
    page += "</ul>\n";
    let largest = run.values("volume_mib").last().copied().unwrap_or(0);
    page += &section(language, words::THROUGHPUT, language.of(words::THROUGHPUT_NOTE));
    page += &panels(&throughput(run, language));
    page += &section(
        language,
        words::TIMES,
        &language.fill(words::TIMES_NOTE, &[&largest]),
    );
    page += &panels(&times(run, language, largest));
    if let Some(pictures) = timeline::pictures(run, language) {
        page += &(section(language, words::LANES, "") + &pictures);
    }
    page += &section(language, words::COST, "");
    page += &format!("<div class=\"panels\">\n{}</div>\n", costs(run, language));
    page += &section(language, words::FAILURES, &no_failures(run, language));
    page += &failures(run, language).map_or(String::new(), |table| table.html(language.of(words::FAILURES)));
    if let Some(table) = paired(run, language) {
        page += &section(language, words::PAIRS, language.of(words::PAIRS_NOTE));
        page += &table.html(language.of(words::PAIRS));
    }
    page += &section(language, words::TABLES, "");
    for mode in run.modes() {
        let name = language.fill(words::MODE, &[&mode]);
        page += &format!(
            "<h3>{}</h3>\n{}",
            escape(&name),
            assignment(run, mode, language).html(&name)
        );
    }
    if !run.ab.is_empty() {
        page += &section(language, words::AB, "");
        page += &format!("<pre tabindex=\"0\">{}</pre>\n", escape(&run.ab));
    }
    page += &section(language, words::MACHINE, "");
    page += &format!("<pre>{}</pre>\n", escape(&run.machine));
    document(language, language.of(words::TITLE), &page)
}

pub fn markdown(run: &Run, language: Language) -> String {
    let of = |text| language.of(text);
    let mut text = format!(
        "# {}\n\n{}\n\n## {}\n\n",
        of(words::TITLE),
        summary(run, language),
        of(words::FINDINGS)
    );
    for finding in findings(run, language) {
        let rows = match finding.rows.as_str() {
            "" => String::new(),
            rows => format!(" ({} {rows})", of(words::ROWS)),
        };
        let _ = writeln!(text, "- {}{rows}", finding.text);
    }
    let _ = write!(text, "\n## {}\n\n", of(words::FAILURES));
    text +=
        &failures(run, language).map_or_else(|| no_failures(run, language) + "\n", |table| table.markdown());
    if let Some(table) = paired(run, language) {
        let (heading, note) = (of(words::PAIRS), of(words::PAIRS_NOTE));
        let _ = write!(text, "\n## {heading}\n\n{note}\n\n{}", table.markdown());
    }
    for mode in run.modes() {
        let heading = language.fill(words::MODE, &[&mode]);
        let _ = write!(
            text,
            "\n## {heading}\n\n{}",
            assignment(run, mode, language).markdown()
        );
    }
    if !run.ab.is_empty() {
        let _ = write!(
            text,
            "\n## {}\n\n{}",
            of(words::AB),
            run.ab.replace("\n#", "\n##")
        );
    }
    text + &format!("\n## {}\n\n```text\n{}```\n", of(words::MACHINE), run.machine)
}

fn section(language: Language, heading: Text, note: &str) -> String {
    let note = match note {
        "" => String::new(),
        note => format!("<p class=\"soft\">{}</p>\n", escape(note)),
    };
    format!("<h2>{}</h2>\n{note}", escape(language.of(heading)))
}

fn panels(panels: &[Panel]) -> String {
    let pictures: String = panels.iter().map(Panel::draw).collect();
    format!("<div class=\"panels\">\n{pictures}</div>\n")
}

fn clients_of(run: &Run) -> (u64, u64) {
    let sum = |title| run.rows.iter().map(|row| row.count(title)).sum();
    (sum("client_ok"), sum("client_failed"))
}

fn summary(run: &Run, language: Language) -> String {
    let (ok, failed) = clients_of(run);
    language.fill(words::SUMMARY, &[&run.rows.len(), &ok, &(ok + failed)])
}

// ---- pictures ----

/// A panel a mode, operation and volume; a line a number of server workers.
fn throughput(run: &Run, language: Language) -> Vec<Panel> {
    let numbers = run.values("client_workers");
    let mut drawn = Vec::new();
    for operation in run.operations() {
        let rates = run.rows.iter().filter(|row| row.text("operation") == operation);
        let rates = rates.filter_map(|row| row.number("total_high_Bps").or(row.number("total_Bps")));
        let top = round_up(rates.fold(0.0, f64::max) / MIB);
        for mode in run.modes() {
            for volume in run.values("volume_mib") {
                let line = |workers: &u64| {
                    let rate = |clients: &u64| {
                        let row = run.find(mode, (operation, volume, *clients, *workers))?;
                        row.rate()
                    };
                    let rates: Vec<_> = numbers.iter().map(rate).collect();
                    let spread = |(low, high): (f64, f64)| (low / MIB, high / MIB);
                    Line {
                        name: language.workers(*workers),
                        values: rates.iter().map(|rate| Some(rate.as_ref()?.0 / MIB)).collect(),
                        spreads: rates.iter().map(|rate| rate.as_ref()?.1.map(spread)).collect(),
                    }
                };
                drawn.push(Panel {
                    title: format!("{mode}: {operation}, {volume} MiB"),
                    below: language.of(words::CLIENTS).to_owned(),
                    unit: "MiB/s".to_owned(),
                    numbers: numbers.clone(),
                    lines: run.values("server_workers").iter().map(line).collect(),
                    top,
                });
            }
        }
    }
    drawn.retain(has_figures);
    drawn
}

fn has_figures(panel: &Panel) -> bool {
    let mut values = panel.lines.iter().flat_map(|line| &line.values);
    values.any(Option::is_some)
}

/// A panel a mode, operation and number of server workers, for the largest files; a line a percentile.
fn times(run: &Run, language: Language, volume: u64) -> Vec<Panel> {
    let numbers = run.values("client_workers");
    let mut drawn = Vec::new();
    for operation in run.operations() {
        let rows = run.rows.iter().filter(|row| row.text("operation") == operation);
        let rows = rows.filter(|row| row.count("volume_mib") == volume);
        let top = round_up(rows.filter_map(|row| row.number("max_s")).fold(0.0, f64::max));
        for mode in run.modes() {
            for workers in run.values("server_workers") {
                let line = |(name, column): (&str, &str)| Line {
                    name: name.to_owned(),
                    spreads: Vec::new(),
                    values: numbers
                        .iter()
                        .map(|clients| {
                            run.find(mode, (operation, volume, *clients, workers))?
                                .number(column)
                        })
                        .collect(),
                };
                let columns = [("p50", "p50_s"), ("p95", "p95_s"), ("max", "max_s")];
                drawn.push(Panel {
                    title: format!("{mode}: {operation}, {}", language.workers(workers)),
                    below: language.of(words::CLIENTS).to_owned(),
                    unit: language.of(words::SECONDS).to_owned(),
                    numbers: numbers.clone(),
                    lines: columns.map(line).into(),
                    top,
                });
            }
        }
    }
    drawn.retain(has_figures);
    drawn
}

/// Memory, and processor time for what was moved.
fn costs(run: &Run, language: Language) -> String {
    let memory = run.modes().into_iter();
    let memory: Vec<(String, f64)> = memory
        .filter_map(|mode| Some((mode.to_owned(), peak_memory(run, mode)?)))
        .collect();
    let mut processor = Vec::new();
    for mode in run.modes() {
        for operation in run.operations() {
            let rows = run.of_mode(mode).filter(|row| row.text("operation") == operation);
            let spent = rows.filter_map(|row| Some((row.number("server_cpu_s")?, moved(row)?)));
            let (seconds, bytes) = spent.fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
            if bytes > 0.0 {
                processor.push((format!("{mode}, {operation}"), seconds / (bytes / MIB / 1024.0)));
            }
        }
    }
    let drawn = [
        (words::MEMORY, "MiB", memory),
        (words::CPU, language.of(words::CPU_UNIT), processor),
    ];
    let drawn = drawn.into_iter().filter(|(.., values)| !values.is_empty());
    drawn
        .map(|(title, unit, values)| bars(language.of(title), unit, &values))
        .collect()
}

/// Bytes that arrived right in a row.
fn moved(row: &Row) -> Option<f64> {
    Some(row.number("total_Bps")? * row.number("wall_s")?)
}

// ---- tables ----

fn no_failures(run: &Run, language: Language) -> String {
    match clients_of(run) {
        (ok, 0) => language.fill(words::NO_FAILURES, &[&ok]),
        _ => String::new(),
    }
}

/// Failed clients by cause and mode; `None`: there are none.
fn failures(run: &Run, language: Language) -> Option<Table> {
    let modes = run.modes();
    let mut counts: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for row in &run.rows {
        let mode = modes.iter().position(|mode| *mode == row.mode())?;
        for (cause, count) in row.failures() {
            counts.entry(cause).or_insert_with(|| vec![0; modes.len()])[mode] += count;
        }
    }
    let mut head = vec![language.of(words::CAUSE).to_owned()];
    head.extend(modes.iter().map(|mode| (*mode).to_owned()));
    let line = |(cause, counts): (&str, Vec<u64>)| {
        let counts = counts.iter().map(u64::to_string);
        [cause.to_owned()].into_iter().chain(counts).collect()
    };
    let lines: Vec<Vec<String>> = counts.into_iter().map(line).collect();
    (!lines.is_empty()).then_some(Table { head, word: 0, lines })
}

/// Thread against process, a line a combination.
fn paired(run: &Run, language: Language) -> Option<Table> {
    let line = |(thread, process): (&Row, &Row)| {
        let (operation, volume, clients, servers) = thread.combination();
        let (a, b) = (thread.rate()?.0, process.rate()?.0);
        let numbers = [volume, clients, servers].map(|number| number.to_string());
        let mut cells = vec![operation.to_owned()];
        cells.extend(numbers);
        cells.extend([short(a / MIB), short(b / MIB), format!("{:.2}", b / a)]);
        Some(cells)
    };
    let lines: Vec<Vec<String>> = pairs(run, ["thread", "process"])
        .into_iter()
        .filter_map(line)
        .collect();
    let titles = headings(language);
    let mut head: Vec<String> = titles[1..5].to_vec();
    head.extend([
        "thread".to_owned(),
        "process".to_owned(),
        language.of(words::RATIO).to_owned(),
    ]);
    (!lines.is_empty()).then_some(Table { head, word: 0, lines })
}

/// The assignment's nine columns.
fn assignment(run: &Run, mode: &str, language: Language) -> Table {
    let cell = |row: &Row, title: &str, digits: usize| match row.number(title) {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    let both = |row: &Row, ok: &str, failed: &str| match row.text(ok) {
        "" => "-".to_owned(),
        ok => format!("{ok}/{}", row.text(failed)),
    };
    let about = |row: &Row| if row.is_noisy() { "~" } else { "" };
    let line = |row: &Row| {
        vec![
            row.text("no").to_owned(),
            row.text("operation").to_owned(),
            row.text("volume_mib").to_owned(),
            row.text("client_workers").to_owned(),
            row.text("server_workers").to_owned(),
            cell(row, "time_per_client_s", 4),
            about(row).to_owned() + &cell(row, "throughput_per_client_Bps", 0),
            both(row, "client_ok", "client_failed"),
            both(row, "server_ok", "server_failed"),
        ]
    };
    Table {
        head: headings(language).into(),
        word: 1,
        lines: run.of_mode(mode).map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows::tests::run;

    fn example() -> Run {
        run(&[
            ("thread", "download", 10, 1, 1, 1e9),
            ("thread", "download", 10, 50, 1, 2e9),
            ("process", "download", 10, 1, 1, 1.5e9),
            ("process", "download", 10, 50, 1, 2e9),
        ])
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = html(&example(), Language::English);
        for word in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(
            page.matches("<svg").count(),
            page.matches("role=\"img\" aria-label=\"").count()
        );
        assert_eq!(page.matches("<h1>").count(), 1);
        assert!(page.contains("<html lang=\"en\">"));
    }

    #[test]
    fn every_text_of_the_page_is_in_the_language_that_was_asked_for() {
        let page = html(&example(), Language::Indonesian);
        for word in [
            "Jumlah",
            "Apa kata hasil uji",
            "worker client",
            "detik",
            "lang=\"id\"",
        ] {
            assert!(page.contains(word), "{word}");
        }
        for word in [
            "workers",
            "seconds",
            "What ",
            " clients",
            "Failures",
            "Throughput per client (bytes",
        ] {
            assert!(!page.contains(word) || word.starts_with("Throughput"), "{word}");
        }
    }

    #[test]
    fn what_a_file_says_cannot_change_the_page() {
        let mut run = example();
        run.machine = "cpu </pre><script>alert(1)</script>\n".to_owned();
        assert!(!html(&run, Language::English).contains("<script"));
    }

    #[test]
    fn both_forms_hold_each_row_and_each_pair() {
        let text = markdown(&example(), Language::English);
        assert!(
            text.contains("| download | 10 | 50 | 1 | 1,907 | 1,907 | 1.00 |"),
            "{text}"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("| download | 10 |"))
                .count(),
            2 + 4
        );
        assert!(text.contains("cpu        Test"));
    }
}
