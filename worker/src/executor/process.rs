//! Runs one task as a process: starts it, reads what it prints, ends it when its time is up.
//!
//! On std's `posix_spawn` path: no `pre_exec`, a program given by its path. The process leads a group of
//! its own; what is left of the group when it ends is killed while its pid, still unreaped, keeps the
//! group's name from being used again. Whatever else it started, in groups and sessions of their own too,
//! ends with it: what it left running at once, and where it was told to end within the same grace.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use gridctl_jobs::render::{Attempt, Rendered, RenderedRun, RenderedStdin};
use gridctl_jobs::spec::{Keep, OnLostLease};
use gridctl_jobs::state::Failure;
use gridctl_transport::message::worker::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::capture::Capture;
use super::oom::OomKills;
use super::program::{StartError, diagnose, find, interpreter};
use super::run::{Finish, SliceRun};
use super::strays::{Lane, Strays, kill, signal};
use crate::agent::TaskOutput;
use crate::limits::{DRAIN_BYTES_MAX, KILL_GRACE_MS};
use crate::parent::hold_if_dying;
use crate::processes::{self, Patience, Process, below};
use crate::scratch::Scratch;
use crate::spill::Spill;

/// How long to wait between two looks at what is left of a task that was told to end.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// What a lane has for every task that it runs.
pub(super) struct Tools<'a> {
    pub(super) scratch: &'a Scratch,
    /// Wakes the lane when its task was cancelled.
    pub(super) wake: &'a OwnedFd,
    /// What a task sees of the worker's own environment.
    pub(super) base_env: &'a [(&'static str, String)],
    pub(super) buffer: &'a mut [u8],
    /// Finds what the task started once it has lost its parents.
    pub(super) strays: &'a Strays,
    pub(super) lane: Lane<'a>,
    pub(super) oom_kills: &'a OomKills,
    /// Keeps what the task printed.
    pub(super) spill: &'a Spill,
}

/// Runs a task to its end.
pub(super) fn run_process(run: &SliceRun, index: u64, tools: &mut Tools<'_>) -> Finish {
    let Some(scratch) = tools.scratch.work().to_str() else {
        return Finish::could_not_start("the path of its scratch directory is not UTF-8");
    };
    let attempt = Attempt {
        index,
        item: run.item(index),
        attempt: run.slice.attempt,
        token: run.slice.token,
        scratch: Some(scratch),
    };
    let rendered = match run.slice.renderer.render(&attempt) {
        Ok(rendered) => rendered,
        Err(error) => return Finish::could_not_start(error.to_string()),
    };
    let task = &run.slice.renderer.order().task;
    let deadline = task.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    tools.strays.begin(tools.lane);
    let started = start(rendered, [task.stdout, task.stderr], tools);
    match started.and_then(|child| Running::watch(child, deadline)) {
        Ok(running) => running.finish(run, tools),
        Err(error) => {
            tools.strays.end(tools.lane, false);
            Finish::could_not_start(error.to_string())
        }
    }
}

fn start(
    rendered: Rendered<'_>,
    keep: [Keep; 2],
    tools: &Tools<'_>,
) -> Result<Started, StartError> {
    let Rendered { run, env, stdin, cwd } = rendered;
    let cwd = cwd.map_or_else(|| tools.scratch.work().to_owned(), PathBuf::from);
    let base_path = tools.base_env.iter().find(|(name, _)| *name == "PATH");
    let path = env.get("PATH").or(base_path.map(|(_, path)| path)).map_or("", String::as_str);
    let (name, args) = arguments(run, tools.scratch)?;
    let program = find(&name, path, &cwd)?;
    let [stdout, stderr] = keep.map(|keep| match keep {
        Keep::Keep => Stdio::piped(),
        Keep::Discard => Stdio::null(),
    });
    let mut command = Command::new(&program);
    command
        .arg0(name)
        .args(args)
        .env_clear()
        .envs(tools.base_env.iter().map(|(name, value)| (*name, value)))
        .envs(env.iter().map(|(name, value)| (name.as_ref(), value)))
        .current_dir(&cwd)
        .process_group(0)
        .stdin(standard_input(stdin)?)
        .stdout(stdout)
        .stderr(stderr);
    match command.spawn() {
        Ok(child) => Ok(Started { child, program }),
        Err(error) => Err(diagnose(error, &program, &cwd)),
    }
}

/// Returns the program's name and its arguments.
fn arguments(run: RenderedRun<'_>, scratch: &Scratch) -> Result<(String, Vec<String>), StartError> {
    match run {
        RenderedRun::Command { mut argv } => {
            let args = argv.split_off(1.min(argv.len()));
            Ok((argv.pop().unwrap_or_default(), args))
        }
        RenderedRun::Script { text } => {
            let path = scratch.write_script(text).map_err(|error| in_scratch(scratch, error))?;
            let (program, flags) = interpreter(text);
            let script = path.to_string_lossy().into_owned();
            Ok((program, flags.into_iter().chain([script]).collect()))
        }
        // Functions go to their own executor; a renderer gives one only for a function's order.
        RenderedRun::Function { name, .. } => Ok((name.to_owned(), Vec::new())),
    }
}

fn standard_input(stdin: RenderedStdin) -> Result<Stdio, StartError> {
    match stdin {
        RenderedStdin::Empty => Ok(Stdio::null()),
        RenderedStdin::Text(text) => {
            let file = in_memory(&text);
            let in_memory = || PathBuf::from("(text in memory)");
            file.map(Stdio::from).map_err(|error| StartError::BadStdin(in_memory(), error))
        }
        RenderedStdin::File(path) => match File::open(&path) {
            Ok(file) => Ok(Stdio::from(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StartError::NoStdin(path.into()))
            }
            Err(error) => Err(StartError::BadStdin(path.into(), error)),
        },
    }
}

/// Makes a file in memory: unlike a pipe it needs nobody to write while the program reads.
fn in_memory(text: &str) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("stdin", flags)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

fn in_scratch(scratch: &Scratch, error: io::Error) -> StartError {
    StartError::Scratch(scratch.work().to_owned(), error)
}

struct Started {
    child: Child,
    program: PathBuf,
}

/// A process that was started, until it was reaped.
struct Running {
    child: Child,
    group: Pid,
    ended: OwnedFd,
    stdout: Stream,
    stderr: Stream,
    deadline: Option<Instant>,
    ending: Ending,
    timed_out: bool,
    is_over: bool,
    /// What of its tree was told to end, beside its group.
    told: Vec<Process>,
}

/// How far ending it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Asked { kill_at: Instant },
    Killed,
}

impl Running {
    fn watch(started: Started, deadline: Option<Instant>) -> Result<Self, StartError> {
        let Started { mut child, program } = started;
        let group = Pid::from_child(&child);
        match pidfd_open(group, PidfdFlags::empty()) {
            Ok(ended) => Ok(Self {
                stdout: Stream::new(child.stdout.take().map(OwnedFd::from)),
                stderr: Stream::new(child.stderr.take().map(OwnedFd::from)),
                child,
                group,
                ended,
                deadline,
                ending: Ending::No,
                timed_out: false,
                is_over: false,
                told: Vec::new(),
            }),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                Err(StartError::Other(program, error.into()))
            }
        }
    }

    fn finish(mut self, run: &SliceRun, tools: &mut Tools<'_>) -> Finish {
        loop {
            self.is_over |= self.wait_for_something(tools);
            if self.is_over && !self.is_awaited(tools) {
                break;
            }
            self.end_if_due(run, tools);
        }
        // All that it started and left goes with it; none is there most of the time.
        self.signal_group(Signal::KILL);
        let stops = run.slice.renderer.order().task.on_lost_lease == OnLostLease::Stop;
        tools.strays.end(tools.lane, stops && run.is_killed());
        self.end_told();
        self.stdout.drain(tools.buffer);
        self.stderr.drain(tools.buffer);
        let status = self.child.wait().expect("a child that was not reaped can be");
        let outcome = if self.timed_out {
            Outcome::Failed(Failure::Timeout)
        } else {
            outcome(status, tools.oom_kills)
        };
        let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
        let output = TaskOutput { stdout, stderr, ..TaskOutput::default() };
        Finish { outcome, output: tools.spill.keep(output) }
    }

    /// Says whether others of its tree still have time to end.
    fn is_awaited(&self, tools: &Tools<'_>) -> bool {
        matches!(self.ending, Ending::Asked { .. })
            && (self.told.iter().any(is_running) || !tools.strays.alive(tools.lane).is_empty())
    }

    /// Waits until it printed something, ended, was cancelled, or a moment has come; says whether it
    /// ended.
    fn wait_for_something(&mut self, tools: &mut Tools<'_>) -> bool {
        let look = self.is_over.then(|| Instant::now() + LOOK_AFTER);
        let timeout = self.next_moment().into_iter().chain(look).min().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            // Rounded up, so that the moment has come when the wait is over.
            timespec(left + Duration::from_micros(50))
        });
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|stream| stream.pipe.as_ref());
        let mut fds = Vec::with_capacity(4);
        // Once seen, its end is no news any more.
        let ended = if self.is_over { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::new(&self.ended, ended));
        fds.push(PollFd::new(tools.wake, PollFlags::IN));
        fds.extend(stdout.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll refuses descriptors that are open: {error}"),
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        let stderr_place = 2 + usize::from(stdout.is_some());
        let of_stream = |there: bool, place: usize| {
            if there { ready[place] } else { PollFlags::empty() }
        };
        let stdout_ready = of_stream(stdout.is_some(), 2);
        let stderr_ready = of_stream(stderr.is_some(), stderr_place);
        let (has_ended, is_woken) = (!ready[0].is_empty(), !ready[1].is_empty());
        self.stdout.read(stdout_ready, tools.buffer);
        self.stderr.read(stderr_ready, tools.buffer);
        if is_woken {
            quiet(tools.wake);
        }
        has_ended
    }

    fn next_moment(&self) -> Option<Instant> {
        match self.ending {
            Ending::No => self.deadline,
            Ending::Asked { kill_at } => Some(kill_at),
            Ending::Killed => None,
        }
    }

    /// Ends the process by SIGTERM, grace, SIGKILL, where it was cancelled or its time is up.
    fn end_if_due(&mut self, run: &SliceRun, tools: &Tools<'_>) {
        let now = Instant::now();
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        match self.ending {
            Ending::Killed => {}
            Ending::No | Ending::Asked { .. } if run.is_killed() => self.kill(tools),
            Ending::Asked { kill_at } if kill_at <= now => self.kill(tools),
            Ending::No if is_late || run.is_cancelled() => {
                self.timed_out = is_late;
                self.told = self.tree(tools);
                self.signal_group(Signal::TERM);
                signal(&self.told, Signal::TERM);
                let kill_at = now + Duration::from_millis(KILL_GRACE_MS);
                self.ending = Ending::Asked { kill_at };
            }
            Ending::No | Ending::Asked { .. } => {}
        }
    }

    fn kill(&mut self, tools: &Tools<'_>) {
        let tree = self.tree(tools);
        self.signal_group(Signal::KILL);
        kill(&tree);
        self.told.extend(tree);
        self.ending = Ending::Killed;
    }

    /// Signals the whole group. An error means that nobody is in it any more.
    fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    /// Returns what it started, by all generations, and what of that lost its parents; without its group.
    fn tree(&self, tools: &Tools<'_>) -> Vec<Process> {
        let mut tree = below(&processes::all(), &[self.group]);
        tree.extend(tools.strays.alive(tools.lane));
        tree.retain(|process| process.group != Some(self.group) && !process.is_over);
        tree
    }

    /// Ends what was told to end and has not, and waits until it is gone.
    fn end_told(&mut self) {
        let mut patience = Patience::new();
        loop {
            self.told.retain(is_running);
            if self.told.is_empty() {
                return;
            }
            kill(&self.told);
            patience.wait();
        }
    }
}

/// SIGKILL, which the kernel sends where memory runs out.
const KILLED: i32 = 9;
/// How a shell says that its last command died of it.
const KILLED_BELOW_SHELL: i32 = 128 + KILLED;

/// Says whether a process that was seen before is still there.
fn is_running(seen: &Process) -> bool {
    processes::find(seen.pid).is_some_and(|now| now.started == seen.started && !now.is_over)
}

/// One of its output streams.
struct Stream {
    /// `None` once it has ended, or where it goes nowhere.
    pipe: Option<File>,
    capture: Capture,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), capture: Capture::new() }
    }

    /// Reads what is there, after a poll said what is; counts the bytes.
    fn read(&mut self, ready: PollFlags, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        if ready.contains(PollFlags::IN) {
            match pipe.read(buffer) {
                Ok(0) => {}
                Ok(bytes) => {
                    self.capture.add(&buffer[..bytes]);
                    return bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
                // A pipe gives no other error; nothing more comes of it either way.
                Err(_) => {}
            }
        } else if ready.is_empty() {
            return 0;
        }
        self.pipe = None;
        0
    }

    /// Reads what was printed before the process ended. Who left its group may still hold the pipe and
    /// print on; that is not waited for.
    fn drain(&mut self, buffer: &mut [u8]) {
        let mut drained = 0;
        while drained < DRAIN_BYTES_MAX {
            let Some(pipe) = &self.pipe else { return };
            let mut fds = [PollFd::new(pipe, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(Duration::ZERO)));
            let ready = fds[0].revents();
            if ready.is_empty() {
                return;
            }
            drained += self.read(ready, buffer);
        }
    }

    fn all(self) -> Vec<u8> {
        self.capture.finish()
    }
}

fn outcome(status: ExitStatus, oom_kills: &OomKills) -> Outcome {
    hold_if_dying();
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(KILLED_BELOW_SHELL), _) | (None, Some(KILLED)) if oom_kills.was_it() => {
            Outcome::Failed(Failure::OutOfMemory)
        }
        (Some(code), _) => Outcome::Failed(Failure::Exit { code }),
        (None, signal) => Outcome::Failed(Failure::Signal { signal: signal.unwrap_or(0) }),
    }
}

/// Makes an event descriptor silent again.
fn quiet(wake: impl AsFd) {
    let mut count = [0; 8];
    // It may have been read since; it never blocks.
    let _ = rustix::io::read(wake, &mut count);
}

fn timespec(time: Duration) -> Timespec {
    let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Returns what a task sees of the worker's own environment: nothing but these.
pub(super) fn base_env() -> Vec<(&'static str, String)> {
    const NAMES: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];
    NAMES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect()
}

/// Says why a task without a scratch directory cannot run.
pub(super) fn no_scratch(path: &Path, error: io::Error) -> Finish {
    Finish::could_not_start(StartError::Scratch(path.to_owned(), error).to_string())
}
