use std::collections::BTreeMap;
use std::sync::Arc;

use unattended_upgrade::{TargetId, Version};

use crate::Template;

/// One target: a name, what it runs at first, and how.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) id: TargetId,
    pub(crate) app: Arc<str>,
    pub(crate) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) template: Template,
    pub(crate) version: Version,
    pub(crate) parameters: Arc<BTreeMap<String, String>>,
}

impl Target {
    /// A target that runs `version` when nothing else has been ordered for it. A directory that knows the target knows
    /// better.
    pub fn new(id: impl Into<TargetId>, version: impl Into<Version>, template: Template) -> Self {
        Self {
            id: id.into(),
            app: "default".into(),
            labels: Vec::new(),
            template,
            version: version.into(),
            parameters: Arc::default(),
        }
    }

    /// Sets its application. Default `default`.
    #[must_use]
    pub fn app(mut self, app: impl Into<Arc<str>>) -> Self {
        self.app = app.into();
        self
    }

    /// The application that news name for it, which is not what its template starts.
    pub fn application(&self) -> &str {
        &self.app
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// With a value for `{name}` in its template's texts.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        Arc::make_mut(&mut self.parameters).insert(name.into(), value.to_string());
        self
    }

    /// Its name.
    pub const fn id(&self) -> &TargetId {
        &self.id
    }
}
