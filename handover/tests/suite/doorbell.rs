//! Where a process can be called, and by whom.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use rustix::fs::fcntl_getfl;
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with};
use unattended_handover::wire::{Frame, Snapshot};
use unattended_handover::{BatchId, Call, Channel, ConnectionId, Doorbell, Received, Refusal, Token, call};

#[test]
fn only_this_user_may_ring() {
    let place = tempfile::tempdir().unwrap();
    let bell = Doorbell::open(place.path().join("bell")).unwrap();
    let mode = fs::metadata(bell.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(bell.answer().unwrap(), Call::Nobody));
    let mut caller = call(bell.path()).unwrap();
    let Call::Taken(mut taken, who) = bell.answer().unwrap() else {
        panic!("nobody called");
    };
    assert_eq!(who.pid, rustix::process::getpid());
    let frame = Frame::Adopted { batch: BatchId(1) };
    caller.send(&frame, &[]).unwrap();
    assert!(matches!(taken.receive(), Received::Frame(got, none) if got == frame && none.is_empty()));
    drop(caller);
    assert!(matches!(waited(&mut taken), Received::End));
}

/// Only root can take on another user's id; who runs this as somebody else has the test of the file's mode above.
#[test]
fn another_user_is_refused_with_that_reason() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(place.path(), 0o755);
    let bell = Doorbell::open(place.path().join("bell")).unwrap();
    let nobody = rustix::process::Uid::from_raw(65_534);
    let called = || {
        let path = bell.path().to_owned();
        // The kernel keeps an id for each thread, and this one ends with it.
        let calls = std::thread::spawn(move || {
            rustix::thread::set_thread_uid(nobody).unwrap();
            call(&path).unwrap_err()
        });
        calls.join().unwrap()
    };
    assert_eq!(called().kind(), ErrorKind::PermissionDenied);
    assert!(
        matches!(bell.answer().unwrap(), Call::Nobody),
        "the file's mode keeps it out"
    );
    // Should somebody have opened the file to all, whoever answers looks, and whoever calls.
    open(bell.path(), 0o666);
    let error = called();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("it belongs to another user"), "{error}");
    assert!(matches!(bell.answer().unwrap(), Call::Stranger { uid } if uid == nobody));
    assert!(matches!(bell.answer().unwrap(), Call::Nobody));
    // One that looks at nothing, and asks.
    let path = bell.path().to_owned();
    let caller = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(nobody).unwrap();
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        socket
    });
    let caller = caller.join().unwrap();
    assert!(matches!(bell.answer().unwrap(), Call::Stranger { .. }));
    let mut said = [0; 64];
    let (read, _) = recv(&caller, &mut said[..], RecvFlags::empty()).unwrap();
    assert_eq!(
        Frame::decode(&said[..read], 0).unwrap(),
        Frame::Refuse(Refusal::Stranger)
    );
    let (end, _) = recv(&caller, &mut said[..], RecvFlags::empty()).unwrap();
    assert_eq!(end, 0, "and nothing else");
}

#[test]
fn what_a_dead_process_left_is_replaced_and_what_lives_is_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bell");
    let first = Doorbell::open(&path).unwrap();
    let error = Doorbell::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("a living process"), "{error}");
    // A dead process closes its socket and leaves the file.
    let left = place.path().join("left");
    fs::hard_link(&path, &left).unwrap();
    drop(first);
    assert!(!path.exists() && left.exists());
    assert_eq!(call(&left).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let second = Doorbell::open(&left).unwrap();
    assert!(call(second.path()).is_ok());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notes");
    fs::write(&path, "mine").unwrap();
    let error = Doorbell::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn the_socket_of_another_process_at_the_same_path_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bell");
    let first = Doorbell::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Doorbell::open(&path).unwrap();
    drop(first);
    assert!(call(second.path()).is_ok(), "the second one's file was removed");
}

#[test]
fn a_token_is_taken_once() {
    let token = Token::new().unwrap();
    let other = Token::received(rustix::io::dup(&token).unwrap());
    assert!(other.take());
    assert!(!token.take() && !other.take());
}

/// A flag of the open file is a flag in both processes: it would block the one or wake the other.
#[test]
fn descriptors_come_with_the_flags_they_had_and_do_not_outlive_an_exec() {
    let (mut one, mut other) = Channel::pair().unwrap();
    let (socket, _client) = UnixStream::pair().unwrap();
    for (batch, nonblocking) in [false, true].into_iter().enumerate() {
        socket.set_nonblocking(nonblocking).unwrap();
        let before = fcntl_getfl(&socket).unwrap();
        let frame = Frame::Offer {
            batch: BatchId(batch as u64),
            connections: vec![Snapshot {
                id: ConnectionId(1),
                codec: "relay/1".into(),
                descriptors: 1,
                state: Vec::new(),
            }],
        };
        let token = Token::new().unwrap();
        one.send(&frame, &[token.as_fd(), socket.as_fd()]).unwrap();
        let Received::Frame(got, came) = other.receive() else {
            panic!("nothing came");
        };
        assert_eq!((got, came.len()), (frame, 2));
        for descriptor in &came {
            assert!(fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
        }
        let after = [&came[1], &OwnedFd::from(socket.try_clone().unwrap())].map(|one| fcntl_getfl(one).unwrap());
        assert_eq!(after, [before, before]);
    }
}

#[test]
fn frames_wait_for_room_and_keep_their_order() {
    let (mut one, mut other) = Channel::pair().unwrap();
    let mut sent = 0;
    // More than any socket's buffer holds.
    for batch in 0..50_000 {
        one.send(&Frame::Adopted { batch: BatchId(batch) }, &[]).unwrap();
        sent += 1;
    }
    let mut next = 0;
    loop {
        match other.receive() {
            Received::Frame(Frame::Adopted { batch }, _) => {
                assert_eq!(batch, BatchId(next));
                next += 1;
            }
            Received::Nothing if one.flush().unwrap() && next == sent => break,
            Received::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
    // What the other said before it ended is read first, even where it died with unread messages.
    one.send(&Frame::Adopted { batch: BatchId(1) }, &[]).unwrap();
    other.send(&Frame::Adopted { batch: BatchId(2) }, &[]).unwrap();
    drop(other);
    assert!(matches!(
        one.receive(),
        Received::Frame(Frame::Adopted { batch: BatchId(2) }, _)
    ));
    assert!(matches!(waited(&mut one), Received::End));
}

/// What comes next. The end comes a moment late where another test starts a process just then: until that has become
/// another program, it holds every descriptor of this one.
fn waited(channel: &mut Channel) -> Received {
    loop {
        match channel.receive() {
            Received::Nothing => std::thread::yield_now(),
            other => return other,
        }
    }
}
