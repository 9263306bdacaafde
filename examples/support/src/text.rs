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

/// A text for a window of so many columns. What is too long goes on below the beginning of its words: two columns further
/// in than a `- `, four than anything else. A line that begins with `{` is for programs and stays, and so does a word that
/// is longer than the window, unless it is written without blanks, as Chinese is.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 20);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        if line.starts_with('{') || width(line) <= columns {
            out.push_str(line);
            continue;
        }
        let words = line.trim_start_matches(' ');
        let own = line.len() - words.len();
        let further = own + if words.starts_with("- ") { 2 } else { 4 };
        out.push_str(&line[..own]);
        let mut used = own;
        let mut first = true;
        for word in words
            .split(' ')
            .flat_map(|word| pieces(word, columns.saturating_sub(further)))
        {
            let blank = usize::from(!first && !word.joined);
            if !first && used + blank + width(word.text) > columns {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', further));
                used = further;
            } else if blank == 1 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word.text);
            used += width(word.text);
            first = false;
        }
    }
    out
}

/// A word, or a part of one that belongs to the part before.
struct Piece<'t> {
    text: &'t str,
    joined: bool,
}

/// A word that fits, or that has blanks where its language has them, in one piece; another one by its wide characters.
fn pieces(word: &str, columns: usize) -> Vec<Piece<'_>> {
    let mut cuts = vec![0];
    if width(word) > columns {
        cuts.extend(
            word.char_indices()
                .filter(|(at, c)| *at > 0 && wide(*c))
                .map(|(at, _)| at),
        );
    }
    cuts.push(word.len());
    cuts.windows(2)
        .map(|pair| Piece {
            text: &word[pair[0]..pair[1]],
            joined: pair[0] > 0,
        })
        .collect()
}

/// The columns a text takes on a terminal.
fn width(text: &str) -> usize {
    text.chars().map(|c| 1 + usize::from(wide(c))).sum()
}

/// Whether a character takes two columns: the blocks of Chinese, Japanese and Korean, full-width forms, pictures.
const fn wide(c: char) -> bool {
    matches!(c as u32,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1_f300..=0x1_faff | 0x2_0000..=0x3_ffff)
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
    use super::{count, distance, listed, nearest, shortened, width, wrap};

    #[test]
    fn long_lines_go_on_below_their_words() {
        assert_eq!(wrap("as it is\n", 8), "as it is\n");
        assert_eq!(wrap("- one two three", 10), "- one two\n  three");
        assert_eq!(
            wrap("    one two three four", 14),
            "    one two\n        three\n        four"
        );
        assert_eq!(wrap("digest 0123456789", 10), "digest\n    0123456789");
        assert_eq!(wrap("{\"a b\": \"c d\"}", 4), "{\"a b\": \"c d\"}");
        // Each of these is two columns wide, and there is no blank to break at.
        assert_eq!(wrap("- 双十一大促期间禁止变更", 14), "- 双十一大促期\n  间禁止变更");
        let text =
            "- inside protected window payments/shopping-festivals (owner team-payments: 节日), until 2026-11-12 02:00";
        for columns in 30..130 {
            let wrapped = wrap(text, columns);
            assert!(wrapped.lines().all(|line| width(line) <= columns), "{wrapped}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&wrapped), words(text));
        }
    }

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
