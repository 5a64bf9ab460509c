//! # Chapter 13j. In which languages is the report?
//!
//! The report of the stress test exists in English and, with `--lang id`, in the Indonesian of the course's
//! assignment, whose headings a report may have to repeat word by word. What is the same in both languages
//! (names of modes and operations, figures) is not here, and neither is what a program reads: the columns of
//! the CSV and the words of the protocol never change.
//!
//! The invariant: each language has all the words; the compiler checks it.
//!
//! What must not live here: layout.
//!
//! Experiment: add a third language, and see how many places must change.

use std::fmt::Display;

/// Lines of a heading in the tables; unused ones are empty and come first.
pub const LINES: usize = 4;

/// The texts of the report in one language.
#[derive(Debug)]
pub struct Words {
    /// The columns of the table: number of the row, operation, volume, client workers, server workers, time
    /// per client, throughput per client, client workers ok and failed, server workers ok and failed.
    pub headings: [[&'static str; LINES]; 9],
    /// One server worker, several of them.
    pub workers: [&'static str; 2],
    /// One of them, and several.
    pub modes: [&'static str; 2],
    pub rows: &'static str,
    pub of: &'static str,
    pub failures: &'static str,
    pub best: &'static str,
    pub worst: &'static str,
    /// As in "1 GiB/s in thread row 7".
    pub within: &'static str,
    pub row: &'static str,
    /// What LIST lists: a folder with a file of this many MiB.
    pub folder_with: &'static str,
    /// How a row is described.
    pub about_rows: &'static str,
    /// The first failure.
    pub first: &'static str,
    pub server: &'static str,
    /// File content, and what happens to it.
    pub content: &'static str,
    pub moved: &'static str,
    /// Where the files are, and how much room they need.
    pub files: &'static str,
    pub at_most: &'static str,
    pub target: &'static str,
    /// A note for the user.
    pub note: &'static str,
    /// Files that could not be removed.
    pub left: &'static str,
    pub results: &'static str,
    pub new_folder_in: &'static str,
    pub time: &'static str,
    /// After the time that a run still takes.
    pub to_go: &'static str,
    /// Before an estimate, and what it is based on.
    pub about: &'static str,
    pub judged: &'static str,
    /// Less than ten seconds.
    pub moment: &'static str,
    pub seconds: &'static str,
    /// One minute, several; one hour, several.
    pub minutes: [&'static str; 2],
    pub hours: [&'static str; 2],
    /// Client workers failed, one and several; server workers failed in this many rows.
    pub failed_clients: [&'static str; 2],
    pub failed_servers: [&'static str; 2],
    /// Where the first failure was: in a client worker; in the upload of a file.
    pub client: &'static str,
    pub set_up: &'static str,
    /// The end after Ctrl-C.
    pub removing: &'static str,
    /// The link to the newest run: something else has its name; it cannot be set.
    pub no_link: &'static str,
    pub not_linked: &'static str,
    /// What a target is asked before anything is sent, and how long at most.
    pub asking: &'static str,
    pub how_it_works: &'static str,
    /// A target that tells no mode and no workers: when it was asked, and when it was not.
    pub labelled: &'static str,
    pub not_asked: &'static str,
    /// LIST does not tell which names are free there: GET does, or does not either.
    pub seen_by_get: &'static str,
    pub not_seen: &'static str,
    /// So much of a file has been brought to the target before its row begins.
    pub brought: &'static str,
    /// A number of files on that target, one and several; and why.
    pub files_stay: [&'static str; 2],
    pub files_may_stay: [&'static str; 2],
    pub and_more: &'static str,
    pub all_named: &'static str,
    pub still_listed: &'static str,
    pub no_time: &'static str,
}

pub static ENGLISH: Words = Words {
    headings: [
        ["", "", "", "No"],
        ["", "", "", "Operation"],
        ["", "", "Volume", "(MiB)"],
        ["", "", "Client", "workers"],
        ["", "", "Server", "workers"],
        ["", "Total", "time per", "client (s)"],
        ["", "Throughput", "per client", "(bytes/s)"],
        ["Client", "workers", "ok/", "failed"],
        ["Server", "workers", "ok/", "failed"],
    ],
    workers: ["worker", "workers"],
    modes: ["mode", "modes"],
    rows: "rows",
    of: "of",
    failures: "failures",
    best: "best",
    worst: "worst",
    within: "in",
    row: "row",
    folder_with: "folder with ",
    about_rows: "clients × size of the file of each, server workers",
    first: "first",
    server: "server",
    content: "content",
    moved: "to move and to compare",
    files: "files",
    at_most: "at most",
    target: "target",
    note: "note",
    left: "left",
    results: "results",
    new_folder_in: "a new folder in",
    time: "time",
    to_go: "left",
    about: "about",
    judged: "judged by how long making the files took",
    moment: "less than 10 seconds",
    seconds: "seconds",
    minutes: ["minute", "minutes"],
    hours: ["hour", "hours"],
    failed_clients: ["{} client worker failed", "{} client workers failed"],
    failed_servers: [
        "{} row with failed server workers",
        "{} rows with failed server workers",
    ],
    client: "client {}: {}",
    set_up: "set-up, upload of the {} MiB file: {}",
    removing: "removing the files of this run; Ctrl-C again leaves them there",
    no_link: "{} is no symbolic link and stays as it is",
    not_linked: "{} cannot point to this run: {}",
    asking: "asking",
    how_it_works: "{} for its mode, its workers and its files, at most {} s each",
    labelled: "no STATS there: the rows are labelled {} mode, {}; give --modes and --servers to label them \
               otherwise",
    not_asked: "a dry run asks nothing there: STATS may tell another mode and other workers",
    seen_by_get: "names are free there, asked by GET for each, since LIST fails: {}",
    not_seen: "cannot see whether names are free there, LIST: {}; GET: {}",
    brought: "set-up: {} of {}",
    files_stay: ["{} file stays on {}", "{} files stay on {}"],
    files_may_stay: ["{} file may stay on {}", "{} files may stay on {}"],
    and_more: " and {} more",
    all_named: ", all named {}*",
    still_listed: "it has answered OK to DELETE but still lists them",
    no_time: "no time was left",
};

pub static INDONESIAN: Words = Words {
    headings: [
        ["", "", "", "Nomor"],
        ["", "", "", "Operasi"],
        ["", "", "Volume", "(MiB)"],
        ["Jumlah", "client", "worker", "pool"],
        ["Jumlah", "server", "worker", "pool"],
        ["", "Waktu", "total per", "client (s)"],
        ["", "Throughput", "per client", "(bytes/s)"],
        ["worker", "client", "sukses/", "gagal"],
        ["worker", "server", "sukses/", "gagal"],
    ],
    workers: ["worker", "worker"],
    modes: ["mode", "mode"],
    rows: "baris",
    of: "dari",
    failures: "gagal",
    best: "terbaik",
    worst: "terburuk",
    within: "pada",
    row: "baris",
    folder_with: "folder dengan ",
    about_rows: "client × ukuran file masing-masing, worker server",
    first: "pertama",
    server: "server",
    content: "isi",
    moved: "untuk dipindahkan dan diperiksa",
    files: "file",
    at_most: "paling banyak",
    target: "target",
    note: "catatan",
    left: "tersisa",
    results: "hasil",
    new_folder_in: "folder baru di",
    time: "waktu",
    to_go: "lagi",
    about: "sekitar",
    judged: "dinilai dari lamanya membuat file",
    moment: "kurang dari 10 detik",
    seconds: "detik",
    minutes: ["menit", "menit"],
    hours: ["jam", "jam"],
    failed_clients: ["{} worker client gagal", "{} worker client gagal"],
    failed_servers: [
        "{} baris dengan worker server yang gagal",
        "{} baris dengan worker server yang gagal",
    ],
    client: "client {}: {}",
    set_up: "persiapan, upload file {} MiB: {}",
    removing: "menghapus file uji ini; Ctrl-C lagi membiarkannya di sana",
    no_link: "{} bukan symbolic link dan dibiarkan",
    not_linked: "{} tidak dapat menunjuk ke uji ini: {}",
    asking: "bertanya",
    how_it_works: "{} tentang mode, worker dan file-nya, paling lama {} s masing-masing",
    labelled: "tidak ada STATS di sana: baris diberi label mode {}, {}; beri --modes dan --servers untuk \
               label lain",
    not_asked: "dry run tidak bertanya ke sana: STATS mungkin menyebut mode dan worker lain",
    seen_by_get: "nama di sana masih bebas, ditanyakan dengan GET satu per satu karena LIST gagal: {}",
    not_seen: "tidak dapat melihat apakah nama di sana masih bebas, LIST: {}; GET: {}",
    brought: "persiapan: {} dari {}",
    files_stay: ["{} file tertinggal di {}", "{} file tertinggal di {}"],
    files_may_stay: [
        "{} file mungkin tertinggal di {}",
        "{} file mungkin tertinggal di {}",
    ],
    and_more: " dan {} lagi",
    all_named: ", semua bernama {}*",
    still_listed: "DELETE dijawab OK tetapi file masih ada di LIST",
    no_time: "waktu habis",
};

impl Words {
    /// `50 workers`
    pub fn workers(&self, count: u64) -> String {
        format!("{count} {}", self.workers[usize::from(count != 1)])
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
