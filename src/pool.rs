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
//! The wrong version of the channel loop, which looks nicer, holds the lock while the job runs, because the
//! guard is dropped only at the end of the loop's body, and the pool serves one job at a time:
//!
//! ```text
//!   while let Ok(job) = queue.lock().unwrap().recv() { job() }
//! ```
//!
//! What must not live here: sockets, protocols, what a job is.
//!
//! before: `protocol.rs` … after: `server.rs`
//!
//! Experiment: `kill -9` a worker of `kolam serve --mode process` and watch the log; then write the wrong
//! version above and see which test hangs.

use crate::sys::{self, Ended, Pid, Stop};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Threads that take jobs of type `J` from one channel.
pub struct ThreadPool<J> {
    /// The channel is not bounded; the caller of `submit` bounds the jobs (permits).
    queue: Sender<J>,
    /// Nothing is ever sent: the channel closes when the last thread has ended.
    ended: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Starts `count` threads and waits until all are ready for jobs. Each calls `make_worker` with its
    /// number, counted from 0, and then the result with every job it takes; no other thread has that result.
    pub fn start<W: FnMut(J)>(
        count: usize,
        make_worker: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> io::Result<ThreadPool<J>> {
        let (queue, jobs) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let (ready, all_ready) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let make_worker = Arc::new(make_worker);
        let mut threads = Vec::new();
        for index in 0..count {
            let (jobs, make_worker, alive, ready) =
                (jobs.clone(), make_worker.clone(), alive.clone(), ready.clone());
            let body = move || {
                let work = make_worker(index);
                drop(ready);
                take_jobs(&jobs, work);
                drop(alive);
            };
            threads.push(Builder::new().name(format!("worker-{index}")).spawn(body)?);
        }
        // Nothing is sent here either: the channel closes when every thread has dropped its sender.
        drop(ready);
        let _: Result<(), _> = all_ready.recv();
        Ok(ThreadPool {
            queue,
            ended,
            threads,
        })
    }

    pub fn submit(&self, job: J) {
        // The channel lives as long as its threads, and they live as long as this sender.
        let _ = self.queue.send(job);
    }

    /// Takes no more jobs and waits until `deadline` for the submitted ones. Returns whether all threads have
    /// ended.
    pub fn finish(self, deadline: Option<Instant>) -> bool {
        drop(self.queue);
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let waited = self.ended.recv_timeout(left.unwrap_or(Duration::MAX));
        if waited == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        true
    }
}

/// What a thread does: wait for a job, do it, until the channel is closed and empty.
fn take_jobs<J>(jobs: &Mutex<Receiver<J>>, mut work: impl FnMut(J)) {
    loop {
        // The guard is gone at the end of this statement, before the job runs.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic has been reported by the panic hook; what the job held has been dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| work(job)));
    }
}

/// What a supervisor asks the server that it works for, and what it reports to it.
pub trait WorkerHooks {
    /// Runs worker `index`, in its own process; returns its exit code.
    fn work(&self, index: usize) -> i32;
    /// Worker `index` was forked.
    fn on_spawn(&self, index: usize, pid: Pid, again: bool);
    /// Worker `index` ended although the server does not stop.
    fn on_exit(&self, index: usize, ended: Ended);
    /// Process `pid` has ended and was replaced, if possible: clean up what it left.
    fn on_cleanup(&self, pid: Pid);
    /// Worker `index` could not be forked; the supervisor tries again.
    fn on_spawn_error(&self, index: usize, error: &io::Error);
    /// Is any worker ready to serve?
    fn any_ready(&self) -> bool;
}

/// A worker that ends sooner than this after its fork made an early exit.
const MIN_UPTIME: Duration = Duration::from_secs(1);

/// Early exits, beyond one for each worker, after which a supervisor without a single running worker gives
/// up.
const MAX_EARLY_EXITS: u32 = 4;

/// Pause before the next fork after the first early exit; each further one makes it four times longer
/// (exponential backoff).
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two forks.
const LONGEST_PAUSE: Duration = Duration::from_millis(2560);

/// How long after the grace a process may still run before it is killed.
const OVERSTAY: Duration = Duration::from_millis(500);

/// One of the supervisor's workers.
#[derive(Clone, Copy)]
struct Slot {
    /// Its process; `None`: it has none now.
    pid: Option<Pid>,
    /// When that process was forked.
    started: Instant,
}

/// The parent of forked workers.
pub struct Supervisor<'h, H: WorkerHooks> {
    hooks: &'h H,
    slots: Vec<Slot>,
    /// Early exits since a worker last ran longer than MIN_UPTIME.
    early_exits: u32,
    /// When the last of them was.
    last_early_exit: Instant,
    /// Processes that have ended and not been cleaned up after.
    to_clean_up: Vec<Pid>,
    /// After early exits: when to try again. One worker is then forked on trial, and the other slots stay
    /// empty until it has run for MIN_UPTIME.
    next: Instant,
}

impl<'h, H: WorkerHooks> Supervisor<'h, H> {
    /// Forks `count` workers. The caller has no threads.
    pub fn start(hooks: &'h H, count: usize) -> io::Result<Supervisor<'h, H>> {
        let now = Instant::now();
        let slots = vec![
            Slot {
                pid: None,
                started: now
            };
            count
        ];
        let mut supervisor = Supervisor {
            hooks,
            slots,
            early_exits: 0,
            last_early_exit: now,
            to_clean_up: Vec::new(),
            next: now,
        };
        for index in 0..count {
            supervisor.spawn(index, false)?;
        }
        Ok(supervisor)
    }

    fn spawn(&mut self, index: usize, again: bool) -> io::Result<()> {
        let hooks = self.hooks;
        let pid = sys::fork(|| hooks.work(index))?;
        self.slots[index] = Slot {
            pid: Some(pid),
            started: Instant::now(),
        };
        hooks.on_spawn(index, pid, again);
        Ok(())
    }

    /// Replaces workers that end, until a stop is requested (true) or workers keep ending early (false).
    /// Calls `look` whenever something may have changed.
    pub fn watch(&mut self, stop: Stop, mut look: impl FnMut()) -> io::Result<bool> {
        while !stop.requested() {
            self.reap()?;
            let none_left = self.slots.iter().all(|slot| slot.pid.is_none());
            if none_left && self.early_exits >= self.slots.len() as u32 + MAX_EARLY_EXITS {
                return Ok(false);
            }
            self.fill_slots();
            look();
            self.to_clean_up
                .drain(..)
                .for_each(|pid| self.hooks.on_cleanup(pid));
            stop.sleep((self.early_exits > 0).then_some(self.next))?;
        }
        Ok(true)
    }

    /// Takes note of every worker that has ended.
    fn reap(&mut self) -> io::Result<()> {
        while self.slots.iter().any(|slot| slot.pid.is_some()) {
            let Some(ended) = sys::reap(-1, false)? else { break };
            let found = self.slots.iter().position(|slot| slot.pid == Some(ended.pid));
            // A child that we did not fork (a parent may fork and then exec this program) is not replaced.
            let Some(index) = found else { continue };
            self.slots[index].pid = None;
            self.hooks.on_exit(index, ended);
            self.to_clean_up.push(ended.pid);
            // SIGKILL comes from outside, so the worker is not at fault, unless none ever gets ready.
            let own_fault = ended.signal != Some(sys::SIGKILL) || !self.hooks.any_ready();
            if own_fault && self.slots[index].started.elapsed() < MIN_UPTIME {
                self.slow_down();
            }
        }
        Ok(())
    }

    fn slow_down(&mut self) {
        let pause = FIRST_PAUSE * 4_u32.pow(self.early_exits.min(8));
        self.early_exits += 1;
        self.last_early_exit = Instant::now();
        self.next = self.last_early_exit + pause.min(LONGEST_PAUSE);
    }

    /// Fills empty slots: all at once, or one on trial after early exits.
    fn fill_slots(&mut self) {
        let now = Instant::now();
        if self.early_exits > 0 && now < self.next {
            return;
        }
        let stable = |slot: &Slot| {
            slot.pid.is_some() && slot.started > self.last_early_exit && now - slot.started >= MIN_UPTIME
        };
        if self.slots.iter().any(stable) {
            self.early_exits = 0;
        }
        for index in 0..self.slots.len() {
            if self.slots[index].pid.is_some() {
                continue;
            }
            if let Err(error) = self.spawn(index, true) {
                // The system gives no process: the same remedy as for one that ends at once.
                self.hooks.on_spawn_error(index, &error);
                return self.slow_down();
            }
            if self.early_exits > 0 {
                break;
            }
        }
        self.next = now + MIN_UPTIME;
    }

    /// Asks all workers to finish, waits until they have or `grace` is over, then kills the rest.
    pub fn shut_down(mut self, stop: Stop, grace: Duration) -> io::Result<()> {
        let deadline = Instant::now() + grace + OVERSTAY;
        self.signal_all(sys::SIGTERM);
        let mut killed = false;
        loop {
            while let Ok(Some(ended)) = sys::reap(-1, false) {
                if killed {
                    self.hooks.on_cleanup(ended.pid);
                }
                self.slots.retain(|slot| slot.pid != Some(ended.pid));
            }
            if self.slots.iter().all(|slot| slot.pid.is_none()) {
                return Ok(());
            }
            if !killed && Instant::now() >= deadline {
                self.signal_all(sys::SIGKILL);
                killed = true;
            }
            stop.sleep((!killed).then_some(deadline))?;
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

    #[test]
    fn four_workers_do_four_jobs_at_once() {
        // Each job waits for three others: with less than four workers this never ends.
        let meeting = Arc::new(Barrier::new(4));
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let list = seen.clone();
        let pool = ThreadPool::start(4, move |index| {
            let list = list.clone();
            move |meeting: Arc<Barrier>| {
                meeting.wait();
                list.lock().unwrap().insert((index, std::thread::current().id()));
            }
        });
        let pool = pool.unwrap();
        (0..4).for_each(|_| pool.submit(meeting.clone()));
        assert!(pool.finish(None));
        assert_eq!(seen.lock().unwrap().len(), 4);
    }

    #[test]
    fn a_panic_costs_its_job_and_no_worker() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let list = done.clone();
        let pool = ThreadPool::start(1, move |_| {
            let list = list.clone();
            move |job: u32| {
                assert!(job.is_multiple_of(2), "an odd job, as ordered by the test");
                list.lock().unwrap().push(job);
            }
        });
        let pool = pool.unwrap();
        (0..100).for_each(|job| pool.submit(job));
        assert!(pool.finish(None));
        assert_eq!(*done.lock().unwrap(), (0..100).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn finish_gives_up_at_its_deadline() {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        let pool = ThreadPool::start(1, move |_| {
            let receiver = receiver.clone();
            move |()| assert!(receiver.lock().unwrap().recv().is_err())
        });
        let pool = pool.unwrap();
        pool.submit(());
        assert!(!pool.finish(Some(Instant::now() + Duration::from_millis(20))));
        drop(sender);
    }
}
