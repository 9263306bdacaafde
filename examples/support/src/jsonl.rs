//! One JSON object per line.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::builder::Builder;
use crate::guard::{Watch, unreadable};
use crate::mapping::Role;
use crate::text::{count, counted, listed, nearest, shortened};
use crate::value::{lifetime, ready, seconds, single_line};
use crate::{Field, InputError, Inventory, Mapping, Place, Spot, State, Target};

type Pairs = Vec<(Arc<str>, Arc<str>)>;

pub(crate) fn read(
    file: &Arc<str>,
    bytes: impl Read,
    watch: &Watch,
    map: Option<&Mapping>,
) -> Result<Inventory, InputError> {
    let mut reader = BufReader::with_capacity(64 << 10, bytes);
    let mut builder = Builder::new(Arc::clone(file));
    let mut line = Vec::new();
    let mut number = 0_u64;
    let mut pairs: Pairs = Vec::new();
    let mut met = Met::default();
    loop {
        line.clear();
        number += 1;
        watch.record_done();
        let read = reader.read_until(b'\n', &mut line).map_err(|error| {
            watch
                .cause(file, Spot::Line(number), "line")
                .unwrap_or_else(|| unreadable(Arc::clone(file), &error))
        })?;
        if read == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = builder.place(number);
        let object = object(&place, &line)?;
        met.line(&object);
        let fields = Fields {
            place: &place,
            object: &object,
            builder: &mut builder,
            pairs: &mut pairs,
        };
        let (target, id_field) = match map {
            Some(map) => fields.mapped(map, &mut met)?,
            None => fields.plain(&mut met)?,
        };
        builder.push(target, number, || id_field)?;
    }
    if builder.targets() == 0 {
        return Err(InputError::Empty { file: Arc::clone(file) });
    }
    if let Some(map) = map {
        never_met(file, map, &met)?;
    }
    let mut notes = vec![format!("{} from JSON lines", counted(builder.targets(), "target"))];
    if met.skipped > 0 {
        notes.push(format!(
            "{} left out, since they are no text",
            counted(met.skipped, "further field")
        ));
    }
    let unready = builder.in_state(State::AppUnready);
    if unready > 0 {
        notes.push(format!("{} not ready", count(unready)));
    }
    Ok(builder.finish(notes))
}

/// What the lines so far had in them.
#[derive(Default)]
struct Met {
    /// Names of fields of the first lines, for messages.
    names: BTreeSet<String>,
    /// Positions of the mapping's parts that some line has.
    parts: BTreeSet<usize>,
    /// Further fields without a mapping that are neither text nor null.
    skipped: usize,
}

impl Met {
    fn line(&mut self, object: &Map<String, Value>) {
        for name in object.keys() {
            if self.names.len() >= 64 {
                break;
            }
            if !self.names.contains(name) {
                self.names.insert(name.clone());
            }
        }
    }
}

fn object(place: &Place, line: &[u8]) -> Result<Map<String, Value>, InputError> {
    let text = std::str::from_utf8(line).map_err(|_| InputError::Binary {
        place: place.clone(),
        what: "contains a byte that is not UTF-8",
    })?;
    let found = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(Value::Null) => "null",
        Ok(Value::Bool(_)) => "true or false",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Array(_)) => "an array",
        Err(error) => {
            let (why, fix) = if error.is_eof() {
                (
                    format!(
                        "the JSON breaks off after {}",
                        counted(text.trim_end().chars().count(), "character")
                    ),
                    "write each object on one line, as `jq -c` does, and see whether the file is complete",
                )
            } else {
                (
                    format!("is not JSON from character {}: {}", error.column(), reason(&error)),
                    "write one JSON object per line, as `jq -c` does",
                )
            };
            return Err(InputError::BrokenJson {
                place: place.clone(),
                why,
                fix,
            });
        }
    };
    Err(InputError::NotAnObject {
        place: place.clone(),
        found,
    })
}

/// The parser's words without its own place, which is not the file's.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ")
        .map_or_else(|| text.clone(), |at| text[..at].to_owned())
}

/// A mapped field that no line has is a slip in `--map`; one that some lines have is an optional label.
fn never_met(file: &Arc<str>, map: &Mapping, met: &Met) -> Result<(), InputError> {
    let missed = map.parts().iter().enumerate().find(|(at, _)| !met.parts.contains(at));
    let Some((_, (role, path))) = missed else { return Ok(()) };
    Err(missing(
        Place {
            file: Arc::clone(file),
            spot: Spot::Whole,
        },
        role,
        path,
        met.names.iter().map(String::as_str),
    ))
}

fn missing<'a>(place: Place, role: &Role, path: &str, names: impl Iterator<Item = &'a str> + Clone) -> InputError {
    let fix = match nearest(path, names.clone()) {
        Some(near) => format!("write {}={near} in --map, if that was meant", role.name()),
        None => format!("name the right one in --map with {}=FIELD", role.name()),
    };
    InputError::MissingField {
        place,
        field: Field::Json(shortened(path).into()),
        role: role.name().into(),
        found: listed(names, 20).into(),
        fix: fix.into(),
    }
}

/// The value at a path with dots. A key that has dots itself, as labels of Kubernetes have, wins over a nested one.
fn at_path<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.')
        .find_map(|(dot, _)| match object.get(&path[..dot]) {
            Some(Value::Object(inner)) => at_path(inner, &path[dot + 1..]),
            _ => None,
        })
}

/// One line on its way to a target.
struct Fields<'a> {
    place: &'a Place,
    object: &'a Map<String, Value>,
    builder: &'a mut Builder,
    pairs: &'a mut Pairs,
}

impl Fields<'_> {
    fn mapped(self, map: &Mapping, met: &mut Met) -> Result<(Target, Field), InputError> {
        let mut draft = Draft::default();
        for (at, (role, path)) in map.parts().iter().enumerate() {
            match at_path(self.object, path) {
                Some(value) => {
                    met.parts.insert(at);
                    draft.take(&self, role, path, value)?;
                }
                None if role.is_required() => {
                    return Err(missing(
                        self.place.clone(),
                        role,
                        path,
                        self.object.keys().map(String::as_str),
                    ));
                }
                None => {}
            }
        }
        self.finish(draft)
    }

    fn plain(self, met: &mut Met) -> Result<(Target, Field), InputError> {
        let mut draft = Draft::default();
        for role in [Role::Id, Role::App] {
            if !self.object.contains_key(role.name()) {
                return Err(missing(
                    self.place.clone(),
                    &role,
                    role.name(),
                    self.object.keys().map(String::as_str),
                ));
            }
        }
        let labels = self.object.get("labels").filter(|labels| !labels.is_null());
        for (name, value) in self.object {
            match Role::named(name) {
                Role::Label(_) if name == "labels" => {}
                role @ Role::Label(_) if labels.is_none() => match value {
                    Value::String(_) => draft.take(&self, &role, name, value)?,
                    Value::Null => {}
                    _ => met.skipped += 1,
                },
                Role::Label(_) => {}
                role => draft.take(&self, &role, name, value)?,
            }
        }
        match labels {
            Some(Value::Object(labels)) => {
                for (key, value) in labels {
                    if key.trim().is_empty() || single_line(key).is_err() {
                        return Err(self.bad("labels", key, "is no name for a label: name it in one line"));
                    }
                    draft.take(&self, &Role::Label(key.clone()), &format!("labels.{key}"), value)?;
                }
            }
            Some(other) => {
                return Err(self.bad(
                    "labels",
                    &other.to_string(),
                    "is no object: write {\"zone\": \"z1\", …}",
                ));
            }
            None => {}
        }
        self.finish(draft)
    }

    fn bad(&self, path: &str, value: &str, problem: &'static str) -> InputError {
        InputError::BadValue {
            place: self.place.clone(),
            field: Field::Json(shortened(path).into()),
            value: shortened(value).into(),
            problem,
        }
    }

    fn finish(self, draft: Draft) -> Result<(Target, Field), InputError> {
        let field = Field::Json(shortened(&draft.id_path).into());
        if let Err(problem) = lifetime(draft.born_s, draft.died_s) {
            return Err(self.bad("died", &draft.died_s.unwrap_or_default().to_string(), problem));
        }
        let target = Target {
            id: draft.id.into(),
            app: self.builder.names.text(&draft.app),
            labels: {
                for (key, value) in &draft.labels {
                    self.pairs
                        .push((self.builder.names.text(key), self.builder.names.text(value)));
                }
                self.builder.names.set(self.pairs)
            },
            state: draft.state,
            born_s: draft.born_s,
            died_s: draft.died_s,
        };
        Ok((target, field))
    }
}

#[derive(Default)]
struct Draft {
    id: String,
    id_path: String,
    app: String,
    state: State,
    born_s: Option<i64>,
    died_s: Option<i64>,
    labels: Vec<(String, String)>,
}

impl Draft {
    fn take(&mut self, fields: &Fields<'_>, role: &Role, path: &str, value: &Value) -> Result<(), InputError> {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                return Err(fields.bad(path, &value.to_string(), "is no single value: name a field inside it"));
            }
        };
        single_line(&text).map_err(|problem| fields.bad(path, &text, problem))?;
        if text.is_empty() {
            let needs = match role {
                Role::Id => "an id",
                Role::App => "an application",
                _ => return Ok(()),
            };
            let field = Field::Json(shortened(path).into());
            return Err(InputError::EmptyField {
                place: fields.place.clone(),
                field,
                needs,
            });
        }
        let bad = |problem| fields.bad(path, &text, problem);
        match role {
            Role::Id => {
                self.id = text;
                path.clone_into(&mut self.id_path);
            }
            Role::App => self.app = text,
            Role::Ready => self.state = ready(&text).map_err(bad)?,
            Role::Born => self.born_s = Some(seconds(&text).map_err(bad)?),
            Role::Died => self.died_s = Some(seconds(&text).map_err(bad)?),
            Role::Label(label) => self.labels.push((label.clone(), text)),
        }
        Ok(())
    }
}
