//! In which forms does the assignment want its tables? A table for each pairing of a server's mode with a
//! kind of clients; and, where there are several tables, one that joins them, with one numbering.

use crate::stress::matrix::Row;
use crate::stress::report::{Outcome, csv_head};

/// Each mode with each kind of clients that was asked for, once, and what the table of the two is called: as
/// the mode, or as both (`thread-process`) when several kinds are asked for.
pub fn pairings(
    modes: &[&'static str],
    client_modes: &[&'static str],
) -> Vec<(&'static str, &'static str, String)> {
    let mut pairs = Vec::new();
    for &mode in modes {
        for &asked in client_modes {
            let clients = match asked {
                "same" if mode == "process" => "process",
                "same" => "thread",
                other => other,
            };
            let table = match client_modes {
                [_] => mode.to_owned(),
                _ => format!("{mode}-{clients}"),
            };
            // Named with the others, `same` is one of them.
            if pairs.iter().all(|(_, _, known)| *known != table) {
                pairs.push((mode, clients, table));
            }
        }
    }
    pairs
}

/// All names that `pairings` gives to tables of `mode`.
pub fn tables_of(mode: &str) -> [String; 3] {
    ["", "-thread", "-process"].map(|clients| format!("{mode}{clients}"))
}

/// The rows of all tables as one CSV, numbered from `first`; empty when there is one table only.
pub fn joint(outcomes: &[Outcome], first: usize) -> String {
    if outcomes.chunk_by(|a, b| a.row.table == b.row.table).count() < 2 {
        return String::new();
    }
    let mut text = csv_head() + "\n";
    for (number, outcome) in (first..).zip(outcomes) {
        let row = Row {
            number,
            ..outcome.row.clone()
        };
        let renumbered = Outcome {
            row,
            ..outcome.clone()
        };
        text += &(renumbered.csv() + "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_kinds_of_servers_and_of_clients_make_four_pairings() {
        let tables = |client_modes: &[&'static str]| {
            let pairs = pairings(&["thread", "process"], client_modes);
            pairs
                .into_iter()
                .map(|(.., table)| table)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(tables(&["same"]), "thread process");
        assert_eq!(tables(&["process"]), "thread process");
        let four = "thread-thread thread-process process-process process-thread";
        assert_eq!(tables(&["same", "thread", "process"]), four);
        assert_eq!(
            tables(&["thread", "process"]),
            "thread-thread thread-process process-thread process-process"
        );
        let known: Vec<String> = ["thread", "process"].into_iter().flat_map(tables_of).collect();
        assert!(
            four.split(' ')
                .all(|table| known.iter().any(|name| name == table))
        );
    }

    #[test]
    fn joined_rows_are_numbered_through() {
        let outcome = |table: &str, number| Outcome {
            row: Row {
                number,
                table: table.to_owned(),
                ..Row::default()
            },
            ..Outcome::default()
        };
        let rows = [
            outcome("thread", 55),
            outcome("thread", 56),
            outcome("process", 55),
        ];
        let text = joint(&rows, 55);
        let numbers: Vec<&str> = text.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(numbers, ["no", "55", "56", "57"]);
        assert_eq!(joint(&rows[..2], 1), "");
    }
}
