//! Versions that can be compared: `1.9.2`, `v2026.11.3`, `2.0.0-rc.1+build`.

use std::cmp::Ordering;

/// A version in parts. Build metadata does not count; a pre-release comes before its release, as in Semantic Versioning
/// 2.0.0, item 11, but for any number of parts; absent parts are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Without trailing zeros, so that 1.9 and 1.9.0 are one version.
    numbers: Vec<u64>,
    pre: Vec<Pre>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Number(u64),
    Text(String),
}

impl Version {
    /// `None` for what is no version: a branch, a digest, `latest`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = bare(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (release, pre) = text.split_once('-').map_or((text, None), |(r, p)| (r, Some(p)));
        let number = |part: &str| {
            (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse().ok())
                .flatten()
        };
        let mut numbers: Vec<u64> = release.split('.').map(number).collect::<Option<_>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let pre = match pre {
            None => Vec::new(),
            Some(pre) => pre
                .split('.')
                .map(|part| match number(part) {
                    Some(number) => Some(Pre::Number(number)),
                    None if part.is_empty() => None,
                    None => Some(Pre::Text(part.to_owned())),
                })
                .collect::<Option<_>>()?,
        };
        Some(Self { numbers, pre })
    }

    fn number(&self, at: usize) -> u64 {
        self.numbers.get(at).copied().unwrap_or(0)
    }

    /// How many minor versions lie between two of one major version; `None` across major versions.
    pub(crate) fn minors_apart(&self, other: &Self) -> Option<u64> {
        (self.number(0) == other.number(0)).then(|| self.number(1).abs_diff(other.number(1)))
    }
}

/// Without spaces around it, and without the `v` or `V` that some write before the number.
fn bare(version: &str) -> &str {
    let version = version.trim();
    match version.strip_prefix(['v', 'V']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => version,
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Some versions: `1.9.2` itself, `1.9.*` every one that begins so, and comparisons that must all hold: `>=1.8, <2`.
#[derive(Debug, Clone)]
pub(crate) enum Range {
    Exactly(String),
    Beginning(String),
    All(Vec<(Is, Version)>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Is {
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Range {
    /// `None` for a comparison with what is no version, and for what other programs mean by `^1.9`, `~1.9`, `=1.9` or `1.x`:
    /// taken for the name of a version it would never be met, and a denied version would run.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with(['<', '>']) {
            let (name, beginning) = text.strip_suffix(".*").map_or((text, false), |name| (name, true));
            let foreign = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'));
            let part_open = |part: &str| part.is_empty() || part.eq_ignore_ascii_case("x");
            if name.contains(foreign) || name.split('.').any(part_open) {
                return None;
            }
            let name = bare(name);
            return Some(if beginning {
                Self::Beginning(format!("{name}."))
            } else {
                Self::Exactly(name.to_owned())
            });
        }
        let one = |part: &str| {
            let part = part.trim();
            let kinds = [
                (">=", Is::AtLeast),
                (">", Is::Above),
                ("<=", Is::AtMost),
                ("<", Is::Below),
            ];
            let (sign, is) = kinds.into_iter().find(|(sign, _)| part.starts_with(sign))?;
            Some((is, Version::parse(part[sign.len()..].trim())?))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Self::All)
    }

    /// Whether a version is one of them under whatever name: `2.0` and `2.0.0+build` are `2.0.0`, and `1.9` begins with
    /// `1.9.*`. What is denied must not run for being written otherwise; what is allowed is what is written.
    pub(crate) fn has_by_any_name(&self, version: &str) -> Option<bool> {
        let alike = |name: &str, parts: Option<usize>| {
            let (Some(name), Some(version)) = (Version::parse(name), Version::parse(version)) else {
                return false;
            };
            match parts {
                None => name == version,
                Some(parts) => name.pre.is_empty() && (0..parts).all(|at| name.number(at) == version.number(at)),
            }
        };
        let otherwise = match self {
            Self::Exactly(one) => alike(one, None),
            Self::Beginning(beginning) => {
                let name = beginning.strip_suffix('.').unwrap_or(beginning);
                alike(name, Some(name.split('.').count()))
            }
            Self::All(_) => false,
        };
        if otherwise { Some(true) } else { self.has(version) }
    }

    /// Whether a version is one of them; `None` when it cannot be compared.
    pub(crate) fn has(&self, version: &str) -> Option<bool> {
        match self {
            Self::Exactly(one) => Some(one == bare(version)),
            Self::Beginning(beginning) => Some(bare(version).starts_with(beginning.as_str())),
            Self::All(bounds) => {
                let version = Version::parse(version)?;
                Some(bounds.iter().all(|(is, bound)| match is {
                    Is::AtLeast => version >= *bound,
                    Is::Above => version > *bound,
                    Is::AtMost => version <= *bound,
                    Is::Below => version < *bound,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_semantic_versioning_orders_them() {
        // The examples of semver.org, item 11, and numbers that texts would order the other way.
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.2",
            "1.10.0",
            "2.0.0",
            "2.1.0",
            "2.1.1",
            "v2026.11.3",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                let (a, b) = (Version::parse(a).expect("valid"), Version::parse(b).expect("valid"));
                assert_eq!(a.cmp(&b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert_eq!(Version::parse("1.9"), Version::parse("v1.9.0+build.7"));
        for wrong in [
            "",
            "latest",
            "main",
            "1..2",
            "1.x",
            "-1",
            "1.0-",
            "sha256:00",
            "99999999999999999999",
        ] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_other_spelling_escapes_what_is_denied() {
        let has = |range: &str, version: &str| Range::parse(range).expect("valid").has_by_any_name(version);
        for version in [
            "1.9",
            "v1.9",
            "V1.9",
            "1.9.0",
            "1.9-rc.1",
            "1.9+hotfix",
            "01.9.3",
            "1.9.7",
            " 1.9.7",
            "V1.9.7 ",
        ] {
            assert_eq!(has("1.9.*", version), Some(true), "{version}");
        }
        for version in ["2", "2.0", "v2.0.0", "2.0.0+hotfix", "2.0.0.0"] {
            assert_eq!(has("2.0.0", version), Some(true), "{version}");
        }
        for (range, version) in [
            ("1.9.*", "1.90"),
            ("1.9.*", "1"),
            ("2.0.0", "2.0.1"),
            ("2.0.0", "2.0.0-rc.1"),
            ("2.0.*", "main"),
        ] {
            assert_eq!(has(range, version), Some(false), "{range} {version}");
        }
        assert_eq!((has("main", "main"), has(">=2", "latest")), (Some(true), None));
        // What is allowed is what is written.
        assert_eq!(Range::parse("2.0.0").expect("valid").has("2.0.0+hotfix"), Some(false));
    }

    #[test]
    fn ranges() {
        let has = |range: &str, version: &str| Range::parse(range).expect("valid").has(version);
        assert_eq!(has("1.9.*", "1.9.2"), Some(true));
        assert_eq!(has("1.9.*", "1.90.2"), Some(false));
        assert_eq!(has("1.9.2", "1.9.2"), Some(true));
        assert_eq!(has(">=1.8, <2", "1.10.0"), Some(true));
        assert_eq!(has(">=1.8, <2", "2.0.0"), Some(false));
        assert_eq!((has(">1.8", "1.8.0"), has("<=1.8", "1.8.0")), (Some(false), Some(true)));
        assert_eq!(has(">=1.8", "latest"), None);
        // With and without a `v` it is one version.
        assert_eq!(
            (has("1.9.2", "v1.9.2"), has("v1.9.*", "1.9.2")),
            (Some(true), Some(true))
        );
        for wrong in [
            ">=latest", "^1.9", "~1.9", "=1.9.2", "==1.9.2", "1.x", "1.9.X", "*", "1.*.2", "1.9 ", "1.9,2.0", "",
        ] {
            assert!(Range::parse(wrong).is_none(), "{wrong}");
        }
    }
}
