//! The person who chooses releases at level 4: looks at the question for two hours, and says yes to what is recommended.

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::train::{Order, TrainHandle};
use unattended::{Actor, Notice, NoticeStage, Notifier};

use crate::fleet::START_WALL_MS;
use crate::quarter::LINE;
use crate::tree::HOUR_MS;

const ANSWER_MS: i64 = 2 * HOUR_MS;

/// Who is told.
pub(crate) struct Desk {
    now_ms: Mutex<i64>,
    /// Since when there is a question, and whether it was looked at.
    asked: Mutex<Option<i64>>,
    aloud: bool,
    /// What was told, by code, for the text at the end.
    pub(crate) told: Mutex<Vec<(i64, String, String)>>,
}

impl Desk {
    pub(crate) fn new(aloud: bool) -> Self {
        Self {
            now_ms: Mutex::new(START_WALL_MS),
            asked: Mutex::new(None),
            aloud,
            told: Mutex::default(),
        }
    }

    pub(crate) fn passed(&self, wall_ms: i64, handle: Option<&TrainHandle>) {
        *self.now_ms.lock() = wall_ms;
        let Some(handle) = handle else { return };
        let due = self.asked.lock().take_if(|asked| wall_ms >= *asked + ANSWER_MS);
        let asked = handle
            .summary()
            .filter(|_| due.is_some())
            .and_then(|summary| summary.lines.into_iter().find_map(|line| line.question));
        if let Some(briefing) = asked {
            let version = briefing.recommended;
            let who = Actor::person("li", "release desk");
            let _ = handle.order(LINE, Order::Choose { version }, who, "looked at the briefing");
        }
    }
}

#[async_trait]
impl Notifier for Desk {
    async fn notify(&self, notice: &Notice) {
        let now_ms = *self.now_ms.lock();
        if notice.code == "train.choose" && notice.stage == NoticeStage::Raised {
            self.asked.lock().get_or_insert(now_ms);
        }
        if self.aloud {
            let day = (now_ms - START_WALL_MS) / (24 * HOUR_MS);
            eprintln!("day {day}: {} {}: {}", notice.code, notice.stage.as_str(), notice.text);
        }
        self.told
            .lock()
            .push((now_ms, notice.code.clone(), notice.text.clone()));
    }
}
