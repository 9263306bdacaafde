//! One request with its retries.

use super::{Attributed, Attribution};

/// Follows one original request through its attempts, and counts it once: as served when the last attempt was, else with
/// the last attempt's innermost cause.
///
/// ```
/// use unattended_health::{Attribution, FaultClass, RequestFaults};
///
/// let table = Attribution::envoy();
/// let mut request = RequestFaults::new(&table);
/// request.failed(&["UF"]);
/// request.failed(&["UT"]);
/// request.failed(&["URX"]); // no attempt of its own: it follows from the last
/// assert_eq!(request.end().class, Some(FaultClass::Ambiguous));
///
/// let mut request = RequestFaults::new(&table);
/// request.failed(&["UF"]);
/// request.served();
/// assert_eq!(request.end().class, None);
/// ```
#[derive(Clone, Debug)]
pub struct RequestFaults<'a> {
    table: &'a Attribution,
    last: Attributed,
}

impl<'a> RequestFaults<'a> {
    /// A request that nothing has happened to.
    #[must_use]
    pub const fn new(table: &'a Attribution) -> Self {
        Self {
            table,
            last: Attributed::SERVED,
        }
    }

    /// An attempt failed with this chain of causes, outermost first. One that consists of consequences alone says nothing
    /// new about a request that failed already.
    pub fn failed(&mut self, chain: &[&str]) {
        let found = self.table.innermost(chain);
        let consequence = |code: &str| self.table.meaning(code) == Some(super::Meaning::Consequence);
        let says_nothing = found.code.as_deref().is_none_or(consequence);
        match (says_nothing, self.last.class) {
            (true, Some(_)) => {}
            // It failed, and nobody says why.
            (true, None) if found.code.is_none() => {
                self.last = Attributed {
                    class: Some(crate::FaultClass::Own),
                    code: None,
                    known: false,
                };
            }
            _ => self.last = found,
        }
    }

    /// An attempt was served.
    pub fn served(&mut self) {
        self.last = Attributed::SERVED;
    }

    /// What the request is counted as.
    #[must_use]
    pub fn end(self) -> Attributed {
        self.last
    }
}
