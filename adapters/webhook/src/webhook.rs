use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::ClientConfig;
use serde::Serialize;
use tokio::time::Instant;
use unattended::{Notice, Notifier, Pulse};

use crate::post::{Address, Tried, post};
use crate::{Failure, WebhookError};

/// Waits between tries grow to so many times the first.
const LONGEST_WAIT: u32 = 32;

type OnFailure = Arc<dyn Fn(&Failure) + Send + Sync>;

/// Posts notices, and signs of life, to where somebody or something receives them. Cloning gives another to the same address.
#[derive(Clone)]
pub struct Webhook {
    notices: Address,
    heartbeat: Option<Address>,
    headers: HeaderMap,
    tls: Option<Arc<ClientConfig>>,
    patience: Duration,
    answer: Duration,
    retry: Duration,
    on_failure: Option<OnFailure>,
}

impl fmt::Debug for Webhook {
    /// Without the values of the headers, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("notices", &self.notices)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Posts notices to an `http` address.
    ///
    /// # Errors
    /// [`WebhookError::Url`] where it is none, [`WebhookError::NoRoots`] where it is `https`: see [`secure`](Self::secure).
    pub fn new(url: &str) -> Result<Self, WebhookError> {
        Self::at(url, None)
    }

    /// Posts notices to an `https` address whose certificate `tls` trusts.
    ///
    /// # Errors
    /// [`WebhookError::Url`] where it is none.
    pub fn secure(url: &str, tls: Arc<ClientConfig>) -> Result<Self, WebhookError> {
        Self::at(url, Some(tls))
    }

    fn at(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, WebhookError> {
        Ok(Self {
            notices: Address::parse(url, tls.as_ref())?,
            heartbeat: None,
            headers: HeaderMap::new(),
            tls,
            patience: Duration::from_secs(25),
            answer: Duration::from_secs(5),
            retry: Duration::from_millis(250),
            on_failure: None,
        })
    }

    /// Posts signs of life there. Without it there are none.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn heartbeat(mut self, url: &str) -> Result<Self, WebhookError> {
        self.heartbeat = Some(Address::parse(url, self.tls.as_ref())?);
        Ok(self)
    }

    /// Sends a header with each request.
    ///
    /// # Errors
    /// [`WebhookError::Header`] where name or value are none.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, WebhookError> {
        let wrong = |why: String| WebhookError::Header {
            name: name.to_owned(),
            why,
        };
        let known = HeaderName::try_from(name).map_err(|error| wrong(error.to_string()))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| wrong(error.to_string()))?;
        value.set_sensitive(true);
        self.headers.insert(known, value);
        Ok(self)
    }

    /// A message is given up after so long. Default 25,000 ms.
    #[must_use]
    pub const fn patience_ms(mut self, ms: u64) -> Self {
        self.patience = Duration::from_millis(ms);
        self
    }

    /// For so long a connection is waited for, and an answer. Default 5,000 ms.
    #[must_use]
    pub const fn answer_ms(mut self, ms: u64) -> Self {
        self.answer = Duration::from_millis(ms);
        self
    }

    /// The second try comes after so long, the next after twice that, up to 32 times. Default 250 ms.
    #[must_use]
    pub const fn retry_ms(mut self, ms: u64) -> Self {
        self.retry = Duration::from_millis(ms);
        self
    }

    /// Is called for each message that was not delivered. Default: nobody is told.
    #[must_use]
    pub fn on_failure(mut self, told: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(told));
        self
    }

    async fn deliver<M: Serialize + Sync>(&self, address: &Address, what: String, key: &str, message: &M) {
        let body = match serde_json::to_vec(message) {
            Ok(body) => Bytes::from(body),
            Err(error) => return self.failed(address, what, 0, true, error.to_string()),
        };
        let mut headers = self.headers.clone();
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        let began = Instant::now();
        let mut tries = 0;
        let mut wait = self.retry;
        loop {
            tries += 1;
            let (why, after) = match post(address, &headers, body.clone(), self.answer).await {
                Tried::Taken => return,
                Tried::Refused(why) => return self.failed(address, what, tries, true, why),
                Tried::Again { why, after } => (why, after),
            };
            let pause = wait.max(after);
            if began.elapsed() + pause >= self.patience {
                return self.failed(address, what, tries, false, why);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(self.retry * LONGEST_WAIT);
        }
    }

    fn failed(&self, address: &Address, what: String, tries: u32, refused: bool, why: String) {
        if let Some(told) = &self.on_failure {
            told(&Failure {
                what,
                url: address.url.clone(),
                tries,
                refused,
                why,
            });
        }
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, notice: &Notice) {
        let what = format!("{} {}", notice.dedup_key, notice.stage.as_str());
        let key = format!("{what} {}", notice.at_unix_ms);
        self.deliver(&self.notices, what, &printable(&key), notice).await;
    }

    async fn pulse(&self, pulse: &Pulse) {
        if let Some(heartbeat) = &self.heartbeat {
            let key = format!("{} pulse {}", pulse.change, pulse.at_unix_ms);
            self.deliver(heartbeat, "pulse".to_owned(), &printable(&key), pulse)
                .await;
        }
    }
}

/// As a header can have it: names of changes and owners may be in any script.
fn printable(key: &str) -> String {
    let mut safe = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => safe.push('_'),
            b'!'..=b'~' if byte != b'%' => safe.push(char::from(byte)),
            _ => safe.push_str(&format!("%{byte:02x}")),
        }
    }
    safe
}
