//! What people are told, over HTTP.

use unattended::{Notice, Notifier, Pulse};
use unattended_webhook::Webhook;

use crate::Failure;
use crate::options::Options;

/// Sends on real sockets while virtual time stands still.
pub(crate) struct Post {
    webhook: Webhook,
    runtime: tokio::runtime::Runtime,
}

impl Post {
    /// `None` where nobody is to be told.
    pub(crate) fn of(options: &Options) -> Result<Option<Self>, Failure> {
        let Some(url) = options.webhook.as_deref().filter(|_| !options.dry_run) else {
            return Ok(None);
        };
        let webhook = Webhook::new(url).map_err(Failure::input)?;
        let webhook = match &options.heartbeat {
            Some(url) => webhook.heartbeat(url).map_err(Failure::input)?,
            None => webhook,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Failure::internal)?;
        Ok(Some(Self {
            webhook: webhook.on_failure(|failure| eprintln!("{failure}")),
            runtime,
        }))
    }

    pub(crate) fn notify(&self, notice: &Notice) {
        self.runtime.block_on(self.webhook.notify(notice));
    }

    pub(crate) fn pulse(&self, pulse: &Pulse) {
        self.runtime.block_on(self.webhook.pulse(pulse));
    }
}
