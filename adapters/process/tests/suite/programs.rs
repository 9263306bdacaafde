//! What a process is that is started by these tests: this test alone, with a setup.
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use unattended_process::{Ask, Foreign, Start, Target, Template};

/// The variable that makes a program of this test.
pub(crate) const PROGRAM: &str = "UNATTENDED_TEST_PROGRAM";

#[test]
fn process() {
    let Ok(setup) = std::env::var(PROGRAM) else { return };
    match setup.split_whitespace().collect::<Vec<_>>()[..] {
        ["server", socket, version, instance, epoch, count] => server(socket, version, instance, epoch, count),
        ["controller", root, port, rounds] => {
            super::still::controller(root.as_ref(), port.parse().unwrap(), rounds.parse().unwrap());
        }
        ["counter", root] => super::adoption::counter(root.as_ref()),
        ["sidecar", ..] => {
            // One that leaves well lets the harness end; how else it ends only matters to those who wait for it.
            if unattended_sidecar::main(setup.split_whitespace().map(str::to_owned)) != std::process::ExitCode::SUCCESS
            {
                std::process::exit(1);
            }
        }
        ["adapter", root, fleet, orders, generation] => {
            let number = |text: &str| text.parse().unwrap();
            let fleet = usize::try_from(number(fleet)).unwrap();
            super::adoption::adapter(root.as_ref(), fleet, number(orders), number(generation));
        }
        _ => panic!("{setup}"),
    }
}

/// How this test is started as another program.
pub(crate) fn start(setup: &str) -> Start {
    Start::new(std::env::current_exe().unwrap().display().to_string())
        .arguments(["--exact", "programs::process", "--nocapture", "--quiet"])
        .environment(PROGRAM, setup)
}

/// A foreign program: it answers on a Unix socket whether it is ready, and closes and opens.
pub(crate) fn template(root: &std::path::Path) -> Template {
    Template::foreign(program(root)).grace_ms(3_000)
}

pub(crate) fn program(root: &std::path::Path) -> Foreign {
    let counts = root.join("starts");
    Foreign::new(
        start(&format!(
            "server {{admin}} {{version}} {{instance}} {{epoch}} {}/{{target}}",
            counts.display()
        )),
        Ask::new("unix:{admin}:/ready"),
    )
    .ingress(
        Ask::new("POST unix:{admin}:/close"),
        Ask::new("POST unix:{admin}:/open"),
    )
    .drain(Ask::new("POST unix:{admin}:/drain"))
}

pub(crate) fn target(root: &std::path::Path, name: &str, version: &str) -> Target {
    Target::new(name, version, template(root))
        .app("pay")
        .label("zone", "z1")
}

/// What it does is said by its version: `crash…`, `unready…`, `chatty…`, `stubborn…`, or anything good.
fn server(socket: &str, version: &str, instance: &str, epoch: &str, count: &str) {
    // Each start leaves a file: so starts are counted. One beside another one of the same target says so.
    std::fs::create_dir_all(count).unwrap();
    let alone = std::fs::File::create(format!("{count}.alone")).unwrap();
    let twice = rustix::fs::flock(&alone, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err();
    let name = format!(
        "{instance}-{version}-{epoch}-{}{}",
        std::process::id(),
        if twice { "-twice" } else { "" }
    );
    std::fs::write(PathBuf::from(count).join(name), "").unwrap();
    if version.starts_with("crash") {
        std::process::exit(1);
    }
    if version.starts_with("chatty") {
        for line in 0..2_000 {
            println!("line {line} of {version}");
        }
    }
    let listener = UnixListener::bind(socket).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let Some(path) = request(&mut stream) else { continue };
        let status = match path.as_str() {
            "/ready" if version.starts_with("unready") => "503 Service Unavailable",
            "/close" | "/open" | "/drain" | "/ready" => "200 OK",
            _ => "404 Not Found",
        };
        println!("{path} {status}");
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    }
}

fn request(stream: &mut (impl Read + Write)) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    while lines.next()?.ok().is_some_and(|line| !line.is_empty()) {}
    first.split(' ').nth(1).map(str::to_owned)
}
