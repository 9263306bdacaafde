//! The other side: one question, one answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{Answer, Request};

/// Whoever drives the change answers in no time, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody is there.
    #[error("{path}: nobody listens there: {error}; is the change driven, and is this its socket?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("{path}: the answer did not come: {error}; the command may have been taken, look at the summary")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It was not understood.
    #[error("{path}: the answer is not understood: {error}; is it of another version?")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

/// Asks the change behind a socket.
///
/// # Errors
/// Nobody is there, the connection broke, or the answer is of another version.
pub async fn ask(path: impl AsRef<Path>, request: &Request) -> Result<Answer, AskError> {
    let path = path.as_ref().to_path_buf();
    let connected = UnixStream::connect(&path).await;
    let mut stream = connected.map_err(|error| AskError::Connect {
        path: path.clone(),
        error,
    })?;
    let asked = async {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<Vec<u8>, std::io::Error>(answer)
    };
    let answer = timeout(PATIENCE, asked).await.unwrap_or_else(|late| Err(late.into()));
    let answer = answer.map_err(|error| AskError::Broken {
        path: path.clone(),
        error,
    })?;
    serde_json::from_slice(&answer).map_err(|error| AskError::Answer { path, error })
}
