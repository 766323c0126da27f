//! Jobs and orders that a broken or hostile peer may send: each is refused by a typed error, none panics.

use std::sync::Arc;
use std::time::Duration;

use gridctl_jobs::budget::BudgetError;
use gridctl_jobs::check::{EnvNameError, ItemsError, OrderError, SpecError, TaskError};
use gridctl_jobs::id::{JobId, JobNumber, StageIndex};
use gridctl_jobs::job::Job;
use gridctl_jobs::limits::{
    ARGS_DEPTH_MAX, CPUS_MAX, ITEM_BYTES_MAX, RETRIES_MAX, STAGES_MAX, TASK_TEXT_BYTES_MAX,
};
use gridctl_jobs::name::NameError;
use gridctl_jobs::numbers::NumbersError;
use gridctl_jobs::render::Renderer;
use gridctl_jobs::spec::{
    ArgValue, Args, ItemList, ItemSource, Items, JobSpec, Numbers, OnLostLease, Run, StageOrder,
    StageSpec, Stdin, TaskTemplate,
};
use gridctl_jobs::stage::Stage;
use gridctl_jobs::template::{ItemKind, Part, Placeholder, Template};
use gridctl_jobs::units::Cpus;
use uuid::Uuid;

use crate::machine::Machine;

fn spec() -> JobSpec {
    let stage = |name: &str| Stage::command(name, ["true"]);
    let job =
        Job::new("j").stage(stage("a")).stage(stage("b").needs("a")).stage(stage("c").needs("b"));
    job.resolve(&Machine::new()).unwrap().spec
}

/// What `JobSpec::check` says after `change`.
fn refused(change: impl FnOnce(&mut JobSpec)) -> SpecError {
    let mut spec = spec();
    change(&mut spec);
    spec.check().unwrap_err()
}

fn refused_task(change: impl FnOnce(&mut TaskTemplate)) -> TaskError {
    let error = refused(|spec| change(Arc::make_mut(&mut spec.stages[0].task)));
    let SpecError::Task { stage, source } = error else { panic!("{error:?}") };
    assert_eq!(stage, "a");
    source
}

fn refused_items(items: Items) -> ItemsError {
    let error = refused(|spec| spec.stages[0].items = items);
    let SpecError::Items { source, .. } = error else { panic!("{error:?}") };
    source
}

fn filled(placeholder: Placeholder) -> Template {
    Template { parts: vec![Part::Fill(placeholder)] }
}

#[test]
fn a_resolved_job_passes_and_travels() {
    let spec = spec();
    assert_eq!(spec.check(), Ok(()));
    let bytes = postcard::to_stdvec(&spec).unwrap();
    assert_eq!(postcard::from_bytes::<JobSpec>(&bytes).unwrap(), spec);
}

#[test]
fn names_priority_and_number_of_stages_are_held() {
    assert_eq!(refused(|spec| spec.name.clear()), SpecError::JobName { source: NameError::Empty });
    assert_eq!(refused(|spec| spec.priority = -1001), SpecError::Priority { priority: -1001 });
    assert_eq!(
        refused(|spec| spec.priority = i32::MIN),
        SpecError::Priority { priority: i32::MIN }
    );
    assert_eq!(refused(|spec| spec.stages.clear()), SpecError::NoStage);
    let many = refused(|spec| spec.stages = vec![spec.stages[0].clone(); STAGES_MAX + 1]);
    assert_eq!(many, SpecError::TooManyStages { stages: STAGES_MAX + 1 });
    let source = NameError::StageCharacter { character: '/' };
    assert_eq!(
        refused(|spec| spec.stages[1].name = "a/b".into()),
        SpecError::StageName { stage: StageIndex(1), source }
    );
    assert_eq!(
        refused(|spec| spec.stages[1].name = "a".into()),
        SpecError::DuplicateStage { name: "a".into() }
    );
}

#[test]
fn needs_are_in_range_and_free_of_circles() {
    let (stage, need) = ("b".to_owned(), StageIndex(3));
    assert_eq!(
        refused(|spec| spec.stages[1].needs = vec![need]),
        SpecError::UnknownNeed { stage, need, stages: 3 }
    );
    let many = refused(|spec| spec.stages[1].needs = vec![StageIndex(0); 4]);
    assert_eq!(many, SpecError::TooManyNeeds { stage: "b".into(), needs: 4, stages: 3 });
    let cycle = refused(|spec| spec.stages[0].needs = vec![StageIndex(2)]);
    assert_eq!(cycle.to_string(), "stages need each other in a circle: a → c → b → a");
    let own = refused(|spec| spec.stages[0].needs = vec![StageIndex(0)]);
    assert_eq!(own, SpecError::Cycle { stages: vec!["a".into(), "a".into()] });
}

#[test]
fn what_a_stage_runs_is_held() {
    let nul = || Template::literal("a\0");
    assert_eq!(
        refused_task(|task| task.run = Run::Command { argv: vec![] }),
        TaskError::EmptyCommand
    );
    let empty_program = Run::Command { argv: vec![Template::default()] };
    assert_eq!(refused_task(|task| task.run = empty_program), TaskError::EmptyCommand);
    let nameless = Run::Function { name: String::new(), args: Args::Item };
    assert_eq!(refused_task(|task| task.run = nameless), TaskError::EmptyFunction);
    assert_eq!(
        refused_task(|task| task.run = Run::Command { argv: vec![nul()] }),
        TaskError::Nul { place: "command" }
    );
    assert_eq!(refused_task(|task| task.cwd = Some(nul())), TaskError::Nul { place: "cwd" });
    assert_eq!(
        refused_task(|task| task.stdin = Stdin::File(nul())),
        TaskError::Nul { place: "stdin.file" }
    );
    let foreign =
        TaskError::ForeignPlaceholder { placeholder: Placeholder::Item, kind: ItemKind::Single };
    assert_eq!(refused_task(|task| task.stdin = Stdin::Text(filled(Placeholder::Item))), foreign);
    let reserved = EnvNameError::Reserved { name: "GRID_JOB".into() };
    let set =
        |task: &mut TaskTemplate| drop(task.env.insert("GRID_JOB".into(), Template::default()));
    assert_eq!(refused_task(set), TaskError::EnvName(reserved));
    let text = "x".repeat(TASK_TEXT_BYTES_MAX + 1);
    let bytes = text.len();
    assert_eq!(
        refused_task(|task| task.run = Run::Script { text }),
        TaskError::TooMuchText { bytes }
    );
    let empties = vec![Template::literal("x"); TASK_TEXT_BYTES_MAX];
    assert!(matches!(
        refused_task(|task| task.run = Run::Command { argv: empties }),
        TaskError::TooMuchText { .. }
    ));
}

#[test]
fn args_are_held() {
    let call = |value| Run::Function { name: "f".into(), args: Args::Value(value) };
    let not_json = call(ArgValue::Array(vec![ArgValue::Float(f64::NAN)]));
    assert_eq!(
        refused_task(|task| task.run = not_json),
        TaskError::ArgsNumber { number: "NaN".into() }
    );
    let deep = (0..ARGS_DEPTH_MAX).fold(ArgValue::Null, |value, _| ArgValue::Array(vec![value]));
    assert_eq!(refused_task(|task| task.run = call(deep)), TaskError::ArgsTooDeep);
    let foreign =
        call(ArgValue::Object(vec![("x".into(), ArgValue::Text(filled(Placeholder::End)))]));
    assert!(matches!(
        refused_task(|task| task.run = foreign),
        TaskError::ForeignPlaceholder { .. }
    ));
}

#[test]
fn quantities_are_held() {
    for cpus in [Cpus::ZERO, Cpus::from_ten_thousandths(u64::MAX)] {
        assert!(matches!(refused_task(|task| task.cpus = cpus), TaskError::Cpus(_)));
    }
    let most = Cpus::whole(CPUS_MAX);
    let mut spec = spec();
    Arc::make_mut(&mut spec.stages[0].task).cpus = most;
    assert_eq!(spec.check(), Ok(()));
    for timeout in [Duration::ZERO, Duration::MAX] {
        assert_eq!(
            refused_task(|task| task.timeout = Some(timeout)),
            TaskError::Timeout { timeout }
        );
    }
    let stopped = refused_task(|task| {
        task.run = Run::Function { name: "f".to_owned(), args: Args::Item };
        task.on_lost_lease = OnLostLease::Stop;
    });
    assert_eq!(stopped, TaskError::FunctionToStop);
    let retries = RETRIES_MAX + 1;
    let source = BudgetError::Retries { retries };
    assert_eq!(
        refused(|spec| spec.stages[0].budget.retries = retries),
        SpecError::Budget { stage: "a".into(), source }
    );
    let source = BudgetError::MaxFailures { failures: 0 };
    assert_eq!(
        refused(|spec| spec.stages[0].budget.max_failures = Some(0)),
        SpecError::Budget { stage: "a".into(), source }
    );
}

#[test]
fn items_are_held() {
    let numbers =
        |first, step, numbers, chunk| Items::Numbers(Numbers { first, step, numbers, chunk });
    for (items, error) in [
        (numbers(0, 0, 1, None), NumbersError::StepZero),
        (numbers(0, 1, 1, Some(0)), NumbersError::ChunkZero),
        (numbers(0, 2, 1, Some(1)), NumbersError::ChunkedStep),
        (numbers(i64::MAX, 1, 2, None), NumbersError::TooLarge),
        (numbers(0, u64::MAX, u64::MAX, None), NumbersError::TooLarge),
        (numbers(i64::MAX, 1, 1, Some(1)), NumbersError::TooLarge),
        (numbers(0, 1, (1 << 32) + 1, None), NumbersError::TooManyTasks { tasks: (1 << 32) + 1 }),
    ] {
        // Counting comes before checking where a peer's job is only shown, and must not panic either.
        items.count();
        assert_eq!(refused_items(items), ItemsError::Numbers(error));
    }
    let list = |items: &[&str]| Items::Texts(Arc::new(items.iter().copied().collect()));
    let long = "x".repeat(ITEM_BYTES_MAX + 1);
    assert_eq!(
        refused_items(list(&["", &long])),
        ItemsError::ItemTooLong { index: 1, bytes: long.len() }
    );
    assert_eq!(refused_items(list(&["a", "\0"])), ItemsError::Nul { index: 1 });
    let paths = Arc::new(ItemList::default());
    assert_eq!(
        refused_items(Items::Files { base: "x".into(), paths }),
        ItemsError::BaseNotAbsolute
    );
}

#[test]
fn a_packed_list_that_contradicts_itself_is_refused() {
    for (text, ends) in [
        ("ab", vec![2_u32, 1]),
        ("ab", vec![3]),
        ("ab", vec![u32::MAX]),
        ("ab", vec![1]),
        ("é", vec![1, 2]),
        ("a", vec![]),
    ] {
        let bytes = postcard::to_stdvec(&(text, &ends)).unwrap();
        let list: ItemList = postcard::from_bytes(&bytes).unwrap();
        assert!(matches!(list.check(), Err(ItemsError::Broken { .. })), "{text:?} {ends:?}");
        for index in 0..=ends.len() {
            list.item(index);
        }
        list.slice(0, usize::MAX);
    }
}

#[test]
fn args_nested_without_end_are_refused_while_they_are_read() {
    // An array of one value, two bytes a level, as the flat list puts it.
    let levels = 1_000_000_u32;
    let mut bytes = postcard::to_stdvec(&(levels + 1)).unwrap();
    bytes.extend((0..levels).flat_map(|_| [5, 1]));
    bytes.push(0);
    assert!(postcard::from_bytes::<ArgValue>(&bytes).is_err());
    let shallow = postcard::to_stdvec(&ArgValue::Array(vec![ArgValue::Null])).unwrap();
    assert_eq!(shallow, [2, 5, 1, 0], "the bytes above say what they mean to");
}

fn order(stage: &StageSpec) -> StageOrder {
    StageOrder {
        job: JobId(Uuid::nil()),
        number: JobNumber(1),
        job_name: "j".into(),
        stage: StageIndex(0),
        stage_name: stage.name.clone(),
        count: stage.items.count(),
        task: stage.task.clone(),
        source: stage.items.source(),
    }
}

#[test]
fn orders_are_held() {
    let spec = spec();
    let refused = |change: &dyn Fn(&mut StageOrder)| {
        let mut order = order(&spec.stages[0]);
        change(&mut order);
        Renderer::new(order).unwrap_err()
    };
    assert_eq!(refused(&|order| order.count = 2), OrderError::Count { count: 2, items: 1 });
    assert_eq!(refused(&|order| order.stage_name.clear()), OrderError::Name(NameError::Empty));
    let numbers = Numbers { first: 0, step: 1, numbers: 1, chunk: Some(0) };
    assert_eq!(
        refused(&|order| order.source = ItemSource::Numbers(numbers)),
        OrderError::Numbers(NumbersError::ChunkZero)
    );
    let source = ItemSource::Files { base: "x".into() };
    assert_eq!(refused(&|order| order.source = source.clone()), OrderError::BaseNotAbsolute);
    let many = |order: &mut StageOrder| (order.source, order.count) = (ItemSource::Texts, u64::MAX);
    assert_eq!(refused(&many), OrderError::Count { count: u64::MAX, items: 1 << 32 });
    let foreign = |order: &mut StageOrder| {
        Arc::make_mut(&mut order.task).cwd = Some(filled(Placeholder::ItemStem));
    };
    assert!(matches!(refused(&foreign), OrderError::Task(TaskError::ForeignPlaceholder { .. })));
}
