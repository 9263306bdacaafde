use serde::{Deserialize, Serialize};

use super::{ChangeEvent, EVENT_SCHEMA};

/// A [`ChangeEvent`] in an envelope of [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), in its
/// JSON format: for brokers and functions that take these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// One event of the source and no other: `change/run/number`.
    pub id: String,
    /// Who tells it, a URI reference.
    pub source: String,
    /// `rs.unattended.change.`, the word of what has happened, and `.v1` for the schema.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: a target, an application, a matter; without one, the change.
    pub subject: String,
    /// When, as RFC 3339.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// The event.
    pub data: ChangeEvent,
}

impl ChangeEvent {
    /// In an envelope of CloudEvents 1.0. `source` is a URI reference for the controller, `/unattended/eu-1` say; it must not be empty.
    pub fn into_cloud_event(self, source: impl Into<String>) -> CloudEvent {
        let time = jiff::Timestamp::from_millisecond(self.at_unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        CloudEvent {
            specversion: "1.0".to_owned(),
            id: format!("{}/{}/{}", self.change, self.run, self.number),
            source: source.into(),
            kind: format!("rs.unattended.change.{}.v{EVENT_SCHEMA}", self.what.as_str()),
            subject: self.what.subject().unwrap_or(&self.change).to_owned(),
            time: time.to_string(),
            datacontenttype: "application/json".to_owned(),
            data: self,
        }
    }
}
