//! Both fleets as the train sees them: changes by key, each a run of the autopilot in a world of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::train::{
    ChangeEnd, ChangeKey, ChangeOrder, Fleets, IncidentNews, LineId, News, NoAnswer, ReleaseFacts, Site as Where,
};
use unattended::{Level, Outcome};
use unattended_examples_support::Failure;

use crate::lots::{Lots, hash};
use crate::site::Site;
use crate::tree::Tree;
use crate::world::Grounds;

/// What the quarter has to know of a change at its end.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) version: String,
    pub(crate) site: Where,
    pub(crate) end: Option<ChangeEnd>,
}

#[derive(Default)]
struct Inner {
    now_ms: i64,
    sites: BTreeMap<ChangeKey, Site>,
    /// Taken back before they began: they never will.
    never: BTreeMap<ChangeKey, ChangeEnd>,
    records: Vec<Record>,
    incidents: Vec<IncidentNews>,
    /// Dies with the next start of a change of production, between the effect and the word that it is done.
    deadly: bool,
    failure: Option<Failure>,
}

/// The fleets.
pub(crate) struct Sites {
    grounds: Arc<Grounds>,
    tree: Arc<Tree>,
    level: Level,
    inner: Mutex<Inner>,
}

impl Sites {
    pub(crate) fn new(grounds: Arc<Grounds>, tree: Arc<Tree>, level: Level) -> Self {
        Self {
            grounds,
            tree,
            level,
            inner: Mutex::default(),
        }
    }

    pub(crate) fn passed(&self, wall_ms: i64) -> Result<(), Failure> {
        let mut inner = self.inner.lock();
        inner.now_ms = wall_ms;
        for site in inner.sites.values_mut() {
            site.passed(wall_ms)?;
        }
        Ok(())
    }

    /// The next start of a change of production is the last thing that this controller does.
    pub(crate) fn arm(&self) {
        self.inner.lock().deadly = true;
    }

    /// The controller is dead, and with it every run of the autopilot. What they wrote down is left.
    pub(crate) fn kill(&self) {
        self.inner.lock().sites.values_mut().for_each(Site::kill);
    }

    pub(crate) fn incident(&self, news: IncidentNews) {
        self.inner.lock().incidents.push(news);
    }

    /// Every change that was ever started, in the order of their starts.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.inner.lock().records.clone()
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.inner.lock().failure.take()
    }

    fn begin(&self, order: &ChangeOrder, inner: &mut Inner) -> Result<(), Failure> {
        if inner.never.contains_key(&order.change) {
            return Ok(());
        }
        if let Some(site) = inner.sites.get_mut(&order.change) {
            return site.take_up(&self.grounds);
        }
        let Some(truth) = self.tree.truth(&order.version) else {
            return Err(Failure::Internal(format!("nobody built {}", order.version)));
        };
        // A fleet has one change at a time: what ran before is seen no more.
        inner
            .sites
            .retain(|_, site| site.order.site != order.site || site.end.is_none());
        let lane = self.tree.lane(&order.version);
        let seed = Lots::of(&[self.grounds.seed, hash(&order.change.0)]).bits();
        let site = Site::new(
            &self.grounds,
            order.clone(),
            truth,
            lane,
            self.level,
            seed,
            inner.now_ms,
        )?;
        inner.records.push(Record {
            version: order.version.clone(),
            site: order.site,
            end: None,
        });
        inner.sites.insert(order.change.clone(), site);
        Ok(())
    }
}

/// A fault of the simulation ends the program; to the train it is a source without an answer.
fn kept<T>(inner: &mut Inner, result: Result<T, Failure>) -> Result<T, NoAnswer> {
    result.map_err(|failure| {
        let text = format!("{failure:?}");
        inner.failure = Some(failure);
        NoAnswer(text)
    })
}

#[async_trait]
impl Fleets for Sites {
    async fn start(&self, order: &ChangeOrder) -> Result<(), NoAnswer> {
        let deadly = {
            let mut inner = self.inner.lock();
            let begun = self.begin(order, &mut inner);
            kept(&mut inner, begun)?;
            order.site == Where::Production && std::mem::take(&mut inner.deadly)
        };
        if deadly {
            // Done, and nobody will ever hear of it.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn take_back(&self, change: &ChangeKey, why: &str) -> Result<(), NoAnswer> {
        let mut inner = self.inner.lock();
        let at_unix_ms = inner.now_ms;
        if let Some(site) = inner.sites.get_mut(change) {
            let taken = site.take_back(&self.grounds, why);
            return kept(&mut inner, taken);
        }
        inner.never.entry(change.clone()).or_insert_with(|| ChangeEnd {
            outcome: Outcome::RolledBack,
            at_unix_ms,
            exposed: 0,
            human_actions: 0,
            why: format!("it did not begin: {why}"),
        });
        Ok(())
    }

    async fn end(&self, change: &ChangeKey) -> Result<Option<ChangeEnd>, NoAnswer> {
        let mut inner = self.inner.lock();
        if let Some(end) = inner.never.get(change) {
            return Ok(Some(end.clone()));
        }
        let ended = inner
            .sites
            .get(change)
            .and_then(|site| Some((site.order.clone(), site.end.clone()?)));
        if let Some((order, end)) = &ended
            && let Some(record) = inner
                .records
                .iter_mut()
                .rev()
                .find(|record| record.version == order.version && record.site == order.site)
        {
            record.end = Some(end.clone());
        }
        Ok(ended.map(|(_, end)| end))
    }

    async fn facts(&self, _: &LineId, version: &str) -> Result<Option<ReleaseFacts>, NoAnswer> {
        let mut inner = self.inner.lock();
        let now_ms = inner.now_ms;
        let seen = |site: &&mut Site| site.order.site == Where::Canary && site.order.version == version;
        let Some(site) = inner.sites.values_mut().rev().find(seen) else {
            return Ok(None);
        };
        let facts = site.facts(&self.grounds, now_ms);
        kept(&mut inner, facts)
    }

    async fn incidents(&self, _: &LineId, cursor: u64) -> Result<News<IncidentNews>, NoAnswer> {
        let inner = self.inner.lock();
        let skip = usize::try_from(cursor).unwrap_or(usize::MAX);
        Ok(News {
            items: inner.incidents.iter().skip(skip).cloned().collect(),
            cursor: inner.incidents.len() as u64,
        })
    }
}
