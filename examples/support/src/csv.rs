//! A table with a header.

use std::io::{self, Read};
use std::sync::Arc;

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use crate::builder::Builder;
use crate::guard::Watch;
use crate::mapping::Role;
use crate::text::{count, counted, listed, nearest, shortened};
use crate::value::{lifetime, ready, seconds, single_line};
use crate::{Field, InputError, Inventory, Mapping, Place, Spot, State, Target};

struct Columns {
    id: usize,
    app: usize,
    ready: Option<usize>,
    born: Option<usize>,
    died: Option<usize>,
    /// Births and deaths are from columns nobody named: what cannot be read there is left out.
    guessed: bool,
    labels: Vec<(Arc<str>, usize)>,
}

/// What clusters' own tables call births and deaths; taken, beside a mapping, when it names neither.
const LIFETIMES: [&str; 2] = ["creation_time", "deletion_time"];

pub(crate) fn read(
    file: &Arc<str>,
    bytes: impl Read,
    watch: &Watch,
    map: Option<&Mapping>,
) -> Result<Inventory, InputError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(LineEnds::new(bytes));
    let mut builder = Builder::new(Arc::clone(file));
    let mut row = StringRecord::new();
    let failed = |error: &::csv::Error, line: u64| cannot_read(file, watch, error, line);

    if !reader.read_record(&mut row).map_err(|error| failed(&error, 1))? {
        return Err(InputError::Empty { file: Arc::clone(file) });
    }
    let header = row.clone();
    let columns = columns(&builder.place(line_of(&reader, &header, 1)), &header, map, &mut builder)?;
    let mut pairs = Vec::with_capacity(columns.labels.len());
    loop {
        watch.record_done();
        let before = reader.position().line();
        let read = reader.read_record(&mut row);
        if !read.map_err(|error| failed(&error, reader.position().line().saturating_sub(1).max(before)))? {
            break;
        }
        let line = line_of(&reader, &row, before);
        if row.len() != header.len() {
            return Err(InputError::Ragged {
                place: builder.place(line),
                found: row.len(),
                expected: header.len(),
            });
        }
        let cells = Cells {
            row: &row,
            header: &header,
            line,
            builder: &builder,
        };
        let id = cells.name(columns.id, "an id")?;
        let app = cells.name(columns.app, "an application")?;
        let state = cells.parsed(columns.ready, ready)?.unwrap_or_default();
        let born_s = cells.parsed(columns.born, seconds);
        let born_s = if columns.guessed {
            born_s.unwrap_or_default()
        } else {
            born_s?
        };
        let died_s = cells.parsed(columns.died, |text| {
            let died_s = seconds(text)?;
            lifetime(born_s, Some(died_s)).map(|()| died_s)
        });
        let died_s = if columns.guessed {
            died_s.unwrap_or_default()
        } else {
            died_s?
        };
        for (_, at) in &columns.labels {
            cells.line(*at)?;
        }
        for (key, at) in &columns.labels {
            let value = row.get(*at).unwrap_or_default().trim();
            if !value.is_empty() {
                pairs.push((Arc::clone(key), builder.names.text(value)));
            }
        }
        let target = Target {
            id: id.into(),
            app: builder.names.text(app),
            labels: builder.names.set(&mut pairs),
            state,
            born_s,
            died_s,
        };
        builder.push(target, line, || column(&header, columns.id))?;
    }
    if builder.targets() == 0 {
        let why = "the header stands alone: add one row for each target".to_owned();
        return Err(InputError::NoTargets {
            file: Arc::clone(file),
            why,
        });
    }
    let notes = notes(&builder, &columns, &header, map.is_none());
    Ok(builder.finish(notes))
}

/// The line in which a row begins that has just been read.
///
/// The parser's own number is where it stood before, which may be some blank lines earlier. It stands now behind the
/// one line break that ends the row; the other line breaks of a row are inside its cells. Only a quote that is never
/// closed swallows the last line break, too, hence the maximum.
fn line_of<R: Read>(reader: &Reader<R>, row: &StringRecord, before: u64) -> u64 {
    let inside = row.as_slice().bytes().filter(|byte| *byte == b'\n').count();
    let inside = u64::try_from(inside).unwrap_or(u64::MAX);
    reader
        .position()
        .line()
        .saturating_sub(inside.saturating_add(1))
        .max(before)
}

/// Makes every line end with one `\n`, the last one too, so that lines can be counted.
struct LineEnds<R> {
    inner: R,
    last: u8,
}

impl<R: Read> LineEnds<R> {
    const fn new(inner: R) -> Self {
        Self { inner, last: b'\n' }
    }
}

impl<R: Read> Read for LineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            if read == 0 {
                let (false, Some(first)) = (matches!(self.last, b'\n' | b'\r'), buffer.first_mut()) else {
                    return Ok(0);
                };
                (*first, self.last) = (b'\n', b'\n');
                return Ok(1);
            }
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                if byte != b'\n' || self.last != b'\r' {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
                self.last = byte;
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

fn column(header: &StringRecord, at: usize) -> Field {
    Field::Column(shortened(header.get(at).unwrap_or_default().trim()).into())
}

/// The cells of one row.
struct Cells<'r, 'b> {
    row: &'r StringRecord,
    header: &'b StringRecord,
    line: u64,
    builder: &'b Builder,
}

impl<'r> Cells<'r, '_> {
    fn bad(&self, at: usize, value: &str, problem: &'static str) -> InputError {
        InputError::BadValue {
            place: self.builder.place(self.line),
            field: column(self.header, at),
            value: shortened(value).into(),
            problem,
        }
    }

    fn line(&self, at: usize) -> Result<&'r str, InputError> {
        let value = self.row.get(at).unwrap_or_default().trim();
        single_line(value)
            .map_err(|problem| self.bad(at, value, problem))
            .map(|()| value)
    }

    fn name(&self, at: usize, needs: &'static str) -> Result<&'r str, InputError> {
        let value = self.line(at)?;
        if value.is_empty() {
            let (place, field) = (self.builder.place(self.line), column(self.header, at));
            return Err(InputError::EmptyField { place, field, needs });
        }
        Ok(value)
    }

    fn parsed<T>(
        &self,
        at: Option<usize>,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, InputError> {
        let Some(at) = at else { return Ok(None) };
        let value = self.row.get(at).unwrap_or_default().trim();
        if value.is_empty() {
            return Ok(None);
        }
        parse(value).map(Some).map_err(|problem| self.bad(at, value, problem))
    }
}

fn columns(
    place: &Place,
    header: &StringRecord,
    map: Option<&Mapping>,
    builder: &mut Builder,
) -> Result<Columns, InputError> {
    let mut fixed: [Option<usize>; 5] = [None; 5];
    let mut labels = Vec::new();
    let mut take = |role: &Role, at: usize| match role {
        Role::Id => fixed[0] = Some(at),
        Role::App => fixed[1] = Some(at),
        Role::Ready => fixed[2] = Some(at),
        Role::Born => fixed[3] = Some(at),
        Role::Died => fixed[4] = Some(at),
        Role::Label(label) => labels.push((builder.names.text(label), at)),
    };
    if let Some(map) = map {
        for (role, name) in map.parts() {
            take(role, find(place, header, role, name)?);
        }
    } else {
        for role in [Role::Id, Role::App] {
            find(place, header, &role, role.name())?;
        }
        for (at, name) in header
            .iter()
            .map(str::trim)
            .enumerate()
            .filter(|(_, name)| !name.is_empty())
        {
            find(place, header, &Role::named(name), name)?;
            take(&Role::named(name), at);
        }
    }
    let mut guessed = false;
    if map.is_some() && fixed[3].is_none() && fixed[4].is_none() {
        for (at, name) in [3, 4].into_iter().zip(LIFETIMES) {
            let taken = labels
                .iter()
                .any(|&(_, column)| header.get(column).map(str::trim) == Some(name));
            let mut found = header.iter().enumerate().filter(|(_, column)| column.trim() == name);
            if let (false, Some((column, _)), None) = (taken, found.next(), found.next()) {
                (fixed[at], guessed) = (Some(column), true);
            }
        }
    }
    let [Some(id), Some(app), ready, born, died] = fixed else {
        // A mapping holds both parts, and without one both columns have just been found.
        let role = if fixed[0].is_none() { Role::Id } else { Role::App };
        return Err(missing(place, header, &role, role.name()));
    };
    Ok(Columns {
        id,
        app,
        ready,
        born,
        died,
        guessed,
        labels,
    })
}

/// The one column of that name.
fn find(place: &Place, header: &StringRecord, role: &Role, name: &str) -> Result<usize, InputError> {
    let mut found = header.iter().enumerate().filter(|(_, column)| column.trim() == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some((at, _)), Some(_)) => Err(InputError::RepeatedColumn {
            place: place.clone(),
            field: column(header, at),
        }),
        (None, _) => Err(missing(place, header, role, name)),
    }
}

fn missing(place: &Place, header: &StringRecord, role: &Role, name: &str) -> InputError {
    let other = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")]
        .into_iter()
        .find(|(sign, _)| header.len() == 1 && header.iter().any(|cell| cell.contains(*sign)));
    let fix = if let Some((_, signs)) = other {
        format!("the header is separated by {signs}, write commas")
    } else if let Some(near) = nearest(name, header.iter().map(str::trim)) {
        format!("write {}={near} in --map, if that was meant", role.name())
    } else {
        format!("name the right one in --map with {}=COLUMN", role.name())
    };
    InputError::MissingField {
        place: place.clone(),
        field: Field::Column(shortened(name).into()),
        role: role.name().into(),
        found: listed(header.iter().map(str::trim), 20).into(),
        fix: fix.into(),
    }
}

fn cannot_read(file: &Arc<str>, watch: &Watch, error: &::csv::Error, line: u64) -> InputError {
    if let Some(cause) = watch.cause(file, Spot::Line(line), "row") {
        return cause;
    }
    let place = Place {
        file: Arc::clone(file),
        spot: Spot::Line(line),
    };
    match error.kind() {
        ErrorKind::Utf8 { .. } => InputError::Binary {
            place,
            what: "contains a byte that is not UTF-8",
        },
        _ => InputError::Unreadable {
            file: Arc::clone(file),
            why: error.to_string(),
            fix: "try again, or copy the file to a local disk first",
        },
    }
}

fn notes(builder: &Builder, columns: &Columns, header: &StringRecord, unmapped: bool) -> Vec<String> {
    let name = |at: usize| shortened(header.get(at).unwrap_or_default().trim());
    let mut notes = vec![format!(
        "{} from the rows of a CSV, id from `{}`, application from `{}`",
        counted(builder.targets(), "target"),
        name(columns.id),
        name(columns.app)
    )];
    if unmapped && !columns.labels.is_empty() {
        notes.push(format!(
            "every further column is a label ({} of them); choose with --map",
            count(columns.labels.len())
        ));
    }
    let used = builder.names.keys();
    for (key, at) in &columns.labels {
        if used.binary_search_by(|other| other.as_str().cmp(key)).is_err() {
            notes.push(format!(
                "no label `{}`: column `{}` is empty in every row",
                shortened(key),
                name(*at)
            ));
        }
    }
    if columns.guessed {
        let named = [("births", columns.born), ("deaths", columns.died)];
        let named = named
            .into_iter()
            .filter_map(|(what, at)| Some(format!("{what} from `{}`", name(at?))));
        notes.push(named.collect::<Vec<_>>().join(", "));
    }
    if columns.ready.is_some() {
        notes.push(format!("{} not ready", count(builder.in_state(State::AppUnready))));
    }
    notes
}
