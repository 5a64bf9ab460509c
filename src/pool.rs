//! # Chapter 4. Who does the work when one pair of hands is not enough?
//!
//! A pool: a fixed number of workers that outlive the jobs. Threads share memory, so jobs can be handed to
//! them through a channel, and one thread's crash can end them all. Processes share only what was there
//! before the fork (pre-fork): each takes its own connections from the common listener, and a parent that
//! does nothing else replaces each one that dies.
//!
//! ```text
//!   ThreadPool   submit ──► channel ──► worker 0, 1, … (an idle one takes the next job)
//!   Supervisor   fork ──► worker 0, 1, … ──► dies ──► reap ──► fork again (slower after an early exit)
//! ```
//!
//! The invariant: a job that panics costs that job and no worker; a process that dies costs its own
//! connections and no others; the number of workers is what was asked for, or the supervisor says why not.
//!
//! What must not live here: sockets, protocols, what a job is.
//!
//! before: `protocol.rs` … after: `server.rs`
//!
//! Experiment:
//! edit: take_jobs receives in the condition of a `while let`, which looks nicer
//! run: cargo test -q --locked --bin kolam --no-run; timeout 9 cargo test -q --locked --bin kolam
//!      four_workers || echo the pool does one job at a time
//! see: the pool does one job at a time

mod renewal; // new workers for old ones

pub use renewal::RenewalHooks;

use crate::sys::{self, Ended, Pid, Stop};
use renewal::Renewal;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

// ---- The plain pool ----

/// Threads that take jobs of type `J` from one channel.
pub struct ThreadPool<J> {
    /// The channel is not bounded; the caller of `submit` bounds the jobs (permits).
    queue: Sender<J>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Starts a thread for each worker, which is what the thread calls with every job that it takes.
    pub fn start<W>(workers: impl Iterator<Item = W>) -> io::Result<ThreadPool<J>>
    where
        W: FnMut(J) + Send + 'static,
    {
        let (queue, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for (index, worker) in workers.enumerate() {
            let jobs = jobs.clone();
            let thread = Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || take_jobs(&jobs, worker))?);
        }
        Ok(ThreadPool { queue, threads })
    }

    pub fn submit(&self, job: J) {
        // The channel lives as long as its threads, and they live as long as this sender.
        let _ = self.queue.send(job);
    }

    /// Takes no more jobs and waits for the submitted ones.
    pub fn finish(self) {
        drop(self.queue);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// What a thread does: wait for a job, do it, until the channel is closed and empty. The wrong version keeps
/// the guard until the end of the loop's body, so that it holds the lock while the job runs:
///
/// ```text
///   while let Ok(job) = jobs.lock().unwrap().recv() { worker(job) }
/// ```
fn take_jobs<J>(jobs: &Mutex<Receiver<J>>, mut worker: impl FnMut(J)) {
    loop {
        // The guard is gone at the end of this statement, before the job runs. A lock is poisoned when a
        // thread panics while it holds it; receiving does not panic.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        survive(|| worker(job));
    }
}

// ---- What robustness adds: a job may panic, or take too long ----

/// Runs `job`; a panic in it ends here. The panic hook has reported it, and what the job held is dropped.
/// `AssertUnwindSafe` is our word for it that the worker relies on nothing that a panic leaves half done.
fn survive(job: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

impl<J: Send + 'static> ThreadPool<J> {
    /// As `finish`, but not for longer than until `deadline`; threads that are still busy then are left
    /// alone. Returns whether all have ended.
    pub fn finish_by(self, deadline: Instant) -> bool {
        // `join` knows no time limit, `recv_timeout` does.
        let (done, finished) = mpsc::channel();
        let body = move || {
            self.finish();
            let _ = done.send(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        Builder::new().spawn(body).is_ok() && finished.recv_timeout(left).is_ok()
    }
}

// ---- Processes, and the parent that replaces them ----

/// What a supervisor asks the server that it works for, and what it reports to it.
pub trait WorkerHooks: RenewalHooks {
    /// Runs worker `index`, in its own process; returns its exit code.
    fn work(&self, index: usize) -> i32;
    /// Worker `index` ended although the server does not stop; it will be replaced.
    fn on_exit(&self, index: usize, ended: Ended);
    /// Process `pid` has ended: remove what it left. In a stop, only if the grace was over.
    fn on_cleanup(&self, pid: Pid);
    /// Worker `index` could not be forked; the supervisor tries again.
    fn on_spawn_error(&self, index: usize, error: &io::Error);
    /// Is any worker ready to serve?
    fn any_ready(&self) -> bool;
}

/// A worker that ends sooner than this after its fork made an early exit.
const MIN_UPTIME: Duration = Duration::from_secs(1);

/// Early exits, of all workers together, after which a supervisor gives up, if none runs and each made two:
/// all could be killed at once. Ten workers that fail at once cost ten forks, and ten more ten seconds later.
const MAX_EARLY_EXITS: u32 = 6;

/// Pause between two forks for a slot after an early exit. Each further one, of any slot, doubles it
/// (exponential backoff). With less than this, five workers may cost more than ten forks in ten seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long after the grace a process may still run before it is killed.
const OVERSTAY: Duration = Duration::from_millis(500);

/// The place of one worker.
#[derive(Clone, Copy)]
struct Slot {
    /// Its process; `None`: it has none now.
    pid: Option<Pid>,
    /// When that process, or the last one, was forked.
    started: Instant,
    /// Early exits in a row.
    early_exits: u32,
}

impl Slot {
    /// When to fork a process for it, after so many early exits of all slots; `None`: it has one.
    fn next_fork(&self, of_all: u32) -> Option<Instant> {
        match (self.pid, self.early_exits) {
            (Some(_), _) => None,
            (None, 0) => Some(self.started),
            (None, _) => Some(self.started + pause(of_all)),
        }
    }

    /// Its process has ended.
    fn count_exit(&mut self, own_fault: bool) {
        let early = own_fault && self.started.elapsed() < MIN_UPTIME;
        self.early_exits = if early { self.early_exits + 1 } else { 0 };
    }
}

/// The shortest time between two forks for one slot, after this many early exits (at least one).
fn pause(early_exits: u32) -> Duration {
    LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow((early_exits - 1).min(16)))
}

/// The parent of forked workers.
pub struct Supervisor<'h, H: WorkerHooks> {
    hooks: &'h H,
    slots: Vec<Slot>,
    /// Only for the volume about services.
    renewal: Renewal,
}

impl<'h, H: WorkerHooks> Supervisor<'h, H> {
    /// Forks `count` workers. The caller has no threads.
    pub fn start(hooks: &'h H, count: usize) -> io::Result<Supervisor<'h, H>> {
        let empty = Slot {
            pid: None,
            started: Instant::now(),
            early_exits: 0,
        };
        let mut supervisor = Supervisor {
            hooks,
            slots: vec![empty; count],
            renewal: Renewal::default(),
        };
        (0..count).try_for_each(|index| supervisor.spawn(index))?;
        Ok(supervisor)
    }

    fn spawn(&mut self, index: usize) -> io::Result<()> {
        let hooks = self.hooks;
        self.slots[index].started = Instant::now();
        self.slots[index].pid = Some(sys::fork(|| hooks.work(index))?);
        Ok(())
    }

    fn none_runs(&self) -> bool {
        self.slots.iter().all(|slot| slot.pid.is_none())
    }

    /// Early exits of all slots; those of a worker that has grown old are over.
    fn early_exits(&self) -> u32 {
        let counts = |slot: &&Slot| slot.pid.is_none() || slot.started.elapsed() < MIN_UPTIME;
        let slots = self.slots.iter().filter(counts);
        slots.map(|slot| slot.early_exits).sum()
    }

    /// Replaces workers that end, until a stop is requested (true) or workers keep ending early (false).
    /// Calls `look` whenever something may have changed.
    pub fn watch(&mut self, stop: Stop, mut look: impl FnMut()) -> io::Result<bool> {
        while !stop.requested() {
            let ended = self.reap()?;
            let may_run = |slot: &Slot| slot.pid.is_some() || slot.early_exits < 2;
            if !self.slots.iter().any(may_run) && self.early_exits() >= MAX_EARLY_EXITS {
                return Ok(false);
            }
            self.renew(stop);
            self.fill_slots();
            look();
            ended.into_iter().for_each(|pid| self.hooks.on_cleanup(pid));
            let of_all = self.early_exits();
            stop.sleep(self.slots.iter().filter_map(|slot| slot.next_fork(of_all)).min())?;
        }
        Ok(true)
    }

    /// Empties the slots of the workers that have ended; returns their processes.
    fn reap(&mut self) -> io::Result<Vec<Pid>> {
        let mut dead = Vec::new();
        while !self.none_runs() {
            let Some(ended) = sys::reap(-1, false)? else { break };
            let found = self.slots.iter().position(|slot| slot.pid == Some(ended.pid));
            // A child that we did not fork (a parent may fork and then exec this program) is not replaced.
            let Some(index) = found else {
                self.reap_renewal(ended);
                continue;
            };
            self.slots[index].pid = None;
            self.hooks.on_exit(index, ended);
            dead.push((index, ended));
        }
        // SIGKILL comes from outside: not the worker's fault, unless none is ready, all dead ones left out.
        let others_ready = self.hooks.any_ready();
        for (index, ended) in &dead {
            self.slots[*index].count_exit(ended.signal != Some(sys::SIGKILL) || !others_ready);
        }
        Ok(dead.iter().map(|(_, ended)| ended.pid).collect())
    }

    /// Fills the slots that have been empty for long enough.
    fn fill_slots(&mut self) {
        let (now, of_all) = (Instant::now(), self.early_exits());
        for index in 0..self.slots.len() {
            let due = self.slots[index].next_fork(of_all).is_some_and(|at| at <= now);
            // `let` in a condition: it is true if the pattern matches, which binds `error`.
            if due && let Err(error) = self.spawn(index) {
                // The system gives no process: the same remedy as for one that ends at once.
                self.slots[index].count_exit(true);
                self.hooks.on_spawn_error(index, &error);
            }
        }
    }

    /// Asks all workers to finish, waits until they have or `grace` is over, then kills the rest.
    pub fn shut_down(mut self, stop: Stop, grace: Duration) -> io::Result<()> {
        self.slots.extend(self.renewal.processes());
        self.signal_all(sys::SIGTERM);
        // `None`: they have been killed.
        let mut deadline = Some(Instant::now() + grace + OVERSTAY);
        loop {
            while let Ok(Some(ended)) = sys::reap(-1, false) {
                if deadline.is_none() {
                    self.hooks.on_cleanup(ended.pid);
                }
                self.slots.retain(|slot| slot.pid != Some(ended.pid));
            }
            if self.none_runs() {
                return Ok(());
            }
            if deadline.is_some_and(|end| Instant::now() >= end) {
                self.signal_all(sys::SIGKILL);
                deadline = None;
            }
            stop.sleep(deadline)?;
        }
    }

    fn signal_all(&self, signal: i32) {
        for pid in self.slots.iter().filter_map(|slot| slot.pid) {
            // It fails only for a process that has ended, which is the aim.
            let _ = sys::kill(pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;

    /// A pool of `count` threads that call `work` with their number and a job.
    fn pool<J: Send + 'static>(
        count: usize,
        work: impl Fn(usize, J) + Send + Sync + 'static,
    ) -> ThreadPool<J> {
        let work = Arc::new(work);
        let workers = (0..count).map(|index| {
            let work = work.clone();
            move |job| work(index, job)
        });
        ThreadPool::start(workers).unwrap()
    }

    #[test]
    fn four_workers_do_four_jobs_at_once() {
        // Each job waits for three others: with less than four workers this never ends.
        let meeting = Arc::new(Barrier::new(4));
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let list = seen.clone();
        let pool = pool(4, move |index, meeting: Arc<Barrier>| {
            meeting.wait();
            list.lock().unwrap().insert((index, std::thread::current().id()));
        });
        (0..4).for_each(|_| pool.submit(meeting.clone()));
        pool.finish();
        assert_eq!(seen.lock().unwrap().len(), 4);
    }

    #[test]
    fn a_panic_costs_its_job_and_no_worker() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let list = done.clone();
        let pool = pool(1, move |_, job: u32| {
            assert!(job.is_multiple_of(2), "an odd job, as ordered by the test");
            list.lock().unwrap().push(job);
        });
        (0..100).for_each(|job| pool.submit(job));
        pool.finish();
        assert_eq!(*done.lock().unwrap(), (0..100).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn finish_gives_up_at_its_deadline() {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Mutex::new(receiver);
        let pool = pool(1, move |_, ()| assert!(receiver.lock().unwrap().recv().is_err()));
        pool.submit(());
        assert!(!pool.finish_by(Instant::now() + Duration::from_millis(20)));
        drop(sender);
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        for (early_exits, millis) in [(1, 300), (2, 600), (6, 9_600), (7, 10_000), (u32::MAX, 10_000)] {
            assert_eq!(pause(early_exits), Duration::from_millis(millis), "{early_exits}");
        }
    }

    /// Some of five workers end at birth, all as soon as they are forked, and the others serve.
    #[test]
    fn however_many_of_five_workers_are_ill_ten_seconds_cost_ten_forks_at_most() {
        for ill in 1..=4 {
            let (mut early_exits, mut forks, mut time) = (ill, 5, pause(ill));
            while time < Duration::from_secs(10) {
                forks += ill;
                early_exits += ill;
                time += pause(early_exits);
            }
            assert!((8..=10).contains(&forks), "{ill} of them: {forks} forks");
        }
    }

    /// Runs nothing: its processes are made up.
    struct NoHooks;

    impl WorkerHooks for NoHooks {
        fn work(&self, _: usize) -> i32 {
            unreachable!("no process is forked")
        }
        fn on_exit(&self, _: usize, _: Ended) {}
        fn on_cleanup(&self, _: Pid) {}
        fn on_spawn_error(&self, _: usize, _: &io::Error) {}
        fn any_ready(&self) -> bool {
            true
        }
    }

    impl RenewalHooks for NoHooks {
        fn is_ready(&self, _: Pid) -> bool {
            true
        }
        fn on_renewed(&self, _: usize, _: Pid, _: Pid) {}
        fn on_retired(&self, _: Pid) {}
    }

    fn supervisor(slots: Vec<Slot>) -> Supervisor<'static, NoHooks> {
        Supervisor {
            hooks: &NoHooks,
            slots,
            renewal: Renewal::default(),
        }
    }

    /// Eight workers that have just ended, each after so many early exits. Does the supervisor give up?
    fn gives_up_after(early_exits: u32) -> bool {
        let slot = Slot {
            pid: None,
            started: Instant::now(),
            early_exits,
        };
        let mut supervisor = supervisor(vec![slot; 8]);
        // It looks when it goes on.
        let watch = || supervisor.watch(Stop::never().unwrap(), || panic!("it goes on"));
        catch_unwind(AssertUnwindSafe(watch)).is_ok_and(|result| !result.unwrap())
    }

    #[test]
    fn a_supervisor_does_not_give_up_when_all_workers_are_killed_at_once() {
        assert!(!gives_up_after(1));
        assert!(gives_up_after(2));
    }

    #[test]
    fn a_slot_waits_for_the_early_exits_of_all_but_of_workers_that_have_grown_up() {
        let now = Instant::now();
        let slot = |pid, age, early_exits| Slot {
            pid,
            started: now - age,
            early_exits,
        };
        let (young, old) = (Duration::ZERO, MIN_UPTIME);
        let supervisor = supervisor(vec![
            slot(None, young, 1),
            slot(None, old, 2),
            slot(Some(1), young, 4),
            slot(Some(2), old, 8),
            slot(None, old, 0),
        ]);
        assert_eq!(supervisor.early_exits(), 1 + 2 + 4);
        let next: Vec<_> = supervisor.slots.iter().map(|slot| slot.next_fork(7)).collect();
        let late = pause(7);
        let wanted = [
            Some(now + late),
            Some(now - old + late),
            None,
            None,
            Some(now - old),
        ];
        assert_eq!(
            next, wanted,
            "a worker that was killed from outside is replaced at once"
        );
    }

    #[test]
    fn only_an_early_exit_by_its_own_fault_makes_a_slot_wait() {
        let now = Instant::now();
        for (age, own_fault, early_exits) in [
            (Duration::ZERO, true, 3),
            (Duration::ZERO, false, 0),
            (MIN_UPTIME, true, 0),
            (MIN_UPTIME, false, 0),
        ] {
            let mut slot = Slot {
                pid: None,
                started: now - age,
                early_exits: 2,
            };
            slot.count_exit(own_fault);
            assert_eq!(slot.early_exits, early_exits, "{age:?}, {own_fault}");
            let wait = if early_exits == 0 {
                Duration::ZERO
            } else {
                pause(7)
            };
            assert_eq!(slot.next_fork(7), Some(now - age + wait));
        }
    }
}
