//! The news of many domains, one behind the other.
//!
//! What is kept is their order only: which domain told how many, from which of its cursors. The news themselves are the
//! domains', and are read again where somebody asks from an old cursor.

use std::collections::{BTreeMap, VecDeque};

use futures::future::join_all;
use unattended_upgrade::{Clock, FleetChange, News, PlatformError};

use super::Router;

/// The lower bits of a cursor count news; the upper say whose.
const COUNT_BITS: u32 = 40;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// So many pieces at least stay as they came, for those who read more slowly than others.
const KEPT: usize = 1 << 16;

/// News of one domain that came together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    domain: usize,
    /// The domain's own cursor before them.
    from: u64,
    count: u64,
}

/// In which order the news came.
#[derive(Debug)]
pub(super) struct Merged {
    /// Tells the cursors of this router from those of one before.
    mark: u64,
    /// As they came; before them one of each domain with all that was forgotten the order of.
    pieces: Vec<Piece>,
    count: u64,
    /// How many news are of those whose order is forgotten.
    unordered: u64,
    /// By domain, the cursor to ask from next.
    ends: Vec<u64>,
}

impl Merged {
    /// Routers that are made within a second of each other, or half a year, are taken for one.
    pub(super) fn new(wall_ms: i64) -> Self {
        Self {
            mark: (wall_ms.unsigned_abs() / 1_000) << COUNT_BITS,
            pieces: Vec::new(),
            count: 0,
            unordered: 0,
            ends: Vec::new(),
        }
    }

    /// How many news were told before this cursor. Where their order is forgotten, they are told from the beginning.
    const fn place(&self, cursor: u64) -> u64 {
        let told = cursor & COUNT;
        if cursor & !COUNT == self.mark && told >= self.unordered && told <= self.count {
            told
        } else {
            0
        }
    }

    fn cursor(&self, told: u64) -> u64 {
        if told == 0 { 0 } else { self.mark | told }
    }

    /// What one domain has told behind its last.
    fn add(&mut self, domain: usize, count: u64, next: u64) {
        let from = std::mem::replace(&mut self.ends[domain], next);
        self.count += count;
        match self.pieces.last_mut() {
            Some(last) if last.domain == domain => last.count += count,
            _ => self.pieces.push(Piece { domain, from, count }),
        }
    }

    /// Forgets the order of old news, where there are many and whoever asks from `from` has read them: that grows with the domains and
    /// with the times they were asked.
    fn forget(&mut self, from: u64) {
        if self.pieces.len() < 2 * KEPT {
            return;
        }
        let old = self.pieces.len() - KEPT;
        let (mut read, mut unordered) = (0, 0);
        for piece in &self.pieces[..old] {
            if unordered + piece.count > from {
                break;
            }
            unordered += piece.count;
            read += 1;
        }
        if unordered <= self.unordered {
            return;
        }
        self.unordered = unordered;
        let mut of: BTreeMap<usize, Piece> = BTreeMap::new();
        for piece in self.pieces.drain(..read) {
            let all = of.entry(piece.domain).or_insert(Piece { count: 0, ..piece });
            all.count += piece.count;
        }
        self.pieces.splice(..0, of.into_values());
    }
}

impl<C: Clock> Router<C> {
    /// The news behind a cursor. A domain that does not answer has none yet; where none answers, nothing is known.
    pub(super) async fn merge(&self, cursor: u64) -> Result<News, PlatformError> {
        let mut merged = self.merged.lock().await;
        merged.ends.resize(self.domains.len(), 0);
        let (known, from) = (merged.count, merged.place(cursor));
        merged.forget(from);
        let mut news = if from < known {
            self.told_before(&merged, from).await?
        } else {
            Vec::new()
        };
        let asked = (self.domains.iter().zip(&merged.ends).enumerate())
            .map(|(at, (domain, &end))| self.ask(at, domain.platform.watch(end)));
        let mut silent = None;
        let mut answered = false;
        for (at, answer) in join_all(asked).await.into_iter().enumerate() {
            match answer {
                Ok(told) => {
                    answered = true;
                    if !told.changes.is_empty() {
                        self.learn(at, &told.changes);
                        merged.add(at, told.changes.len() as u64, told.cursor);
                        news.extend(told.changes);
                    }
                }
                Err(error) => silent = Some(error),
            }
        }
        if let (false, true, Some(error)) = (answered, news.is_empty(), silent) {
            return Err(error);
        }
        // Nothing new, and a cursor of another router: it stays this one's beginning.
        let cursor = merged.cursor(from + news.len() as u64);
        Ok(News { changes: news, cursor })
    }

    /// What was told from a place on, read from the domains once more.
    async fn told_before(&self, merged: &Merged, from: u64) -> Result<Vec<FleetChange>, PlatformError> {
        let mut news = Vec::new();
        // By domain, what has been read and not been taken, and the cursor behind it.
        let mut read: Vec<Option<(VecDeque<FleetChange>, u64)>> = vec![None; self.domains.len()];
        let mut before = 0;
        for piece in &merged.pieces {
            let skipped = from.saturating_sub(before).min(piece.count);
            before += piece.count;
            if skipped == piece.count {
                continue;
            }
            let (changes, next) = read[piece.domain].get_or_insert_with(|| (VecDeque::new(), piece.from));
            while (changes.len() as u64) < piece.count {
                let platform = &self.domains[piece.domain].platform;
                let more = self.ask(piece.domain, platform.watch(*next)).await?;
                if more.changes.is_empty() {
                    let name = &self.domains[piece.domain].name;
                    let text = format!("domain {name} does not tell again what it has told");
                    return Err(PlatformError::Garbled(text));
                }
                changes.extend(more.changes);
                *next = more.cursor;
            }
            let taken = changes.drain(..usize::try_from(piece.count).unwrap_or(usize::MAX));
            news.extend(taken.skip(usize::try_from(skipped).unwrap_or(usize::MAX)));
        }
        Ok(news)
    }

    /// Who is born somewhere lives there.
    fn learn(&self, domain: usize, changes: &[FleetChange]) {
        let mut homes = self.homes.write();
        for change in changes {
            // Who has left stays its domain's, which alone is asked whether that is so.
            if let FleetChange::Joined { target, .. } = change {
                homes.insert(target.clone(), domain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `domains`, each telling of one at each of `polls`.
    fn told(domains: usize, polls: usize) -> Merged {
        let mut merged = Merged::new(0);
        merged.ends.resize(domains, 0);
        for poll in 0..polls {
            for domain in 0..domains {
                merged.add(domain, 1, poll as u64 + 1);
            }
            merged.forget(merged.count);
        }
        merged
    }

    #[test]
    fn the_order_of_news_that_were_read_is_forgotten() {
        let merged = told(300, 2_000);
        assert_eq!(merged.count, 600_000);
        assert!(merged.pieces.len() <= 2 * KEPT + 300, "{}", merged.pieces.len());
        // Nothing is lost, and each domain's is whole.
        let all: u64 = merged.pieces.iter().map(|piece| piece.count).sum();
        assert_eq!(all, merged.count);
        for domain in [0, 299] {
            let mut next = 0;
            for piece in merged.pieces.iter().filter(|piece| piece.domain == domain) {
                assert_eq!(piece.from, next);
                next += piece.count;
            }
            assert_eq!(next, 2_000);
        }
        let cursor = |told: u64| merged.cursor(told);
        assert_eq!(merged.place(cursor(merged.count)), merged.count);
        assert_eq!(merged.place(cursor(merged.unordered)), merged.unordered);
        assert_eq!(merged.place(cursor(merged.unordered - 1)), 0, "told from the beginning");
        assert!(merged.count - merged.unordered >= KEPT as u64);
    }

    #[test]
    fn the_order_of_news_that_were_not_read_is_kept() {
        let mut merged = told(2, KEPT - 1);
        for poll in KEPT as u64..2 * KEPT as u64 {
            merged.add(0, 1, poll);
            merged.add(1, 1, poll);
        }
        let pieces = merged.pieces.len();
        assert!(pieces > 3 * KEPT);
        merged.forget(0);
        assert_eq!((merged.pieces.len(), merged.unordered), (pieces, 0));
        merged.forget(100);
        assert_eq!((merged.pieces.len(), merged.unordered), (pieces - 98, 100));
        // Whoever reads more slowly than another is told nothing else.
        merged.forget(50);
        assert_eq!((merged.pieces.len(), merged.unordered), (pieces - 98, 100));
    }
}
