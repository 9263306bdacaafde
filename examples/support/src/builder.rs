//! Puts targets together: equal texts once, equal label sets once, no id twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::text::shortened;
use crate::{Field, InputError, Inventory, Labels, MAX_TARGETS, Place, Spot, State, Target};

/// Bytes of the longest id that a journal takes.
const LONGEST_ID: usize = 1024;

/// A hasher with fixed keys: the tables below are for look-ups, and nothing depends on their order.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// Equal texts and equal label sets share one allocation.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: HashSet<Arc<str>, Fixed>,
    sets: HashSet<Labels, Fixed>,
}

impl Names {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// Sorts `pairs` and empties it. The keys must be distinct.
    pub(crate) fn set(&mut self, pairs: &mut Vec<(Arc<str>, Arc<str>)>) -> Labels {
        pairs.sort_unstable();
        let set = if let Some(known) = self.sets.get(pairs.as_slice()) {
            Arc::clone(known)
        } else {
            let new: Labels = pairs.as_slice().into();
            self.sets.insert(Arc::clone(&new));
            new
        };
        pairs.clear();
        set
    }

    /// Every key of any set, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys: BTreeSet<&str> = self
            .sets
            .iter()
            .flat_map(|set| set.iter().map(|(key, _)| &**key))
            .collect();
        keys.into_iter().map(str::to_owned).collect()
    }
}

/// Finds ids that stand twice. Keeps a hash and a position for each id, not the id; two ids with one hash are told
/// apart by the ids themselves.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    by_hash: HashMap<u64, u32, BuildHasherDefault<Plain>>,
    same_hash: BTreeMap<Arc<str>, u32>,
    numbers: Vec<u64>,
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Plain(u64);

impl std::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Ids {
    /// Takes the next id, which stands in line or item `number`; `known` gives the ids taken before by position.
    /// Returns the number of the first if this is a second one.
    pub(crate) fn second<'a>(&mut self, id: &Arc<str>, number: u64, known: impl Fn(usize) -> &'a str) -> Option<u64> {
        self.second_by_hash(Fixed::default().hash_one(&**id), id, number, known)
    }

    fn second_by_hash<'a>(
        &mut self,
        hash: u64,
        id: &Arc<str>,
        number: u64,
        known: impl Fn(usize) -> &'a str,
    ) -> Option<u64> {
        let place = |position: u32| usize::try_from(position).unwrap_or(usize::MAX);
        // More than `MAX_TARGETS` ids are refused by the callers long before this saturates.
        let position = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let first = match self.by_hash.get(&hash) {
            None => {
                self.by_hash.insert(hash, position);
                None
            }
            Some(first) if known(place(*first)) == &**id => Some(*first),
            Some(_) => {
                let first = self.same_hash.get(id).copied();
                if first.is_none() {
                    self.same_hash.insert(Arc::clone(id), position);
                }
                first
            }
        };
        self.numbers.push(number);
        first.and_then(|position| self.numbers.get(place(position)).copied())
    }
}

/// Collects the targets of a table, CSV or JSON lines.
#[derive(Debug)]
pub(crate) struct Builder {
    file: Arc<str>,
    pub(crate) names: Names,
    ids: Ids,
    targets: Vec<Target>,
}

impl Builder {
    pub(crate) fn new(file: Arc<str>) -> Self {
        Self {
            file,
            names: Names::default(),
            ids: Ids::default(),
            targets: Vec::new(),
        }
    }

    pub(crate) fn place(&self, line: u64) -> Place {
        Place {
            file: Arc::clone(&self.file),
            spot: Spot::Line(line),
        }
    }

    pub(crate) const fn targets(&self) -> usize {
        self.targets.len()
    }

    pub(crate) fn in_state(&self, state: State) -> usize {
        self.targets.iter().filter(|target| target.state == state).count()
    }

    pub(crate) fn push(
        &mut self,
        target: Target,
        line: u64,
        id_field: impl FnOnce() -> Field,
    ) -> Result<(), InputError> {
        room(self.targets.len(), || self.place(line))?;
        if target.id.len() > LONGEST_ID {
            return Err(InputError::BadValue {
                place: self.place(line),
                field: id_field(),
                value: shortened(&target.id).into(),
                problem: "has more than 1024 bytes: shorten it",
            });
        }
        let targets = &self.targets;
        if let Some(first) = self.ids.second(&target.id, line, |at| &targets[at].id) {
            return Err(InputError::Duplicate {
                place: self.place(line),
                field: id_field(),
                id: target.id,
                first: format!("line {first}"),
            });
        }
        self.targets.push(target);
        Ok(())
    }

    pub(crate) fn finish(mut self, notes: Vec<String>) -> Inventory {
        self.targets.shrink_to_fit();
        Inventory {
            keys: self.names.keys(),
            targets: self.targets,
            notes,
        }
    }
}

/// Is there room for one more than `have`?
pub(crate) fn room(have: usize, place: impl FnOnce() -> Place) -> Result<(), InputError> {
    if u32::try_from(have).is_ok_and(|have| have < MAX_TARGETS) {
        Ok(())
    } else {
        Err(InputError::TooMany {
            place: place(),
            limit: MAX_TARGETS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Names, room};
    use crate::{InputError, MAX_TARGETS, Place, Spot};
    use std::sync::Arc;

    #[test]
    fn equal_sets_share_one_allocation_whatever_the_order() {
        let mut names = Names::default();
        let mut pair = |key: &str, value: &str| (names.text(key), names.text(value));
        let (a, b, c, d) = (
            pair("zone", "z1"),
            pair("stack", "go"),
            pair("stack", "go"),
            pair("zone", "z1"),
        );
        assert!(Arc::ptr_eq(&a.1, &d.1));
        let first = names.set(&mut vec![a, b]);
        let second = names.set(&mut vec![c, d]);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(names.keys(), ["stack", "zone"]);
    }

    #[test]
    fn ids_with_one_hash_are_told_apart_and_still_found_twice() {
        let ids: Vec<Arc<str>> = ["a", "b", "c", "b", "a", "c"].map(Arc::from).to_vec();
        let mut seen = Ids::default();
        let firsts: Vec<Option<u64>> = (10..)
            .zip(&ids)
            .map(|(line, id)| seen.second_by_hash(7, id, line, |at| &ids[at]))
            .collect();
        assert_eq!(firsts, [None, None, None, Some(11), Some(10), Some(12)]);
    }

    #[test]
    fn the_limit_is_the_last_that_fits() {
        let limit = usize::try_from(MAX_TARGETS).expect("fits");
        let place = || Place {
            file: "x".into(),
            spot: Spot::Line(9),
        };
        assert_eq!(room(limit - 1, place), Ok(()));
        assert_eq!(
            room(limit, place),
            Err(InputError::TooMany {
                place: place(),
                limit: MAX_TARGETS
            })
        );
    }
}
