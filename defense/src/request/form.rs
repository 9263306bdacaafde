//! How instants, lengths and lists may be written in a request file.
//!
//! A program writes integers in milliseconds; a person writes `2026-11-20T20:00:00+08:00` and `1h30m`. Both are read,
//! and integers are written.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Unexpected, Visitor};

use crate::pack::length;
use crate::selector::looks_like_a_pattern;

/// What reads an instant.
struct Instant;

impl Visitor<'_> for Instant {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant: 2026-11-20T20:00:00+08:00, or unix milliseconds")
    }

    fn visit_i64<E>(self, ms: i64) -> Result<i64, E> {
        Ok(ms)
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<i64, E> {
        i64::try_from(ms).map_err(|_| E::invalid_value(Unexpected::Unsigned(ms), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        crate::time::instant(text).map_err(E::custom)
    }
}

pub(crate) mod instant {
    use super::{Deserializer, Instant};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
    pub(crate) fn serialize<S: serde::Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(*ms)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_any(Instant)
    }
}

/// An instant that may be absent; a field that is there has one.
pub(crate) mod instant_if_any {
    use super::Deserializer;

    #[expect(clippy::ref_option, reason = "the shape serde asks for")]
    pub(crate) fn serialize<S: serde::Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match ms {
            Some(ms) => serializer.serialize_i64(*ms),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        super::instant::deserialize(deserializer).map(Some)
    }
}

/// A length of time in milliseconds.
pub(crate) mod span {
    use std::fmt;

    use super::{Deserializer, Unexpected, Visitor, de, length};

    struct Span;

    impl Visitor<'_> for Span {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a length: 90m, 14h, 1h30m, 2d, or milliseconds")
        }

        fn visit_u64<E>(self, ms: u64) -> Result<u64, E> {
            Ok(ms)
        }

        fn visit_i64<E: de::Error>(self, ms: i64) -> Result<u64, E> {
            u64::try_from(ms).map_err(|_| E::invalid_value(Unexpected::Signed(ms), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            length(text)
                .and_then(|ms| u64::try_from(ms).ok())
                .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
    pub(crate) fn serialize<S: serde::Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*ms)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Span)
    }
}

/// A length that may be absent; a field that is there has one.
pub(crate) fn span_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    span::deserialize(deserializer).map(Some)
}

/// What tells one from all others. An empty one, of a variable that nobody set, would make strangers one.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            if text.trim().is_empty() {
                return Err(E::custom("an id says nothing; fix: write it"));
            }
            Ok(text.to_owned())
        }
    }

    deserializer.deserialize_str(Id)
}

/// A text that a label may have. A pack cannot select others, so that no freeze would find what has one.
fn label_value<E: de::Error>(text: &str) -> Result<String, E> {
    let what = if looks_like_a_pattern(text) {
        "looks like a pattern"
    } else if text.trim() != text {
        "has spaces around it"
    } else {
        return Ok(text.to_owned());
    };
    Err(E::custom(format!(
        "`{text}` {what}, and values are compared as they stand; fix: name each value, or leave the label out: then it is \
         unknown"
    )))
}

/// One value in a list of them.
struct LabelValue(String);

impl<'de> Deserialize<'de> for LabelValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = LabelValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (numbers in quotes)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LabelValue, E> {
                label_value(text).map(LabelValue)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The texts of one label: one, or a list.
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts(PhantomData<()>);

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts (numbers in quotes)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![label_value(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(LabelValue(text)) = list.next_element()? {
                    texts.push(text);
                }
                if texts.is_empty() {
                    return Err(de::Error::invalid_length(0, &"at least one text"));
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts(PhantomData))
    }
}
