//! What can be asked of the program.

/// Shown with `--help`.
pub(crate) const USAGE: &str = "\
usage: gridctl-sim [--seeds A..B] [--fresh N [--by TEXT]] [--threads N] [--coverage]
       gridctl-sim --seed N [--log]
       gridctl-sim --hashes A..B
       gridctl-sim --planted all|BUG [--within N] [--ledger]
       gridctl-sim --planted-by TEXT --part N

  --seeds A..B       runs these seeds
  --fresh N          runs N seeds that nobody has run before, and prints which
  --by TEXT          with --fresh: chooses them by a text, such as the hash of a commit
  --threads N        on so many threads (default: one a cpu); what comes out is the same
  --coverage         prints how often each kind of thing happened
  --seed N           runs one seed and says what became of it
  --log              with --seed: prints everything that happened
  --hashes A..B      runs these seeds twice, and compares the hashes of all that happened
  --planted BUG      plants a bug, or each of them in turn, and looks for the first seed that shows it
  --planted-by TEXT  the same with --part N of the bugs, chosen by a text
  --within N         in so many schedules at most (default 100000)
  --ledger           by the simulator's ledger alone, without the product's own checks

exit codes: 0 all is well, 1 something does not hold or was not found
";

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) seeds: Vec<u64>,
    pub(crate) fresh: u64,
    pub(crate) by: Option<String>,
    pub(crate) threads: Option<usize>,
    pub(crate) one: Option<u64>,
    pub(crate) hashes: Option<Vec<u64>>,
    pub(crate) planted: Option<Planted>,
    pub(crate) part: Option<usize>,
    pub(crate) within: Option<u64>,
    pub(crate) ledger: bool,
    pub(crate) log: bool,
    pub(crate) coverage: bool,
}

/// Which bugs to plant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// All, or the one of this name.
    Named(String),
    /// Some, chosen by this text.
    By(String),
}

impl Arguments {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--seed" => parsed.one = Some(number(&argument, &value()?)?),
                "--fresh" => parsed.fresh = number(&argument, &value()?)?,
                "--by" => parsed.by = Some(value()?),
                "--threads" => parsed.threads = Some(count(&argument, &value()?)?),
                "--log" => parsed.log = true,
                "--coverage" => parsed.coverage = true,
                "--ledger" => parsed.ledger = true,
                "--planted" => parsed.planted = Some(Planted::Named(value()?)),
                "--planted-by" => parsed.planted = Some(Planted::By(value()?)),
                "--part" => parsed.part = Some(count(&argument, &value()?)?),
                "--within" => parsed.within = Some(number(&argument, &value()?)?),
                "--seeds" => parsed.seeds = range(&argument, &value()?)?,
                "--hashes" => parsed.hashes = Some(range(&argument, &value()?)?),
                "--help" | "-h" => return Ok(Self::default()),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(parsed)
    }
}

fn number(of: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{of} wants a number, not {text:?}"))
}

fn count(of: &str, text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or(format!("{of} wants a number from 1 on, not {text:?}"))
}

fn range(of: &str, text: &str) -> Result<Vec<u64>, String> {
    let (first, end) = text.split_once("..").ok_or(format!("{of} wants a range, as 0..500"))?;
    Ok((number(of, first)?..number(of, end)?).collect())
}
