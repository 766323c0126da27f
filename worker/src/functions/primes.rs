//! `count_primes`: an honest load. A segmented sieve of Eratosthenes over odd numbers.
//!
//! A segment's bits fit the first-level cache, which is what makes it fast (the classic form; see Bays and
//! Hudson, "The segmented sieve of Eratosthenes and primes in arithmetic progressions to 10^12", 1977).

use rayon::prelude::*;
use serde_json::Value;

use super::{Context, FunctionResult};

/// Odd numbers of one segment: 16 KiB of bits, half of a common first-level cache.
const SEGMENT_ODDS: u64 = 16 * 1024 * 8;
/// Segments between two looks at whether the task was cancelled: some 5 ms.
const SEGMENTS_PER_LOOK: u64 = 32;
/// The largest `end`: its square root's primes are sieved in a second and fit 200 MiB at worst.
const END_MAX: u64 = 1 << 53;

/// Counts the primes of `{start, end}`.
pub(super) fn count_primes(context: &Context<'_>, args: Value) -> FunctionResult {
    let (start, end) = bounds(&args)?;
    let count = count(context, start, end).ok_or_else(|| "cancelled".to_owned())?;
    Ok(Some(count.into()))
}

fn bounds(args: &Value) -> Result<(u64, u64), String> {
    let bound = |name: &str| {
        let number = args.get(name).and_then(Value::as_i64);
        // No prime is negative.
        number.map(|number| u64::try_from(number).unwrap_or(0))
    };
    match (bound("start"), bound("end")) {
        (Some(start), Some(end)) if end <= END_MAX => Ok((start, end)),
        (Some(_), Some(_)) => Err(format!("`end` is over the largest, {END_MAX}")),
        _ => Err(format!(
            "the argument {args} has no whole numbers `start` and `end`; use for_each = {{ range = \"0..100000000\", chunk = 1000000 }} or args = {{ start = 0, end = 100 }}"
        )),
    }
}

/// Counts the primes in `start..end`; `None` where the task was cancelled.
fn count(context: &Context<'_>, start: u64, end: u64) -> Option<u64> {
    let two = u64::from(start <= 2 && 2 < end);
    // Odd numbers only, from 3 on: number n is bit (n - 1) / 2.
    let (first, last) = (start.max(3) / 2, end.saturating_sub(1).div_ceil(2));
    if first >= last {
        return Some(two);
    }
    let base = small_primes(end.isqrt());
    let block = SEGMENT_ODDS * SEGMENTS_PER_LOOK;
    let blocks = (last - first).div_ceil(block);
    let count_block = |place: u64| {
        if context.is_cancelled() {
            return None;
        }
        let from = first + place * block;
        Some(count_odds(&base, from, (from + block).min(last)))
    };
    let counts = if context.threads() > 1 {
        (0..blocks).into_par_iter().map(count_block).sum::<Option<u64>>()
    } else {
        (0..blocks).map(count_block).sum()
    };
    counts.map(|count| count + two)
}

/// Counts the primes among the odd numbers `2 from + 1`, …, `2 to - 1`.
fn count_odds(base: &[u64], from: u64, to: u64) -> u64 {
    let mut sieve = vec![0_u64; usize::try_from(SEGMENT_ODDS / 64).expect("a small constant")];
    let mut total = 0;
    let mut low = from;
    while low < to {
        let high = (low + SEGMENT_ODDS).min(to);
        sieve.fill(0);
        for &prime in base {
            // The first odd multiple in the segment that is not below the prime's square.
            let square = prime * prime / 2;
            if square >= high {
                break;
            }
            let mut place = if square >= low {
                square - low
            } else {
                let rest = (low - square) % prime;
                if rest == 0 { 0 } else { prime - rest }
            };
            while place < high - low {
                sieve[(place / 64) as usize] |= 1 << (place % 64);
                place += prime;
            }
        }
        let composites: u64 = sieve.iter().map(|word| u64::from(word.count_ones())).sum();
        total += (high - low) - composites;
        low = high;
    }
    total
}

/// Returns the odd primes up to `max`.
fn small_primes(max: u64) -> Vec<u64> {
    let odds = usize::try_from(max.div_ceil(2)).expect("the root of the largest end is small");
    let mut composite = vec![false; odds];
    let mut primes = Vec::new();
    for place in 1..odds {
        if composite[place] {
            continue;
        }
        let prime = 2 * place + 1;
        primes.push(prime as u64);
        (prime * prime / 2..odds).step_by(prime).for_each(|place| composite[place] = true);
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn primes(start: u64, end: u64, threads: usize) -> u64 {
        let never = || false;
        count(&Context::new(threads, &never), start, end).unwrap()
    }

    fn slow(start: u64, end: u64) -> u64 {
        let is_prime =
            |n: &u64| *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
        (start..end).filter(is_prime).count() as u64
    }

    #[test]
    fn the_first_million_numbers_have_78498_primes() {
        assert_eq!(primes(0, 1_000_000, 1), 78_498);
        assert_eq!(primes(0, 1_000_000, 2), 78_498);
    }

    #[test]
    fn every_small_range_agrees_with_trial_division() {
        for start in 0..60 {
            for end in 0..130 {
                assert_eq!(primes(start, end, 1), slow(start, end), "{start}..{end}");
            }
        }
    }

    #[test]
    fn ranges_around_squares_of_primes_agree_with_trial_division() {
        for root in [101_u64, 103, 997, 1009] {
            let (start, end) = (root * root - 5, root * root + 1);
            assert_eq!(primes(start, end, 1), slow(start, end), "{start}..{end}");
        }
    }

    #[test]
    fn chunks_add_up() {
        let whole = primes(0, 3_000_000, 1);
        let parts: u64 = (0..30).map(|i| primes(i * 100_000, (i + 1) * 100_000, 1)).sum();
        assert_eq!((whole, parts), (216_816, 216_816));
    }

    #[test]
    fn a_cancelled_count_ends() {
        let always = || true;
        let context = Context::new(1, &always);
        let args = json!({"start": 0, "end": 1_000_000_000_u64});
        assert_eq!(count_primes(&context, args), Err("cancelled".to_owned()));
    }

    #[test]
    fn arguments_that_make_no_sense_are_errors() {
        let never = || false;
        let context = Context::new(1, &never);
        for args in [json!(null), json!(7), json!({"start": 1}), json!({"start": "a", "end": 2})] {
            assert!(count_primes(&context, args).unwrap_err().contains("`start` and `end`"));
        }
        assert!(count_primes(&context, json!({"start": 0, "end": i64::MAX})).is_err());
        assert_eq!(count_primes(&context, json!({"start": -5, "end": 10})), Ok(Some(json!(4))));
    }
}
