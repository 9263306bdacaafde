//! What each fuzz target does with its bytes.
include!("defense.rs");
include!("handover.rs");
include!("health.rs");
include!("selfheal.rs");
