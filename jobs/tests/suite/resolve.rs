//! What a job looks up on the submitter's machine, and what it says when that is not there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use gridctl_jobs::job::Job;
use gridctl_jobs::limits::ITEM_BYTES_MAX;
use gridctl_jobs::render::{Attempt, Renderer};
use gridctl_jobs::spec::{Items, StageOrder, StageSpec};

use crate::machine::Machine;

fn stage(keys: &str, machine: &Machine) -> StageSpec {
    let job = Job::parse(format!("[[stage]]\ncommand = [\"true\"]\n{keys}").as_bytes(), "j.toml");
    let job = job.unwrap_or_else(|found| panic!("{found}"));
    let resolved = job.resolve(machine).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(resolved.spec.check(), Ok(()));
    resolved.spec.stages.into_iter().next().unwrap()
}

fn refusal(keys: &str, machine: &Machine) -> String {
    let job = Job::parse(format!("[[stage]]\ncommand = [\"true\"]\n{keys}").as_bytes(), "j.toml")
        .unwrap();
    job.resolve(machine).unwrap_err().to_string()
}

fn items(stage: &StageSpec) -> Vec<&str> {
    match &stage.items {
        Items::Texts(list) | Items::Files { paths: list, .. } => {
            (0..list.len()).map(|at| list.item(at).unwrap()).collect()
        }
        Items::Single | Items::Numbers(_) => panic!("{:?}", stage.items),
    }
}

/// Renders the directory that the task at `index` starts in.
fn cwd(stage: &StageSpec, index: u64) -> String {
    let order = StageOrder {
        job: gridctl_jobs::id::JobId(uuid::Uuid::nil()),
        number: gridctl_jobs::id::JobNumber(7),
        job_name: "j".into(),
        stage: gridctl_jobs::id::StageIndex(0),
        stage_name: stage.name.clone(),
        count: stage.items.count(),
        task: stage.task.clone(),
        source: stage.items.source(),
    };
    let item =
        stage.items.sent_with(index, index + 1).and_then(|list| list.item(0).map(str::to_owned));
    let token = gridctl_jobs::id::Token::default();
    let attempt = Attempt { index, item: item.as_deref(), attempt: 1, token, scratch: None };
    Renderer::new(order).unwrap().render(&attempt).unwrap().cwd.unwrap()
}

#[test]
fn files_come_once_each_in_byte_order_of_the_path() {
    let machine = ["a.txt", "B.txt", "ä.txt", "a-b.txt", "d/c.txt"]
        .into_iter()
        .fold(Machine::new(), |machine, name| machine.file(format!("/jobs/{name}"), ""));
    let found = stage("for_each.files = [\"*.txt\", \"a*\", \"d/*\"]\ncwd = \".\"", &machine);
    assert_eq!(items(&found), ["B.txt", "a-b.txt", "a.txt", "d/c.txt", "ä.txt"]);
}

#[test]
fn a_glob_that_matches_nothing_points_at_itself() {
    let machine = Machine::new().file("/jobs/a.txt", "");
    assert_eq!(
        refusal("for_each.files = [\"*.txt\", \"*.csv\"]\ncwd = \".\"", &machine),
        "error: no file matches `*.csv`\n --> j.toml:3:28\n  |\n\
         3 | for_each.files = [\"*.txt\", \"*.csv\"]\n  |                            ^^^^^^^\n  \
         = hint: the glob is relative to /jobs"
    );
    let broken = refusal("for_each.files = \"a[\"\ncwd = \".\"", &machine);
    assert!(broken.starts_with("error: `a[`: it is not a glob: "), "{broken}");
}

#[test]
fn a_file_whose_name_is_not_utf8_is_named() {
    let path = PathBuf::from(OsString::from_vec(b"/jobs/gr\xf6\xdfe.txt".to_vec()));
    let shown = refusal("for_each.files = \"*.txt\"\ncwd = \".\"", &Machine::new().file(path, ""));
    assert!(
        shown.starts_with("error: the name of the file gr\u{fffd}\u{fffd}e.txt is not UTF-8"),
        "{shown}"
    );
}

#[test]
fn lines_are_items_as_they_stand() {
    for (content, expected) in [
        ("", vec![]),
        ("\n", vec![""]),
        ("a", vec!["a"]),
        ("a\n", vec!["a"]),
        ("a\n\n", vec!["a", ""]),
        ("a\r\n b \r\nc", vec!["a", " b ", "c"]),
        ("a\rb\n", vec!["a\rb"]),
    ] {
        let found = stage("for_each.lines = \"list\"", &Machine::new().file("/jobs/list", content));
        assert_eq!(items(&found), expected, "{content:?}");
    }
}

#[test]
fn a_wrong_line_is_named_by_its_number() {
    let long = [b"ok\n".to_vec(), vec![b'x'; ITEM_BYTES_MAX + 1]].concat();
    for (content, error) in [
        (b"a\nb\xff\n".to_vec(), "error: `list`, line 2: it is not UTF-8"),
        (b"a\n\nb\0".to_vec(), "error: `list`, line 3: it holds a NUL character"),
        (long, "error: `list`, line 2: it has 65537 bytes, at most 65536 are allowed"),
    ] {
        let shown =
            refusal("for_each.lines = \"list\"", &Machine::new().file("/jobs/list", content));
        assert!(shown.starts_with(error), "{shown}");
    }
    let missing = refusal("for_each.lines = \"list\"", &Machine::new());
    assert!(missing.starts_with("error: `list`: no such file\n --> j.toml:3:18"), "{missing}");
    assert!(missing.ends_with("= hint: the path is relative to /jobs"), "{missing}");
}

#[test]
fn home_and_variables_are_expanded_in_paths_and_nowhere_else() {
    let machine = Machine::new()
        .home("/home/ann")
        .variable("DATA", "/data [1]")
        .file("/home/ann/list", "${DATA}")
        .file("/data [1]/x.csv", "");
    let lines = stage("for_each.lines = \"~/list\"\nenv = { A = \"~/${DATA}\" }", &machine);
    assert_eq!(items(&lines), ["${DATA}"]);
    assert_eq!(lines.task.env["A"].as_literal(), Some("~/${DATA}"));
    let files = stage("for_each.files = \"${DATA}/*.csv\"\ncwd = \"~\"", &machine);
    assert_eq!(items(&files), ["/data [1]/x.csv"]);
    assert_eq!(cwd(&files, 0), "/home/ann");
    let joined = stage("cwd = \"${DATA}/{index}/~\"", &machine);
    assert_eq!(cwd(&joined, 0), "/data [1]/0/~");
}

#[test]
fn what_cannot_be_expanded_is_an_error() {
    for (keys, error) in [
        ("cwd = \"${NOWHERE}/x\"", "error: the variable NOWHERE is not set here\n --> j.toml:3:7"),
        (
            "for_each.lines = \"${A B}\"",
            "error: `${A B}` names no variable, a name is made of letters, digits and `_`",
        ),
        (
            "stdin.file = \"~/x\"",
            "error: `~` stands for the home directory, and there is none here\n --> j.toml:3:14",
        ),
    ] {
        let shown = refusal(keys, &Machine::new());
        assert!(shown.starts_with(error), "{shown}");
    }
}

#[test]
fn directories_are_made_absolute_whatever_they_begin_with() {
    let machine = Machine::new()
        .file("/jobs/sub/a.txt", "")
        .file("/jobs/rel", "x\ny\n")
        .file("/jobs/abs", "/x\n/y\n");
    for (keys, expected) in [
        ("cwd = \".\"", "/jobs"),
        ("cwd = \"./\"", "/jobs/"),
        ("cwd = \"out\"", "/jobs/out"),
        ("cwd = \"./out/{index}\"", "/jobs/out/0"),
        ("cwd = \"/srv/{job}\"", "/srv/7"),
        ("cwd = \"{stage}\"", "/jobs/main"),
        ("cwd = \".{index}\"", "/jobs/.0"),
        ("cwd = \"{item}\"\nfor_each.range = \"5..6\"", "/jobs/5"),
        ("cwd = \"{item}.d\"\nfor_each.files = \"sub/*\"", "/jobs/sub/a.txt.d"),
        ("cwd = \"{item.path}.d\"\nfor_each.files = \"sub/*\"", "/jobs/sub/a.txt.d"),
        ("cwd = \"{item.stem}\"\nfor_each.files = \"sub/*\"", "/jobs/a"),
        ("cwd = \"{item}\"\nfor_each.lines = \"rel\"", "/jobs/x"),
        ("cwd = \"{item}\"\nfor_each.lines = \"abs\"", "/x"),
    ] {
        assert_eq!(cwd(&stage(keys, &machine), 0), expected, "{keys}");
    }
    let mixed = refusal("cwd = \"{item}\"\nfor_each.list = [\"/a\", \"b\"]", &machine);
    assert!(
        mixed.starts_with(
            "error: some items are absolute paths and others are not, such as `/a` and `b`"
        ),
        "{mixed}"
    );
}

#[test]
fn errors_of_several_stages_are_told_at_once() {
    let text = "[[stage]]\nname = \"a\"\nscript = \"x\"\nfor_each.lines = \"no\"\ncwd = \"${NO}\"\n\
                [[stage]]\nname = \"b\"\nscript = \"x\"\nstdin.file = \"~\"\n";
    let found =
        Job::parse(text.as_bytes(), "j.toml").unwrap().resolve(&Machine::new()).unwrap_err();
    let lines: Vec<usize> =
        found.list.iter().map(|diagnostic| diagnostic.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [4, 5, 9]);
}
