//! "Did you mean": the nearest known word by edit distance.

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other, no letter touched twice
/// (the optimal string alignment distance).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut edits = (row[j] + usize::from(l != r)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                edits = edits.min(before[j - 1] + 1);
            }
            next.push(edits);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

/// The known word nearest to `word`, if it is near enough to be a slip of the keyboard
/// (at most a third of its letters, at least one). Ties go to the word named first.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
        assert_eq!((distance("glod", "gold"), distance("ca", "abc")), (1, 3));
    }

    #[test]
    fn a_slip_is_corrected_and_a_stranger_is_not() {
        assert_eq!(nearest("tire", ["zone", "tier", "tiers"]), Some("tier"));
        assert_eq!(nearest("bronze", ["gold", "silver"]), None);
        assert_eq!(nearest("windws", ["windows", "freezes"]), Some("windows"));
        assert_eq!(nearest("cron", ["kind", "weekly"]), None);
    }
}
