//! Why a lane may not start anything now, and what ends that.

use crate::HoldView;

/// A rule, and whose it is.
pub(super) type Rule = (String, String);

/// Why a lane may not start anything now.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// Look again at this time.
    pub(super) until_ms: u64,
    pub(super) ends_by: EndsBy,
    /// It holds the way back, not the way forward.
    pub(super) back: bool,
    /// What is told of it.
    pub(super) view: Box<HoldView>,
    /// All rules that hold it, each with whose it is; what is told names the strictest.
    pub(super) rules: Vec<Rule>,
    /// Its number in the record. In changes of earlier versions of the decisions it may have none.
    pub(super) record: Option<u64>,
}

/// A rule, and whose it is.
pub(super) fn in_words((rule, owner): &Rule) -> String {
    format!("{rule} of {owner}")
}

/// What ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndsBy {
    /// Time: the rules say when.
    Time,
    /// A person's word, which the rules want.
    Word,
    /// Nothing that is known, and nobody's word: the rules do not let it start, and who wants it changes them.
    Rules,
}

impl Hold {
    /// Time alone does not end it.
    pub(super) const fn is_endless(&self) -> bool {
        !matches!(self.ends_by, EndsBy::Time)
    }

    /// A person's word ends it.
    pub(super) const fn needs_person(&self) -> bool {
        matches!(self.ends_by, EndsBy::Word)
    }

    /// It holds the way back, not the way forward.
    pub(super) const fn is_back(&self) -> bool {
        self.back
    }

    /// The same, of the way back.
    pub(super) const fn of_way_back(mut self) -> Self {
        self.back = true;
        self
    }

    /// What is told of it.
    pub(super) fn view(&self) -> &HoldView {
        &self.view
    }

    /// The rules are to be asked again.
    pub(super) const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }
}
