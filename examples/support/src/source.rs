use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::guard::{Guard, Watch, unreadable};
use crate::text::shortened;
use crate::{InputError, Inventory, Mapping, Place, Spot, Synthetic, bundled, csv, jsonl, pods};

/// How much of a file is looked at to tell what it is.
const PREFIX: usize = 64 << 10;

/// Where a fleet comes from.
#[expect(
    clippy::exhaustive_enums,
    reason = "the three ways to name a fleet on a command line"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The fleet that comes with the examples, see [`bundled`].
    Bundled,
    /// A CSV, JSON lines, or what `kubectl get pods -o json` prints; told apart by content.
    File {
        /// The file, or `-` for standard input.
        path: PathBuf,
        /// Which columns to take, for CSV and JSON lines.
        map: Option<Mapping>,
        /// A regular expression for the whole name of the sidecar's container, for lists of pods.
        container: Option<String>,
    },
    /// A made-up fleet.
    Synthetic {
        /// How large.
        fleet: Synthetic,
        /// Equal seeds give equal fleets.
        seed: u64,
    },
}

impl Source {
    /// What a command line names: the values of `--inventory`, `--map`, `--container` and `--synthetic`, of which the
    /// last goes before the first; without both, the bundled fleet.
    ///
    /// # Errors
    ///
    /// [`InputError`] for a mapping or a size that cannot be read.
    pub fn named(
        inventory: Option<&str>,
        map: Option<&str>,
        container: Option<&str>,
        synthetic: Option<&str>,
        seed: u64,
    ) -> Result<Self, InputError> {
        if let Some(fleet) = synthetic {
            let fleet = Synthetic::parse(fleet)?;
            return Ok(Self::Synthetic { fleet, seed });
        }
        let Some(path) = inventory else {
            return Ok(Self::Bundled);
        };
        Ok(Self::File {
            path: path.into(),
            map: map.map(Mapping::parse).transpose()?,
            container: container.map(str::to_owned),
        })
    }
}

/// Reads a whole fleet.
///
/// # Errors
///
/// [`InputError`] with the place, the field and the fix.
pub fn load(source: &Source) -> Result<Inventory, InputError> {
    match source {
        Source::Bundled => Ok(bundled()),
        Source::Synthetic { fleet, seed } => Ok(fleet.inventory(*seed)),
        Source::File { path, map, container } => {
            if path.as_os_str() == "-" {
                return read("standard input", io::stdin().lock(), map.as_ref(), container.as_deref());
            }
            let name = path.to_string_lossy();
            let file = File::open(path).map_err(|error| unreadable((&*name).into(), &error))?;
            read(&name, file, map.as_ref(), container.as_deref())
        }
    }
}

/// Reads a fleet from anything that gives bytes; `name` stands in messages.
///
/// The input is read once, front to back, and never held as a whole: memory grows with the targets, not with the bytes.
///
/// # Errors
///
/// [`InputError`] with the place, the field and the fix.
///
/// ```
/// use unattended_examples_support::{Mapping, read};
///
/// let table = "sn,app_name,role\ni-1,pay,java\ni-2,pay,java\ni-2,web,go\n";
/// let map = Mapping::parse("id=sn,app=app_name,stack=role")?;
/// let error = read("fleet.csv", table.as_bytes(), Some(&map), None).expect_err("i-2 stands twice");
/// assert_eq!(
///     error.to_string(),
///     "fleet.csv:4: column `sn`: duplicate id `i-2` (first in line 3): give every target one row"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(
    name: &str,
    reader: impl Read,
    map: Option<&Mapping>,
    container: Option<&str>,
) -> Result<Inventory, InputError> {
    let file: Arc<str> = name.into();
    let container = container.map(pods::Chosen::compile).transpose()?;
    let watch = Watch::default();
    let mut guard = Guard::new(reader, &watch);
    let mut prefix = Vec::new();
    if let Err(error) = (&mut guard)
        .take(u64::try_from(PREFIX).unwrap_or(u64::MAX))
        .read_to_end(&mut prefix)
    {
        return Err(watch
            .cause(&file, Spot::Whole, "line")
            .unwrap_or_else(|| unreadable(file, &error)));
    }
    watch.record_done();
    // A byte order mark says nothing in UTF-8.
    let text = prefix.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&prefix);
    check_text(&file, text, prefix.len() < PREFIX)?;
    if prefix.len() == PREFIX && text.iter().all(u8::is_ascii_whitespace) {
        return Err(InputError::WrongFormat {
            place: Place {
                file,
                spot: Spot::Whole,
            },
            what: "begins with nothing but blanks".to_owned(),
            fix: "remove the blank lines at the top",
        });
    }
    let format = detect(&file, text)?;
    let bytes = Cursor::new(text).chain(guard);
    let inapplicable = |option, is| {
        Err(InputError::Inapplicable {
            file: Arc::clone(&file),
            option,
            is,
        })
    };
    match format {
        Format::Csv if container.is_some() => inapplicable("--container", "is a CSV, which has no containers"),
        Format::JsonLines if container.is_some() => {
            inapplicable("--container", "holds JSON lines, which have no containers")
        }
        Format::Pods if map.is_some() => inapplicable("--map", "is a list of pods, whose fields have one meaning each"),
        Format::Csv => csv::read(&file, bytes, &watch, map),
        Format::JsonLines => jsonl::read(&file, bytes, &watch, map),
        Format::Pods => pods::read(&file, bytes, &watch, container.as_ref()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
    Pods,
}

/// Archives, images and UTF-16 show in their first bytes.
fn check_text(file: &Arc<str>, text: &[u8], whole: bool) -> Result<(), InputError> {
    let Err(error) = std::str::from_utf8(text) else {
        return Ok(());
    };
    // A character cut by the end of the prefix is none of the file's faults.
    if error.error_len().is_none() && !whole {
        return Ok(());
    }
    let breaks = text[..error.valid_up_to()]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    let line = u64::try_from(breaks).unwrap_or(u64::MAX).saturating_add(1);
    Err(InputError::Binary {
        place: Place {
            file: Arc::clone(file),
            spot: Spot::Line(line),
        },
        what: "contains a byte that is not UTF-8",
    })
}

fn detect(file: &Arc<str>, text: &[u8]) -> Result<Format, InputError> {
    let Some(start) = text.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return Err(InputError::Empty { file: Arc::clone(file) });
    };
    let body = &text[start..];
    let breaks = text[..start].iter().filter(|byte| **byte == b'\n').count();
    let line = u64::try_from(breaks).unwrap_or(u64::MAX).saturating_add(1);
    let wrong = |what: String, fix: &'static str| {
        Err(InputError::WrongFormat {
            place: Place {
                file: Arc::clone(file),
                spot: Spot::Line(line),
            },
            what,
            fix,
        })
    };
    match body[0] {
        b'[' => wrong(
            "begins with a JSON array".to_owned(),
            "write one object per line, as `jq -c '.[]'` does",
        ),
        b'{' => {
            let peek = Peek::at(body);
            if peek.has_items || peek.kind.as_deref().is_some_and(|kind| kind.ends_with("List")) {
                return Ok(Format::Pods);
            }
            match peek.kind {
                Some(kind) if peek.has_api_version && !peek.one_line => wrong(
                    format!(
                        "holds one object of the kind `{}`, not a list of pods",
                        shortened(&kind)
                    ),
                    "list pods without naming one: `kubectl get pods -A -o json`",
                ),
                _ => Ok(Format::JsonLines),
            }
        }
        _ if body.starts_with(b"apiVersion:") || body.starts_with(b"---") => wrong(
            "looks like YAML".to_owned(),
            "print JSON: `kubectl get pods -A -o json`",
        ),
        _ => Ok(Format::Csv),
    }
}

/// What the beginning of a JSON object tells of it.
#[derive(Debug, Default)]
struct Peek {
    has_items: bool,
    has_api_version: bool,
    kind: Option<String>,
    /// The object ends before the first line break.
    one_line: bool,
}

impl Peek {
    /// Walks over the tokens of the outermost object as far as `body` goes; broken JSON is the parser's to report.
    fn at(body: &[u8]) -> Self {
        let mut peek = Self::default();
        let mut depth = 0_usize;
        let mut key: Option<&[u8]> = None;
        let mut last: Option<&[u8]> = None;
        let mut line_breaks = false;
        let mut at = 0;
        while let Some(byte) = body.get(at) {
            match byte {
                b'"' => {
                    let Some(end) = string_end(body, at + 1) else { break };
                    last = Some(&body[at + 1..end]);
                    at = end;
                    if depth == 1 && key == Some(b"kind") {
                        peek.kind = last.map(|kind| String::from_utf8_lossy(kind).into_owned());
                    }
                }
                b':' if depth == 1 => {
                    key = last.take();
                    peek.has_api_version |= key == Some(b"apiVersion");
                }
                b',' if depth == 1 => key = None,
                b'{' | b'[' => {
                    peek.has_items |= depth == 1 && *byte == b'[' && key == Some(b"items");
                    depth += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        peek.one_line = !line_breaks;
                        break;
                    }
                }
                b'\n' => line_breaks = true,
                _ => {}
            }
            at += 1;
        }
        peek
    }
}

/// Where the quote stands that ends the string which begins at `at`.
fn string_end(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match body.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, PREFIX, Peek, check_text, detect};
    use std::sync::Arc;

    fn format(text: &str) -> Result<Format, String> {
        detect(&Arc::from("f"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn content_tells_the_format() {
        assert_eq!(format("\n  id,app\n"), Ok(Format::Csv));
        assert_eq!(format("{\"id\":1,\"kind\":\"cat\"}\n{}"), Ok(Format::JsonLines));
        assert_eq!(format("{\n \"apiVersion\": \"v1\",\n \"items\": [\n"), Ok(Format::Pods));
        assert_eq!(
            format("{\"metadata\":{\"items\":[1]},\"kind\":\"PodList\"}"),
            Ok(Format::Pods)
        );
        assert_eq!(
            format(r#"{"labels":{"items":[1]},"note":"\"items\":[","id":"x"}"#),
            Ok(Format::JsonLines)
        );
        assert_eq!(format(r#"{"items":{"a":[1]},"id":"x"}"#), Ok(Format::JsonLines));
        assert_eq!(format(r#"{"note":"x\"","items":[1]}"#), Ok(Format::Pods));
        // One pod per line is JSON lines, for a mapping to read.
        assert_eq!(
            format(r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#),
            Ok(Format::JsonLines)
        );
    }

    #[test]
    fn near_misses_are_told_how_to_do_it() {
        let pod = format("\n{\n\"apiVersion\": \"v1\",\n\"kind\": \"Pod\",\n\"spec\": {").expect_err("one pod");
        assert!(pod.starts_with("f:2: holds one object of the kind `Pod`"), "{pod}");
        assert!(
            format("apiVersion: v1\nitems:\n")
                .expect_err("YAML")
                .contains("-o json")
        );
        assert!(format("[{\"id\":1}]").expect_err("array").contains("jq -c '.[]'"));
        assert!(format(" \r\n\t").expect_err("blank").contains("is empty"));
    }

    #[test]
    fn a_character_cut_by_the_prefix_is_no_fault() {
        let file = Arc::from("f");
        let mut text = vec![b'a'; PREFIX - 1];
        text.push(0xC3);
        assert!(check_text(&file, &text, false).is_ok());
        assert!(check_text(&file, &text, true).is_err());
        assert_eq!(
            check_text(&file, b"a\nb\n\xFFz", false)
                .expect_err("no UTF-8")
                .to_string()
                .split(':')
                .nth(1),
            Some("3")
        );
    }

    #[test]
    fn a_peek_ends_where_the_text_ends() {
        for text in ["{\"ki", "{\"kind\":\"Po", "{\"a\\", "{", "{\"a\":[[[["] {
            assert!(Peek::at(text.as_bytes()).kind.is_none(), "{text}");
        }
    }
}
