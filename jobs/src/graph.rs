//! Circles among stages that need each other.

/// Finds circles in `needs`, which holds for each stage the stages that it needs: at most `max` of them.
///
/// A circle is given as the stages in the order in which each needs the next, the first not repeated.
/// Bounds are not trusted: a need of a stage that is not there is passed over. Takes time by the number
/// of needs.
pub(crate) fn cycles(needs: &[Vec<usize>], max: usize) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let mut marks = vec![Mark::New; needs.len()];
    for root in 0..needs.len() {
        // The way from the root to where the search stands, each stage with its next need to look at.
        let mut way: Vec<(usize, usize)> = Vec::new();
        if marks[root] == Mark::New {
            marks[root] = Mark::OnTheWay;
            way.push((root, 0));
        }
        while let Some((stage, next)) = way.last_mut() {
            let Some(&need) = needs[*stage].get(*next) else {
                marks[*stage] = Mark::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match marks.get(need) {
                Some(Mark::New) => {
                    marks[need] = Mark::OnTheWay;
                    way.push((need, 0));
                }
                Some(Mark::OnTheWay) => {
                    let start = way.iter().position(|(stage, _)| *stage == need);
                    let start = start.expect("a stage marked so is on the way");
                    found.push(way[start..].iter().map(|(stage, _)| *stage).collect());
                    if found.len() >= max {
                        return found;
                    }
                }
                Some(Mark::Done) | None => {}
            }
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnTheWay,
    Done,
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn a_graph_without_circles_has_none() {
        assert!(cycles(&[vec![], vec![0], vec![0, 1], vec![2, 0, 99]], 9).is_empty());
    }

    #[test]
    fn every_circle_is_named_in_the_order_of_needing() {
        let needs = [vec![2], vec![0], vec![1], vec![4], vec![3], vec![5]];
        assert_eq!(cycles(&needs, 9), [vec![0, 2, 1], vec![3, 4], vec![5]]);
        assert_eq!(cycles(&needs, 2).len(), 2);
    }
}
