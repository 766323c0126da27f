//! What a process sees, what is kept of it, and why one cannot start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gridctl_jobs::limits::OUTPUT_BYTES_MAX;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{Keep, Stdin};
use gridctl_jobs::state::Failure;
use gridctl_transport::message::worker::Outcome;

use super::grid::{Grid, command, order, order_with, script, text};

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let mut grid = Grid::new();
    assert_eq!(grid.command(&["true"]).outcome(), &Outcome::Done);
    let exit = Outcome::Failed(Failure::Exit { code: 7 });
    assert_eq!(grid.script("exit 7").outcome(), &exit);
    let signal = Outcome::Failed(Failure::Signal { signal: 9 });
    assert_eq!(grid.script("kill -9 $$").outcome(), &signal);
}

#[test]
fn both_streams_are_kept_apart() {
    let mut grid = Grid::new();
    let ran = grid.script("printf out; printf err >&2");
    assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("out", "err"));
}

#[test]
fn a_task_that_prints_nothing_leaves_nothing() {
    let mut grid = Grid::new();
    assert_eq!(grid.command(&["true"]).ends[0].output, None);
}

#[test]
fn what_failed_keeps_its_output() {
    let mut grid = Grid::new();
    let ran = grid.script("echo before; exit 1");
    assert_eq!(ran.output().stdout, b"before\n");
}

#[test]
fn discarded_output_goes_nowhere() {
    let mut grid = Grid::new();
    let ran = grid.run(order_with(
        script("echo out; goes=$(readlink /proc/$$/fd/1); echo $goes >&2"),
        |task| {
            task.stdout = Keep::Discard;
        },
    ));
    assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("", "/dev/null\n"));
}

#[test]
fn of_too_much_output_the_middle_is_left_out() {
    let mut grid = Grid::new();
    let ran = grid.script("echo first; head -c 40000000 /dev/zero | tr '\\0' x; echo; echo last");
    let kept = ran.stdout();
    assert!(kept.len() <= OUTPUT_BYTES_MAX, "{}", kept.len());
    assert!(kept.starts_with("first\nxxx") && kept.ends_with("xxx\nlast\n"));
    let gap = kept.lines().find(|line| line.starts_with("[gridctl: ")).unwrap();
    assert!(gap.ends_with(" bytes left out here]"), "{gap}");
}

#[test]
fn the_environment_is_exactly_what_is_promised() {
    let mut grid = Grid::new();
    let ran = grid.run(order_with(command(&["env"]), |task| {
        task.env.insert("MINE".to_owned(), text("yes"));
    }));
    let stdout = ran.stdout();
    let names: Vec<_> = stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let from_worker = ["PATH", "HOME", "USER", "LANG", "TZ"];
    let own: Vec<_> = names.iter().filter(|name| !from_worker.contains(name)).copied().collect();
    let mut own = own;
    own.sort_unstable();
    assert_eq!(
        own,
        [
            "GRID_ATTEMPT",
            "GRID_COUNT",
            "GRID_CPUS",
            "GRID_INDEX",
            "GRID_ITEM",
            "GRID_JOB",
            "GRID_JOB_NAME",
            "GRID_SCRATCH",
            "GRID_STAGE",
            "GRID_TOKEN",
            "MINE",
            "OMP_NUM_THREADS",
            "RAYON_NUM_THREADS",
            "TMPDIR",
        ]
    );
    assert!(stdout.contains("GRID_TOKEN=1-7\n") && stdout.contains("MINE=yes\n"), "{stdout}");
}

#[test]
fn no_descriptor_of_the_worker_leaks() {
    let mut grid = Grid::new();
    let _open = fs::File::open("/etc/passwd").unwrap();
    // Whoever started these tests may have left some open on purpose (a job server).
    let mut expected: Vec<u32> = inherited();
    let ran = grid.command(&["ls", "/proc/self/fd"]);
    let mut seen: Vec<u32> = ran.stdout().lines().map(|line| line.parse().unwrap()).collect();
    // Besides its three streams ls has the directory that it reads.
    expected.retain(|fd| *fd > 2);
    seen.retain(|fd| *fd > 2 && !expected.contains(fd));
    assert_eq!(seen, [3]);
}

/// Descriptors of this process that are not closed by running another program.
fn inherited() -> Vec<u32> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap();
    let open = entries.filter_map(|entry| {
        let entry = entry.unwrap();
        let info = fs::read_to_string(entry.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        let fd = entry.file_name().to_str()?.parse().unwrap();
        (flags & CLOSE_ON_EXEC == 0).then_some(fd)
    });
    open.collect()
}

#[test]
fn a_task_starts_in_its_empty_scratch_directory_and_leaves_it_empty() {
    let mut grid = Grid::new();
    let order = order(script(
        "[ \"$PWD\" = \"$GRID_SCRATCH\" ] && [ \"$PWD\" = \"$TMPDIR\" ]; ls -A; touch file; mkdir -p a/b; touch a/b/c",
    ));
    grid.begin(order, TaskRange::new(0, 3));
    let ran = grid.wait();
    assert!(
        ran.ends.iter().all(|end| end.outcome == Outcome::Done && end.output.is_none()),
        "{ran:?}"
    );
}

#[test]
fn a_stage_can_start_elsewhere() {
    let mut grid = Grid::new();
    let here = grid.data.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    let ran = grid.run(order_with(command(&["pwd"]), |task| task.cwd = Some(text(&here))));
    assert_eq!(ran.stdout().trim_end(), here);
}

#[test]
fn standard_input_is_nothing_a_text_or_a_file() {
    let mut grid = Grid::new();
    let cat = |stdin| order_with(command(&["cat"]), |task| task.stdin = stdin);
    assert_eq!(grid.run(cat(Stdin::Empty)).stdout(), "");
    assert_eq!(grid.run(cat(Stdin::Text(text("some text")))).stdout(), "some text");
    let file = grid.data.path().join("input");
    fs::write(&file, "from a file").unwrap();
    let path = text(file.to_str().unwrap());
    assert_eq!(grid.run(cat(Stdin::File(path))).stdout(), "from a file");
}

#[test]
fn a_script_runs_with_its_own_interpreter_and_can_read_its_standard_input() {
    let mut grid = Grid::new();
    let ran = grid.script("#!/bin/sh -e\necho $0 | grep -q script; echo $-");
    assert!(ran.stdout().contains('e'), "{}", ran.stdout());
    let ran = grid.script("false\necho not reached");
    assert_eq!(ran.outcome(), &Outcome::Failed(Failure::Exit { code: 1 }));
    let ran =
        grid.run(order_with(script("#!/usr/bin/env sh\nread line; echo \"$line\""), |task| {
            task.stdin = Stdin::Text(text("a line\n"));
        }));
    assert_eq!(ran.stdout(), "a line\n");
}

#[test]
fn why_a_program_could_not_start_names_what_is_missing() {
    let mut grid = Grid::new();
    let here = grid.data.path().to_path_buf();
    let plain = here.join("plain");
    fs::write(&plain, "echo").unwrap();
    let broken = here.join("broken");
    fs::write(&broken, "#!/no/such/interpreter\n").unwrap();
    let garbage = here.join("garbage");
    fs::write(&garbage, [0_u8, 1, 2, 3]).unwrap();
    for file in [&broken, &garbage] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    for (program, expected) in [
        ("no-such-program".to_owned(), "`no-such-program` is not found in PATH"),
        ("/no/such/program".to_owned(), "/no/such/program is not on this worker"),
        (path(&plain), "plain is not executable"),
        (path(&broken), "what it needs to run is not"),
        (path(&garbage), "garbage is not a program"),
    ] {
        let ran = grid.command(&[&program]);
        let message = ran.could_not_start();
        assert!(message.contains(expected), "{program}: {message}");
    }
}

#[test]
fn a_missing_directory_or_input_is_named() {
    let mut grid = Grid::new();
    let ran =
        grid.run(order_with(command(&["true"]), |task| task.cwd = Some(text("/no/such/dir"))));
    assert!(ran.could_not_start().contains("/no/such/dir (`cwd`)"), "{}", ran.could_not_start());
    let ran =
        grid.run(order_with(command(&["./here"]), |task| task.cwd = Some(text("/no/such/dir"))));
    assert!(ran.could_not_start().contains("/no/such/dir (`cwd`)"), "{}", ran.could_not_start());
    let missing = Stdin::File(text("/no/such/file"));
    let ran = grid.run(order_with(command(&["cat"]), |task| task.stdin = missing));
    assert!(ran.could_not_start().contains("/no/such/file (`stdin`)"), "{}", ran.could_not_start());
}

#[test]
fn a_name_is_looked_for_in_the_path_of_the_stage() {
    let mut grid = Grid::new();
    let bin = grid.data.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let tool = bin.join("tool");
    fs::write(&tool, "#!/bin/sh\necho found as $0\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = grid.run(order_with(command(&["tool"]), |task| {
        task.env.insert("PATH".to_owned(), text(bin.to_str().unwrap()));
    }));
    assert!(ran.stdout().starts_with("found as"), "{}", ran.stdout());
}

#[test]
fn a_slice_runs_its_tasks_in_order() {
    let mut grid = Grid::new();
    grid.begin(order(script("echo $GRID_INDEX")), TaskRange::new(4, 9));
    let ran = grid.wait();
    let printed: Vec<_> = ran
        .ends
        .iter()
        .map(|end| String::from_utf8(end.output.as_ref().unwrap().stdout.clone()).unwrap())
        .collect();
    assert_eq!(printed, ["4\n", "5\n", "6\n", "7\n", "8\n"]);
}

#[test]
fn tasks_run_at_low_priority() {
    let mut grid = Grid::new();
    assert_eq!(grid.command(&["nice"]).stdout(), "10\n");
}
