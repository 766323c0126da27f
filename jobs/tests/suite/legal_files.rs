//! Job files that are right: what they say, and that writing them again says the same.

use std::time::Duration;

use gridctl_jobs::budget::{Backoff, Budget};
use gridctl_jobs::id::StageIndex;
use gridctl_jobs::job::{Job, ToTomlError};
use gridctl_jobs::numbers::NumberRange;
use gridctl_jobs::spec::{Args, Items, Keep, Numbers, OnLostLease, Run, Stdin};
use gridctl_jobs::stage::Stage;
use gridctl_jobs::state::FailureKind;
use gridctl_jobs::template::{Part, Placeholder, Template};
use gridctl_jobs::units::Cpus;
use serde_json::json;

use crate::machine::Machine;

const NGRAM: &str = r#"
name = "ngram-count"
priority = 10                       # -1000..1000, default 0; higher first

[[stage]]
name = "count"
command = ["python3", "count.py", "{item}", "--out", "counts.json"]
for_each.files = "corpus/**/*.txt"  # one task a file
cwd = "."
cpus = 1
timeout = "10m"                     # of one attempt
retries = 3                         # of the task's own failures; a lost machine is not one

[[stage]]
name = "merge"
needs = ["count"]                   # runs when every task of "count" has succeeded
command = ["python3", "merge.py"]
"#;

/// Every key there is, in every form that it can take.
const EVERYTHING: &str = r#"
name = "every key"
priority = -1000

[[stage]]
name = "a"
command = ["awk", "{ print $1 }", "{item}", "${HOME}", "{{item}}", '{"a": {}}']
for_each.range = "1..=9"
env = { LANG = "C", ITEM = "{item}-{index}" }
stdin = { text = "{count}\n" }
cwd = "/data/{job}"
cpus = 0.25
timeout = "1h 30m"
retries = 1000000
backoff = "250ms..1h 30m"
retry_on = ["oom", "exit"]
worker_losses = 1
max_failures = 4294967296
stdout = "keep"
stderr = "discard"
on_lost_lease = "stop"

[[stage]]
name = "b"
needs = ["a", "c"]
script = '''
#!/usr/bin/env python3
print("${GRID_ITEM} {} {{ x }}")
'''
for_each.list = ["a", "", "ü"]
stdin.file = "in.txt"

[[stage]]
name = "c"
function = "count_primes"
for_each = { range = "0..100000", chunk = 500 }

[[stage]]
name = "d"
function = "f"
args = { n = "{item}", text = "n={item}", list = [1, 2.5, true, "{stage}"], deep = { x = "{attempt}" } }
[stage.for_each]
range = "-10..10:5"
[stage.env]
A = "1"

[[stage]]
name = "e"
function = "f"
args = "{item}"
for_each.lines = "list.txt"

[[stage]]
name = "f"
command = ["cat", "{item.path}", "{item.name}", "{item.stem}"]
for_each.files = ["*.txt", "/abs/*.csv"]
cwd = "."
"#;

fn parsed(text: &str) -> Job {
    Job::parse(text.as_bytes(), "dir/file stem.toml").unwrap_or_else(|found| panic!("{found}"))
}

fn fill(placeholder: Placeholder) -> Part {
    Part::Fill(placeholder)
}

#[test]
fn the_documented_example_says_what_it_looks_like() {
    let machine = Machine::new().file("/jobs/corpus/b/2.txt", "").file("/jobs/corpus/1.txt", "");
    let spec = parsed(NGRAM).resolve(&machine).unwrap().spec;
    assert_eq!((spec.name.as_str(), spec.priority, spec.stages.len()), ("ngram-count", 10, 2));
    let count = &spec.stages[0];
    assert_eq!((count.budget.retries, count.items.count()), (3, 2));
    assert_eq!(count.task.timeout, Some(Duration::from_secs(600)));
    assert_eq!(count.task.cpus, Cpus::ONE);
    assert_eq!(count.task.cwd, Some(Template::literal("/jobs")));
    let Items::Files { base, paths } = &count.items else { panic!("{:?}", count.items) };
    assert_eq!(
        (base.as_str(), paths.item(0), paths.item(1)),
        ("/jobs", Some("corpus/1.txt"), Some("corpus/b/2.txt"))
    );
    assert_eq!(spec.stages[1].needs, [StageIndex(0)]);
    assert_eq!(spec.stages[1].items, Items::Single);
}

#[test]
fn every_key_is_read() {
    let machine = Machine::new()
        .file("/jobs/list.txt", "x\n\ny\r\n")
        .file("/jobs/b.txt", "")
        .file("/jobs/a.txt", "")
        .file("/abs/z.csv", "");
    let spec = parsed(EVERYTHING).resolve(&machine).unwrap().spec;
    assert_eq!((spec.name.as_str(), spec.priority), ("every key", -1000));
    let [a, b, c, d, e, f] = spec.stages.as_slice() else { panic!("{} stages", spec.stages.len()) };

    let Run::Command { argv } = &a.task.run else { panic!("{:?}", a.task.run) };
    let shown: Vec<Option<&str>> = argv.iter().map(Template::as_literal).collect();
    let expected = [
        Some("awk"),
        Some("{ print $1 }"),
        None,
        Some("${HOME}"),
        Some("{item}"),
        Some("{\"a\": {}}"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(a.items, Items::Numbers(Numbers { first: 1, step: 1, numbers: 9, chunk: None }));
    assert_eq!(a.task.env["ITEM"].parts.len(), 3);
    assert_eq!(
        a.task.stdin,
        Stdin::Text(Template { parts: vec![fill(Placeholder::Count), Part::Literal("\n".into())] })
    );
    assert_eq!(a.task.cpus, Cpus::from_ten_thousandths(2500));
    assert_eq!(a.task.timeout, Some(Duration::from_secs(5400)));
    assert_eq!((a.task.stdout, a.task.stderr), (Keep::Keep, Keep::Discard));
    let budget = Budget {
        retries: 1_000_000,
        backoff: Backoff { first_ms: 250, longest_ms: 5_400_000 },
        retry_on: [FailureKind::Exit, FailureKind::OutOfMemory].into(),
        worker_losses: 1,
        max_failures: Some(1 << 32),
    };
    assert_eq!((&a.budget, &b.budget), (&budget, &Budget::default()));
    assert_eq!(a.task.on_lost_lease, OnLostLease::Stop);

    assert_eq!(b.needs, [StageIndex(0), StageIndex(2)]);
    let Run::Script { text } = &b.task.run else { panic!("{:?}", b.task.run) };
    assert!(text.starts_with("#!/usr/bin/env python3\n"), "{text}");
    let Items::Texts(list) = &b.items else { panic!("{:?}", b.items) };
    assert_eq!((0..3).filter_map(|at| list.item(at)).collect::<Vec<_>>(), ["a", "", "ü"]);
    assert_eq!(b.task.stdin, Stdin::File(Template::literal("/jobs/in.txt")));

    assert_eq!(
        c.items,
        Items::Numbers(Numbers { first: 0, step: 1, numbers: 100_000, chunk: Some(500) })
    );
    assert_eq!(c.items.count(), 200);
    assert_eq!(c.task.run, Run::Function { name: "count_primes".into(), args: Args::Item });

    assert_eq!(d.items, Items::Numbers(Numbers { first: -10, step: 5, numbers: 4, chunk: None }));
    assert_eq!(d.task.env["A"], Template::literal("1"));
    let Items::Texts(lines) = &e.items else { panic!("{:?}", e.items) };
    assert_eq!((0..3).filter_map(|at| lines.item(at)).collect::<Vec<_>>(), ["x", "", "y"]);
    let Items::Files { paths, .. } = &f.items else { panic!("{:?}", f.items) };
    assert_eq!(
        (0..3).filter_map(|at| paths.item(at)).collect::<Vec<_>>(),
        ["/abs/z.csv", "a.txt", "b.txt"]
    );
}

#[test]
fn the_only_stage_may_go_without_a_name_and_the_job_is_called_after_its_file() {
    let job = parsed("[[stage]]\ncommand = [\"true\"]");
    let spec = job.resolve(&Machine::new()).unwrap().spec;
    assert_eq!((spec.name.as_str(), spec.stages[0].name.as_str()), ("file stem", "main"));
    let again = parsed(&job.to_toml().unwrap()).resolve(&Machine::new()).unwrap().spec;
    assert_eq!(again, spec);
}

#[test]
fn empty_for_each_gives_no_task() {
    for for_each in
        ["for_each.list = []", "for_each.range = \"5..5\"", "for_each.lines = \"empty\""]
    {
        let job = parsed(&format!("[[stage]]\ncommand = [\"true\"]\n{for_each}"));
        let spec = job.resolve(&Machine::new().file("/jobs/empty", "")).unwrap().spec;
        assert_eq!(spec.stages[0].items.count(), 0, "{for_each}");
        assert_eq!(spec.check(), Ok(()));
    }
}

#[test]
fn unknown_names_in_braces_are_warnings() {
    let job = parsed("[[stage]]\nname = \"a\"\ncommand = [\"echo\", \"{title}\"]\n");
    let warnings = job.check().unwrap();
    assert_eq!(
        warnings.to_string(),
        "warning: `{title}` is no placeholder and stays as it is\n \
         --> dir/file stem.toml:3:20\n  |\n\
         3 | command = [\"echo\", \"{title}\"]\n  |                    ^^^^^^^^^\n  \
         = hint: here there are `{job}`, `{stage}`, `{index}`, `{count}`, `{attempt}`"
    );
    assert_eq!(job.resolve(&Machine::new()).unwrap().warnings, warnings);
}

#[test]
fn a_script_that_expects_to_be_filled_in_is_warned_about() {
    let job = parsed("[[stage]]\nscript = 'wc -l {item}'\nfor_each.list = [\"a\"]");
    let warnings = job.check().unwrap();
    assert_eq!(warnings.list[0].message, "a script is never filled in, `{item}` stays as it is");
    assert_eq!(warnings.list[0].hint.as_deref(), Some("read \"$GRID_ITEM\" from the environment"));
}

#[test]
fn builders_and_files_say_the_same() {
    let built = Job::new("every key")
        .priority(-1000)
        .stage(
            Stage::command(
                "a",
                ["awk", "{ print $1 }", "{item}", "${HOME}", "{{item}}", "{\"a\": {}}"],
            )
            .for_each_range(1..=9)
            .env("LANG", "C")
            .env("ITEM", "{item}-{index}")
            .stdin_text("{count}\n")
            .cwd("/data/{job}")
            .cpus(0.25)
            .timeout(Duration::from_secs(5400))
            .retries(1_000_000)
            .backoff("250ms..90m".parse().unwrap())
            .retry_on([FailureKind::OutOfMemory, FailureKind::Exit])
            .worker_losses(1)
            .max_failures(1 << 32)
            .stdout(Keep::Keep)
            .stderr(Keep::Discard)
            .on_lost_lease(OnLostLease::Stop),
        )
        .stage(
            Stage::script("b", "#!/usr/bin/env python3\nprint(\"${GRID_ITEM} {} {{ x }}\")\n")
                .needs("a")
                .needs("c")
                .for_each_list(["a", "", "ü"])
                .stdin_file("in.txt"),
        )
        .stage(Stage::function("c", "count_primes").for_each_range(0..100_000).chunk(500))
        .stage(
            Stage::function("d", "f")
                .args(json!({ "n": "{item}", "text": "n={item}", "list": [1, 2.5, true, "{stage}"],
                              "deep": { "x": "{attempt}" } }))
                .for_each_range("-10..10:5".parse::<NumberRange>().unwrap())
                .env("A", "1"),
        )
        .stage(Stage::function("e", "f").args("{item}").for_each_lines("list.txt"))
        .stage(
            Stage::command("f", ["cat", "{item.path}", "{item.name}", "{item.stem}"])
                .for_each_files(["*.txt", "/abs/*.csv"])
                .cwd("."),
        );
    assert_eq!(parsed(EVERYTHING), built);
    assert_eq!(parsed(&built.to_toml().unwrap()), built);
    assert_eq!(parsed(&parsed(NGRAM).to_toml().unwrap()), parsed(NGRAM));
}

#[test]
fn what_toml_cannot_say_is_refused_when_written() {
    let job = |args| Job::new("j").stage(Stage::function("a", "f").args(args));
    assert_eq!(job(json!({ "x": null })).to_toml(), Err(ToTomlError::Null { stage: "a".into() }));
    let number = u64::MAX.to_string();
    assert_eq!(
        job(json!([u64::MAX])).to_toml(),
        Err(ToTomlError::Number { stage: "a".into(), number })
    );
    let chunked =
        Job::new("j").stage(Stage::function("a", "f").for_each_range(0..9).chunk(u64::MAX));
    assert_eq!(chunked.to_toml(), Err(ToTomlError::Chunk { stage: "a".into(), chunk: u64::MAX }));
}

#[test]
fn mistakes_of_builders_are_told_by_stage_and_key() {
    let fit = Stage::command("fit", ["fit", "{seed}", "{itm}"])
        .for_each_range("9..0".parse::<NumberRange>().unwrap())
        .cpus(0.0)
        .env("GRID_X", "1");
    let found = Job::new("a/b")
        .stage(fit)
        .stage(Stage::function("fit", "").needs("nothing"))
        .check()
        .unwrap_err();
    let shown = found.to_string();
    for expected in [
        "error: a job's name is made of letters, digits, `-`, `_`, `.` and spaces, not of '/'\n --> `name`",
        "error: the range 9..0 runs backwards\n --> stage `fit`, `for_each.range`\n  = hint: write 0..9",
        "error: there is no `{itm}`\n --> stage `fit`, `command[2]`\n  = hint: did you mean `{item}`?",
        "error: `GRID_X` cannot be set, variables that begin with GRID_ are the grid's own\n --> stage `fit`, `env.GRID_X`",
        "error: a task takes from 0.0001 to 65536 cpus, not 0\n --> stage `fit`, `cpus`",
        "error: two stages are called `fit`\n --> stage `fit`, `name`",
        "error: the function has no name\n --> stage `fit`, `function`",
        "error: there is no stage `nothing` to need\n --> stage `fit`, `needs[0]`",
    ] {
        assert!(shown.contains(expected), "{expected}\nnot in:\n{shown}");
    }
}

#[test]
fn the_examples_of_the_repository_are_right() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let jobs: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(jobs.len() >= 3, "only {jobs:?}");
    for path in jobs {
        let job = Job::parse(&std::fs::read(&path).unwrap(), path.to_str().unwrap());
        let warnings = job.and_then(|job| job.check()).unwrap_or_else(|found| panic!("{found}"));
        assert!(warnings.is_empty(), "{warnings}");
    }
}
