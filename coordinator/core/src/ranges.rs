//! Maps from ranges of tasks to values: what differs between ranges, cut where needed.
//!
//! Such a map is a `BTreeMap` from the first task to a [`Piece`], which knows where it ends. Pieces never
//! overlap; they are kept only for what is in flight or has something to tell.

use std::collections::BTreeMap;

use gridctl_jobs::range::TaskRange;

/// A value that holds for the tasks from its key up to `end`.
pub(crate) trait Piece: Clone {
    /// Exclusive.
    fn end(&self) -> u64;
    /// The same value for another end.
    fn until(&self, end: u64) -> Self;
}

/// Returns the parts of `range` that have a value, in order.
pub(crate) fn overlapping<P: Piece>(
    map: &BTreeMap<u64, P>,
    range: TaskRange,
) -> impl Iterator<Item = (TaskRange, &P)> {
    let first = map.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
    map.range(first..range.end.max(first))
        .map(move |(start, piece)| (TaskRange::new(*start, piece.end()).intersect(range), piece))
        .filter(|(part, _)| !part.is_empty())
}

/// Returns the value of one task.
pub(crate) fn at<P: Piece>(map: &BTreeMap<u64, P>, index: u64) -> Option<&P> {
    map.range(..=index).next_back().map(|(_, piece)| piece).filter(|piece| index < piece.end())
}

/// Takes `range` out, cutting the pieces at its edges; returns what was there.
pub(crate) fn carve<P: Piece>(map: &mut BTreeMap<u64, P>, range: TaskRange) -> Vec<(TaskRange, P)> {
    let taken: Vec<(TaskRange, P)> =
        overlapping(map, range).map(|(part, piece)| (part, piece.clone())).collect();
    for (part, piece) in &taken {
        let whole = map
            .range(..=part.start)
            .next_back()
            .map(|(start, _)| *start)
            .expect("a piece that overlaps begins at or before the part");
        map.remove(&whole);
        if whole < part.start {
            map.insert(whole, piece.until(part.start));
        }
        if part.end < piece.end() {
            map.insert(part.end, piece.clone());
        }
    }
    taken
}

/// Sets a value for the tasks from `start` on, in place of what was there.
pub(crate) fn put<P: Piece>(map: &mut BTreeMap<u64, P>, start: u64, piece: P) {
    carve(map, TaskRange::new(start, piece.end()));
    map.insert(start, piece);
}

/// Panics where pieces are empty or overlap.
pub(crate) fn check<P: Piece>(map: &BTreeMap<u64, P>, what: &str) {
    let mut from = 0;
    for (start, piece) in map {
        assert!(
            *start >= from && piece.end() > *start,
            "{what}: pieces overlap or are empty at {start}"
        );
        from = piece.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Debug)]
    struct Tag(u64, char);

    impl Piece for Tag {
        fn end(&self) -> u64 {
            self.0
        }
        fn until(&self, end: u64) -> Self {
            Self(end, self.1)
        }
    }

    fn map() -> BTreeMap<u64, Tag> {
        BTreeMap::from([(0, Tag(10, 'a')), (10, Tag(20, 'b')), (30, Tag(40, 'c'))])
    }

    #[test]
    fn carving_cuts_the_pieces_at_both_edges() {
        let mut map = map();
        let taken = carve(&mut map, TaskRange::new(5, 35));
        assert_eq!(
            taken.iter().map(|(part, tag)| (part.start, part.end, tag.1)).collect::<Vec<_>>(),
            [(5, 10, 'a'), (10, 20, 'b'), (30, 35, 'c')]
        );
        assert_eq!(map, BTreeMap::from([(0, Tag(5, 'a')), (35, Tag(40, 'c'))]));
    }

    #[test]
    fn carving_the_middle_of_one_piece_leaves_two() {
        let mut map = map();
        carve(&mut map, TaskRange::one(3));
        assert_eq!((at(&map, 2), at(&map, 3)), (Some(&Tag(3, 'a')), None));
        assert_eq!(at(&map, 4), Some(&Tag(10, 'a')));
        check(&map, "test");
    }

    #[test]
    fn putting_replaces_what_was_there() {
        let mut map = map();
        put(&mut map, 8, Tag(12, 'x'));
        assert_eq!(
            map.into_iter().map(|(start, tag)| (start, tag.0, tag.1)).collect::<Vec<_>>(),
            [(0, 8, 'a'), (8, 12, 'x'), (12, 20, 'b'), (30, 40, 'c')]
        );
    }
}
