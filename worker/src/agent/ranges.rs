//! Small arithmetic on ranges of tasks.

use gridctl_jobs::range::TaskRange;

/// Returns what is left of `range` without `hole`: nothing, one piece, or the two at its sides.
pub(super) fn without(range: TaskRange, hole: TaskRange) -> impl Iterator<Item = TaskRange> {
    let hole = if range.intersect(hole).is_empty() {
        TaskRange::new(range.end, range.end)
    } else {
        range.intersect(hole)
    };
    [TaskRange::new(range.start, hole.start), TaskRange::new(hole.end, range.end)]
        .into_iter()
        .filter(|piece| !piece.is_empty())
}

/// Returns what is left of `range` without any of `holes`, in order.
pub(super) fn without_all(range: TaskRange, holes: &[TaskRange]) -> Vec<TaskRange> {
    holes.iter().fold(vec![range], |left, hole| {
        left.into_iter().flat_map(|piece| without(piece, *hole)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_leaves_what_lies_beside_it() {
        let range = TaskRange::new(10, 20);
        let left = |start, end| without(range, TaskRange::new(start, end)).collect::<Vec<_>>();
        assert_eq!(left(0, 5), [range]);
        assert_eq!(left(20, 30), [range]);
        assert_eq!(left(5, 25), []);
        assert_eq!(left(10, 12), [TaskRange::new(12, 20)]);
        assert_eq!(left(12, 15), [TaskRange::new(10, 12), TaskRange::new(15, 20)]);
        assert_eq!(left(15, 15), [range]);
    }

    #[test]
    fn an_empty_range_leaves_nothing() {
        assert_eq!(
            without_all(TaskRange::new(3, 3), &[]).iter().filter(|r| !r.is_empty()).count(),
            0
        );
    }
}
