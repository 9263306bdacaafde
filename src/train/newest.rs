//! What is remembered of that which would go on for ever.

use std::collections::{BTreeMap, VecDeque};

/// The newest entries, by key; what came first is forgotten first.
#[derive(Clone, Debug)]
pub(super) struct Newest<K, V> {
    most: usize,
    by_key: BTreeMap<K, V>,
    /// The keys in the order in which they came.
    order: VecDeque<K>,
}

impl<K: Clone + Ord, V> Newest<K, V> {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            by_key: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Remembers it, in the place of what is known under this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.by_key.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.by_key.remove(&oldest);
            }
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.by_key.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::Newest;

    #[test]
    fn what_came_first_is_forgotten_first_whatever_its_name_is() {
        let mut newest = Newest::new(3);
        for (key, value) in [("z", 1), ("a", 2), ("m", 3), ("a", 4), ("b", 5)] {
            newest.insert(key, value);
        }
        let known = ["z", "a", "m", "b"].map(|key| newest.get(&key).copied());
        assert_eq!(known, [None, Some(4), Some(3), Some(5)]);
    }
}
