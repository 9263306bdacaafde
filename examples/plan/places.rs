//! Which key stands where in a YAML file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Line and column, both from 1.
pub(crate) type Place = (u64, u64);

/// Every key with its path, `policy.ramp.geometric` or `policy.pins[0].owner`, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Places(Vec<(String, Place)>);

impl Places {
    /// Reads them; none at all if the text is no YAML.
    pub(crate) fn of(text: &str) -> Self {
        let tree: Result<Tree, _> = serde_saphyr::from_str(text);
        let mut places = Self::default();
        if let Ok(tree) = tree {
            places.walk("", &tree);
        }
        places
    }

    /// Where the key with exactly this path stands.
    pub(crate) fn of_path(&self, path: &str) -> Option<Place> {
        self.0.iter().find(|(found, _)| found == path).map(|&(_, place)| place)
    }

    /// The last key that begins at or before a place.
    pub(crate) fn key_at(&self, place: Place) -> Option<&str> {
        let before = self.0.iter().filter(|(_, key)| *key <= place);
        before.max_by_key(|(_, key)| *key).map(|(path, _)| path.as_str())
    }

    fn walk(&mut self, path: &str, tree: &Tree) {
        match tree {
            Tree::Leaf => {}
            Tree::List(list) => {
                for (at, (place, item)) in list.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    self.0.push((path.clone(), *place));
                    self.walk(&path, item);
                }
            }
            Tree::Map(map) => {
                for ((place, key), value) in map {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    self.0.push((path.clone(), *place));
                    self.walk(&path, value);
                }
            }
        }
    }
}

enum Tree {
    Leaf,
    List(Vec<(Place, Self)>),
    Map(Vec<((Place, String), Self)>),
}

fn placed<T>(value: Spanned<T>) -> (Place, T) {
    let place = (value.referenced.line(), value.referenced.column());
    (place, value.value)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Tree>>()? {
            items.push(placed(item));
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Key>>()? {
            let (place, Key(key)) = placed(key);
            entries.push(((place, key), map.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}

/// A key is text; what else stands there is read over.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Key, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Key(String::new()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
