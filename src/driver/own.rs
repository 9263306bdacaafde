//! What the driver says of itself and not of the change: as long as it is so, again and again, as the machine does.

use std::collections::BTreeMap;

use unattended_upgrade::Clock;

use crate::handle::Command;
use crate::notice::{Desk, Matter, NOTICE_SCHEMA, Said};
use crate::{Notice, NoticeStage, Severity, Telling};

use super::Run;

/// A code and how bad it is.
pub(super) type What = (&'static str, Severity);

/// The driver's matters.
#[derive(Debug, Default)]
pub(super) struct Own {
    desk: Desk,
    open: BTreeMap<&'static str, Matter>,
    telling: Telling,
    /// Of the orders that lie unread so many have been looked through for words that somebody knows.
    heard: usize,
}

impl Own {
    pub(super) fn new(telling: Telling) -> Self {
        Self {
            telling,
            ..Self::default()
        }
    }

    pub(super) const fn heard(&self) -> usize {
        self.heard
    }

    /// How many are open.
    pub(super) fn len(&self) -> u32 {
        self.desk.len()
    }
}

impl Run {
    /// It is so from now on, or still, in other words.
    pub(super) fn raise_own(&mut self, what: What, text: String) {
        self.own.open.insert(what.0, Matter::new(what.0, what.1, text));
        self.tell_open(None);
    }

    /// It is so no more; one that was not raised here is not over.
    pub(super) fn end_own(&mut self, (code, _): What, text: &str) {
        if self.own.open.remove(code).is_some() {
            self.tell_open(Some(text));
        }
    }

    /// The change has ended, and with it whatever kept it from going on.
    pub(super) fn end_all_own(&mut self) {
        self.own.open.clear();
        self.tell_open(Some("the change has ended"));
    }

    /// Says again what is due, and `over` of what is over.
    pub(super) fn tell_open(&mut self, over: Option<&str>) {
        let (now_ms, at_unix_ms) = (self.world.clock.now(), self.world.clock.wall());
        let matters = self.own.open.values().cloned().collect();
        let own = &mut self.own;
        let said = own.desk.reconcile(matters, now_ms, &own.telling);
        self.show_open();
        if said.is_empty() {
            return;
        }
        let notices = said.into_iter().map(|mut said| {
            if let (NoticeStage::Resolved, Some(over)) = (&said.stage, over) {
                over.clone_into(&mut said.matter.text);
            }
            notice(&self.change, &said, now_ms, at_unix_ms)
        });
        let notices = notices.collect();
        self.send(notices);
    }

    /// Whoever asks for what is open sees these, too.
    fn show_open(&self) {
        let (now_ms, at_unix_ms) = (self.world.clock.now(), self.world.clock.wall());
        let open = self.own.desk.open();
        let open = open
            .map(|said| notice(&self.change, &said, now_ms, at_unix_ms))
            .collect();
        *self.shared.own.lock() = open;
    }

    /// Of what no desk here has: the last word of a run, and the first of the next.
    pub(super) fn tell_own(&mut self, what: What, stage: NoticeStage, text: String) {
        let (now_ms, at_unix_ms) = (self.world.clock.now(), self.world.clock.wall());
        let said = Said {
            matter: Matter::new(what.0, what.1, text),
            stage,
            raised_ms: now_ms,
        };
        let notice = notice(&self.change, &said, now_ms, at_unix_ms);
        self.send(vec![notice]);
    }

    /// While orders lie unread, since the journal is away: whoever says that they know of it is heard all the same.
    pub(super) fn hear_of_own(&mut self) {
        let orders = self.shared.orders.lock();
        let unheard = orders.iter().skip(self.own.heard);
        let known = unheard.filter(|given| given.refused.is_none()).filter_map(|given| {
            let Command::Acknowledge { key } = &given.order.command else {
                return None;
            };
            Some(key.clone())
        });
        let known: Vec<String> = known.collect();
        self.own.heard = orders.len();
        drop(orders);
        let now_ms = self.world.clock.now();
        for key in known {
            let own = key.strip_prefix(self.change.as_str());
            let own = own.and_then(|key| key.strip_prefix('/')).unwrap_or(&key);
            self.own.desk.acknowledge(own, now_ms, &self.own.telling);
        }
        self.show_open();
    }

    /// The orders have been read.
    pub(super) const fn forget_heard(&mut self) {
        self.own.heard = 0;
    }
}

fn notice(change: &str, said: &Said, now_ms: u64, at_unix_ms: i64) -> Notice {
    let ago_ms = now_ms.saturating_sub(said.raised_ms);
    Notice {
        schema: NOTICE_SCHEMA,
        code: said.matter.code.to_owned(),
        severity: said.matter.severity,
        dedup_key: format!("{change}/{}", said.matter.code),
        change: change.to_owned(),
        lanes: Vec::new(),
        owner: said.matter.owner.clone(),
        stage: said.stage.clone(),
        raised_unix_ms: at_unix_ms.saturating_sub_unsigned(ago_ms),
        at_unix_ms,
        text: said.matter.text.clone(),
        question: None,
        briefing: None,
    }
}
