//! JSON in which no field stands twice, and where in a text a field is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a text. `serde_json` alone would let the last of two fields of one name win.
pub(crate) fn read(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).map(|Once(value)| value)
}

struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom("a number without end"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` stands twice")));
            }
            let Once(value) = fields.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// The line, from 1, of the field that a complaint begins with, such as `events[3].code: ...`; of the innermost part of
/// its path that is there, if not all of it is. The text is JSON.
pub(crate) fn line_of(text: &str, complaint: &str) -> usize {
    let part_of_path = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '[' | ']');
    let end = complaint
        .find(|letter| !part_of_path(letter))
        .unwrap_or(complaint.len());
    let mut walk = Walk {
        bytes: text.as_bytes(),
        at: 0,
    };
    walk.space();
    for step in complaint[..end].split(['.', '[']).filter(|step| *step != "scenario") {
        let step = step.trim_end_matches(']');
        if step.is_empty() || !walk.enter(step) {
            break;
        }
    }
    1 + text.as_bytes()[..walk.at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// A place in a text, at the beginning of a value.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn here(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.here(), b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') {
            self.at += 1;
        }
    }

    /// Past the value, and on to what follows.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.here() {
                0 => return,
                b'"' => {
                    self.at += 1;
                    while !matches!(self.here(), b'"' | 0) {
                        self.at += if self.here() == b'\\' { 2 } else { 1 };
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => {
                    while !matches!(
                        self.here(),
                        0 | b',' | b':' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'
                    ) {
                        self.at += 1;
                    }
                }
            }
            self.space();
            if depth == 0 {
                return;
            }
        }
    }

    /// Goes to a field or an element of the value here. `false`, and nowhere, if it has none of this name or number.
    fn enter(&mut self, step: &str) -> bool {
        let start = self.at;
        let list = match self.here() {
            b'{' => false,
            b'[' => true,
            _ => return false,
        };
        self.at += 1;
        self.space();
        let mut number = 0_usize;
        while !matches!(self.here(), b'}' | b']' | 0) {
            let found = if list {
                number.to_string() == step
            } else {
                let name = self.at;
                self.skip();
                self.bytes[name..self.at].get(1..=step.len()) == Some(step.as_bytes())
                    && self.bytes.get(name + 1 + step.len()) == Some(&b'"')
            };
            if found {
                return true;
            }
            self.skip();
            number += 1;
        }
        self.at = start;
        false
    }
}
