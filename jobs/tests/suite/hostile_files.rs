//! Files that are made to hurt: each must be refused, or read, in little time, stack and memory.

use std::time::{Duration, Instant};

use gridctl_jobs::job::Job;
use gridctl_jobs::limits::{DIAGNOSTICS_MAX, JOB_FILE_BYTES_MAX};

/// A generous bound for a debug build on a busy machine; reading such a file takes well under a second.
const READ_WITHIN: Duration = Duration::from_secs(30);

fn read(text: String) -> Result<Job, gridctl_jobs::diagnostic::Diagnostics> {
    assert!(text.len() <= JOB_FILE_BYTES_MAX, "the file tests the parser, not its limit");
    let began = Instant::now();
    let read = Job::parse(text.as_bytes(), "hostile.toml");
    let took = began.elapsed();
    assert!(took < READ_WITHIN, "reading took {took:?}");
    if let Err(found) = &read {
        assert!(found.list.len() <= DIAGNOSTICS_MAX);
        assert!(
            found.to_string().len() < 64 << 10,
            "{} bytes of diagnostics",
            found.to_string().len()
        );
    }
    read
}

#[test]
fn nesting_without_end_is_refused() {
    let half = JOB_FILE_BYTES_MAX / 2 - 100;
    for text in [
        format!("name = {}{}", "[".repeat(half), "]".repeat(half)),
        format!("name = {}", "[".repeat(2 * half)),
        format!("name = {}", "{a=".repeat(half / 2)),
        format!("{}a = 1", "a.".repeat(half)),
        format!("[{}a]\n", "a.".repeat(half)),
        format!("[[{}a]]\n", "a.".repeat(half)),
        format!("[[stage]]\nfunction = 'f'\nargs.{}a = 1\n", "a.".repeat(half)),
        format!("[[stage]]\nfunction = 'f'\nargs = {{ {}a = 1 }}\n", "a . ".repeat(half / 2)),
        "'a'.".repeat(half / 2),
    ] {
        read(text).expect_err("it nests too deep");
    }
}

#[test]
fn errors_without_end_are_counted_not_listed() {
    for line in [
        "x",
        "[[stage]]\n",
        "[[stage]]\nx=1\n",
        "=\n",
        "\"\n",
        "{item}",
        "\u{1}\n",
        "[[stage]]\nname=\"a\"\ncommand=[]\n",
    ] {
        let text = line.repeat(JOB_FILE_BYTES_MAX / line.len());
        read(text).expect_err("it is wrong all over");
    }
}

#[test]
fn one_line_of_a_megabyte_is_not_repeated_in_every_diagnostic() {
    let items = "1,".repeat(JOB_FILE_BYTES_MAX / 4);
    let found =
        read(format!("[[stage]]\ncommand = [{items}]")).expect_err("numbers are no strings");
    assert_eq!(found.list.len(), DIAGNOSTICS_MAX);
    assert_eq!(found.omitted, JOB_FILE_BYTES_MAX / 4 - DIAGNOSTICS_MAX);
}

#[test]
fn many_stages_that_need_each_other_are_checked_in_little_time() {
    let names: Vec<String> = (0..300).map(|at| format!("\"s{at}\"")).collect();
    let needs = names.join(",");
    let stage =
        |at: usize| format!("[[stage]]\nname=\"s{at}\"\ncommand=[\"x\"]\nneeds=[{needs}]\n");
    let text: String = (0..300).map(stage).collect();
    read(text).expect_err("they go in circles");
}

#[test]
fn a_small_file_that_asks_for_a_trillion_tasks_is_refused_at_once() {
    for range in [
        "0..1000000000000",
        "-9223372036854775808..=9223372036854775807",
        "0..9223372036854775807:2",
    ] {
        let text = format!("[[stage]]\ncommand = [\"x\"]\nfor_each.range = \"{range}\"");
        assert!(text.len() < 1024);
        read(text).expect_err("it asks for too many tasks");
    }
}

#[test]
fn a_file_over_the_limit_is_refused_unread() {
    let text = "#".repeat(JOB_FILE_BYTES_MAX + 1);
    let found = Job::parse(text.as_bytes(), "big.toml").expect_err("it is too long");
    assert_eq!(
        found.to_string(),
        "error: a job file has at most 1048576 bytes, this one has more\n --> big.toml\n  = hint: keep long lists in a file of their own, for for_each.lines"
    );
}
