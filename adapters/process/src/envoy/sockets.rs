//! What a process holds and polls, by the kernel's word: a process whose admin interface is closed can say nothing itself.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::kernel::{Row, tcp_sockets};

/// The sockets of one process at the addresses it listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// It holds every queue that there is at every address: nobody else has one beside it that it does not hold too.
    pub(super) listens: bool,
    /// It polls every one that it holds.
    pub(super) polls: bool,
    /// Connections that it owns, the idle ones too.
    pub(super) connections: u32,
}

impl Sockets {
    /// Looks at a process of this network namespace. Blocks for as long as the kernel takes to answer.
    pub(super) fn of(pid: i32, addresses: &[SocketAddr]) -> io::Result<Self> {
        // The kernel leaves some out where sockets come and go while it tells: what is in one of two answers is there.
        let mut rows = tcp_sockets()?;
        let held = held(Path::new(&format!("/proc/{pid}")))?;
        rows.append(&mut tcp_sockets()?);
        let rows: Vec<Row> = rows.into_values().collect();
        Ok(Self::from_tables(addresses, &rows, &held))
    }

    fn from_tables(addresses: &[SocketAddr], rows: &[Row], held: &Held) -> Self {
        let at = |address: SocketAddr| rows.iter().filter(move |row| takes(address, row.local));
        let owns = |row: &&Row| held.sockets.contains_key(&row.inode);
        let polled = |row: &Row| {
            held.sockets
                .get(&row.inode)
                .is_some_and(|fds| !fds.is_disjoint(&held.polled))
        };
        let queues = |address| at(address).filter(|row| row.listens);
        let connections = addresses
            .iter()
            .flat_map(|address| at(*address))
            .filter(|row| !row.listens);
        let none = addresses.is_empty();
        Self {
            listens: !none
                && addresses
                    .iter()
                    .all(|at| queues(*at).next().is_some() && queues(*at).all(|row| owns(&row))),
            polls: !none
                && addresses
                    .iter()
                    .all(|at| queues(*at).any(|row| owns(&row)) && queues(*at).filter(owns).all(polled)),
            connections: u32::try_from(connections.filter(owns).count()).unwrap_or(u32::MAX),
        }
    }
}

/// Whether a Unix socket is bound there by a process that lives. The file outlives the process; the kernel's table does
/// not.
pub(super) fn is_bound(path: &Path) -> bool {
    let Ok(table) = std::fs::read("/proc/net/unix") else {
        // Unknown: nobody is stood in for who may live.
        return true;
    };
    let wanted = path.as_os_str().as_encoded_bytes();
    table
        .split(|byte| *byte == b'\n')
        .any(|line| line.ends_with(wanted) && line.len() > wanted.len() && line[line.len() - wanted.len() - 1] == b' ')
}

fn takes(listens: SocketAddr, local: SocketAddr) -> bool {
    let (wanted, found) = (listens.ip().to_canonical(), local.ip().to_canonical());
    listens.port() == local.port() && (wanted == found || wanted.is_unspecified() || found.is_unspecified())
}

/// The descriptors of a process: its sockets by inode, and what its event loops watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    sockets: BTreeMap<u64, BTreeSet<u32>>,
    polled: BTreeSet<u32>,
}

fn held(process: &Path) -> io::Result<Held> {
    let mut held = Held::default();
    for entry in std::fs::read_dir(process.join("fd"))? {
        let entry = entry?;
        // A descriptor that is closed while its table is read is not held.
        let Ok(link) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let (name, link) = (entry.file_name(), link.as_os_str().to_string_lossy().into_owned());
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            let Ok(inode) = inode.parse() else { continue };
            held.sockets.entry(inode).or_default().insert(fd);
        } else if link == "anon_inode:[eventpoll]" {
            let info = std::fs::read_to_string(process.join("fdinfo").join(&name)).unwrap_or_default();
            held.polled.extend(info.lines().filter_map(|line| {
                let fd = line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?;
                fd.parse::<u32>().ok()
            }));
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::UnixDatagram;

    use super::{Held, Row, Sockets, is_bound};

    #[test]
    fn own_sockets_are_found_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let seen = Sockets::of(me, &[address]).unwrap();
        assert_eq!((seen.listens, seen.polls, seen.connections), (true, false, 0));
        let mut client = TcpStream::connect(address).unwrap();
        let (served, _) = listener.accept().unwrap();
        assert_eq!(Sockets::of(me, &[address]).unwrap().connections, 1);
        drop((served, listener));
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        assert!(!Sockets::of(me, &[address]).unwrap().listens);
    }

    #[test]
    fn a_queue_that_somebody_else_holds_alone_is_not_passed_over() {
        let at: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let queue = |inode| Row {
            local: at,
            listens: true,
            inode,
        };
        let mut held = Held::default();
        held.sockets.entry(1).or_default().insert(5);
        held.polled.insert(5);
        let both = Sockets::from_tables(&[at], &[queue(1), queue(2)], &held);
        assert!(!both.listens && both.polls);
        held.sockets.entry(2).or_default().insert(6);
        let both = Sockets::from_tables(&[at], &[queue(1), queue(2)], &held);
        assert!(both.listens && !both.polls);
        held.polled.insert(6);
        assert!(Sockets::from_tables(&[at], &[queue(1), queue(2)], &held).polls);
        assert_eq!(Sockets::from_tables(&[], &[queue(1)], &held), Sockets::default());
    }

    #[test]
    fn a_path_is_bound_for_as_long_as_its_process_keeps_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("parent_0");
        assert!(!is_bound(&path));
        let socket = UnixDatagram::bind(&path).unwrap();
        assert!(is_bound(&path));
        assert!(!is_bound(&place.path().join("ent_0")));
        drop(socket);
        assert!(path.exists() && !is_bound(&path));
    }
}
