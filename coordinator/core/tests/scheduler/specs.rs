//! Jobs to schedule, built in a line or two.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_jobs::budget::Budget;
use gridctl_jobs::id::StageIndex;
use gridctl_jobs::spec::{
    Args, ItemList, Items, JobSpec, Keep, Numbers, OnLostLease, Run, StageSpec, Stdin, TaskTemplate,
};
use gridctl_jobs::units::Cpus;

/// A job of these stages.
pub(crate) fn job(stages: impl IntoIterator<Item = StageSpec>) -> JobSpec {
    JobSpec { name: "test".to_owned(), priority: 0, stages: stages.into_iter().collect() }
}

/// A stage of `tasks` tasks of one cpu.
pub(crate) fn stage(name: &str, tasks: u64) -> StageSpec {
    let numbers = Numbers { first: 0, step: 1, numbers: tasks, chunk: None };
    StageSpec {
        name: name.to_owned(),
        items: Items::Numbers(numbers),
        needs: Vec::new(),
        budget: Budget::default(),
        task: Arc::new(template(Cpus::ONE)),
    }
}

/// A job of one stage `main` of one-cpu tasks.
pub(crate) fn tasks(tasks: u64) -> JobSpec {
    job([stage("main", tasks)])
}

pub(crate) fn needs(stages: impl IntoIterator<Item = u32>, stage: StageSpec) -> StageSpec {
    StageSpec { needs: stages.into_iter().map(StageIndex).collect(), ..stage }
}

pub(crate) fn retries(retries: u32, stage: StageSpec) -> StageSpec {
    budget(|budget| budget.retries = retries, stage)
}

pub(crate) fn budget(change: impl FnOnce(&mut Budget), mut stage: StageSpec) -> StageSpec {
    change(&mut stage.budget);
    stage
}

pub(crate) fn cpus(cpus: Cpus, stage: StageSpec) -> StageSpec {
    StageSpec { task: Arc::new(template(cpus)), ..stage }
}

/// A stage of a program whose tasks stop with their worker's lease.
pub(crate) fn stops(stage: StageSpec) -> StageSpec {
    let mut task = TaskTemplate::clone(&stage.task);
    task.run = Run::Script { text: "true".to_owned() };
    task.on_lost_lease = OnLostLease::Stop;
    StageSpec { task: Arc::new(task), ..stage }
}

pub(crate) fn priority(priority: i32, job: JobSpec) -> JobSpec {
    JobSpec { priority, ..job }
}

/// A stage of one task for each text.
pub(crate) fn texts(name: &str, texts: &[&str]) -> StageSpec {
    let list: ItemList = texts.iter().copied().collect();
    StageSpec { items: Items::Texts(Arc::new(list)), ..stage(name, 0) }
}

fn template(cpus: Cpus) -> TaskTemplate {
    TaskTemplate {
        run: Run::Function { name: "noop".to_owned(), args: Args::Item },
        env: BTreeMap::new(),
        stdin: Stdin::Empty,
        cwd: None,
        cpus,
        timeout: None,
        stdout: Keep::Keep,
        stderr: Keep::Keep,
        on_lost_lease: OnLostLease::Finish,
    }
}
