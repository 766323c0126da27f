//! Runs seeds, and replays one: see `--help`.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gridctl_sim::{Coverage, Outcome, Settings, run};

const USAGE: &str = "\
usage: gridctl-sim [--seeds A..B] [--fresh N] [--coverage]
       gridctl-sim --seed N [--log]

  --seeds A..B  runs these seeds
  --fresh N     runs N seeds that nobody has run before, and prints the first
  --coverage    prints how often each kind of thing happened
  --seed N      runs one seed and says what became of it
  --log         with --seed: prints everything that happened
";
/// Lines of the log of a failing seed that are printed.
const LOG_TAIL_LINES: usize = 60;
/// So many seeds must show every kind of thing at least once.
const COVERING_SEEDS: usize = 500;
/// Failing seeds that are printed before it is enough.
const FAILURES_MAX: usize = 5;

/// What is asked for.
#[derive(Debug, Default)]
struct Arguments {
    seeds: Vec<u64>,
    fresh: u64,
    one: Option<u64>,
    log: bool,
    coverage: bool,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let done = match parse(std::env::args().skip(1)) {
        Ok(Arguments { one: Some(seed), log, .. }) => replay(&mut out, seed, log),
        Ok(arguments) if arguments.seeds.is_empty() && arguments.fresh == 0 => {
            out.write_all(USAGE.as_bytes()).map(|()| true)
        }
        Ok(arguments) => run_many(&mut out, arguments),
        Err(what) => write!(out, "{what}\n\n{USAGE}").map(|()| false),
    };
    // Whoever reads may have gone.
    if done.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let number = |text: Option<String>, of: &str| {
        text.as_deref().and_then(|text| text.parse().ok()).ok_or(format!("{of} wants a number"))
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => parsed.one = Some(number(arguments.next(), "--seed")?),
            "--fresh" => parsed.fresh = number(arguments.next(), "--fresh")?,
            "--log" => parsed.log = true,
            "--coverage" => parsed.coverage = true,
            "--seeds" => {
                let text = arguments.next().unwrap_or_default();
                let (first, end) =
                    text.split_once("..").ok_or("--seeds wants a range, as 0..500")?;
                let (first, end) = (
                    number(Some(first.to_owned()), "--seeds")?,
                    number(Some(end.to_owned()), "--seeds")?,
                );
                parsed.seeds = (first..end).collect();
            }
            "--help" | "-h" => return Ok(Arguments::default()),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(parsed)
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
    let mut seeds = arguments.seeds;
    if arguments.fresh > 0 {
        let nanoseconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        // Microseconds, so that no run of this program repeats the seeds of another.
        let first = u64::try_from(nanoseconds / 1000).unwrap_or_default();
        writeln!(out, "fresh seeds: {first}..{}", first + arguments.fresh)?;
        seeds.extend(first..first + arguments.fresh);
    }
    let begun = Instant::now();
    let mut coverage = Coverage::new();
    let (mut counted, mut failures, mut simulated_ms) = (0, 0, 0);
    for seed in &seeds {
        let outcome = run(*seed, Settings::default());
        coverage.add(&outcome.coverage);
        counted += usize::from(outcome.counts);
        simulated_ms += outcome.simulated.0;
        if outcome.violation.is_some() {
            failures += 1;
            tell_failure(out, *seed, &outcome)?;
            if failures == FAILURES_MAX {
                break;
            }
        }
    }
    if arguments.coverage || failures == 0 {
        write!(out, "{coverage}")?;
    }
    // A handful of seeds need not show everything.
    let never = if seeds.len() < COVERING_SEEDS { Vec::new() } else { coverage.never_hit() };
    if !never.is_empty() {
        writeln!(out, "never happened: {}", never.join(", "))?;
    }
    writeln!(
        out,
        "{} seeds, {counted} with at least three faults that hit, {failures} failures; {} s simulated in {:.1} s",
        seeds.len(),
        simulated_ms / 1000,
        begun.elapsed().as_secs_f64(),
    )?;
    Ok(failures == 0 && never.is_empty())
}

fn tell_failure(out: &mut impl Write, seed: u64, outcome: &Outcome) -> std::io::Result<()> {
    let logged = run(seed, Settings { keep_lines: true, ..Settings::default() });
    for line in &logged.log[logged.log.len().saturating_sub(LOG_TAIL_LINES)..] {
        writeln!(out, "{line}")?;
    }
    if let Some(violation) = &outcome.violation {
        writeln!(out, "seed {seed}: {violation}")?;
    }
    writeln!(out, "replay: cargo run --release -p gridctl-sim -- --seed {seed} --log\n")
}
