//! Service level objectives: how fast their budgets burn, and by whose fault.

mod burn;
mod objective;
mod openslo;
mod rings;
mod yaml;

pub use burn::{Burn, BurnError, BurnFreeze, BurnLine, BurnState, Severity};
pub use objective::{Numerator, Query, Sli, Slo, SloError};
pub use openslo::{ImportError, ImportErrors, import_openslo};
