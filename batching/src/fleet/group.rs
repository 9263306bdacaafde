//! Grouping by a small number.

/// Stable counting sort: items grouped by `key_of`, and where each of the `keys` groups begins (one more at the end).
pub(crate) fn group(
    keys: u32,
    items: impl Iterator<Item = u32> + Clone,
    key_of: impl Fn(u32) -> u32,
) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0_u32; keys as usize + 1];
    let mut total = 0_usize;
    for item in items.clone() {
        first[key_of(item) as usize + 1] += 1;
        total += 1;
    }
    for at in 1..first.len() {
        first[at] += first[at - 1];
    }
    let mut next = first.clone();
    let mut grouped = vec![0_u32; total];
    for item in items {
        let place = &mut next[key_of(item) as usize];
        grouped[*place as usize] = item;
        *place += 1;
    }
    (first, grouped)
}
