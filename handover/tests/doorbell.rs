//! Where a process can be called, and by whom.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use unattended_handover::wire::Frame;
use unattended_handover::{BatchId, Call, Channel, Doorbell, Received, Token, call};

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
    assert!(matches!(taken.receive(), Received::End));
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
    assert!(matches!(one.receive(), Received::End));
}
