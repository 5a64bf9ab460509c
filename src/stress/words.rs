//! In which languages is the report? In English and, with `--lang id`, in the Indonesian of the course's
//! assignment, whose headings a report may have to repeat word by word. Names of modes and operations, the
//! columns of the CSV and the words of the protocol are the same in both, and are not here.

use std::fmt::Display;

/// A text in English and in Indonesian.
pub type Text = [&'static str; 2];

/// A text about one thing, about several, and in Indonesian, which has one form for both.
pub type Counted = [&'static str; 3];

/// The language of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Indonesian,
}

impl Language {
    pub fn of(self, text: Text) -> &'static str {
        text[self as usize]
    }

    /// As in `--lang`, and in HTML.
    pub fn code(self) -> &'static str {
        self.of(["en", "id"])
    }

    /// The form of `text` for `count` things.
    pub fn counted(self, count: u64, text: Counted) -> &'static str {
        match self {
            Language::English => text[usize::from(count != 1)],
            Language::Indonesian => text[2],
        }
    }

    /// `50 workers`
    pub fn workers(self, count: u64) -> String {
        format!("{count} {}", self.counted(count, WORKERS))
    }

    /// A line with its label, as they stand before and after the rows.
    pub fn line(self, label: Text, value: &dyn Display) -> String {
        format!("{:<10} {value}\n", self.of(label))
    }

    /// A sentence with `values` in the places of its `{}`.
    pub fn fill(self, sentence: Text, values: &[&dyn Display]) -> String {
        fill(self.of(sentence), values)
    }
}

/// A sentence in which each `{}` stands for the next of `values`. Languages differ in what comes between.
pub fn fill(sentence: &str, values: &[&dyn Display]) -> String {
    let mut parts = sentence.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        text += &format!("{value}{part}");
    }
    text
}

// The headings of the table; `|` begins a new line.
pub const NUMBER: Text = ["No", "Nomor"];
pub const OPERATION: Text = ["Operation", "Operasi"];
pub const VOLUME: Text = ["Volume|(MiB)", "Volume|(MiB)"];
pub const CLIENT_WORKERS: Text = ["Client|workers", "Jumlah|client|worker|pool"];
pub const SERVER_WORKERS: Text = ["Server|workers", "Jumlah|server|worker|pool"];
pub const TIME_PER_CLIENT: Text = ["Total|time per|client (s)", "Waktu|total per|client (s)"];
pub const RATE_PER_CLIENT: Text = [
    "Throughput|per client|(bytes/s)",
    "Throughput|per client|(bytes/s)",
];
pub const CLIENTS_OK: Text = ["Client|workers|ok/|failed", "worker|client|sukses/|gagal"];
pub const SERVERS_OK: Text = ["Server|workers|ok/|failed", "worker|server|sukses/|gagal"];

// What a row is called.
pub const WORKERS: Counted = ["worker", "workers", "worker"];
pub const MODES: Counted = ["mode", "modes", "mode"];
pub const ROW: Text = ["row", "baris"];
/// What LIST lists: a folder with a file of this many MiB.
pub const FOLDER_WITH: Text = ["folder with ", "folder dengan "];

// Before the rows.
pub const ROWS: Text = ["rows", "baris"];
pub const ABOUT_ROWS: Text = [
    "clients × size of the file of each, server workers",
    "client × ukuran file masing-masing, worker server",
];
pub const CONTENT: Text = ["content", "isi"];
pub const MOVED: Text = ["to move and to compare", "untuk dipindahkan dan diperiksa"];
pub const FILES: Text = ["files", "file"];
/// Before the room that the files need.
pub const AT_MOST: Text = ["at most", "paling banyak"];
pub const TARGET: Text = ["target", "target"];
pub const NOTE: Text = ["note", "catatan"];
pub const RESULTS: Text = ["results", "hasil"];
pub const NEW_FOLDER_IN: Text = ["a new folder in", "folder baru di"];
pub const NO_LINK: Text = [
    "{} is no symbolic link and stays as it is",
    "{} bukan symbolic link dan dibiarkan",
];
pub const NOT_LINKED: Text = [
    "{} cannot point to this run: {}",
    "{} tidak dapat menunjuk ke uji ini: {}",
];

// How often rows run.
pub const REPEATS: Text = ["repeats", "ulangan"];
pub const OFTEN: Text = [
    "rows under a second run {} times, the others once",
    "baris di bawah satu detik dijalankan {} kali, yang lain sekali",
];
pub const AND_WARM: Text = [
    ", after one that does not count",
    ", sesudah satu yang tidak dihitung",
];
pub const AGAIN: Text = ["run {} of {} rows", "putaran {} dari {} baris"];
pub const NOISE: Text = ["noise", "derau"];
pub const VARY: Text = [
    "{} of {} rows differ by more than {} × from run to run (~): {}",
    "{} dari {} baris berbeda lebih dari {} × antar putaran (~): {}",
];

// The estimate.
pub const TIME: Text = ["time", "waktu"];
pub const ABOUT: Text = ["about", "sekitar"];
pub const JUDGED: Text = [
    "judged by how long making the files took",
    "dinilai dari lamanya membuat file",
];
pub const MOMENT: Text = ["less than 10 seconds", "kurang dari 10 detik"];
pub const SECONDS: Counted = ["second", "seconds", "detik"];
pub const MINUTES: Counted = ["minute", "minutes", "menit"];
pub const HOURS: Counted = ["hour", "hours", "jam"];

// The live line.
/// After the time that a run still takes.
pub const TO_GO: Text = ["left", "lagi"];
/// So much of a file has been brought to the target before its row begins.
pub const BROUGHT: Text = ["set-up: {} of {}", "persiapan: {} dari {}"];

// The summary, and what failed.
pub const OF: Text = ["of", "dari"];
pub const FAILURES: Text = ["failures", "gagal"];
pub const BEST: Text = ["best", "terbaik"];
pub const WORST: Text = ["worst", "terburuk"];
/// As in "1 GiB/s in thread row 7".
pub const WITHIN: Text = ["in", "pada"];
/// The first failure of a client, and that of the server.
pub const FIRST: Text = ["first", "pertama"];
pub const SERVER: Text = ["server", "server"];
pub const CLIENT: Text = ["client {}: {}", "client {}: {}"];
pub const SET_UP: Text = [
    "set-up, upload of the {} MiB file: {}",
    "persiapan, upload file {} MiB: {}",
];
pub const FAILED_CLIENTS: Counted = [
    "{} client worker failed",
    "{} client workers failed",
    "{} worker client gagal",
];
pub const FAILED_SERVERS: Counted = [
    "{} row with failed server workers",
    "{} rows with failed server workers",
    "{} baris dengan worker server yang gagal",
];

// Servers that `--launch` starts, and what stands between them and us.
pub const LAUNCH: Text = ["launch", "launch"];
pub const LIMIT: Text = ["limit", "batas"];
pub const THE_WIRE: Text = [
    "the wire in {} of {} rows: they filled {} % and more of what a bare transfer moves, {}/s from the \
     server and {}/s to it",
    "jaringan pada {} dari {} baris: terpakai {} % atau lebih dari transfer polos, {}/s dari server dan {}/s \
     ke server",
];
pub const NOT_THE_WIRE: Text = [
    "not the wire: at best {} % of what a bare transfer moves, {}/s from the server and {}/s to it",
    "bukan jaringan: terpakai paling banyak {} % dari transfer polos, {}/s dari server dan {}/s ke server",
];

// A target, before anything is sent to it.
pub const ASKING: Text = ["asking", "bertanya"];
pub const HOW_IT_WORKS: Text = [
    "{} for a small file, its mode, its workers and its files, at most {} s each",
    "{} tentang file kecil, mode, worker dan file-nya, paling lama {} s masing-masing",
];
pub const AT_ONCE: Counted = [
    "one connection at a time served",
    "{} connections at a time served",
    "{} koneksi dilayani pada satu waktu",
];
pub const CLAIMED: Text = [
    "{} claimed, {}: who accepts must hand each connection to a worker that is free",
    "{} diklaim, {}: yang menerima koneksi harus menyerahkannya ke worker yang bebas",
];
pub const LABELLED: Text = [
    "no STATS there: the rows are labelled {} mode, {}; give --modes and --servers to label them otherwise",
    "tidak ada STATS di sana: baris diberi label mode {}, {}; beri --modes dan --servers untuk label lain",
];
pub const NOT_ASKED: Text = [
    "a dry run asks nothing there: STATS may tell another mode and other workers",
    "dry run tidak bertanya ke sana: STATS mungkin menyebut mode dan worker lain",
];
pub const SEEN_BY_GET: Text = [
    "names are free there, asked by GET for each, since LIST fails: {}",
    "nama di sana masih bebas, ditanyakan dengan GET satu per satu karena LIST gagal: {}",
];
pub const NOT_SEEN: Text = [
    "cannot see whether names are free there, LIST: {}; GET: {}",
    "tidak dapat melihat apakah nama di sana masih bebas, LIST: {}; GET: {}",
];

// A target, after its rows.
pub const GIVEN_UP: Text = [
    "given up after {}: in {} rows one after another no client succeeded; the first error was: {}; \
     kolam check {} says more",
    "berhenti setelah {}: pada {} baris berturut-turut tidak ada client yang sukses; kesalahan pertama: {}; \
     kolam check {} menjelaskan lebih banyak",
];
pub const MEMORY_FOLLOWS: Text = [
    "memory follows the file: {} with files of {} MiB, {} with {} MiB ({}); decode and write each piece \
     as it comes",
    "memori mengikuti file: {} dengan file {} MiB, {} dengan {} MiB ({}); tulis tiap potong begitu diterima",
];
pub const TIME_RUNS_AWAY: Text = [
    "{} times the bytes took {} times as long ({}): search and copy only what is new, not all that has come",
    "{} kali lipat byte butuh {} kali lipat waktu ({}): cari dan salin hanya yang baru",
];

// What stays on a target, and why.
pub const REMOVING: Text = [
    "removing the files of this run; Ctrl-C again leaves them there",
    "menghapus file uji ini; Ctrl-C lagi membiarkannya di sana",
];
pub const LEFT: Text = ["left", "tersisa"];
pub const FILES_STAY: Counted = [
    "{} file stays on {}",
    "{} files stay on {}",
    "{} file tertinggal di {}",
];
pub const FILES_MAY_STAY: Counted = [
    "{} file may stay on {}",
    "{} files may stay on {}",
    "{} file mungkin tertinggal di {}",
];
pub const AND_MORE: Text = [" and {} more", " dan {} lagi"];
pub const ALL_NAMED: Text = [", all named {}*", ", semua bernama {}*"];
pub const STILL_LISTED: Text = [
    "it has answered OK to DELETE but still lists them",
    "DELETE dijawab OK tetapi file masih ada di LIST",
];
pub const NO_TIME: Text = ["no time was left", "waktu habis"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_sentence_says() {
        assert_eq!(fill("{} row {}", &[&"thread", &7]), "thread row 7");
        assert_eq!(fill("no value", &[]), "no value");
        // A value may look like a placeholder.
        assert_eq!(fill("{}: {}", &[&"{}", &"x"]), "{}: x");
    }
}
