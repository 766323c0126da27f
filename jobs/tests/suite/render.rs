//! What one attempt of one task runs and sees.

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageIndex, Token};
use gridctl_jobs::job::Job;
use gridctl_jobs::limits::ITEM_BYTES_MAX;
use gridctl_jobs::render::{Attempt, RenderError, Rendered, RenderedRun, RenderedStdin, Renderer};
use gridctl_jobs::spec::StageOrder;
use gridctl_jobs::stage::Stage;
use gridctl_jobs::template::ItemValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::machine::Machine;

fn renderer(stage: Stage) -> Renderer {
    let machine = Machine::new().file("/jobs/data/a.tar.gz", "").file("/abs/.hidden", "");
    let resolved = Job::new("night run").stage(stage).resolve(&machine);
    let spec = resolved.unwrap_or_else(|found| panic!("{found}")).spec;
    let stage = &spec.stages[0];
    Renderer::new(StageOrder {
        job: JobId(Uuid::nil()),
        number: JobNumber(7),
        job_name: spec.name.clone(),
        stage: StageIndex(0),
        stage_name: stage.name.clone(),
        count: stage.items.count(),
        task: stage.task.clone(),
        source: stage.items.source(),
    })
    .unwrap()
}

fn attempt(index: u64, item: Option<&str>) -> Attempt<'_> {
    let token = Token { epoch: Epoch(3), counter: 14 };
    Attempt { index, item, attempt: 2, token, scratch: Some("/scratch/1") }
}

fn argv(rendered: &Rendered<'_>) -> Vec<String> {
    let RenderedRun::Command { argv } = &rendered.run else { panic!("{:?}", rendered.run) };
    argv.clone()
}

fn args(stage: Stage, index: u64, item: Option<&str>) -> Value {
    let renderer = renderer(stage);
    let short = renderer.function_args(index, item, 2).unwrap();
    let run = renderer.render(&attempt(index, item)).unwrap().run;
    let RenderedRun::Function { args, .. } = run else { panic!("{run:?}") };
    assert_eq!(args, short, "the short way gives the same");
    short
}

#[test]
fn a_task_over_numbers_sees_its_number_and_all_the_rest() {
    let stage = Stage::command(
        "fit",
        ["fit", "{item}", "{index}/{count}", "{job}.{stage}.{attempt}", "{{item}}"],
    )
    .for_each_range(-5..5)
    .env("OMP_NUM_THREADS", "9")
    .env("OUT", "out-{item}")
    .stdin_text("{item}\n")
    .cpus(2.5);
    let renderer = renderer(stage);
    let rendered = renderer.render(&attempt(1, None)).unwrap();
    assert_eq!(argv(&rendered), ["fit", "-4", "1/10", "7.fit.2", "{item}"]);
    assert_eq!(rendered.stdin, RenderedStdin::Text("-4\n".to_owned()));
    assert_eq!(rendered.cwd, None);
    let env: Vec<(&str, &str)> =
        rendered.env.iter().map(|(name, value)| (name.as_ref(), value.as_str())).collect();
    assert_eq!(
        env,
        [
            ("GRID_ATTEMPT", "2"),
            ("GRID_COUNT", "10"),
            ("GRID_CPUS", "2"),
            ("GRID_INDEX", "1"),
            ("GRID_ITEM", "-4"),
            ("GRID_JOB", "7"),
            ("GRID_JOB_NAME", "night run"),
            ("GRID_SCRATCH", "/scratch/1"),
            ("GRID_STAGE", "fit"),
            ("GRID_TOKEN", "3-14"),
            ("OMP_NUM_THREADS", "9"),
            ("OUT", "out--4"),
            ("RAYON_NUM_THREADS", "2"),
            ("TMPDIR", "/scratch/1"),
        ]
    );
}

#[test]
fn a_task_over_files_sees_every_part_of_the_path() {
    let stage = || {
        Stage::command("f", ["{item}", "{item.path}", "{item.name}", "{item.stem}"])
            .for_each_files(["data/*", "/abs/.*"])
            .cwd(".")
            .stdin_file("{item}")
    };
    let renderer = renderer(stage());
    let relative = renderer.render(&attempt(1, Some("data/a.tar.gz"))).unwrap();
    assert_eq!(argv(&relative), ["data/a.tar.gz", "/jobs/data/a.tar.gz", "a.tar.gz", "a.tar"]);
    assert_eq!(relative.stdin, RenderedStdin::File("/jobs/data/a.tar.gz".to_owned()));
    assert_eq!(relative.cwd.as_deref(), Some("/jobs"));
    for (name, value) in [
        ("GRID_ITEM", "data/a.tar.gz"),
        ("GRID_ITEM_PATH", "/jobs/data/a.tar.gz"),
        ("GRID_ITEM_NAME", "a.tar.gz"),
        ("GRID_ITEM_STEM", "a.tar"),
    ] {
        assert_eq!(relative.env[name], value);
    }
    let absolute = renderer.render(&attempt(0, Some("/abs/.hidden"))).unwrap();
    assert_eq!(argv(&absolute), ["/abs/.hidden", "/abs/.hidden", ".hidden", ".hidden"]);
}

#[test]
fn a_task_over_a_chunk_sees_its_bounds_and_no_item() {
    let renderer = renderer(Stage::script("c", "x {start}").for_each_range(0..1001).chunk(500));
    let last = renderer.render(&attempt(2, None)).unwrap();
    assert_eq!((last.env["GRID_START"].as_str(), last.env["GRID_END"].as_str()), ("1000", "1001"));
    assert!(!last.env.contains_key("GRID_ITEM"));
    assert_eq!(last.run, RenderedRun::Script { text: "x {start}" }, "a script is never filled in");
}

#[test]
fn an_item_is_never_read_again_as_a_template() {
    let renderer = renderer(Stage::command("l", ["echo", "{item}"]).for_each_list(["x"]));
    let rendered = renderer.render(&attempt(0, Some("{index} ${HOME} {{item}}"))).unwrap();
    assert_eq!(argv(&rendered)[1], "{index} ${HOME} {{item}}");
}

#[test]
fn a_function_gets_its_item_where_it_has_no_args() {
    let function = || Stage::function("f", "f");
    assert_eq!(args(function(), 0, None), Value::Null);
    assert_eq!(args(function().for_each_range(3..9), 2, None), json!(5));
    assert_eq!(
        args(function().for_each_range(0..9).chunk(4), 2, None),
        json!({ "start": 8, "end": 9 })
    );
    assert_eq!(args(function().for_each_list(["a"]), 0, Some("a")), json!("a"));
    let files = function().for_each_files(["data/*"]).cwd(".");
    assert_eq!(args(files, 0, Some("data/a.tar.gz")), json!("data/a.tar.gz"));
}

#[test]
fn a_lone_placeholder_in_args_takes_its_own_type() {
    let given = json!({
        "item": "{item}", "text": "n{item}", "job": "{job}", "index": "{index}", "count": "{count}",
        "attempt": "{attempt}", "stage": "{stage}", "literal": "{{item}}", "list": ["{item}", null, 1.5, true],
    });
    let expected = json!({
        "item": 4, "text": "n4", "job": 7, "index": 1, "count": 6, "attempt": 2, "stage": "f",
        "literal": "{item}", "list": [4, null, 1.5, true],
    });
    assert_eq!(args(Stage::function("f", "f").args(given).for_each_range(3..9), 1, None), expected);
    let chunk =
        Stage::function("f", "f").args(json!(["{start}", "{end}"])).for_each_range(0..9).chunk(9);
    assert_eq!(args(chunk, 0, None), json!([0, 9]));
    let text = Stage::function("f", "f").args("{item}").for_each_list(["4"]);
    assert_eq!(args(text, 0, Some("4")), json!("4"));
}

#[test]
fn what_a_grant_got_wrong_is_an_error() {
    let numbers = renderer(Stage::command("n", ["x"]).for_each_range(0..3));
    let no_such = RenderError::NoSuchTask { index: 3, count: 3 };
    assert_eq!(numbers.render(&attempt(3, None)).unwrap_err(), no_such);
    assert_eq!(numbers.function_args(0, None, 1), Ok(Value::Null));
    assert_eq!(numbers.item(2, None), Ok(ItemValue::Number(2)));
    let list = renderer(Stage::command("l", ["x"]).for_each_list(["a"]).cwd("{item}"));
    assert_eq!(list.render(&attempt(0, None)).unwrap_err(), RenderError::ItemMissing { index: 0 });
    let absolute = renderer(Stage::command("l", ["x"]).for_each_list(["/a"]).cwd("{item}"));
    let not_absolute = RenderError::NotAbsolute { key: "cwd", index: 0, path: "b".to_owned() };
    assert_eq!(absolute.render(&attempt(0, Some("b"))).unwrap_err(), not_absolute);
}

#[test]
fn a_small_text_that_names_a_long_item_many_times_is_refused_before_it_is_filled_in() {
    let text = "{item}".repeat(10_000);
    let item = "x".repeat(ITEM_BYTES_MAX);
    let bytes = 10_000 * ITEM_BYTES_MAX;
    let too_large = RenderError::TooLarge { index: 0, bytes };
    let command = renderer(Stage::command("l", ["echo"]).stdin_text(&text).for_each_list(["a"]));
    assert!(command.render(&attempt(0, Some("short"))).is_ok());
    let in_command = RenderError::TooLarge { index: 0, bytes: bytes + "echo".len() };
    assert_eq!(command.render(&attempt(0, Some(&item))).unwrap_err(), in_command);
    let function =
        renderer(Stage::function("f", "f").args(json!([{ "x": text }])).for_each_list(["a"]));
    assert_eq!(function.function_args(0, Some(&item), 1), Err(too_large));
}
