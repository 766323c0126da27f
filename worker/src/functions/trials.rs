//! `sleep` and `spin`: for trying a grid out.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Context, FunctionResult};

/// How often a function that waits looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The longest that may be asked for: ten years, as for a timeout.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

/// Waits for the time in its argument.
pub(super) fn sleep(context: &Context<'_>, args: Value) -> FunctionResult {
    let wanted = duration(&args)?;
    let begun = Instant::now();
    loop {
        let left = wanted.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        if context.is_cancelled() {
            return Err("cancelled".to_owned());
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

/// Keeps a cpu busy for the time in its argument.
pub(super) fn spin(context: &Context<'_>, args: Value) -> FunctionResult {
    let wanted = duration(&args)?;
    let begun = Instant::now();
    let mut looked = begun;
    loop {
        let now = Instant::now();
        if now.duration_since(begun) >= wanted {
            return Ok(None);
        }
        if now.duration_since(looked) >= LOOK_EVERY {
            looked = now;
            if context.is_cancelled() {
                return Err("cancelled".to_owned());
            }
        }
        spin_loop();
    }
}

/// Reads a time: seconds as a number, `{"seconds": …}`, or humantime text; none for null.
fn duration(args: &Value) -> Result<Duration, String> {
    const FORMS: &str = "seconds as a number, {\"seconds\": 1.5}, or text such as \"250ms\"";
    let wanted = match args {
        Value::Object(fields) if fields.len() == 1 => fields.get("seconds"),
        Value::Null | Value::Number(_) | Value::String(_) => Some(args),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let parsed = match wanted {
        Some(Value::Null) => Some(Duration::ZERO),
        Some(Value::Number(number)) => number
            .as_f64()
            .filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))
            .map(Duration::from_secs_f64),
        Some(Value::String(text)) => match text.parse::<f64>() {
            Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
                Some(Duration::from_secs_f64(seconds))
            }
            Ok(_) => None,
            Err(_) => humantime::parse_duration(text).ok(),
        },
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    parsed.ok_or_else(|| format!("the argument {args} is not a time; give {FORMS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_in_every_form() {
        for (args, millis) in [
            (json!(0.25), 250),
            (json!(2), 2_000),
            (json!({"seconds": 1.5}), 1_500),
            (json!("250ms"), 250),
            (json!("1m 30s"), 90_000),
            (json!("3"), 3_000),
            (Value::Null, 0),
        ] {
            assert_eq!(duration(&args).unwrap(), Duration::from_millis(millis), "{args}");
        }
    }

    #[test]
    fn what_is_no_time_is_an_error_that_says_what_is() {
        for args in
            [json!(-1), json!(1e300), json!([1]), json!({"secs": 1}), json!("soon"), json!(true)]
        {
            let error = duration(&args).unwrap_err();
            assert!(error.contains("give seconds as a number"), "{error}");
        }
    }

    #[test]
    fn a_cancelled_wait_ends_early() {
        let cancelled = || true;
        let context = Context::new(1, &cancelled);
        assert_eq!(sleep(&context, json!(3600)), Err("cancelled".to_owned()));
        assert_eq!(spin(&context, json!(3600)), Err("cancelled".to_owned()));
    }
}
