//! The TCP sockets of this network namespace, asked of the kernel in its own terms (`NETLINK_SOCK_DIAG`, as `ss` does).
//!
//! The tables in `/proc/net` say the same, and print also those that only wait for stray packets: with 15,000 of these a
//! look cost 20 ms of the processor, and this one costs 1.
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) local: SocketAddr,
    pub(super) listens: bool,
    pub(super) inode: u64,
}

/// States of TCP by the kernel's numbers: those in which a process holds a descriptor, from established to closing, and
/// listening. What only waits for stray packets is nobody's.
const LISTEN: u8 = 10;
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << LISTEN | 1 << 11;
const FAMILIES: [u8; 2] = [INET, INET6];
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;

/// Every message begins with its length, its kind, flags, a number and a port.
const HEADER: usize = 16;
const BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The length of a question with its header, and of an answer without.
const QUESTION: usize = 72;
const ANSWER: usize = 72;

/// By inode.
pub(super) fn tcp_sockets() -> io::Result<BTreeMap<u64, Row>> {
    let mut rows = BTreeMap::new();
    for family in FAMILIES {
        ask(family, &mut rows)?;
    }
    Ok(rows)
}

fn ask(family: u8, rows: &mut BTreeMap<u64, Row>) -> io::Result<()> {
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, &question(family), SendFlags::empty())?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (read, whole) = recv(&socket, &mut buffer[..], RecvFlags::TRUNC)?;
        if whole > read {
            return Err(io::Error::other("the kernel's answer is cut short"));
        }
        if answers(&buffer[..read], rows)? {
            return Ok(());
        }
    }
}

fn question(family: u8) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    bytes[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_AND_DUMP.to_ne_bytes());
    bytes[HEADER] = family;
    bytes[HEADER + 1] = TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&STATES.to_ne_bytes());
    bytes
}

/// Takes in one datagram of answers; `true` if it was the last.
fn answers(mut bytes: &[u8], rows: &mut BTreeMap<u64, Row>) -> io::Result<bool> {
    let cut = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer has a length that cannot be",
        )
    };
    while !bytes.is_empty() {
        let length = number(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let length = length
            .filter(|length| (HEADER..=bytes.len()).contains(length))
            .ok_or_else(cut)?;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let body = &bytes[HEADER..length];
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = number(body, 0).ok_or_else(cut)?.cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            BY_FAMILY => {
                let row = row(body).ok_or_else(cut)?;
                // One that no descriptor is left of has none.
                if row.inode != 0 {
                    rows.insert(row.inode, row);
                }
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Family, state, then at 4 the local port, at 8 the local address, both as on the wire, and at 68 the inode.
fn row(body: &[u8]) -> Option<Row> {
    let body: &[u8; ANSWER] = body.get(..ANSWER)?.try_into().ok()?;
    let port = u16::from_be_bytes([body[4], body[5]]);
    let address: &[u8; 16] = body[8..24].try_into().ok()?;
    let ip = match body[0] {
        INET => IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])),
        INET6 => IpAddr::V6(Ipv6Addr::from(*address)),
        _ => return None,
    };
    Some(Row {
        local: SocketAddr::new(ip, port),
        listens: body[1] == LISTEN,
        inode: number(body, 68)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, TcpStream};

    use super::{ANSWER, BY_FAMILY, DONE, ERROR, HEADER, INET, INET6, LISTEN, answers, tcp_sockets};

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn socket(family: u8, state: u8, port: u16, address: &[u8], inode: u32) -> Vec<u8> {
        let mut body = vec![0; ANSWER];
        (body[0], body[1]) = (family, state);
        body[4..6].copy_from_slice(&port.to_be_bytes());
        body[8..8 + address.len()].copy_from_slice(address);
        body[68..72].copy_from_slice(&inode.to_ne_bytes());
        message(BY_FAMILY, &body)
    }

    #[test]
    fn answers_are_read_as_the_kernel_writes_them() {
        let mut six = [0; 16];
        six[15] = 1;
        let all = [
            socket(INET, LISTEN, 21010, &[127, 0, 0, 1], 7),
            socket(INET6, 1, 8080, &six, 8),
            socket(INET, 5, 80, &[127, 0, 0, 1], 0),
            message(DONE, &[0; 4]),
        ]
        .concat();
        let mut rows = BTreeMap::new();
        assert!(answers(&all, &mut rows).unwrap());
        let told: Vec<_> = rows
            .values()
            .map(|row| (row.local.to_string(), row.listens, row.inode))
            .collect();
        assert_eq!(
            told,
            [
                ("127.0.0.1:21010".to_owned(), true, 7),
                ("[::1]:8080".to_owned(), false, 8)
            ]
        );
    }

    #[test]
    fn what_cannot_be_an_answer_is_an_error_and_no_empty_table() {
        let mut rows = BTreeMap::new();
        let whole = socket(INET, 1, 80, &[127, 0, 0, 1], 7);
        for cut in 1..whole.len() {
            assert!(answers(&whole[..cut], &mut rows).is_err(), "{cut}");
        }
        for wrong in [
            message(BY_FAMILY, &[INET; 71]),
            socket(9, 1, 80, &[], 7),
            message(ERROR, &[]),
        ] {
            assert!(answers(&wrong, &mut rows).is_err());
        }
        let refused = answers(&message(ERROR, &(-2_i32).to_ne_bytes()), &mut rows).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::NotFound);
        assert!(rows.is_empty());
        assert!(!answers(&whole, &mut rows).unwrap(), "more is to come");
    }

    #[test]
    fn the_kernel_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let rows = tcp_sockets().unwrap();
        let listens = |local| rows.values().find(|row| row.local == local).map(|row| row.listens);
        assert_eq!(listens(client.local_addr().unwrap()), Some(false));
        assert!(
            rows.values()
                .any(|row| row.local == listener.local_addr().unwrap() && row.listens)
        );
    }
}
