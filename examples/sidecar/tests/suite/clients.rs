//! Clients that check every byte.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};

use super::support::{NEVER, Seed};

/// Reads a head and a body with a length; `None` if the connection ends before one begins. `known`: what was read before.
pub(crate) fn read_message(stream: &mut impl Read, known: &mut Vec<u8>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = [0; 4_096];
    loop {
        if let Some(end) = known.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&known[..end]).into_owned();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if known.len() >= end + 4 + length {
                let body = known[end + 4..end + 4 + length].to_vec();
                known.drain(..end + 4 + length);
                return Ok(Some((head, body)));
            }
        }
        let read = stream.read(&mut bytes)?;
        if read == 0 && known.is_empty() {
            return Ok(None);
        }
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        known.extend(&bytes[..read]);
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(NEVER))?;
    stream.set_write_timeout(Some(NEVER))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A client that keeps one connection, and says something that nobody else says.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    known: Vec<u8>,
    kind: Kind,
    seed: u64,
    said: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Tcp,
    Framed,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::Tcp, Self::Framed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Framed => "framed",
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    /// Who said so itself; 0 where nobody does.
    pub(crate) instance: u64,
    /// The connection is to be closed.
    pub(crate) last: bool,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, kind: Kind, seed: u64) -> io::Result<Self> {
        Ok(Self {
            stream: connect(address)?,
            known: Vec::new(),
            kind,
            seed,
            said: 0,
        })
    }

    /// Says `length` bytes, and checks each that comes back. An error of the kind `InvalidData`: it was another one.
    pub(crate) fn talk(&mut self, length: usize) -> io::Result<Talk> {
        self.begin(length)?;
        self.finish(length)
    }

    /// The bytes of this connection's next message.
    fn message(&self, length: usize) -> Vec<u8> {
        let mut seed = Seed(self.seed << 32 | self.said);
        std::iter::repeat_with(|| seed.next().to_le_bytes())
            .flatten()
            .take(length)
            .collect()
    }

    /// Says the first half, so that something is under way.
    pub(crate) fn begin(&mut self, length: usize) -> io::Result<()> {
        let whole = self.framed(length);
        self.stream.write_all(&whole[..whole.len() / 2])
    }

    fn framed(&self, length: usize) -> Vec<u8> {
        let message = self.message(length);
        let mut whole = match self.kind {
            Kind::Tcp => Vec::new(),
            Kind::Framed => u32::try_from(length).unwrap().to_be_bytes().to_vec(),
            Kind::Http => format!(
                "POST /{} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n",
                self.said
            )
            .into_bytes(),
        };
        whole.extend(message);
        whole
    }

    /// Says the rest, and hears the answer.
    pub(crate) fn finish(&mut self, length: usize) -> io::Result<Talk> {
        let whole = self.framed(length);
        self.stream.write_all(&whole[whole.len() / 2..])?;
        let number = self.said;
        let message = self.message(length);
        self.said += 1;
        if self.kind != Kind::Http {
            let mut answer = vec![0; whole.len()];
            self.stream.read_exact(&mut answer)?;
            if answer != whole {
                return Err(wrong("other bytes"));
            }
            return Ok(Talk {
                instance: 0,
                last: false,
            });
        }
        let (head, body) = read_message(&mut self.stream, &mut self.known)?
            .ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        let path = format!("/{number}");
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(head));
        }
        if body.strip_prefix(path.as_bytes()) != Some(&message) || !self.known.is_empty() {
            return Err(wrong("another answer"));
        }
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
        };
        Ok(Talk {
            instance: field("x-sidecar-instance: ")
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            last: field("connection: ").is_some_and(|value| value == "close"),
        })
    }

    /// Ends its side; the other one must end, too, with nothing more said.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(wrong("more than was asked for"))
        }
    }
}

/// One datagram there and back; `None` if it was lost, which a datagram may be.
pub(crate) fn datagram(socket: &UdpSocket, text: &str) -> Option<()> {
    socket.send(text.as_bytes()).unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).ok()?;
    (&answer[..length] == text.as_bytes()).then_some(())
}
