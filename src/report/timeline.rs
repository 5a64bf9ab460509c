//! How do the modes serve the same clients? A lane for each worker of the server, in it a bar for each
//! request, pale as long as its client waits for the worker. All of it stands in `trace.csv`: the clock of
//! the clients is that of the server's log.

use crate::report::chart::{escape, marks, round_up, short};
use crate::report::page;
use crate::report::rows::{Row, Run};
use crate::report::words;
use crate::stress::{Language, Text};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// A picture in units of its own, as in `chart.rs`: its width, the room for the names of the workers, for the
/// titles, for the seconds below, and at the right for half of the last of them.
const WIDTH: f64 = 300.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 32.0;
const RIGHT: f64 = 14.0;

/// All bars of a picture together, one below the other, and the thickest.
const BARS: f64 = 220.0;
const THICKEST: f64 = 9.0;

/// Height of a line of text, and the least of a lane that has a name beside it.
const TEXT: f64 = 12.0;

/// More lanes than this have no names: there is no room.
const NAMED: usize = 12;

/// Most requests in a picture, the first that were taken: a page stays far below 300 KB.
const MOST: usize = 400;

/// Most lanes without a request, as many as a server can have workers: the file may be that of a stranger.
const LANES: u64 = 4096;

/// The latest time in seconds, as long as an option can make a run; another one was not measured.
const LATEST: f64 = 1e9;

/// What a shorter bar is drawn as, in units: less cannot be seen.
const HAIR: f64 = 0.5;

/// What stands in one line of the trace; times in seconds.
struct Request {
    process: u64,
    connected: f64,
    taken: f64,
    /// The worker was done with it, or died.
    end: f64,
    /// The client has the last byte.
    last: f64,
    kind: Kind,
}

/// Its colour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Usual,
    Slow,
    /// Of a worker that has replaced one.
    Successor,
    /// Its worker was killed.
    Lost,
}

impl Kind {
    fn class(self) -> &'static str {
        ["c0", "c1", "c2", "c3"][self as usize]
    }
}

/// A worker, whatever processes it has been.
#[derive(Default)]
struct Lane {
    requests: Vec<Request>,
    /// When its process died, and which that was.
    deaths: Vec<(f64, u64)>,
}

/// One row of the stress test.
struct Scene<'r> {
    row: &'r Row,
    lanes: BTreeMap<u64, Lane>,
    /// Clients that no worker took.
    untaken: usize,
}

impl Scene<'_> {
    /// The row of `mode` with the most clients, and of these with the most workers that have names; `None`:
    /// nothing was traced.
    fn of<'r>(run: &'r Run, mode: &'r str) -> Option<Scene<'r>> {
        let lines = |row: &Row| {
            let (number, began) = (row.text("no").to_owned(), row.text("timestamp").to_owned());
            let of_row = move |line: &&Row| line.text("no") == number && line.text("timestamp") == began;
            run.trace.iter().filter(of_row)
        };
        let traced = run.of_mode(mode).filter(|row| lines(row).next().is_some());
        let row = traced.max_by_key(|row| {
            let (operation, volume, clients, workers) = row.combination();
            let named = if workers > NAMED as u64 { 0 } else { workers };
            (clients, named, operation == "download", volume)
        })?;
        let workers = 0..row.count("server_workers").min(LANES);
        let mut lanes: BTreeMap<u64, Lane> = workers.map(|worker| (worker, Lane::default())).collect();
        let mut untaken = 0;
        for line in lines(row) {
            let lane = lanes.entry(line.count("worker")).or_default();
            match (line.text("what"), time(line, "taken_s")) {
                ("death", _) => lane.deaths.extend(
                    time(line, "done_s")
                        .zip(line.number("process"))
                        .map(|(at, process)| (at, process as u64)),
                ),
                (what, Some(taken)) => lane.requests.push(Request::from(line, what, taken)),
                (_, None) => untaken += 1,
            }
        }
        lanes.values_mut().for_each(Lane::arrange);
        Some(Scene { row, lanes, untaken })
    }

    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.lanes.values().flat_map(|lane| &lane.requests)
    }

    /// Seconds to its last end.
    fn length(&self) -> f64 {
        self.requests()
            .map(|one| one.end.max(one.last))
            .fold(0.0, f64::max)
    }

    fn title(&self, language: Language) -> (String, String) {
        let (operation, volume, clients, workers) = self.row.combination();
        let (workers, number) = (language.workers(workers), self.row.text("no"));
        let figures: [&dyn Display; 5] = [&clients, &workers, &operation, &volume, &number];
        let title = language.fill(words::MODE, &[&self.row.mode()]);
        (title, language.fill(words::SCENE, &figures))
    }

    /// What the picture shows, in sentences. There must be a request: `pictures` leaves out a scene without.
    fn told(&self, language: Language) -> String {
        let mut waits: Vec<f64> = self.requests().map(Request::wait).collect();
        waits.sort_by(f64::total_cmp);
        let (half, longest) = (waits[(waits.len() - 1) / 2], waits[waits.len() - 1]);
        let figures = [half, longest, self.length()].map(short);
        let mut text = language.fill(words::WAITED, &[&figures[0], &figures[1], &figures[2]]);
        text += &language.fill(words::AT_ONCE, &[&at_once(self.requests())]);
        for lane in self.lanes.values() {
            for slow in lane.requests.iter().filter(|one| one.kind == Kind::Slow) {
                let meanwhile = |one: &&Request| one.taken > slow.taken && one.taken < slow.end;
                let others = lane.requests.iter().filter(meanwhile).count();
                text += &language.fill(words::MEANWHILE, &[&short(slow.end - slow.taken), &others]);
            }
            for (at, process) in &lane.deaths {
                let after = lane.requests.iter().filter(|one| one.taken > *at).count();
                text += &language.fill(words::KILLED, &[process, &short(*at), &after]);
            }
        }
        if waits.len() > MOST {
            text += &language.fill(words::DRAWN, &[&MOST, &waits.len()]);
        }
        if self.untaken > 0 {
            text += &language.fill(words::UNTAKEN, &[&self.untaken]);
        }
        text
    }
}

/// Seconds since the row began.
fn time(line: &Row, title: &str) -> Option<f64> {
    let time = line.number(title);
    time.filter(|time| (0.0..=LATEST).contains(time))
}

impl Request {
    fn from(line: &Row, what: &str, taken: f64) -> Request {
        let connected = time(line, "connected_s").unwrap_or(taken);
        let last = time(line, "last_byte_s").unwrap_or(taken);
        Request {
            process: line.count("process"),
            connected,
            taken,
            // Without it, its worker has died: `arrange` knows when.
            end: time(line, "done_s").unwrap_or(f64::NAN),
            last,
            kind: if what == "slow client" {
                Kind::Slow
            } else {
                Kind::Usual
            },
        }
    }

    /// How long its client waited for a worker.
    fn wait(&self) -> f64 {
        (self.taken - self.connected).max(0.0)
    }
}

impl Lane {
    /// Orders the requests by when they were taken, and finds those that a death has ended, and those after.
    fn arrange(&mut self) {
        for one in &mut self.requests {
            let death = self.deaths.iter().find(|(_, process)| *process == one.process);
            if one.end.is_nan() {
                one.end = death.map_or(one.last, |(at, _)| *at);
                one.kind = if death.is_some() { Kind::Lost } else { one.kind };
            } else if one.kind == Kind::Usual && self.deaths.iter().any(|(at, _)| one.taken > *at) {
                one.kind = Kind::Successor;
            }
        }
        self.requests.sort_by(|a, b| a.taken.total_cmp(&b.taken));
    }

    /// What is written above its bars, each with its colour.
    fn notes(&self, language: Language) -> Vec<(Kind, String)> {
        let slow = self.requests.iter().filter(|one| one.kind == Kind::Slow);
        let mut notes: Vec<(Kind, String)> = slow
            .map(|one| {
                (
                    Kind::Slow,
                    language.fill(words::SLOW_ONE, &[&short(one.end - one.taken)]),
                )
            })
            .collect();
        for (at, _) in &self.deaths {
            let next = self.requests.iter().find(|one| one.taken > *at);
            let next = next.map_or(String::new(), |one| language.fill(words::THEN, &[&one.process]));
            notes.push((Kind::Lost, language.fill(words::DEATH, &[&short(*at)]) + &next));
        }
        notes
    }
}

/// Most requests that were served at the same time.
fn at_once<'r>(requests: impl Iterator<Item = &'r Request>) -> usize {
    let mut steps: Vec<(f64, bool)> = requests
        .flat_map(|one| [(one.taken, true), (one.end, false)])
        .collect();
    // Of an end and a beginning at one time, the end comes first.
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in steps {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// A picture that is drawn from the top down.
struct Canvas {
    language: Language,
    /// The last second, of all pictures that are compared.
    top: f64,
    /// Of a bar.
    thickness: f64,
    /// Requests that were taken later are not drawn.
    latest: f64,
    /// Are the lanes few enough to have names?
    named: bool,
    /// Where the next thing goes.
    y: f64,
    /// The bars, all of one colour in one path: by its class, and whether it is thin.
    bars: BTreeMap<(&'static str, bool), String>,
    /// What lies over them.
    over: String,
}

/// Where a time stands, from the left.
fn across(time: f64, top: f64) -> f64 {
    LEFT + time / top * (WIDTH - LEFT - RIGHT)
}

impl Canvas {
    fn new(scene: &Scene, language: Language, top: f64) -> Canvas {
        let mut taken: Vec<f64> = scene.requests().map(|one| one.taken).collect();
        taken.sort_by(f64::total_cmp);
        Canvas {
            language,
            top,
            thickness: (BARS / taken.len().clamp(1, MOST) as f64).min(THICKEST),
            latest: taken.get(MOST - 1).copied().unwrap_or(f64::INFINITY),
            named: scene.lanes.len() <= NAMED,
            y: TOP,
            bars: BTreeMap::new(),
            over: String::new(),
        }
    }

    /// A bar from one time to another, in the middle of the place of a request.
    fn bar(&mut self, class: &'static str, thin: bool, from: f64, to: f64) {
        let (left, right) = (across(from, self.top), across(to, self.top));
        let path = self.bars.entry((class, thin)).or_default();
        let middle = self.y + self.thickness / 2.0;
        let _ = write!(path, "M{left:.1} {middle:.1}H{:.1}", right.max(left + HAIR));
    }

    fn request(&mut self, one: &Request) {
        let class = one.kind.class();
        if one.wait() > 0.0 {
            self.bar("wait", false, one.connected, one.taken);
        }
        if one.last > one.end && one.kind != Kind::Lost {
            self.bar(class, true, one.end, one.last);
        }
        self.bar(class, false, one.taken, one.end);
        self.y += self.thickness;
    }

    /// Notes, then bars, and the name of the worker at the left.
    fn lane(&mut self, worker: u64, lane: &Lane) {
        let begin = self.y;
        for (kind, note) in lane.notes(self.language) {
            self.y += TEXT;
            let (class, note, at) = (kind.class(), escape(&note), self.y - 3.0);
            let text =
                format!("<text class=\"note name {class}\" x=\"{LEFT}\" y=\"{at:.1}\">{note}</text>\n");
            self.over += &text;
        }
        let bars = self.y;
        let latest = self.latest;
        for one in lane.requests.iter().filter(|one| one.taken <= latest) {
            self.request(one);
        }
        for (at, _) in &lane.deaths {
            let (x, y) = (across(*at, self.top), self.y);
            let _ = writeln!(
                self.over,
                "<path class=\"death\" d=\"M{x:.1} {bars:.1}V{y:.1}\"/>"
            );
        }
        let least = if self.named { TEXT } else { 1.0 };
        self.y = self.y.max(begin + least) + 4.0;
        let _ = writeln!(
            self.over,
            "<path class=\"grid\" d=\"M0 {:.1}H{WIDTH}\"/>",
            self.y - 2.0
        );
        if self.named {
            let name = self.language.fill(words::WORKER, &[&worker]);
            let _ = writeln!(
                self.over,
                "<text x=\"0\" y=\"{:.1}\">{name}</text>",
                (begin + self.y) / 2.0 + 1.5
            );
        }
    }

    /// The seconds, from the first lane to the last.
    fn seconds(&self) -> String {
        let (mut svg, y) = (String::new(), self.y);
        for (time, mark) in marks(self.top) {
            let (x, below) = (across(time, self.top), y + 12.0);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{y:.1}\"/>\
                 <text class=\"below\" x=\"{x:.1}\" y=\"{below:.1}\">{mark}</text>"
            );
        }
        let (x, below, unit) = ((LEFT + WIDTH) / 2.0, y + 25.0, self.language.of(words::SECONDS));
        svg + &format!("<text class=\"below\" x=\"{x:.1}\" y=\"{below:.1}\">{unit}</text>\n")
    }
}

impl Scene<'_> {
    /// The picture, and in words for those who do not see it; `top`: its last second.
    fn draw(&self, language: Language, top: f64) -> String {
        let mut canvas = Canvas::new(self, language, top);
        self.lanes
            .iter()
            .for_each(|(worker, lane)| canvas.lane(*worker, lane));
        let (title, about) = self.title(language);
        let words = escape(&format!("{title}. {about}. {}", self.told(language)));
        let bars = canvas.bars.iter().map(|((class, thin), path)| {
            let width = canvas.thickness * if *thin { 0.25 } else { 0.85 };
            format!("<path class=\"bars {class}\" stroke-width=\"{width:.2}\" d=\"{path}\"/>\n")
        });
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{words}\">\n\
             <text class=\"title\" x=\"0\" y=\"12\">{}</text><text x=\"0\" y=\"26\">{}</text>\n\
             {}{}{}</svg>\n",
            canvas.y + BOTTOM,
            escape(&title),
            escape(&about),
            canvas.seconds(),
            bars.collect::<String>(),
            canvas.over
        )
    }
}

/// What the colours mean that occur.
fn keys(scenes: &[Scene], language: Language) -> String {
    let occurs = |kind| {
        scenes
            .iter()
            .flat_map(Scene::requests)
            .any(|one| one.kind == kind)
    };
    let kinds = [Kind::Usual, Kind::Slow, Kind::Successor, Kind::Lost].into_iter();
    let classes = kinds.map(|kind| occurs(kind).then(|| kind.class()));
    let classes = [Some("wait")].into_iter().chain(classes).zip(words::KEYS);
    let key = |(class, text): (Option<&str>, Text)| {
        let class = class?;
        Some(format!("<li class=\"key {class}\">{}</li>", language.of(text)))
    };
    format!(
        "<ul class=\"keys\">{}</ul>\n",
        classes.filter_map(key).collect::<String>()
    )
}

/// The pictures of all modes side by side, with what they show in words; `None`: nothing was traced.
pub fn pictures(run: &Run, language: Language) -> Option<String> {
    let scenes = run.modes().into_iter().filter_map(|mode| Scene::of(run, mode));
    let scenes: Vec<Scene> = scenes.filter(|scene| scene.requests().next().is_some()).collect();
    let top = round_up(scenes.iter().map(Scene::length).fold(0.0, f64::max));
    let figures = scenes.iter().map(|scene| {
        let (picture, told) = (scene.draw(language, top), escape(&scene.told(language)));
        format!("<figure>\n{picture}<figcaption>{told}</figcaption></figure>\n")
    });
    let (keys, figures) = (keys(&scenes, language), figures.collect::<String>());
    let how = escape(language.of(words::LANES_NOTE));
    (!scenes.is_empty())
        .then(|| format!("<p class=\"soft\">{how}</p>\n{keys}<div class=\"lanes\">\n{figures}</div>\n"))
}

/// A page with nothing else.
pub fn html(run: &Run, language: Language) -> Option<String> {
    // As wide as a screen: four pictures side by side.
    let (pictures, machine) = (pictures(run, language)?, escape(&run.machine));
    let body = format!("<div class=\"whole\">\n{pictures}</div>\n<pre>{machine}</pre>\n");
    Some(page::document(language, language.of(words::LANES), &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows::{parse, tests::run};
    use crate::stress::Language::{English, Indonesian};

    /// Two workers, five clients: the first is slow; the third loses its worker, whose successor serves the
    /// fourth; no worker takes the fifth. The last line is of another row.
    const TRACE: &str = "no,what,client,worker,process,connected_s,taken_s,first_byte_s,last_byte_s,\
                         done_s,result\n\
                         1,slow client,0,0,70,0,0.1,0.1,1.4,1.2,ok\n\
                         1,client,1,1,71,0,0.1,0.1,0.2,0.2,ok\n\
                         1,client,2,1,71,0,0.2,0.2,0.3,,short\n\
                         1,client,3,1,72,0,0.5,0.6,0.7,0.7,ok\n\
                         1,client,4,,,0,,,,,timeout\n\
                         1,death,,1,71,,,,,0.4,killed by signal 9\n\
                         2,client,0,0,70,0,0.1,0.1,9,9,ok\n";

    fn traced() -> Run {
        Run {
            trace: parse(TRACE),
            ..run(&[("process", "download", 10, 5, 2, 1e9)])
        }
    }

    #[test]
    fn each_request_is_a_bar_in_the_lane_of_its_worker() {
        let run = traced();
        let scene = Scene::of(&run, "process").unwrap();
        let kinds = |worker| {
            scene.lanes[&worker]
                .requests
                .iter()
                .map(|one| one.kind)
                .collect::<Vec<_>>()
        };
        assert_eq!((scene.lanes.len(), scene.untaken, scene.length()), (2, 1, 1.4));
        assert!(kinds(0) == [Kind::Slow] && kinds(1) == [Kind::Usual, Kind::Lost, Kind::Successor]);
        assert_eq!(scene.lanes[&1].requests[1].end, 0.4, "it ends with its worker");
        let picture = scene.draw(English, 2.0);
        let moves = |class: &str| {
            let path = picture
                .lines()
                .find(|line| line.contains(class))
                .unwrap_or_default();
            path.matches('M').count()
        };
        let classes = ["bars wait", "bars c0", "bars c2", "bars c3", "class=\"death"];
        assert_eq!(classes.map(moves), [4, 1, 1, 1, 1], "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn a_picture_is_told_in_words_too() {
        let run = traced();
        let page = html(&run, English).unwrap();
        for told in [
            "Requests served at the same time: at most 2.",
            "The slow client kept its worker for 1.10 s; meanwhile that worker took 0 others.",
            "Process 71 was killed at 0.400 s; after that its lane took 1 more.",
            "No worker took 1 of the clients.",
            "killed at 0.400 s; then process 72",
        ] {
            assert!(page.contains(told), "{told}: {page}");
        }
        assert_eq!(
            page.matches("<svg").count(),
            page.matches("role=\"img\" aria-label=\"").count()
        );
        let page = html(&run, Indonesian).unwrap();
        assert!(
            page.contains("client lambat: 1.10 s") && !page.contains("slow client"),
            "{page}"
        );
    }

    #[test]
    fn a_hostile_trace_costs_little_and_leaves_the_picture_whole() {
        let mut run = traced();
        let early = "no,what,client,worker,process,connected_s,taken_s,first_byte_s,last_byte_s,\
                     done_s,result\n\
                     1,client,5,0,70,-1.7e308,0.1,0.1,1.7e308,1.7e308,ok\n\
                     1,client,6,0,70,0,1.7e308,0.1,0.2,0.2,ok\n";
        run.trace.extend(parse(early));
        run.rows = run_of_many(u64::MAX).rows;
        let scene = Scene::of(&run, "process").unwrap();
        assert_eq!((scene.lanes.len(), scene.untaken), (LANES as usize, 2));
        assert_eq!(scene.length(), 1.4);
        let page = html(&run, English).unwrap();
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    fn run_of_many(workers: u64) -> Run {
        run(&[("process", "download", 10, 5, workers, 1e9)])
    }

    #[test]
    fn without_a_trace_there_is_no_picture() {
        let run = run(&[("process", "download", 10, 5, 2, 1e9)]);
        assert!(html(&run, English).is_none());
    }
}
