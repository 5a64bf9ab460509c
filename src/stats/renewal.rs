//! How are two processes of one worker counted? While one takes the place of the other both run, and each has
//! a row that only it writes: when one is killed, its row is corrected and not that of the other. So a worker
//! has two rows, the second after the first ones of all workers; its processes use them in turn.

use super::{Field, Scoreboard, WorkerStats};

impl Scoreboard {
    /// The row of worker `index`, counted from 0, that no process has.
    pub fn free_row(&self, index: usize) -> WorkerStats {
        match self.worker(index) {
            taken if taken.get(Field::Pid) != 0 => self.row(index + 1 + self.workers),
            free => free,
        }
    }

    /// The row of a process that is or was ready to serve.
    pub fn row_of(&self, pid: u32) -> Option<WorkerStats> {
        let mut rows = (1..=2 * self.workers).map(|row| self.row(row));
        rows.find(|row| row.get(Field::Pid) == u64::from(pid))
    }

    /// What all processes of worker `index` have counted: the sum of its two rows.
    pub fn of_worker(&self, index: usize, field: Field) -> u64 {
        self.worker(index).get(field) + self.row(index + 1 + self.workers).get(field)
    }
}

impl WorkerStats {
    /// The number of the worker, counted from 0; `None`: this is the row of the server.
    pub(super) fn worker(&self) -> Option<usize> {
        let row = self.row.checked_sub(1)?;
        Some(row % self.scoreboard.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_of_a_worker_have_a_row_each_and_one_sum() {
        let scoreboard = Scoreboard::new("process", 3).unwrap();
        let rows = [10, 20, 30].map(|pid| {
            let row = scoreboard.free_row(1);
            row.set(Field::Pid, pid);
            row.add(Field::Served, pid);
            row.add(Field::Busy, 1);
            if pid == 10 {
                return row;
            }
            // The older one is killed.
            scoreboard.row_of(pid as u32 - 10).unwrap().record_exit();
            assert_eq!(row.get(Field::Busy), 1, "the younger one is still busy");
            row
        });
        assert_eq!(scoreboard.of_worker(1, Field::Served), 60);
        assert_eq!(scoreboard.of_worker(1, Field::Failed), 2);
        assert_eq!(scoreboard.total(Field::Served), 60);
        assert_eq!(
            [0, 2].map(|other| scoreboard.of_worker(other, Field::Served)),
            [0, 0]
        );
        assert_eq!(rows.map(|row| row.worker()), [Some(1); 3]);
        assert_eq!((scoreboard.alive(), rows[2].get(Field::Pid)), (1, 30));
        assert!(scoreboard.row_of(10).is_none());
    }
}
