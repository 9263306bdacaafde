//! Any plain data into a digest: the same data, the same bytes, whatever its names.
//!
//! Fields enter by their place, absent ones as a mark, so a field that is added later cannot be forgotten here, and two
//! requests differ exactly when a field does.

use std::fmt;

use serde::ser::{self, Serialize};

use crate::digest::Digest;

/// Adds a value. Maps must be sorted by their type.
pub(crate) fn feed<T: Serialize>(digest: Digest, value: &T) -> Digest {
    let mut writer = Writer(digest);
    // Writing into a number cannot fail; a type whose own serialization does is framed as such.
    match value.serialize(&mut writer) {
        Ok(()) => writer.0,
        Err(Refused) => writer.0.count(Mark::Refused as u64),
    }
}

/// Marks that keep shapes apart.
#[derive(Clone, Copy)]
enum Mark {
    None,
    Some,
    Skipped,
    False,
    True,
    Refused,
}

struct Writer(Digest);

impl Writer {
    fn put(&mut self, with: impl FnOnce(Digest) -> Digest) -> Result<(), Refused> {
        self.0 = with(self.0.clone());
        Ok(())
    }

    fn mark(&mut self, mark: Mark) -> Result<(), Refused> {
        self.put(|digest| digest.byte(mark as u8))
    }
}

/// A type refused to be serialized.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain data")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty => $via:ident as $wide:ty),* $(,)?) => {
        $(fn $name(self, value: $type) -> Result<(), Refused> {
            self.put(|digest| digest.$via(<$wide>::from(value)))
        })*
    };
}

impl ser::Serializer for &mut Writer {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_i8: i8 => number as i64,
        serialize_i16: i16 => number as i64,
        serialize_i32: i32 => number as i64,
        serialize_i64: i64 => number as i64,
        serialize_u8: u8 => count as u64,
        serialize_u16: u16 => count as u64,
        serialize_u32: u32 => count as u64,
        serialize_u64: u64 => count as u64,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Refused> {
        self.mark(if value { Mark::True } else { Mark::False })
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.put(|digest| digest.count(value.to_bits()))
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.put(|digest| digest.count(u32::from(value).into()))
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        self.put(|digest| digest.text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        value.iter().try_for_each(|byte| self.put(|digest| digest.byte(*byte)))
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.mark(Mark::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        self.mark(Mark::Some)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.mark(Mark::None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Refused> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.put(|digest| digest.count(index.into()))?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Refused> {
        self.put(|digest| digest.count(len.map_or(u64::MAX, |len| len as u64)))?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Refused> {
        self.put(|digest| digest.count(index.into()))?;
        Ok(self)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, Refused> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Refused> {
        self.put(|digest| digest.count(index.into()))?;
        Ok(self)
    }
}

macro_rules! parts {
    ($($trait:ident :: $method:ident),* $(,)?) => {
        $(impl ser::$trait for &mut Writer {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

impl ser::SerializeMap for &mut Writer {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for &mut Writer {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Refused> {
                // A field that is there is told from one that is skipped, so places cannot shift.
                self.mark(Mark::Some)?;
                value.serialize(&mut **self)
            }

            fn skip_field(&mut self, _: &'static str) -> Result<(), Refused> {
                self.mark(Mark::Skipped)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::{Digest, feed};

    #[derive(Serialize)]
    struct Pair {
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        right: Option<u64>,
    }

    fn hex<T: Serialize>(value: &T) -> String {
        feed(Digest::new("t"), value).hex()
    }

    #[test]
    fn a_skipped_field_does_not_let_the_next_take_its_place() {
        let pair = |left, right| hex(&Pair { left, right });
        let all = [
            pair(None, None),
            pair(Some(1), None),
            pair(None, Some(1)),
            pair(Some(1), Some(1)),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn shapes_are_framed() {
        assert_ne!(hex(&vec!["a", "b"]), hex(&vec!["ab"]));
        assert_ne!(hex(&(vec!["a"], vec!["b"])), hex(&(vec!["a", "b"], Vec::<&str>::new())));
        assert_ne!(hex(&BTreeMap::from([("a", "b")])), hex(&BTreeMap::from([("b", "a")])));
        assert_ne!(hex(&1_i64), hex(&2_i64));
        assert_ne!(hex(&0.0_f64), hex(&-0.0_f64));
        assert_ne!(hex(&Some(false)), hex(&Option::<bool>::None));
        assert_eq!(hex(&"same"), hex(&"same".to_owned()));
    }
}
