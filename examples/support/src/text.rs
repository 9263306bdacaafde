//! Words for people: numbers with separators, lists with an end, the name that was probably meant.

use std::fmt::Write as _;

/// `23871` as `23,871`.
#[must_use]
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 pod`, `2,000 pods`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// At most `most` names in backticks, then how many more there are.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let mut out = String::new();
    let mut more = 0_usize;
    for (at, name) in names.into_iter().enumerate() {
        if at >= most {
            more += 1;
        } else {
            let _ = write!(out, "{}`{}`", if at == 0 { "" } else { ", " }, shortened(name));
        }
    }
    if more > 0 {
        let _ = write!(out, " and {} more", count(more));
    }
    out
}

/// A value as it may stand in a message: at most 80 characters, control characters escaped.
pub(crate) fn shortened(value: &str) -> String {
    let mut out: String = value
        .chars()
        .take(80)
        .flat_map(|c| {
            let plain = !c.is_control();
            plain
                .then_some(c)
                .into_iter()
                .chain((!plain).then(|| c.escape_default()).into_iter().flatten())
        })
        .collect();
    if value.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

/// The candidate nearest to `wanted` by edit distance, if it is near enough to be a slip of the same name.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&wanted.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(steps, _)| *steps <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap two neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(200).collect(), b.chars().take(200).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(x != y))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row[j + 1] = best;
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{count, distance, listed, nearest, shortened};

    #[test]
    fn numbers_and_lists_read_well() {
        assert_eq!(
            [0, 999, 1_000, 23_871, 1_000_000].map(count),
            ["0", "999", "1,000", "23,871", "1,000,000"]
        );
        assert_eq!(listed(["a", "b", "c", "d"], 2), "`a`, `b` and 2 more");
        assert_eq!(listed([], 2), "");
        assert_eq!(shortened("a\nb"), "a\\nb");
        assert_eq!(shortened(&"x".repeat(81)).chars().count(), 81);
        assert_eq!(shortened(&"x".repeat(80)), "x".repeat(80));
    }

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_does_not() {
        assert_eq!(nearest("app_nmae", ["app_name", "role"]), Some("app_name"));
        assert_eq!(nearest("ROLE", ["rule", "role"]), Some("role"));
        assert_eq!(nearest("zone", ["instance_sn", "role"]), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
