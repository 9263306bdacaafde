//! HTTP/1.1 (RFC 9112): where one message ends and the next may begin.

use std::collections::VecDeque;

use super::{Codec, Rest};
use crate::Decline;

/// A head longer than this is not followed, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Most header fields of a head that is followed.
const MAX_FIELDS: usize = 256;

/// One connection of HTTP/1.x. It may be cut between an answer and the next request; a tunnel (CONNECT, or an upgrade to
/// another protocol) anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http1 {
    request: Direction,
    answer: Direction,
    /// Requests without an answer, the oldest first.
    asked: VecDeque<Asked>,
    /// It ends after the exchange that is under way.
    closing: bool,
    /// Not HTTP/1.x, or nothing that two readers are sure to read alike.
    broken: bool,
}

/// What an answer must be known to belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Head,
    Connect,
    Other,
}

/// Where one direction is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Direction {
    #[default]
    Between,
    Head(Vec<u8>),
    Body {
        left: u64,
    },
    Chunked(Chunk),
    /// Ends with the connection.
    UntilClosed,
    Tunnel,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Chunk {
    /// The line that says how long the chunk is.
    Size(Vec<u8>),
    /// Its bytes.
    Data { left: u64 },
    /// The line's end after them.
    End(Vec<u8>),
    /// Lines after the last chunk, up to an empty one.
    Trailer(Vec<u8>),
}

/// What a head says about the message.
struct Head {
    body: Direction,
    asked: Asked,
    /// 100 and the like: the answer proper is still to come.
    interim: bool,
    /// The connection ends after this exchange.
    close: bool,
}

impl Http1 {
    fn pass(&mut self, bytes: &[u8], is_request: bool) -> Result<(), Decline> {
        if self.broken {
            return Err(Decline::BadState);
        }
        let result = self.walk(bytes, is_request);
        if result.is_err() {
            // Nothing of it is looked at again: it goes on, and keeps no memory here.
            *self = Self {
                broken: true,
                ..Self::default()
            };
        }
        result
    }

    fn walk(&mut self, mut bytes: &[u8], is_request: bool) -> Result<(), Decline> {
        while !bytes.is_empty() {
            let direction = if is_request {
                &mut self.request
            } else {
                &mut self.answer
            };
            match direction {
                Direction::Tunnel | Direction::UntilClosed => return Ok(()),
                Direction::Between => *direction = Direction::Head(Vec::new()),
                Direction::Head(head) => {
                    let (used, whole) = take_until(head, bytes, b"\r\n\r\n")?;
                    bytes = &bytes[used..];
                    if whole {
                        let head = core::mem::take(head);
                        self.begin(&head, is_request)?;
                    }
                }
                Direction::Body { left } => {
                    let step = (*left).min(bytes.len() as u64);
                    *left -= step;
                    bytes = &bytes[usize::try_from(step).map_err(|_| Decline::BadState)?..];
                    if *left == 0 {
                        self.end(is_request);
                    }
                }
                Direction::Chunked(chunk) => {
                    let (used, ended) = chunk.pass(bytes)?;
                    bytes = &bytes[used..];
                    if ended {
                        self.end(is_request);
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: &[u8], is_request: bool) -> Result<(), Decline> {
        let parsed = if is_request {
            request(head)?
        } else {
            answer(head, self.asked.front().copied().ok_or(Decline::BadState)?)?
        };
        if is_request {
            self.asked.push_back(parsed.asked);
        }
        self.closing |= parsed.close;
        let empty = parsed.body == Direction::Body { left: 0 };
        let tunnel = parsed.body == Direction::Tunnel;
        *(if is_request {
            &mut self.request
        } else {
            &mut self.answer
        }) = parsed.body;
        if parsed.interim {
            self.answer = Direction::Between;
        } else if tunnel {
            // The answer turns both directions into one.
            self.request = Direction::Tunnel;
            self.asked.clear();
        } else if empty {
            self.end(is_request);
        }
        Ok(())
    }

    fn end(&mut self, is_request: bool) {
        if is_request {
            self.request = Direction::Between;
        } else {
            self.answer = Direction::Between;
            self.asked.pop_front();
        }
    }
}

/// Adds `bytes` to `known` up to the end of `mark`; how many were used, and whether the mark came.
fn take_until(known: &mut Vec<u8>, bytes: &[u8], mark: &[u8]) -> Result<(usize, bool), Decline> {
    // The mark may begin in what is known. What comes after it is not copied: there may be much of it.
    let overlap = known.len().min(mark.len() - 1);
    let seam = known.len() - overlap;
    let across = known[seam..].iter().chain(bytes.iter().take(mark.len() - 1)).copied();
    let across: Vec<u8> = across.collect();
    let at_seam = across.windows(mark.len()).position(|window| window == mark);
    let end = match at_seam {
        Some(at) => Some(at + mark.len() - overlap),
        None => bytes
            .windows(mark.len())
            .position(|window| window == mark)
            .map(|at| at + mark.len()),
    };
    let used = end.unwrap_or(bytes.len());
    if known.len() + used > MAX_HEAD {
        return Err(Decline::TooLarge);
    }
    known.extend(&bytes[..used]);
    Ok((used, end.is_some()))
}

impl Chunk {
    fn pass(&mut self, bytes: &[u8]) -> Result<(usize, bool), Decline> {
        match self {
            Self::Size(line) => {
                let (used, whole) = take_until(line, bytes, b"\r\n")?;
                if whole {
                    let digits = line.first().is_some_and(u8::is_ascii_hexdigit);
                    let size = match httparse::parse_chunk_size(line) {
                        // All of the line, and a size in it: readers differ about the rest.
                        Ok(httparse::Status::Complete((end, size))) if digits && end == line.len() => size,
                        _ => return Err(Decline::BadState),
                    };
                    *self = if size == 0 {
                        Self::Trailer(Vec::new())
                    } else {
                        Self::Data { left: size }
                    };
                }
                Ok((used, false))
            }
            Self::Data { left } => {
                let step = (*left).min(bytes.len() as u64);
                *left -= step;
                if *left == 0 {
                    *self = Self::End(Vec::new());
                }
                Ok((usize::try_from(step).map_err(|_| Decline::BadState)?, false))
            }
            Self::End(line) => {
                let take = (2 - line.len()).min(bytes.len());
                line.extend(&bytes[..take]);
                if !b"\r\n".starts_with(line.as_slice()) {
                    return Err(Decline::BadState);
                }
                if line.len() == 2 {
                    *self = Self::Size(Vec::new());
                }
                Ok((take, false))
            }
            Self::Trailer(line) => {
                let (used, whole) = take_until(line, bytes, b"\r\n")?;
                let last = line.as_slice() == b"\r\n";
                if whole && !last {
                    line.clear();
                }
                Ok((used, whole && last))
            }
        }
    }
}

fn request(head: &[u8]) -> Result<Head, Decline> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    whole(request.parse(head), head)?;
    let asked = match request.method {
        Some("HEAD") => Asked::Head,
        Some("CONNECT") => Asked::Connect,
        _ => Asked::Other,
    };
    let close = closes(request.version, request.headers)?;
    let body = match length(request.headers)? {
        // Without a length a request has no body.
        None => Direction::Body { left: 0 },
        Some(body) => body,
    };
    Ok(Head {
        body,
        asked,
        interim: false,
        close,
    })
}

fn answer(head: &[u8], asked: Asked) -> Result<Head, Decline> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    whole(answer.parse(head), head)?;
    let code = answer.code.ok_or(Decline::BadState)?;
    let empty = Direction::Body { left: 0 };
    // RFC 9112, 6.3.
    let body = match (code, asked) {
        (101, _) | (200..=299, Asked::Connect) => Direction::Tunnel,
        (100..=199 | 204 | 304, _) | (_, Asked::Head) => empty,
        _ => length(answer.headers)?.unwrap_or(Direction::UntilClosed),
    };
    let interim = (100..=199).contains(&code) && code != 101;
    Ok(Head {
        body,
        asked,
        interim,
        close: !interim && closes(answer.version, answer.headers)?,
    })
}

/// All of the head was read as one: what ends a line for one reader does not for another.
fn whole(parsed: httparse::Result<usize>, head: &[u8]) -> Result<(), Decline> {
    match parsed {
        Ok(httparse::Status::Complete(end)) if end == head.len() => Ok(()),
        _ => Err(Decline::BadState),
    }
}

/// Whether the connection ends after this message (RFC 9112, 9.3).
fn closes(version: Option<u8>, fields: &[httparse::Header<'_>]) -> Result<bool, Decline> {
    let named = |name: &'static str| fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let says = |option: &'static [u8]| {
        named("connection")
            .flat_map(|field| field.value.split(|byte| *byte == b','))
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
    };
    if version == Some(0) {
        // Chunks in HTTP/1.0 are a faulty framing (RFC 9112, 6.1).
        if named("transfer-encoding").next().is_some() {
            return Err(Decline::BadState);
        }
        return Ok(!says(b"keep-alive") || says(b"close"));
    }
    Ok(says(b"close"))
}

/// How long the body is by its head; `None` where the head does not say. Two lengths, or a length beside chunks, is what
/// smuggling is made of: such a connection never moves.
fn length(fields: &[httparse::Header<'_>]) -> Result<Option<Direction>, Decline> {
    let named = |name: &'static str| fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let mut lengths = named("content-length");
    let mut codings = named("transfer-encoding");
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, None, None, None) => Ok(None),
        (Some(one), None, None, None) => {
            let text = core::str::from_utf8(one.value.trim_ascii()).map_err(|_| Decline::BadState)?;
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Decline::BadState);
            }
            let left = text.parse().map_err(|_| Decline::BadState)?;
            Ok(Some(Direction::Body { left }))
        }
        (None, None, Some(coding), None) if coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Direction::Chunked(Chunk::Size(Vec::new()))))
        }
        _ => Err(Decline::BadState),
    }
}

impl Codec for Http1 {
    const NAME: &'static str = "http1/1";

    fn client_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        self.pass(bytes, true)
    }

    fn server_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        self.pass(bytes, false)
    }

    fn rest(&self) -> Rest {
        if self.broken {
            return Rest::Never(Decline::BadState);
        }
        match (&self.request, &self.answer) {
            (Direction::Tunnel, Direction::Tunnel) => Rest::Now,
            (Direction::Between, Direction::Between) if self.closing => Rest::Never(Decline::Closing),
            (Direction::Between, Direction::Between) if self.asked.is_empty() => Rest::Now,
            (_, Direction::UntilClosed) => Rest::Never(Decline::Closing),
            _ => Rest::Wait,
        }
    }

    fn export(&self, state: &mut Vec<u8>) {
        state.push(u8::from(self.request == Direction::Tunnel));
    }

    fn import(state: &[u8]) -> Result<Self, Decline> {
        match state {
            [0] => Ok(Self::default()),
            [1] => Ok(Self {
                request: Direction::Tunnel,
                answer: Direction::Tunnel,
                ..Self::default()
            }),
            _ => Err(Decline::BadState),
        }
    }
}
