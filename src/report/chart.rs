//! How do figures become a picture? Lines over a few numbers of clients, and bars, in SVG. The length of a
//! bar and the height of a point begin at zero; each line bears its name at its end; and each picture says
//! in words what it shows, for those who do not see it.

use std::fmt::Write;
use std::iter;

/// A panel in units of its own; the page gives it its size.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;
/// Room for the figures on the left, the names of the lines on the right, the titles above and below.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 62.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 38.0;

/// Least distance of two names, in units.
const LETTERS: f64 = 12.0;

pub struct Line {
    pub name: String,
    /// One for each number below the panel; `None`: not measured.
    pub values: Vec<Option<f64>>,
    /// The lowest and highest of each, where there are several; shorter: there are none.
    pub spreads: Vec<Option<(f64, f64)>>,
}

pub struct Panel {
    pub title: String,
    /// What the numbers below it and left of it are.
    pub below: String,
    pub unit: String,
    pub numbers: Vec<u64>,
    pub lines: Vec<Line>,
    /// The figure at the top: panels that are compared have the same.
    pub top: f64,
}

/// Text inside of HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A figure in about three digits: `0.0123`, `1.23`, `12.3`, `1,230`.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        ..0.0995 => 4,
        ..0.995 => 3,
        ..9.95 => 2,
        ..99.5 => 1,
        _ => 0,
    };
    grouped(&format!("{value:.digits$}"))
}

/// The digits before the point in groups of three.
fn grouped(number: &str) -> String {
    let whole = number.split('.').next().unwrap_or_default().len();
    let mut text = String::new();
    for (at, digit) in number.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The distance of the marks on the axis: 1, 2 or 5 times a power of ten, three to six of them up to `top`.
fn step(top: f64) -> f64 {
    let power = 10_f64.powf((top / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| top / step <= 6.0).unwrap_or(top)
}

/// The marks of an axis up to `top`, each with its text.
pub fn marks(top: f64) -> Vec<(f64, String)> {
    let step = step(top);
    // As many as the distance of two marks has.
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let values = (0..=(top / step).round() as u32).map(|mark| f64::from(mark) * step);
    let text = |value| grouped(&format!("{value:.digits$}"));
    values.map(|value| (value, text(value))).collect()
}

/// A round figure that is not below `value`, for `Panel::top`.
pub fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let step = step(value);
    (value / step).ceil() * step
}

impl Panel {
    /// Where a figure stands, from the top of the picture.
    fn height(&self, value: f64) -> f64 {
        TOP + (1.0 - value / self.top) * (HEIGHT - TOP - BOTTOM)
    }

    /// Where the number at `index` stands, from the left.
    fn across(&self, index: usize) -> f64 {
        let gaps = (self.numbers.len() - 1).max(1) as f64;
        LEFT + 8.0 + index as f64 / gaps * (WIDTH - LEFT - RIGHT - 16.0)
    }

    /// The picture in words.
    fn in_words(&self) -> String {
        let numbers: Vec<String> = self.numbers.iter().map(u64::to_string).collect();
        let mut text = format!(
            "{}. {}, {}: {}.",
            self.title,
            self.unit,
            self.below,
            numbers.join(", ")
        );
        for line in &self.lines {
            let spreads = line.spreads.iter().copied().chain(iter::repeat(None));
            let values = line.values.iter().zip(spreads).map(|(value, spread)| {
                let spread = spread.map(|(low, high)| format!(" ({} – {})", short(low), short(high)));
                value.map_or("–".to_owned(), short) + &spread.unwrap_or_default()
            });
            let values: Vec<String> = values.collect();
            let _ = write!(text, " {}: {}.", line.name, values.join("; "));
        }
        text
    }

    pub fn draw(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"12\">{}</text>\n\
             <text x=\"{LEFT}\" y=\"26\">{}</text>\n",
            escape(&self.in_words()),
            escape(&self.title),
            escape(&self.unit)
        );
        self.draw_axes(&mut svg);
        for (index, line) in self.lines.iter().enumerate() {
            self.draw_line(&mut svg, index, line);
        }
        self.draw_names(&mut svg);
        svg + "</svg>\n"
    }

    fn draw_axes(&self, svg: &mut String) {
        let right = WIDTH - RIGHT;
        for (value, mark) in marks(self.top) {
            let (at, class) = (self.height(value), if value == 0.0 { "axis" } else { "grid" });
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"left\" x=\"{:.1}\" \
                 y=\"{:.1}\">\
                 {}</text>",
                LEFT - 5.0,
                at + 3.5,
                mark
            );
        }
        for (index, number) in self.numbers.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text class=\"below\" x=\"{:.1}\" y=\"{:.1}\">{number}</text>",
                self.across(index),
                HEIGHT - BOTTOM + 14.0
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"below\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - BOTTOM + 29.0,
            escape(&self.below)
        );
    }

    fn draw_line(&self, svg: &mut String, index: usize, line: &Line) {
        let mut path = String::new();
        let mut points = String::new();
        let mut pen = 'M';
        for (at, value) in line.values.iter().enumerate() {
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            let (x, y) = (self.across(at), self.height(*value));
            let _ = write!(path, "{pen}{x:.1} {y:.1}");
            let _ = write!(
                points,
                "<circle class=\"c{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"
            );
            if let Some(Some((low, high))) = line.spreads.get(at) {
                let (low, high) = (self.height(*low), self.height(*high));
                let _ = write!(
                    points,
                    "<path class=\"spread c{index}\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>"
                );
            }
            pen = 'L';
        }
        let _ = writeln!(svg, "<path class=\"line c{index}\" d=\"{path}\"/>{points}");
    }

    /// The names stand where the lines end, moved apart where those are close together.
    fn draw_names(&self, svg: &mut String) {
        let mut names: Vec<(f64, usize)> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let last = line.values.iter().rev().find_map(|value| *value);
            names.extend(last.map(|value| (self.height(value), index)));
        }
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = TOP - LETTERS;
        // From the bottom there must be room for all those that follow.
        let lowest = |left: usize| HEIGHT - BOTTOM - left as f64 * LETTERS;
        let count = names.len();
        for (at, (height, index)) in names.into_iter().enumerate() {
            let place = height.max(free + LETTERS).min(lowest(count - 1 - at));
            free = place;
            let _ = writeln!(
                svg,
                "<text class=\"name c{index}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT + 2.0,
                place + 3.5,
                escape(&self.lines[index].name)
            );
        }
    }
}

/// Bars of one unit, each with its name and its figure.
pub fn bars(title: &str, unit: &str, values: &[(String, f64)]) -> String {
    const BAR: f64 = 22.0;
    let longest = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let (names, room) = (110.0, WIDTH - 110.0 - 52.0);
    let figures: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name}: {}", short(*value)))
        .collect();
    let height = TOP + BAR * values.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n\
         <text class=\"title\" x=\"0\" y=\"12\">{}</text><text x=\"0\" y=\"26\">{}</text>\n",
        escape(&format!("{title}, {unit}. {}.", figures.join("; "))),
        escape(title),
        escape(unit)
    );
    for (index, (name, value)) in values.iter().enumerate() {
        let top = TOP + index as f64 * BAR;
        let length = if longest > 0.0 {
            value / longest * room
        } else {
            0.0
        };
        let _ = writeln!(
            svg,
            "<text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <rect x=\"{names}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{1:.1}\">{}</text>",
            names - 6.0,
            top + 13.0,
            escape(name),
            BAR - 6.0,
            names + length + 4.0,
            short(*value)
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let table = [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (0.5, "0.500"),
            (1.234, "1.23"),
            (99.96, "100"),
            (1234.6, "1,235"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in table {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn the_axis_ends_with_a_round_figure() {
        for (value, top) in [
            (0.0, 1.0),
            (0.9, 1.0),
            (7.0, 8.0),
            (23.0, 25.0),
            (101.0, 120.0),
            (5000.0, 5000.0),
        ] {
            let found = round_up(value);
            assert!((found - top).abs() < 1e-9, "{value}: {found} and not {top}");
        }
    }

    fn panel(lines: Vec<Line>) -> Panel {
        Panel {
            title: "a <b>".to_owned(),
            below: "clients".to_owned(),
            unit: "MiB/s".to_owned(),
            numbers: vec![1, 5, 50],
            lines,
            top: 10.0,
        }
    }

    #[test]
    fn a_picture_says_in_words_what_it_shows() {
        let line = |name: &str, values: [Option<f64>; 3]| Line {
            name: name.to_owned(),
            values: values.to_vec(),
            spreads: vec![Some((0.5, 1.5))],
        };
        let lines = vec![
            line("1 worker", [Some(1.0), None, Some(9.9)]),
            line("5 workers", [Some(2.0), Some(3.0), Some(10.0)]),
        ];
        let svg = panel(lines).draw();
        let words = "aria-label=\"a &lt;b&gt;. MiB/s, clients: 1, 5, 50. \
                     1 worker: 1.00 (0.500 – 1.50); –; 9.90. 5 workers: ";
        assert!(svg.contains(words), "{svg}");
        // What was not measured leaves a gap.
        assert_eq!(svg.matches("<circle").count(), 5);
        assert_eq!(svg.matches("class=\"spread c").count(), 2, "one for each line");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn names_of_lines_do_not_cover_each_other() {
        let line = |index: usize| Line {
            name: format!("line {index}"),
            values: vec![Some(9.9), Some(9.9), Some(9.9)],
            spreads: Vec::new(),
        };
        let svg = panel((0..5).map(line).collect()).draw();
        let names = svg.lines().filter(|line| line.contains("class=\"name"));
        let mut heights: Vec<f64> = names
            .map(|line| {
                line.split("y=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        heights.sort_by(f64::total_cmp);
        assert!(
            heights.windows(2).all(|pair| pair[1] - pair[0] >= LETTERS - 0.11),
            "{heights:?}"
        );
    }
}
