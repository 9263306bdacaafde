//! The side of the change.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use unattended::Handle;

use crate::{Answer, LONGEST, Request};

/// A client has so long for a line, and to take its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients at once.
const MOST: usize = 16;
/// The system had no descriptor left, or something like it.
const BREATH: Duration = Duration::from_millis(100);

/// Why there is no door. Nothing has happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// Another change listens there.
    #[error("{path}: somebody listens there already; give each change a socket of its own")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// A file that is no socket.
    #[error("{path}: there is a file that is no socket; give another path, or remove it")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system does not let it be.
    #[error("{path}: no socket can be made there: {error}; its directory must exist and be writable")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A socket at which a change is given commands. It is removed when this is dropped.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Makes the socket, for this user alone. One that a dead process left is replaced. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// Somebody listens there, it is another file, or the directory does not let it be.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DoorError> {
        let path = path.as_ref().to_path_buf();
        let io = |error| DoorError::Io {
            path: path.clone(),
            error,
        };
        match fs::symlink_metadata(&path) {
            Ok(there) if !there.file_type().is_socket() => return Err(DoorError::NoSocket { path }),
            Ok(_) => match std::os::unix::net::UnixStream::connect(&path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(&path).map_err(io)?,
                Ok(_) | Err(_) => return Err(DoorError::Taken { path }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let listener = UnixListener::bind(&path).map_err(io)?;
        // Until here the directory and the umask say who gets in; who is heard is asked of the kernel.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io)?;
        Ok(Self { listener, path })
    }

    /// Gives the change what comes in. It ends never: drop it when the change has ended.
    pub async fn serve(self, handle: Handle) {
        let mut clients = FuturesUnordered::new();
        loop {
            if clients.len() >= MOST {
                clients.next().await;
                continue;
            }
            let accepted = {
                let accept = pin!(self.listener.accept());
                if clients.is_empty() {
                    accept.await
                } else {
                    match select(accept, clients.next()).await {
                        Either::Left((accepted, _)) => accepted,
                        Either::Right(_) => continue,
                    }
                }
            };
            match accepted {
                Ok((stream, _)) => clients.push(client(stream, handle.clone())),
                Err(_) => sleep(BREATH).await,
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Who comes next replaces what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves one client for as long as it asks and is patient.
async fn client(mut stream: UnixStream, handle: Handle) {
    let from = stream.peer_cred();
    let own = rustix::process::geteuid().as_raw();
    let known = from.ok().filter(|from| from.uid() == own || from.uid() == 0);
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LONGEST + 1);
        match timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
        let too_long = line.len() as u64 > LONGEST;
        let answer = match &known {
            None => Answer::Refused("only the user who drives the change is heard, and root".to_owned()),
            Some(_) if too_long => Answer::Refused(format!("a line has at most {LONGEST} bytes")),
            Some(from) => {
                let pid = from.pid().map_or_else(String::new, |pid| format!(" pid {pid}"));
                answer(&line, &format!("uid {}{pid}", from.uid()), &handle)
            }
        };
        let Ok(mut text) = serde_json::to_vec(&answer) else {
            return;
        };
        text.push(b'\n');
        let written = timeout(PATIENCE, writer.write_all(&text)).await;
        if too_long || known.is_none() || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(line: &[u8], from: &str, handle: &Handle) -> Answer {
    match serde_json::from_slice(line) {
        Ok(Request::Order(mut order)) => {
            // What it says of itself, and what the kernel says of it.
            order.actor.via = match order.actor.via.as_str() {
                "" => from.to_owned(),
                via => format!("{via}; {from}"),
            };
            match handle.give(order) {
                Ok(()) => Answer::Taken(true),
                Err(error) => Answer::Refused(error.to_string()),
            }
        }
        Ok(Request::Summary) => Answer::Summary(handle.summary().map(Box::new)),
        Ok(Request::Notices) => Answer::Notices(handle.notices()),
        Err(error) => Answer::Refused(format!(
            "not understood: {error}; send `{{\"order\": {{\"command\": …, \"actor\": …, \"reason\": …}}}}`, `\"summary\"` or `\"notices\"`"
        )),
    }
}
