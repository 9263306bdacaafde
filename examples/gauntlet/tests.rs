//! Scenarios and what they draw, the truth about releases, measures against cases reckoned by hand, and threads.

mod measured;
mod rolled_out;
mod scenarios;

use crate::options::{Choice, Options};

pub(crate) const SMALL: &str = r#"{"schema": 1, "name": "small",
 "good": [{"name": "good", "release": "good"}],
 "bad": [{"name": "errors", "release": "errors=x{4..9}@zone={any}"}]}"#;

fn options(policy: Choice, threads: u16) -> Options {
    Options {
        releases: 6,
        seed: 3,
        policy,
        synthetic: "600x8".to_owned(),
        world: None,
        scenario: None,
        json: true,
        html: None,
        record: None,
        pages: None,
        only: None,
        trials: false,
        threads: Some(threads),
    }
}
