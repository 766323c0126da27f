//! What holds whatever comes in.

use gridctl_jobs::job::Job;
use gridctl_jobs::numbers::NumberRange;
use gridctl_jobs::selector::Selector;
use gridctl_jobs::spec::{ArgValue, ItemList, JobSpec, Numbers, StageOrder};
use gridctl_jobs::template::{Fill, ItemKind, ItemValue, Template};
use proptest::prelude::*;

use crate::machine::Machine;

/// Pieces of job files, so that arbitrary text comes further than its first character.
const PIECES: &[&str] = &[
    "name",
    "priority",
    "stage",
    "[[stage]]",
    "[stage]",
    "command",
    "script",
    "function",
    "args",
    "for_each",
    "range",
    "chunk",
    "list",
    "lines",
    "files",
    "needs",
    "env",
    "stdin",
    "cwd",
    "cpus",
    "timeout",
    "retries",
    "backoff",
    "retry_on",
    "worker_losses",
    "max_failures",
    "\"1s..1m\"",
    "\"oom\"",
    "stdout",
    "on_lost_lease",
    "\"stop\"",
    "=",
    ".",
    "\n",
    "\n",
    " ",
    "\"a\"",
    "\"0..10\"",
    "\"9..0\"",
    "\"{item}\"",
    "\"{strat}\"",
    "\"10m\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    "1",
    "-1",
    "0.5",
    "true",
    "nan",
    "'",
    "\"",
    "'''",
    "\u{0}",
    "é",
    "\r\n",
    "2026-01-01",
    "GRID_X",
    "\"keep\"",
    "#",
];

fn file_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..60)
        .prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = ItemKind> {
    use ItemKind::{Chunks, Files, Numbers, Single, Texts};
    proptest::sample::select(vec![Single, Numbers, Chunks, Texts, Files])
}

/// Parses, and takes whatever comes out through all that follows.
fn all_the_way(bytes: &[u8]) {
    match Job::parse(bytes, "any.toml") {
        Err(found) => {
            assert!(found.has_errors());
            let shown = found.to_string();
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
        Ok(job) => {
            assert_eq!(Job::parse(job.to_toml().unwrap().as_bytes(), "any.toml").unwrap(), job);
            if let Ok(resolved) = job.resolve(&Machine::new().file("/jobs/a", "x\n")) {
                assert_eq!(resolved.spec.check(), Ok(()));
                let bytes = postcard::to_stdvec(&resolved.spec).unwrap();
                assert_eq!(postcard::from_bytes::<JobSpec>(&bytes).unwrap(), resolved.spec);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        all_the_way(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        all_the_way(text.as_bytes());
    }

    #[test]
    fn any_mixture_of_pieces_is_read_or_refused(text in file_text()) {
        all_the_way(text.as_bytes());
    }

    #[test]
    fn any_values_of_a_stage_are_read_or_refused(
        argument in "\\PC{0,20}", item in "\\PC{0,20}", cpus in any::<f64>(), retries in any::<i64>(),
        start in any::<i64>(), end in any::<i64>(), chunk in any::<i32>(),
    ) {
        let text = format!(
            "[[stage]]\nname = 'a'\ncommand = ['x', {argument:?}]\nfor_each.list = [{item:?}]\ncpus = {cpus:?}\n\
             retries = {retries}\n[[stage]]\nname = 'b'\nfunction = 'f'\n\
             for_each = {{ range = '{start}..{end}', chunk = {chunk} }}"
        );
        all_the_way(text.as_bytes());
    }

    #[test]
    fn any_selector_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
        }
    }

    #[test]
    fn whatever_a_peer_sends_is_checked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(spec) = postcard::from_bytes::<JobSpec>(&bytes) {
            let _ = spec.check();
            let _ = spec.stages.iter().map(|stage| stage.items.count()).max();
        }
        if let Ok(order) = postcard::from_bytes::<StageOrder>(&bytes) {
            let _ = order.check();
        }
        let _ = postcard::from_bytes::<ArgValue>(&bytes);
        if let Ok(list) = postcard::from_bytes::<ItemList>(&bytes) {
            let _ = (list.check(), list.item(0), list.slice(0, 9));
        }
    }

    #[test]
    fn each_number_of_a_range_comes_once_in_order(
        start in -1000_i64..1000, length in 0_i64..300, step in 1_u64..20, inclusive in any::<bool>(),
    ) {
        let range = NumberRange { start, end: start + length, inclusive, step };
        let numbers = range.numbers(None).unwrap();
        let all = (start..start + length + i64::from(inclusive)).step_by(usize::try_from(step).unwrap());
        let found: Vec<i64> = (0..numbers.tasks()).map(|index| numbers.number(index).unwrap()).collect();
        prop_assert_eq!(found, all.collect::<Vec<_>>());
        prop_assert_eq!(numbers.number(numbers.tasks()), None);
        prop_assert_eq!(range.to_string().parse::<NumberRange>().unwrap(), range);
    }

    #[test]
    fn each_number_lies_in_one_chunk_in_order(start in -1000_i64..1000, length in 0_i64..300, chunk in 1_u64..50) {
        let numbers = NumberRange::from(start..start + length).numbers(Some(chunk)).unwrap();
        let chunks = (0..numbers.tasks()).map(|index| numbers.chunk_bounds(index).unwrap());
        let found: Vec<i64> = chunks.clone().flatten().collect();
        prop_assert_eq!(found, (start..start + length).collect::<Vec<_>>());
        prop_assert!(chunks.into_iter().all(|chunk| !chunk.is_empty()));
        prop_assert_eq!(numbers.chunk_bounds(numbers.tasks()), None);
    }

    #[test]
    fn any_numbers_are_counted_without_a_panic(
        first in any::<i64>(), step in any::<u64>(), numbers in any::<u64>(), chunk in any::<Option<u64>>(),
        index in any::<u64>(),
    ) {
        let made = Numbers { first, step, numbers, chunk };
        let _ = (made.check(), made.tasks(), made.number(index), made.chunk_bounds(index));
        if made.check().is_ok() && made.tasks() > 0 {
            let last = made.tasks() - 1;
            prop_assert!(made.number(last).is_some() || made.chunk_bounds(last).is_some());
        }
    }

    #[test]
    fn text_without_braces_stays_as_it_is(text in "[^{]*", kind in kind()) {
        let parsed = Template::parse(&text, kind);
        prop_assert_eq!(parsed.template.as_literal(), Some(text.as_str()));
        prop_assert_eq!(parsed.issues, []);
    }

    #[test]
    fn what_is_no_placeholder_stays_byte_for_byte(text in "[{}$a-z. \"]{0,40}") {
        // In a stage where nothing but the five common names exists, and none of those is in the text.
        let common = ["job", "stage", "index", "count", "attempt"];
        prop_assume!(!common.iter().any(|name| text.contains(name)));
        let fill = Fill { job: 1, stage: "s", index: 2, count: 3, attempt: 4, item: ItemValue::None };
        prop_assert_eq!(Template::parse(&text, ItemKind::Single).template.fill(&fill), text);
    }
}
