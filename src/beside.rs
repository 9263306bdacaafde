//! What two processors can do at once with an interval of a large fleet.

/// Fewer rows are through before another thread has begun.
const SHARED_ROWS: usize = 4_096;

/// Does both, at the same time where there are many rows. Neither sees what the other does, so nothing depends on whether it was.
pub(crate) fn both<A, B: Send>(rows: usize, one: impl FnOnce() -> A, mut other: impl FnMut() -> B + Send) -> (A, B) {
    let mut done = None;
    let one = if rows < SHARED_ROWS {
        one()
    } else {
        std::thread::scope(|scope| {
            // Where there is no thread to be had it is done behind.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || done = Some(other()));
            one()
        })
    };
    (one, done.unwrap_or_else(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_once_whatever_is_to_be_done() {
        for rows in [0, SHARED_ROWS, 10 * SHARED_ROWS] {
            let (mut ones, mut others) = (0, 0);
            let count = |times: &mut u32| {
                *times += 1;
                *times
            };
            assert_eq!(both(rows, || count(&mut ones), || count(&mut others)), (1, 1));
            assert_eq!((ones, others), (1, 1));
        }
    }
}
