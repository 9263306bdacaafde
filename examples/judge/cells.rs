//! A CSV with a header as lines of named cells.

use std::io::Read;

use unattended_examples_support::{Failure, nearest};

use crate::fault;

/// A header that has every column that is needed, and no other.
pub(crate) struct Columns {
    names: &'static [&'static str],
    /// Where each of them stands.
    places: Vec<Option<usize>>,
    width: usize,
}

/// One line of the table.
pub(crate) struct Cells<'a> {
    pub(crate) line: u64,
    columns: &'a Columns,
    record: &'a csv::StringRecord,
}

impl Columns {
    /// The first `required` of `names` must be there, the others may be.
    fn find(header: &csv::StringRecord, names: &'static [&'static str], required: usize) -> Result<Self, Failure> {
        let mut places = vec![None; names.len()];
        for (at, name) in header.iter().map(str::trim).enumerate() {
            let Some(known) = names.iter().position(|known| *known == name) else {
                let near = nearest(name, names.iter().copied());
                let fix = near.map_or_else(|| "leave it out".to_owned(), |near| format!("did you mean `{near}`?"));
                let columns = names.join(",");
                return Err(fault::at(
                    1,
                    &fault::shown(name),
                    format!("is not known ({columns}): {fix}"),
                ));
            };
            if places[known].replace(at).is_some() {
                return Err(fault::at(1, name, "stands twice in the header: leave one out"));
            }
        }
        if let Some(missing) = (0..required).find(|name| places[*name].is_none()) {
            let found = header.iter().map(str::trim).collect::<Vec<_>>().join(",");
            let what = format!(
                "is missing; the header is `{}`, it must have `{}`",
                fault::shown(&found),
                names[..required].join(",")
            );
            return Err(fault::at(1, names[missing], what));
        }
        Ok(Self {
            names,
            places,
            width: header.len(),
        })
    }
}

/// Calls `each` for every line below the header; whether there was any.
pub(crate) fn read(
    input: impl Read,
    names: &'static [&'static str],
    required: usize,
    mut each: impl FnMut(&Cells<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(input);
    let mut record = csv::StringRecord::new();
    let mut columns: Option<Columns> = None;
    let mut any = false;
    loop {
        let before = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return Err(unreadable(&error, before)),
        }
        let line = record.position().map_or(before, csv::Position::line);
        match &columns {
            None => {
                if let Some(first) = record.get(0) {
                    let plain = first.trim_start_matches('\u{feff}').to_owned();
                    let rest: Vec<String> = record.iter().skip(1).map(str::to_owned).collect();
                    record = core::iter::once(plain).chain(rest).collect();
                }
                columns = Some(Columns::find(&record, names, required)?);
            }
            Some(columns) => {
                if record.len() != columns.width {
                    let what = format!(
                        "has {} cells where the header has {}: complete the line",
                        record.len(),
                        columns.width
                    );
                    return Err(fault::line(line, what));
                }
                any = true;
                each(&Cells {
                    line,
                    columns,
                    record: &record,
                })?;
            }
        }
    }
    match (columns, any) {
        (None, _) => Err(fault::whole(format!(
            "is empty: give a CSV with the header {}",
            names[..required].join(",")
        ))),
        (Some(_), false) => Err(fault::whole(
            "has a header and no rows: give one row per interval, stratum and metric",
        )),
        (Some(_), true) => Ok(()),
    }
}

fn unreadable(error: &csv::Error, line: u64) -> Failure {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => fault::line(line, "is no text in UTF-8: export the table as plain text"),
        _ => fault::whole(format!("cannot be read: {error}: try again")),
    }
}

impl Cells<'_> {
    /// An error about one cell.
    pub(crate) fn wrong(&self, column: usize, what: impl core::fmt::Display) -> Failure {
        fault::at(self.line, self.columns.names[column], what)
    }

    /// What stands there; empty where the column is missing.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.columns.places[column]
            .and_then(|at| self.record.get(at))
            .unwrap_or_default()
            .trim()
    }

    /// A name for people.
    pub(crate) fn name(&self, column: usize, what: &str) -> Result<&str, Failure> {
        match self.text(column) {
            "" => Err(self.wrong(column, format!("is empty: name the {what}"))),
            name if name.chars().any(char::is_control) => {
                Err(self.wrong(column, "contains a control character: write plain names"))
            }
            name if name.len() > 200 => Err(self.wrong(column, "is longer than 200 bytes: shorten it")),
            name => Ok(name),
        }
    }

    /// A whole number up to 2^63.
    pub(crate) fn count(&self, column: usize) -> Result<u64, Failure> {
        self.optional_count(column)?
            .ok_or_else(|| self.wrong(column, "is empty: write a count, 0 for none"))
    }

    /// Likewise; `None` where nothing stands.
    pub(crate) fn optional_count(&self, column: usize) -> Result<Option<u64>, Failure> {
        const MOST: u64 = 1 << 63;
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<u64>() {
            Ok(count) if count <= MOST => Ok(Some(count)),
            _ => Err(self.wrong(column, format!("`{}` {}", fault::shown(text), why_no_count(text)))),
        }
    }
}

/// What is wrong with something that is no whole number up to 2^63, and the fix.
fn why_no_count(text: &str) -> &'static str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        _ if digits(text) => "is above 2^63: write what came in the interval, not a counter that never ends",
        Ok(value) if !value.is_finite() => {
            "is not finite: write a whole number, or leave the row out where nothing is known"
        }
        Ok(value) if value < 0.0 => {
            "is negative: where a counter went backwards its process restarted, so write what it counted since"
        }
        Ok(_) => "is not a whole number: write a count of events, without point or exponent",
        Err(_) => "is not a number: write a count of events",
    }
}
