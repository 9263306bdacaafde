//! Whose fault a failed request was: closed classes, ready tables, one class for each request.

mod edge;
mod request;
mod table;
mod tables;

pub use edge::{Edge, EdgeReport, EdgeTally, End, Side};
pub use request::RequestFaults;
pub use table::{Attributed, Attribution, AttributionBuilder, AttributionError, Meaning};
