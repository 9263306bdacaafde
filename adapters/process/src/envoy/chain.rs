//! Hot restarts in a row: who may follow whom, by which sockets and memory, and what the dead leave behind.
//!
//! Envoys that follow each other share a base id, and each has an epoch that is one more than its parent's. Everything
//! here was measured with 1.39.3 and 1.40.0; docs/envoy.md says how.
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sockets::is_bound;

/// At most so many Envoys of one base id have names of their own.
const NAMES: u32 = 3;
/// Base ids are multiplied by ten in names, which Envoy keeps in 32 bits: larger ones get names that nobody expects.
const BASE_IDS: u32 = 200_000_000;
/// Where Envoy keeps the memory that a chain shares.
const MEMORY: &str = "/dev/shm";

/// How one instance was started. Written before it is, so that whoever follows it finds its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) base_id: u32,
    pub(super) epoch: u32,
}

impl Link {
    /// The first of a new chain, whose base id nobody on this machine uses: `seed` only says where the search begins.
    pub(super) fn first(seed: &str) -> Result<Self, String> {
        let begin = seed.bytes().fold(2_166_136_261_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
        });
        let mut candidates = (0..64).map(|step| (begin.wrapping_add(step * 7_919)) % BASE_IDS);
        candidates
            .find(|base_id| !Path::new(MEMORY).join(memory_name(*base_id)).exists())
            .map(|base_id| Self { base_id, epoch: 0 })
            .ok_or_else(|| format!("no base id is free in {MEMORY}: take away what no Envoy uses there"))
    }

    /// The one that takes over from this one.
    pub(super) const fn next(&self) -> Self {
        Self {
            base_id: self.base_id,
            epoch: self.epoch + 1,
        }
    }

    /// The socket of this instance in a role, below the path that all of a target are given.
    pub(super) fn socket(&self, sockets: &Path, role: Role) -> PathBuf {
        let number = self.base_id * 10 + self.epoch % NAMES;
        let mut path = sockets.as_os_str().to_owned();
        path.push(format!("_{}_{number}", role.name()));
        path.into()
    }

    /// The parent's socket, for one that has a parent.
    pub(super) fn parent_socket(&self, sockets: &Path) -> Option<PathBuf> {
        let parent = Self {
            base_id: self.base_id,
            epoch: self.epoch.checked_sub(1)?,
        };
        Some(parent.socket(sockets, Role::Parent))
    }

    /// The memory that the chain shares.
    fn memory(&self) -> PathBuf {
        Path::new(MEMORY).join(memory_name(self.base_id))
    }

    /// It is bound in the role in which others ask it: its process lives.
    pub(super) fn lives(&self, sockets: &Path) -> bool {
        is_bound(&self.socket(sockets, Role::Parent))
    }
}

fn memory_name(base_id: u32) -> String {
    format!("envoy_shared_memory_{}", base_id * 10)
}

/// What a socket of an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is asked here by the one that follows.
    Parent,
    /// It is answered here by the one before.
    Child,
    UdpParent,
    UdpChild,
}

impl Role {
    const ALL: [Self; 4] = [Self::Parent, Self::Child, Self::UdpParent, Self::UdpChild];
    /// Of the longest name, with the largest number and what separates them.
    pub(super) const LONGEST: usize = "_udp_parent_4294967295".len();

    const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Child => "child",
            Self::UdpParent => "udp_parent",
            Self::UdpChild => "udp_child",
        }
    }
}

/// Somebody who hears what is said to a dead parent.
///
/// An Envoy tells its parent to end when it is followed itself, and when it ends. Where the parent is gone nobody hears it;
/// Envoy then tries for ten seconds, deaf to all else, and aborts. A socket under the dead one's name is enough.
#[derive(Debug)]
pub(super) struct StandIn {
    _socket: UnixDatagram,
    path: PathBuf,
}

impl StandIn {
    /// Stands in for the parent of `link`, unless that one lives or there was none.
    pub(super) fn for_parent_of(link: &Link, sockets: &Path) -> io::Result<Option<Self>> {
        let Some(path) = link.parent_socket(sockets).filter(|path| !is_bound(path)) else {
            return Ok(None);
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        Ok(Some(Self { _socket: socket, path }))
    }

    /// The name under which it hears.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Left behind, it is unlinked by the next who binds it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the mark of one that is being started lies in the shared memory, and how large that is, for the only layout known.
const KNOWN: (u32, u32) = (11, 104);
const MARK_AT: u64 = 96;
const STARTING: u64 = 1;

/// Takes away the mark that a child leaves in the shared memory when it is killed while it starts: Envoy refuses every
/// later one with "previous envoy process is still initializing". The caller knows that none is starting.
///
/// Where the layout is not the known one, nothing is touched, and the refusal stands.
pub(super) fn forget_killed_child(link: &Link) -> Result<(), String> {
    let path = link.memory();
    let broken = |error: io::Error| format!("{}: {error}", path.display());
    let memory = OpenOptions::new().read(true).write(true).open(&path).map_err(broken)?;
    let word = |at: u64| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, at).map(|()| u64::from_ne_bytes(bytes))
    };
    let is_known = memory.metadata().map_err(broken)?.len() == u64::from(KNOWN.1)
        && word(0).map_err(broken)? == u64::from(KNOWN.1)
        && word(8).map_err(broken)? == u64::from(KNOWN.0);
    if !is_known {
        return Ok(());
    }
    let mark = word(MARK_AT).map_err(broken)?;
    if mark & STARTING == 0 {
        return Ok(());
    }
    memory
        .write_all_at(&(mark & !STARTING).to_ne_bytes(), MARK_AT)
        .map_err(broken)
}

/// Takes away what a chain leaves when nobody of it lives: its memory and the files of its sockets. Envoy does not.
pub(super) fn clear(link: &Link, sockets: &Path) {
    let names = (0..NAMES).map(|epoch| Link {
        base_id: link.base_id,
        epoch,
    });
    let names: Vec<_> = names.collect();
    if names.iter().any(|link| link.lives(sockets)) {
        return;
    }
    let files = names
        .iter()
        .flat_map(|link| Role::ALL.map(|role| link.socket(sockets, role)));
    for file in files.chain([link.memory()]) {
        // What is not there is what is wanted.
        let _ = std::fs::remove_file(file);
    }
}

/// Reads how an instance was started.
pub(super) fn read_link(file: &Path) -> Result<Link, String> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Link, MEMORY, Role, StandIn, clear, forget_killed_child, memory_name};

    /// A base id that no Envoy of this machine has, for a test of its own.
    fn link(name: &str) -> Link {
        Link::first(&format!("{name} {}", std::process::id())).unwrap()
    }

    #[test]
    fn sockets_have_the_names_that_envoy_gives_them() {
        // As `ss -xl` showed them for base id 4711 and epochs 0, 1 and 3.
        let at = |epoch| Link { base_id: 4711, epoch };
        let name = |epoch, role| at(epoch).socket(Path::new("/d/hr"), role).display().to_string();
        assert_eq!(name(0, Role::Parent), "/d/hr_parent_47110");
        assert_eq!(name(1, Role::Child), "/d/hr_child_47111");
        assert_eq!(name(3, Role::UdpParent), "/d/hr_udp_parent_47110");
        assert_eq!(at(0).parent_socket(Path::new("/d/hr")), None);
        assert_eq!(
            at(4).parent_socket(Path::new("/d/hr")).unwrap(),
            Path::new("/d/hr_parent_47110")
        );
        assert!(
            super::BASE_IDS
                .checked_mul(10)
                .is_some_and(|largest| i32::try_from(largest).is_ok())
        );
    }

    #[test]
    fn a_base_id_that_is_in_use_is_not_taken() {
        let one = link("in use");
        let memory = Path::new(MEMORY).join(memory_name(one.base_id));
        std::fs::write(&memory, [0; 104]).unwrap();
        let other = link("in use");
        std::fs::remove_file(&memory).unwrap();
        assert_ne!(one.base_id, other.base_id);
        assert_eq!(link("in use"), one);
    }

    #[test]
    fn the_mark_of_a_killed_child_is_taken_away_where_the_layout_is_known() {
        let link = link("mark");
        let memory = Path::new(MEMORY).join(memory_name(link.base_id));
        let mut bytes = [0_u8; 104];
        (bytes[0], bytes[8], bytes[96]) = (104, 11, 3);
        let after = |bytes: &[u8]| {
            std::fs::write(&memory, bytes).unwrap();
            forget_killed_child(&link).unwrap();
            std::fs::read(&memory).unwrap()[96]
        };
        assert_eq!(after(&bytes), 2);
        bytes[8] = 12;
        assert_eq!(after(&bytes), 3);
        bytes[8] = 11;
        assert_eq!(after(&[&bytes[..], &[0; 8]].concat()), 3);
        std::fs::remove_file(&memory).unwrap();
        assert!(forget_killed_child(&link).unwrap_err().contains("envoy_shared_memory"));
    }

    #[test]
    fn a_stand_in_hears_for_the_dead_and_never_for_the_living() {
        let place = tempfile::tempdir().unwrap();
        let sockets = place.path().join("hr");
        let (old, new) = (link("stand in"), link("stand in").next());
        assert!(
            StandIn::for_parent_of(&old, &sockets).unwrap().is_none(),
            "there is no parent"
        );
        let path = old.socket(&sockets, Role::Parent);
        let living = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(old.lives(&sockets));
        assert!(StandIn::for_parent_of(&new, &sockets).unwrap().is_none(), "it lives");
        drop(living);
        let hears = StandIn::for_parent_of(&new, &sockets).unwrap();
        assert!(hears.is_some());
        let speaks = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert_eq!(speaks.send_to(b"end", &path).unwrap(), 3);
        drop(hears);
        assert!(!path.exists());
    }

    #[test]
    fn what_the_dead_leave_is_taken_away_and_nothing_of_the_living() {
        let place = tempfile::tempdir().unwrap();
        let sockets = place.path().join("hr");
        let link = link("clear");
        let memory = Path::new(MEMORY).join(memory_name(link.base_id));
        std::fs::write(&memory, b"").unwrap();
        let (parent, child) = (
            link.socket(&sockets, Role::Parent),
            link.next().socket(&sockets, Role::Child),
        );
        std::fs::write(&child, b"").unwrap();
        let living = std::os::unix::net::UnixDatagram::bind(&parent).unwrap();
        clear(&link, &sockets);
        assert!(memory.exists() && parent.exists() && child.exists());
        drop(living);
        clear(&link, &sockets);
        assert!(!memory.exists() && !parent.exists() && !child.exists());
    }
}
