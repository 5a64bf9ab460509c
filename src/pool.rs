//! # Chapter 11. Who does the work when one pair of hands is not enough?
//!
//! A pool: a fixed number of workers that outlive the jobs. Threads share memory, so jobs can be handed to
//! them through a channel, and one thread's crash could be everybody's. Processes share nothing but what was
//! there before the fork, so each takes its own connections from the common listener, and a parent that does
//! nothing else puts a new one in the place of each that dies.
//!
//! ```text
//!   ThreadPool   submit ──► channel ──► worker 0, 1, … (whoever is idle takes the next job)
//!   Supervisor   fork ──► worker 0, 1, … ──► dies ──► reap ──► fork again (slower, if it died young)
//! ```
//!
//! The invariant: a job that panics costs that job and no worker; a process that dies costs what it had in
//! hand and no other; the number of workers is what was asked for, or the supervisor says why not.
//!
//! The wrong version of the channel loop, which looks nicer, holds the lock while the job runs, because the
//! guard lives until the end of the loop's body, and the pool serves one job at a time:
//! `while let Ok(job) = queue.lock().unwrap().recv() { job() }`.
//!
//! What must not live here: sockets, protocols, what a job is.
//!
//! before: `net/linger.rs` … after: `server.rs`
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
    /// The channel is not bounded; whoever submits counts what it has let in.
    queue: Sender<J>,
    /// Nothing is ever sent: it is cut off when the last thread has ended.
    ended: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Starts `count` threads and waits until all are ready for jobs. Each calls `hire` with its number,
    /// counted from 0, and then the result with every job it takes; what the result holds is its own.
    pub fn start<W: FnMut(J)>(
        count: usize,
        hire: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> io::Result<ThreadPool<J>> {
        let (queue, jobs) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let (ready, hired) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let hire = Arc::new(hire);
        let mut threads = Vec::new();
        for index in 0..count {
            let (jobs, hire, alive, ready) = (jobs.clone(), hire.clone(), alive.clone(), ready.clone());
            let body = move || {
                let work = hire(index);
                drop(ready);
                take_jobs(&jobs, work);
                drop(alive);
            };
            threads.push(Builder::new().name(format!("worker-{index}")).spawn(body)?);
        }
        // Nothing is sent here either: the channel ends when every thread has let go of it.
        drop(ready);
        let _: Result<(), _> = hired.recv();
        Ok(ThreadPool { queue, ended, threads })
    }

    pub fn submit(&self, job: J) {
        // The channel lives as long as its threads, and they live as long as this sender.
        let _ = self.queue.send(job);
    }

    /// Takes no more jobs, lets those submitted finish, and waits for it until `deadline`. Returns whether
    /// all threads have ended.
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

/// The life of a thread: wait for a job, do it, until the channel is closed and empty.
fn take_jobs<J>(jobs: &Mutex<Receiver<J>>, mut work: impl FnMut(J)) {
    loop {
        // The guard is gone at the end of this statement, before the job runs.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic has been reported by the panic hook; what the job held has been dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| work(job)));
    }
}

/// What a supervisor needs to know from, and tell to, the server it works for.
pub trait WorkerHooks {
    /// The life of worker `index`, in its own process; returns its exit code.
    fn work(&self, index: usize) -> i32;
    /// Worker `index` was forked.
    fn on_spawn(&self, index: usize, pid: Pid, again: bool);
    /// Worker `index` ended, and we had not asked it to.
    fn on_exit(&self, index: usize, ended: Ended);
    /// Process `pid` has been replaced: time for what can wait.
    fn on_cleanup(&self, pid: Pid);
    /// Worker `index` could not be forked; it will be tried again.
    fn on_spawn_error(&self, index: usize, error: &io::Error);
    /// Has any worker come as far as being able to serve?
    fn any_ready(&self) -> bool;
}

/// A worker that ends within this time after its birth died young.
const MIN_UPTIME: Duration = Duration::from_secs(1);

/// Deaths in youth, beyond one for each worker, after which a supervisor without a single living worker
/// gives up.
const MAX_EARLY_EXITS: u32 = 4;

/// Pause before the next fork after the first death in youth; each further one makes it four times longer.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two forks.
const LONGEST_PAUSE: Duration = Duration::from_millis(2560);

/// How long a process may overstay the grace before it is killed.
const OVERSTAY: Duration = Duration::from_millis(500);

/// One place in the crew.
#[derive(Clone, Copy)]
struct Slot {
    /// The process in it; `None`: vacant.
    pid: Option<Pid>,
    /// When that process was forked.
    started: Instant,
}

/// The parent of forked workers.
pub struct Supervisor<'c, C: WorkerHooks> {
    crew: &'c C,
    places: Vec<Slot>,
    /// Deaths in youth, since a worker that was started after the last of them outlived its youth.
    early_exits: u32,
    /// When the last of them was.
    last_young_death: Instant,
    /// Those who have died and not been cleaned up after.
    dead: Vec<Pid>,
    /// While there are any: when to look again. One worker at a time is then forked on trial, after a
    /// pause, and the other places stay vacant until it has outlived its youth.
    next: Instant,
}

impl<'c, C: WorkerHooks> Supervisor<'c, C> {
    /// Forks `count` workers. The caller has no threads.
    pub fn start(crew: &'c C, count: usize) -> io::Result<Supervisor<'c, C>> {
        let now = Instant::now();
        let places = vec![Slot { pid: None, started: now }; count];
        let mut supervisor =
            Supervisor { crew, places, early_exits: 0, last_young_death: now, dead: Vec::new(), next: now };
        for index in 0..count {
            supervisor.spawn(index, false)?;
        }
        Ok(supervisor)
    }

    fn spawn(&mut self, index: usize, again: bool) -> io::Result<()> {
        let crew = self.crew;
        let pid = sys::fork(|| crew.work(index))?;
        self.places[index] = Slot { pid: Some(pid), started: Instant::now() };
        crew.on_spawn(index, pid, again);
        Ok(())
    }

    /// Replaces the dead until `stop` is raised (true) or workers keep dying young (false). Calls `look`
    /// whenever something may have changed.
    pub fn watch(&mut self, stop: Stop, mut look: impl FnMut()) -> io::Result<bool> {
        while !stop.requested() {
            self.reap()?;
            let deserted = self.places.iter().all(|place| place.pid.is_none());
            if deserted && self.early_exits >= self.places.len() as u32 + MAX_EARLY_EXITS {
                return Ok(false);
            }
            self.fill();
            look();
            self.dead.drain(..).for_each(|pid| self.crew.on_cleanup(pid));
            stop.sleep((self.early_exits > 0).then_some(self.next))?;
        }
        Ok(true)
    }

    /// Takes note of everyone who has died.
    fn reap(&mut self) -> io::Result<()> {
        while self.places.iter().any(|place| place.pid.is_some()) {
            let Some(ended) = sys::reap(-1, false)? else { break };
            let found = self.places.iter().position(|place| place.pid == Some(ended.pid));
            // A stray child, inherited from whoever became this process by exec, is not ours to replace.
            let Some(index) = found else { continue };
            self.places[index].pid = None;
            self.crew.on_exit(index, ended);
            self.dead.push(ended.pid);
            // SIGKILL comes from outside, so it is nobody's fault, unless it hits all before they can serve.
            let own_fault = ended.signal != Some(sys::SIGKILL) || !self.crew.any_ready();
            if own_fault && self.places[index].started.elapsed() < MIN_UPTIME {
                self.slow_down();
            }
        }
        Ok(())
    }

    fn slow_down(&mut self) {
        let pause = FIRST_PAUSE * 4_u32.pow(self.early_exits.min(8));
        self.early_exits += 1;
        self.last_young_death = Instant::now();
        self.next = self.last_young_death + pause.min(LONGEST_PAUSE);
    }

    /// Fills vacant places: all at once, or one on trial while workers die young.
    fn fill(&mut self) {
        let now = Instant::now();
        if self.early_exits > 0 && now < self.next {
            return;
        }
        let mature = |place: &Slot| {
            place.pid.is_some() && place.started > self.last_young_death && now - place.started >= MIN_UPTIME
        };
        if self.places.iter().any(mature) {
            self.early_exits = 0;
        }
        for index in 0..self.places.len() {
            if self.places[index].pid.is_some() {
                continue;
            }
            if let Err(error) = self.spawn(index, true) {
                // No process to be had: the same remedy as for one that dies at once.
                self.crew.on_spawn_error(index, &error);
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
                    self.crew.on_cleanup(ended.pid);
                }
                self.places.retain(|place| place.pid != Some(ended.pid));
            }
            if self.places.iter().all(|place| place.pid.is_none()) {
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
        for pid in self.places.iter().filter_map(|place| place.pid) {
            // It fails only for a process that has ended, which is what we are after.
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
