//! Frames between proxies and the center: a length, a kind, and what it is.

use std::io::{self, Read, Write};

/// The longest frame that is read: a bulletin.
const MAX_BYTES: usize = unattended::selfheal::Bulletin::MAX_BYTES + 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Report = 2,
    Bulletin = 3,
    Probe = 4,
    Probed = 5,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Hello, Self::Report, Self::Bulletin, Self::Probe, Self::Probed];
}

pub(super) fn write(to: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.push(kind as u8);
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

pub(super) fn read(from: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [a, b, c, d, kind] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
    let (Some(kind), true) = (kind, length <= MAX_BYTES) else {
        return Err(io::Error::other("no frame of ours"));
    };
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Numbers, one after the other.
pub(super) fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// So many numbers, or `None`.
pub(super) fn parse<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = body.as_chunks::<8>();
    let values: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    values.try_into().ok().filter(|_| rest.is_empty())
}
