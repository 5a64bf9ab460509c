//! What does the page say, in English and in Indonesian? Names of modes, operations and columns are the same
//! in both. `{}` stands for a figure or a name.

use crate::stress::Text;

pub const TITLE: Text = ["Results of a stress test", "Hasil stress test"];
pub const SUMMARY: Text = [
    "{} rows; {} of {} client workers succeeded; 1 MiB is 1,048,576 bytes",
    "{} baris; {} dari {} worker client sukses; 1 MiB adalah 1.048.576 byte",
];

// Headings.
pub const FINDINGS: Text = ["What the rows say", "Apa kata hasil uji"];
pub const THROUGHPUT: Text = ["Throughput", "Throughput"];
pub const THROUGHPUT_NOTE: Text = [
    "Bytes that arrived right, of all clients together, by the time from the common start to the last end. \
     One line for each number of server workers; panels of one operation have the same scale.",
    "Byte yang tiba dengan benar dari semua client, dibagi waktu dari start bersama sampai yang terakhir \
     selesai. \
     Satu garis untuk tiap jumlah worker server; panel dari satu operasi memakai skala yang sama.",
];
pub const TIMES: Text = [
    "How long clients take, by their number",
    "Ke mana waktu pergi saat client bertambah",
];
pub const TIMES_NOTE: Text = [
    "Files of {} MiB. Half of the clients took no longer than p50, 95 % no longer than p95, none longer \
     than max.",
    "File {} MiB. Setengah client tidak lebih lama dari p50, 95 % tidak lebih lama dari p95, tidak ada \
     yang lebih \
     lama dari max.",
];
pub const COST: Text = ["What each mode costs", "Biaya tiap mode"];
pub const FAILURES: Text = ["Failures by cause", "Kegagalan menurut sebab"];
pub const NO_FAILURES: Text = [
    "None: all {} client workers got status, length and content right.",
    "Tidak ada: semua {} worker client mendapat status, panjang dan isi yang benar.",
];
pub const PAIRS: Text = [
    "Thread and process side by side",
    "Thread dan process berdampingan",
];
pub const PAIRS_NOTE: Text = [
    "MiB/s. The ratio is process divided by thread: above 1, processes were faster.",
    "MiB/s. Rasio adalah process dibagi thread: di atas 1, process lebih cepat.",
];
pub const TABLES: Text = ["The table of the assignment", "Tabel tugas"];
pub const AB: Text = ["HTTP: the tables of make ab", "HTTP: tabel make ab"];
pub const MACHINE: Text = [
    "The machine, and how to repeat it",
    "Mesin, dan cara mengulanginya",
];

// The timeline.
pub const LANES: Text = ["Who was served when", "Siapa dilayani kapan"];
pub const LANES_NOTE: Text = [
    "One lane for each worker of the server, in it one bar for each client. A thin line after a bar: the \
     worker is done, and the last bytes are on their way. All pictures have the same seconds, from the \
     first connection on.",
    "Satu jalur untuk tiap worker server, di dalamnya satu batang untuk tiap client. Garis tipis setelah \
     batang: worker sudah selesai, dan byte terakhir masih di jalan. Semua gambar memakai detik yang sama, \
     sejak koneksi pertama.",
];
/// Of the colours: waiting, usual, slow, successor, lost.
pub const KEYS: [Text; 5] = [
    ["waits for a worker", "menunggu worker"],
    ["is served", "dilayani"],
    ["a slow client is served", "client lambat dilayani"],
    [
        "served by the successor of a killed worker",
        "dilayani pengganti worker yang dimatikan",
    ],
    ["its worker was killed", "worker-nya dimatikan"],
];
/// Clients, workers, operation, MiB, row.
pub const SCENE: Text = [
    "{} clients, {}; {} of {} MiB (row {})",
    "{} client, {}; {} {} MiB (baris {})",
];
pub const WORKER: Text = ["worker {}", "worker {}"];
pub const SLOW_ONE: Text = ["slow client: {} s", "client lambat: {} s"];
pub const DEATH: Text = ["✕ killed at {} s", "✕ dimatikan pada {} s"];
pub const THEN: Text = ["; then process {}", "; lalu proses {}"];
/// Half, longest, end.
pub const WAITED: Text = [
    "Half of the clients waited up to {} s for a worker, the longest wait was {} s; the last client was \
     done after {} s.",
    "Setengah client menunggu worker sampai {} s, yang terlama {} s; client terakhir selesai setelah {} s.",
];
pub const AT_ONCE: Text = [
    " Requests served at the same time: at most {}.",
    " Permintaan yang dilayani pada saat yang sama: paling banyak {}.",
];
pub const MEANWHILE: Text = [
    " The slow client kept its worker for {} s; meanwhile that worker took {} others.",
    " Client lambat menahan worker-nya selama {} s; sementara itu worker tersebut menerima {} client lain.",
];
pub const KILLED: Text = [
    " Process {} was killed at {} s; after that its lane took {} more.",
    " Proses {} dimatikan pada {} s; setelah itu jalurnya menerima {} lagi.",
];
/// Drawn, all.
pub const DRAWN: Text = [
    " The picture has the first {} of {} requests.",
    " Yang digambar {} pertama dari {} permintaan.",
];
pub const UNTAKEN: Text = [
    " No worker took {} of the clients.",
    " {} client tidak diterima worker mana pun.",
];

// Pictures and columns.
pub const CLIENTS: Text = ["client workers", "worker client"];
pub const SECONDS: Text = ["seconds", "detik"];
pub const MEMORY: Text = ["Peak memory of the server", "Memori puncak server"];
pub const CPU: Text = ["Processor time of the server", "Waktu prosesor server"];
pub const CPU_UNIT: Text = ["seconds for each GiB moved", "detik untuk tiap GiB"];
pub const CAUSE: Text = ["Cause", "Sebab"];
pub const COMPARED: Text = ["Rows compared", "Baris yang dibandingkan"];
pub const BASE: &str = "first (MiB/s)";
pub const OTHER: &str = "second (MiB/s)";
/// In the order of the verdicts.
pub const VERDICTS: [&str; 3] = ["faster", "slower", ""];
pub const RATIO: Text = ["Ratio", "Rasio"];
pub const MODE: Text = ["Mode {}", "Mode {}"];

// Findings. Each kind has three forms: faster, slower, and no difference that the figures show.
pub type Verdicts = [Text; 3];

/// Mode, other mode, operations, factor, pairs, and how far these lie apart.
pub const BY_MODE: Verdicts = [
    [
        "{} mode moved {}s {} × as fast as {} mode (middle of {} pairs of rows; the pairs reach from {} \
         to {} ×).",
        "Mode {} memindahkan {} {} × secepat mode {} (tengah dari {} pasang baris; dari {} sampai {} ×).",
    ],
    [
        "{} mode was slower than {} mode in {}s: {} × (middle of {} pairs of rows; the pairs reach from \
         {} to {} ×).",
        "Mode {} lebih lambat daripada mode {} untuk {}: {} × (tengah dari {} pasang baris; dari {} \
         sampai {} ×).",
    ],
    [
        "Between {} and {} mode these rows show no difference in {}s: {} × (middle of {} pairs; from {} \
         to {} ×).",
        "Antara mode {} dan {} baris ini tidak menunjukkan beda untuk {}: {} × (tengah dari {} pasang; \
         dari {} \
         sampai {} ×).",
    ],
];
/// Clients, workers before and after, operation, MiB, mode, factor, interval.
pub const BY_WORKERS: Verdicts = [
    [
        "With {} clients, going from {} to {} server workers made {}s of {} MiB in {} mode {} × faster{}.",
        "Dengan {} client, dari {} ke {} worker server membuat {} {} MiB pada mode {} {} × lebih cepat{}.",
    ],
    [
        "With {} clients, going from {} to {} server workers made {}s of {} MiB in {} mode {} × slower{}.",
        "Dengan {} client, dari {} ke {} worker server membuat {} {} MiB pada mode {} {} × lebih lambat{}.",
    ],
    [
        "With {} clients, going from {} to {} server workers made no difference for {}s of {} MiB in {} \
         mode: {} ×{}.",
        "Dengan {} client, dari {} ke {} worker server tidak ada bedanya untuk {} {} MiB pada mode {}: {} \
         ×{}.",
    ],
];
pub const INTERVAL: Text = [
    " (the repeats allow {} to {})",
    " (pengulangan mengizinkan {} sampai {})",
];
/// Clients, clients before, operation, MiB, mode, workers, seconds, seconds before.
pub const BY_CLIENTS: Text = [
    "With {} clients instead of {}, half of the {}s of {} MiB in {} mode with {} took up to {} s instead \
     of {} s.",
    "Dengan {} client dan bukan {}, setengah {} {} MiB pada mode {} dengan {} memakan sampai {} s dan \
     bukan {} s.",
];
/// Operation, mode, clients, workers, MiB, MiB before, factor, factor of the volume.
pub const BY_VOLUME: Text = [
    "One {} in {} mode with {} and {}: {} MiB took {} × as long as {} MiB, for {} × the bytes.",
    "Satu {} pada mode {} dengan {} dan {}: {} MiB memakan {} × waktu {} MiB, untuk {} × byte.",
];
/// Modes and figures.
pub const BY_MEMORY: Text = [
    "The server's memory peaked at {}.",
    "Memori server memuncak pada {}.",
];
pub const IN_MODE: Text = ["{} MiB in {} mode", "{} MiB pada mode {}"];
pub const WORST_WAIT: Text = [
    "The longest wait of a client was {} s, {} × the middle one of its row.",
    "Client yang paling lama menunggu {} s, {} × yang di tengah pada barisnya.",
];
pub const FAILED: Text = [
    "{} of {} client workers failed.",
    "{} dari {} worker client gagal.",
];
pub const NONE_FAILED: Text = [
    "Of {} client workers none failed.",
    "Dari {} worker client tidak ada yang gagal.",
];
/// Rows, all rows, and the ratio.
pub const NOISY_ROWS: Text = [
    "In {} of {} rows (marked ~) the fastest repeat was more than {} × the slowest: these rows mean little.",
    "Pada {} dari {} baris (bertanda ~) ulangan tercepat lebih dari {} × yang terlambat: baris ini kurang \
     berarti.",
];
/// Before the numbers of the rows that a sentence is computed from.
pub const ROWS: Text = ["rows", "baris"];
