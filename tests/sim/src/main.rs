//! Runs seeds, replays one, hunts planted bugs: see `--help`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gridctl_jobs::planted::Bug;
use gridctl_sim::{
    Batch, Checks, Failure, Plan, Settings, WITHIN_SCHEDULES, hunt, part_of, run, run_all,
};

use crate::arguments::{Arguments, Planted, USAGE};

mod arguments;

/// Lines of the log of a failing seed that are printed.
const LOG_TAIL_LINES: usize = 60;
/// So many seeds must show every kind of thing at least once.
const COVERING_SEEDS: usize = 50_000;
/// Failing seeds after which it is enough.
const FAILURES_MAX: usize = 5;
/// How often the terminal is told how far it has come, in milliseconds.
const PROGRESS_EVERY_MS: u64 = 500;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let done = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Arguments { one: Some(seed), log, .. }) => replay(&mut out, seed, log),
        Ok(Arguments { hashes: Some(seeds), threads, .. }) => {
            compare_hashes(&mut out, &seeds, threads)
        }
        Ok(arguments) if arguments.planted.is_some() => hunt_planted(&mut out, &arguments),
        Ok(arguments) if arguments.seeds.is_empty() && arguments.fresh == 0 => {
            out.write_all(USAGE.as_bytes()).map(|()| true)
        }
        Ok(arguments) => run_many(&mut out, arguments),
        Err(what) => write!(out, "{what}\n\n{USAGE}").map(|()| false),
    };
    // Whoever reads may have gone.
    if done.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(out: &mut impl Write, seed: u64, log: bool) -> std::io::Result<bool> {
    let outcome = run(seed, Settings { keep_lines: log, ..Settings::default() });
    for line in &outcome.log {
        writeln!(out, "{line}")?;
    }
    match &outcome.violation {
        Some(violation) => writeln!(out, "seed {seed}: {violation}")?,
        None => writeln!(
            out,
            "seed {seed}: holds, {} ms simulated, trace {:016x}",
            outcome.simulated.0, outcome.trace_hash
        )?,
    }
    Ok(outcome.violation.is_none())
}

fn run_many(out: &mut impl Write, arguments: Arguments) -> std::io::Result<bool> {
    let threads = threads(arguments.threads);
    let mut seeds = arguments.seeds;
    if arguments.fresh > 0 {
        let first = first_fresh(arguments.by.as_deref());
        writeln!(out, "fresh seeds: {first}..{}", first + arguments.fresh)?;
        seeds.extend(first..first + arguments.fresh);
    }
    let begun = Instant::now();
    let plan = Plan { threads, failures_max: FAILURES_MAX };
    let batch = run_all(&seeds, Settings::default(), plan, &progress(begun, seeds.len()));
    for failure in batch.failures.iter().take(FAILURES_MAX) {
        tell_failure(out, failure)?;
    }
    if arguments.coverage || seeds.len() >= COVERING_SEEDS {
        write!(out, "{}", batch.coverage)?;
    }
    // A handful of seeds need not show everything.
    let never = if batch.ran < COVERING_SEEDS { Vec::new() } else { batch.coverage.never_hit() };
    for what in &never {
        writeln!(out, "never happened, and is not listed as impossible: {what}")?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "{} schedules, {} of which count, {} failures; {} s simulated in {seconds:.1} s on {threads} threads, \
         {:.0} schedules a second; trace of all {:016x}",
        batch.ran,
        batch.counted,
        batch.failures.len(),
        batch.simulated_ms / 1000,
        rate(batch.ran, seconds),
        batch.hash(),
    )?;
    Ok(batch.failures.is_empty() && never.is_empty())
}

fn compare_hashes(
    out: &mut impl Write,
    seeds: &[u64],
    wanted: Option<usize>,
) -> std::io::Result<bool> {
    let plan = Plan { threads: threads(wanted), failures_max: usize::MAX };
    let hashes = |seeds: &[u64]| -> Batch { run_all(seeds, Settings::default(), plan, &|_| {}) };
    let first = hashes(seeds);
    // The other way round, so that nothing that is left over from one seed helps the next.
    let reversed: Vec<u64> = seeds.iter().rev().copied().collect();
    let again = hashes(&reversed);
    let mut different = Vec::new();
    for ((place, one), (_, other)) in first.hashes.iter().zip(again.hashes.iter().rev()) {
        if one != other {
            different.push(seeds[*place]);
        }
    }
    writeln!(
        out,
        "{} seeds run twice, {} gave different traces {different:?}; trace of all {:016x}",
        seeds.len(),
        different.len(),
        first.hash()
    )?;
    Ok(different.is_empty())
}

fn hunt_planted(out: &mut impl Write, arguments: &Arguments) -> std::io::Result<bool> {
    if !cfg!(feature = "planted-bugs") {
        writeln!(out, "no bug can be planted: build with --features planted-bugs")?;
        return Ok(false);
    }
    let bugs = match &arguments.planted {
        Some(Planted::By(text)) => part_of(text, arguments.part.unwrap_or(1)),
        Some(Planted::Named(name)) if name == "all" => Bug::ALL.to_vec(),
        Some(Planted::Named(name)) => {
            Bug::ALL.into_iter().filter(|bug| format!("{bug:?}") == *name).collect()
        }
        None => Vec::new(),
    };
    if bugs.is_empty() {
        writeln!(out, "no such bug; there are {:?}", Bug::ALL)?;
        return Ok(false);
    }
    let within = arguments.within.unwrap_or(WITHIN_SCHEDULES);
    let checks = if arguments.ledger { Checks::Ledger } else { Checks::All };
    let mut missed = Vec::new();
    for bug in &bugs {
        let begun = Instant::now();
        match hunt(*bug, checks, within, threads(arguments.threads)) {
            Some(Failure { place, seed, violation }) => writeln!(
                out,
                "{bug:?}: found in schedule {} (seed {seed}) after {:.1} s: {violation}",
                place + 1,
                begun.elapsed().as_secs_f64()
            )?,
            None => {
                writeln!(out, "{bug:?}: not found in {within} schedules")?;
                missed.push(*bug);
            }
        }
        out.flush()?;
    }
    writeln!(out, "{} of {} planted bugs found", bugs.len() - missed.len(), bugs.len())?;
    Ok(missed.is_empty())
}

fn tell_failure(out: &mut impl Write, failure: &Failure) -> std::io::Result<()> {
    let Failure { seed, violation, .. } = failure;
    let logged = run(*seed, Settings { keep_lines: true, ..Settings::default() });
    for line in &logged.log[logged.log.len().saturating_sub(LOG_TAIL_LINES)..] {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "seed {seed}: {violation}")?;
    writeln!(out, "replay: cargo run --release -p gridctl-sim -- --seed {seed} --log\n")
}

/// Returns the first of seeds that nobody has run: by the time, or by a text.
fn first_fresh(by: Option<&str>) -> u64 {
    let Some(text) = by else {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Microseconds, so that no run of this program repeats the seeds of another.
        return u64::try_from(since.as_micros()).unwrap_or_default();
    };
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // As many digits as the time has.
    hash >> 13
}

fn threads(wanted: Option<usize>) -> usize {
    wanted.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1)
}

/// Tells a terminal how far it has come.
fn progress(begun: Instant, of: usize) -> impl Fn(usize) + Sync {
    let is_watched = std::io::stderr().is_terminal();
    let told_ms = AtomicU64::new(0);
    move |ran| {
        let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = told_ms.load(Ordering::Relaxed);
        if is_watched && (now_ms >= last + PROGRESS_EVERY_MS || ran == of) {
            told_ms.store(now_ms, Ordering::Relaxed);
            let a_second = rate(ran, begun.elapsed().as_secs_f64());
            // Only for whoever watches.
            let _ = write!(std::io::stderr(), "\r{ran} of {of}, {a_second:.0} a second ");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(ran: usize, seconds: f64) -> f64 {
    ran as f64 / seconds.max(0.001)
}
