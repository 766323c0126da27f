//! Reasons for waiting, in words: what holds a stage up, and the nearest fix.

use std::time::Duration;

use gridctl_jobs::id::WorkerId;
use gridctl_jobs::reason::{NeededStage, WaitReason};

use super::time::short;

/// Returns the word by which a script can tell reasons apart.
pub(crate) fn kind(reason: &WaitReason) -> &'static str {
    match reason {
        WaitReason::Needs { .. } => "needs",
        WaitReason::NoWorkers => "no-workers",
        WaitReason::TooManyCpus { .. } => "too-many-cpus",
        WaitReason::Busy { .. } => "busy",
        WaitReason::Behind { .. } => "behind",
        WaitReason::RestartWindow { .. } => "restart-window",
        WaitReason::Backoff { .. } => "backoff",
        WaitReason::CouldNotStartHere { .. } => "could-not-start-here",
        WaitReason::Suspect { .. } => "suspect",
        WaitReason::Draining { .. } => "draining",
        WaitReason::NoTreesEnded { .. } => "no-trees-ended",
        WaitReason::SetBack { .. } => "set-back",
        WaitReason::StillRunsElsewhere { .. } => "still-runs-elsewhere",
        WaitReason::NoRoom { .. } => "no-room",
        WaitReason::RunsAlone { .. } => "runs-alone",
    }
}

/// Returns the reason as a sentence; `names` are those of the workers that it may speak of.
pub(crate) fn sentence(reason: &WaitReason, names: &[(WorkerId, String)]) -> String {
    match reason {
        WaitReason::Needs { stages } => {
            let open = |stage: &NeededStage| format!("{} ({} open)", stage.name, tasks(stage.open));
            format!("waits for {}", stages.iter().map(open).collect::<Vec<_>>().join(", "))
        }
        WaitReason::NoWorkers => {
            "no worker is connected; start one: gridctl worker --join TOKEN (gridctl token create --role worker)"
                .to_owned()
        }
        WaitReason::TooManyCpus { wanted, largest, largest_worker } => format!(
            "a task asks for {wanted} cpus, and the largest worker connected, {}, has {largest}; ask for fewer \
             or join a larger machine",
            name_of(*largest_worker, names)
        ),
        WaitReason::Busy { wanted, free } => {
            format!("every worker is busy: a task asks for {wanted} cpus, at most {free} are free on one")
        }
        WaitReason::Behind { job, priority } => {
            format!("job {job} (priority {priority}) is served first; a higher priority would change that")
        }
        WaitReason::RestartWindow { remaining_ms } => format!(
            "the coordinator has just started, and workers may still run these tasks: nothing is granted for \
             another {}",
            short(Duration::from_millis(*remaining_ms))
        ),
        WaitReason::Backoff { tasks: count, next_in_ms } => format!(
            "{} failed and will be tried again, the next in {}",
            tasks(*count),
            short(Duration::from_millis(*next_in_ms))
        ),
        WaitReason::CouldNotStartHere { tasks: count } => format!(
            "{} could not be started on any worker that is connected; look at the failure (gridctl tasks), or \
             join a machine that has the program",
            tasks(*count)
        ),
        WaitReason::Suspect { workers } => format!(
            "{workers} of the workers that could take it are not heard of; their leases are running out"
        ),
        WaitReason::NoTreesEnded { workers } => format!(
            "its tasks have on_lost_lease = \"stop\", and none of the {workers} workers connected can end whole \
             process trees for sure; start one that can (with the capability CAP_SYS_ADMIN, and without \
             --no-respawn)"
        ),
        WaitReason::SetBack { remaining_ms } => format!(
            "the coordinator was set back to an earlier state, and workers may run what it does not know of: \
             nothing is granted for another {}",
            short(Duration::from_millis(*remaining_ms))
        ),
        WaitReason::StillRunsElsewhere { tasks: count } => format!(
            "{} with on_lost_lease = \"stop\" may still be running from before; they are granted again once \
             that has surely ended",
            tasks(*count)
        ),
        WaitReason::Draining { workers, count } => {
            let mut named: Vec<String> =
                workers.iter().map(|worker| name_of(*worker, names)).collect();
            let more = count.saturating_sub(named.len() as u64);
            if more > 0 {
                named.push(format!("{more} more"));
            }
            let what = if *count == 1 { "is draining and gets" } else { "are draining and get" };
            let example = named.first().cloned().unwrap_or_default();
            format!(
                "{} {what} nothing new; to give work again: gridctl workers resume {example}",
                named.join(", ")
            )
        }
        WaitReason::NoRoom { what } => what.clone(),
        WaitReason::RunsAlone { tasks } => runs_alone(*tasks),
    }
}

fn runs_alone(count: u64) -> String {
    format!(
        "several workers were lost while {} ran there: each runs alone on a worker from now on, one after the other, \
         and is set aside if that one is lost as well (worker_losses)",
        tasks(count)
    )
}

fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}

fn name_of(worker: WorkerId, names: &[(WorkerId, String)]) -> String {
    let known = names.iter().find(|(id, _)| *id == worker);
    known.map_or_else(|| format!("worker {}", worker.0), |(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::units::Cpus;

    use super::*;

    #[test]
    fn a_request_that_is_too_large_names_the_largest_worker() {
        let reason = WaitReason::TooManyCpus {
            wanted: Cpus::whole(64),
            largest: Cpus::whole(8),
            largest_worker: WorkerId(2),
        };
        let text = sentence(&reason, &[(WorkerId(1), "a".into()), (WorkerId(2), "big".into())]);
        assert!(text.contains("64 cpus") && text.contains("big, has 8"), "{text}");
    }

    #[test]
    fn stages_that_are_waited_for_are_named_with_what_is_open() {
        let stages = vec![
            NeededStage { name: "count".into(), open: 1 },
            NeededStage { name: "fit".into(), open: 20 },
        ];
        let text = sentence(&WaitReason::Needs { stages }, &[]);
        assert_eq!(text, "waits for count (1 task open), fit (20 tasks open)");
    }
}
