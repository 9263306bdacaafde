//! Deserializing out of the tree, so that a parameter that does not fit is an error with its place and a remedy.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::yaml::{At, Node, Value};
use crate::suggest::nearest;

/// A value that does not fit where it stands.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// `None` until the value that did not fit is known.
    at: Option<At>,
    pub(super) what: String,
    pub(super) fix: String,
}

impl Misfit {
    pub(crate) fn new(at: At, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Where it is, given that it is at or below a node.
    pub(super) fn place(&self, within: &Node) -> At {
        self.at.unwrap_or(within.at)
    }

    fn unplaced(what: String, fix: String) -> Self {
        Self { at: None, what, fix }
    }

    /// At this place, unless a value further in was the one that did not fit.
    fn or_at(mut self, at: At) -> Self {
        self.at.get_or_insert(at);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; fix: {}", self.what, self.fix)
    }
}

impl std::error::Error for Misfit {}

fn one_of(word: &str, known: &[&str]) -> String {
    nearest(word, known.iter().copied()).map_or_else(
        || match known {
            [] => "remove it".to_owned(),
            _ => format!("use one of: {}", known.join(", ")),
        },
        |near| format!("did you mean `{near}`?"),
    )
}

/// What serde expected, as people say it.
fn in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" => "a whole number, not below zero".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "a string" => "a text, in quotes where it looks like something else".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        _ => expected,
    }
}

/// What serde found, as people say it.
fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(truth) => format!("the truth value `{truth}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => format!("the text \"{text}\""),
        Unexpected::Unit => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

impl de::Error for Misfit {
    /// A message may name its remedy after `; fix: `.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (what, fix) = text.split_once("; fix: ").unwrap_or((&text, "correct this value"));
        Self::unplaced(what.to_owned(), fix.to_owned())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_words(expected);
        Self::unplaced(
            format!("this is {}, not {expected}", found_in_words(found)),
            format!("write {expected}"),
        )
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unplaced(
            format!("{} does not fit here", found_in_words(found)),
            format!("write {}", in_words(expected)),
        )
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::unplaced(format!("`{word}` is not known here"), one_of(word, known))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::unplaced(format!("`{field}` is not a field of this kind"), one_of(field, known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::unplaced(format!("`{field}` is missing"), format!("add `{field}: ...`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::unplaced(format!("`{field}` is written twice"), "remove one".to_owned())
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let found = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(number) => {
                if let Ok(number) = number.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = number.parse::<i64>() {
                    visitor.visit_i64(number)
                } else {
                    match number.parse::<f64>() {
                        Ok(number) if number.is_finite() => visitor.visit_f64(number),
                        _ => Err(Misfit::unplaced(
                            format!("`{number}` is not a number that can be compared"),
                            "write a finite number".to_owned(),
                        )),
                    }
                }
            }
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(nodes) => visitor.visit_seq(List(nodes.iter())),
            Value::Map(entries) => visitor.visit_map(Map {
                entries: entries.iter(),
                value: None,
            }),
        };
        found.map_err(|misfit| misfit.or_at(self.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Null => Err(Misfit::new(
                self.at,
                "this field is empty",
                "write a value, or remove the field",
            )),
            _ => visitor.visit_some(self),
        }
    }

    /// Fields by name only: a list of their values is nothing that anybody could read.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            other => Err(Misfit::new(
                self.at,
                format!("this is {}, not a mapping", other.kind()),
                format!("write fields: {}", fields.join(", ")),
            )),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|misfit| misfit.or_at(self.at))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let variant = match &self.value {
            Value::Text(_) => Variant { word: self, of: None },
            Value::Map(entries) if entries.len() == 1 => Variant {
                word: &entries[0].0,
                of: Some(&entries[0].1),
            },
            other => {
                return Err(Misfit::new(
                    self.at,
                    format!("this is {}, where one word is wanted", other.kind()),
                    format!("write one of: {}", variants.join(", ")),
                ));
            }
        };
        visitor.visit_enum(variant).map_err(|misfit| misfit.or_at(self.at))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct List<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct Map<'de> {
    entries: std::slice::Iter<'de, (Node, Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Map<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}

struct Variant<'de> {
    word: &'de Node,
    of: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Misfit> {
        let Value::Text(word) = &self.word.value else {
            return Err(Misfit::new(
                self.word.at,
                format!("this is {}, where a word is wanted", self.word.value.kind()),
                "write a word",
            ));
        };
        let word: StrDeserializer<'_, Misfit> = word.as_str().into_deserializer();
        let found = seed.deserialize(word).map_err(|misfit| misfit.or_at(self.word.at))?;
        Ok((found, self))
    }
}

impl<'de> Variant<'de> {
    fn content(self) -> Result<&'de Node, Misfit> {
        self.of.ok_or_else(|| {
            Misfit::new(
                self.word.at,
                "this word needs a value",
                "write it as a mapping of the word to its value",
            )
        })
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        self.of.map_or(Ok(()), |of| {
            Err(Misfit::new(of.at, "this word takes no value", "write the word alone"))
        })
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        self.content()?.deserialize_any(visitor)
    }
}
