use super::Direction;

/// What the machine knows of one target beyond the frontier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) in_flight: Option<Direction>,
    /// Attempts that ended without the wanted version.
    pub(super) tries: u8,
    pub(super) alive: bool,
    /// It runs, or may run, the new version: started at least once, or born so.
    pub(super) touched: bool,
    /// Its slice is open, and it has not begun: it counts against the room of its classes.
    pub(super) promised: bool,
    /// Touched at any time.
    pub(super) ever_touched: bool,
    /// Born on the old version under the name of one that had been touched.
    pub(super) reborn: bool,
    pub(super) on_new: bool,
    /// Its last attempt left it serving nothing.
    pub(super) lost: bool,
    /// Its last attempt left its ingress closed, or nobody knows.
    pub(super) closed: bool,
    /// It is among the debts.
    pub(super) owed: bool,
    /// It is, and nothing excuses it.
    pub(super) faulted: bool,
    /// It did not serve when its first attempt looked at it.
    pub(super) ill_before: bool,
    pub(super) stratum: u32,
}

impl Target {
    /// A living target on the old version.
    pub(super) const fn new(stratum: u32) -> Self {
        Self {
            in_flight: None,
            tries: 0,
            alive: true,
            touched: false,
            promised: false,
            ever_touched: false,
            reborn: false,
            on_new: false,
            lost: false,
            closed: false,
            owed: false,
            faulted: false,
            ill_before: false,
            stratum,
        }
    }

    /// It may come to count against the room of its classes before it starts: who was given up never starts, and who was started by
    /// somebody else before its batch counts already.
    pub(super) const fn may_be_promised(&self) -> bool {
        self.alive && !self.owed && !self.touched
    }
}
