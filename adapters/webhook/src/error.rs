/// Why there is no webhook. Nothing has been sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The address is none.
    #[error("`{url}` is no address to post to: {why}; give one as in `http://127.0.0.1:9093/notices`")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The header cannot be sent.
    #[error("the header `{name}` cannot be sent: {why}")]
    Header {
        /// Its name. Its value may be secret.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody said whom to trust.
    #[error("`{url}` is https, and nobody said whose certificates to trust: give them by `Webhook::secure`")]
    NoRoots {
        /// As it was given.
        url: String,
    },
}

/// A message that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} was not delivered to {url} in {tries} tries: {why}")]
#[non_exhaustive]
pub struct Failure {
    /// Which message: the key of a notice with its stage, or `pulse`.
    pub what: String,
    /// Whereto.
    pub url: String,
    /// How often it was tried.
    pub tries: u32,
    /// It was refused for good; otherwise patience was over.
    pub refused: bool,
    /// What the last try came to.
    pub why: String,
}
