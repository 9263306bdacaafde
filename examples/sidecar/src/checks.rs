//! The static self-check: before any traffic, does this build do its work at all?

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use unattended_health::{
    Attempt, Check, CheckAnswer, Exchange, Gate, GateFailure, GateVerdict, GoldenRequest, GoldenResponse,
    SelfCheckReport, Startup, StartupError,
};

use crate::connection;
use crate::state::{Event, SelfCheck, Sidecar};
use crate::status;
use crate::{clock, files};

/// Descriptors that must be free for a process to serve, a hand-over's among them.
const DESCRIPTORS: u64 = 256;

/// What must pass before traffic comes.
const REQUIRED: [&str; 5] = ["build", "descriptors", "directory", "codecs", "golden_request.identity"];

/// Longest answer of the own listener that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// How often synthetic requests are sent, so many at once that there are as many a second as was asked for.
const SELF_TEST_EVERY: Duration = Duration::from_millis(20);

/// Sends synthetic requests through the process's own work as long as it lives. They do not leave it: no client and no
/// application has a part in them, and they tell of its errors where there is too little traffic to do so.
pub(crate) async fn test_itself(sidecar: Arc<Sidecar>) {
    let at_once = sidecar.options.self_tests / 50;
    let mut every = tokio::time::interval(SELF_TEST_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let mut tests = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let sidecar = Arc::clone(&sidecar);
            tests.spawn(async move { sidecar.work().await });
        }
        while let Some(tested) = tests.join_next().await {
            sidecar.meters.self_tested(tested.unwrap_or(false));
        }
    }
}

/// Runs the checks in a thread of their own, and tells the conductor.
pub(crate) async fn run(sidecar: Arc<Sidecar>) {
    let loopback = open_loopback(&sidecar);
    let (one, version) = (Arc::clone(&sidecar), sidecar.options.version.clone());
    let ran = tokio::task::spawn_blocking(move || check_all(&one, &version, loopback)).await;
    let result = match ran {
        Ok(Ok(report)) => {
            let verdict = Gate::new(REQUIRED)
                .of_version(sidecar.options.version.as_str())
                .evaluate(&report);
            *sidecar.report.lock() = Some(report.to_json());
            judge(&verdict)
        }
        Ok(Err(error)) => SelfCheck::Failed(error.to_string()),
        Err(error) => SelfCheck::Failed(error.to_string()),
    };
    sidecar.tell(Event::Checked(result));
}

fn judge(verdict: &GateVerdict) -> SelfCheck {
    match verdict {
        GateVerdict::Pass { .. } => SelfCheck::Passed,
        GateVerdict::Pending { waiting } => SelfCheck::Failed(waiting.first().cloned().unwrap_or_default()),
        GateVerdict::Fail { reasons } => {
            let first = reasons.iter().find_map(GateFailure::check);
            SelfCheck::Failed(first.unwrap_or("report").to_owned())
        }
    }
}

fn check_all(
    sidecar: &Sidecar,
    version: &str,
    loopback: Result<SocketAddr, String>,
) -> Result<SelfCheckReport, StartupError> {
    let golden = GoldenRequest::new("identity", "GET", "/identity").header("host", "localhost");
    let known = GoldenResponse {
        status: StatusCode::OK.as_u16(),
        headers: vec![("x-sidecar-instance".to_owned(), sidecar.options.instance.to_string())],
        body: lasting(&status::identity(sidecar)),
    };
    let golden = golden.expecting(&known, &["x-sidecar-instance"]);
    let mut checks = vec![
        Check::new("build").required(),
        Check::new("descriptors").required(),
        Check::new("directory").required(),
        Check::new("codecs").required(),
        golden.check().required().limit_ms(2_000).attempts(2, 50),
    ];
    // Whether others are there does not decide whether this build is good.
    checks.extend(
        sidecar
            .routes
            .iter()
            .map(|route| Check::new(upstream(route)).limit_ms(500)),
    );
    let mut loopback = Loopback(loopback);
    let answer = |attempt: &Attempt| match attempt.id.as_str() {
        "build" if sidecar.faults.self_check => CheckAnswer::Fail("a fault that was asked for".to_owned()),
        "build" => CheckAnswer::Pass(format!("version {version}")),
        "descriptors" => descriptors(),
        "directory" => match files::try_write(&sidecar.options.dir, sidecar.options.slot.as_str()) {
            Ok(()) => CheckAnswer::Pass(sidecar.options.dir.display().to_string()),
            Err(error) => CheckAnswer::Fail(format!("{}: {error}", sidecar.options.dir.display())),
        },
        "codecs" => match connection::try_codecs(&sidecar.routes) {
            Ok(()) => CheckAnswer::Pass("what is written can be read".to_owned()),
            Err(decline) => CheckAnswer::Fail(decline.to_string()),
        },
        id => match sidecar.routes.iter().find(|route| upstream(route) == id) {
            None => golden.answer(&mut loopback, attempt),
            Some(route) if route.protocol == crate::options::Protocol::Udp => {
                CheckAnswer::Pass("datagrams have no connection to try".to_owned())
            }
            Some(route) => match TcpStream::connect_timeout(&route.upstream, left(attempt.deadline_ms)) {
                Ok(_) => CheckAnswer::Pass(route.upstream.to_string()),
                Err(error) => CheckAnswer::Fail(format!("{}: {error}", route.upstream)),
            },
        },
    };
    let startup = Startup::new(sidecar.options.target.as_str(), version, checks)?;
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, at start")]
    let wait = |until_ms| std::thread::sleep(left(until_ms));
    Ok(startup.run(clock::now_ms, wait, answer, |_| {}))
}

fn upstream(route: &crate::options::Route) -> String {
    format!("upstream {route}").replace(' ', "_")
}

/// Until then; never nothing, which would be no limit to some.
fn left(until_ms: u64) -> Duration {
    Duration::from_millis(until_ms.saturating_sub(clock::now_ms()).max(1))
}

fn descriptors() -> CheckAnswer {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = status::open_descriptors().map_or(0, |open| open as u64);
    let free = limit.saturating_sub(open);
    if free >= DESCRIPTORS {
        CheckAnswer::Pass(format!("{free} are free"))
    } else {
        CheckAnswer::Fail(format!(
            "{free} of {limit} are free, {DESCRIPTORS} are needed; raise the limit"
        ))
    }
}

/// The own HTTP stack behind a port that nobody else knows.
fn open_loopback(sidecar: &Arc<Sidecar>) -> Result<SocketAddr, String> {
    let open = || -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        connection::serve_loopback(sidecar, tokio::net::TcpListener::from_std(listener)?);
        Ok(address)
    };
    open().map_err(|error| error.to_string())
}

/// Golden requests go through it.
struct Loopback(Result<SocketAddr, String>);

impl Exchange for Loopback {
    fn exchange(&mut self, request: &GoldenRequest, deadline_ms: u64) -> Result<GoldenResponse, String> {
        let address = self.0.clone()?;
        let talk = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect_timeout(&address, left(deadline_ms))?;
            stream.set_read_timeout(Some(left(deadline_ms)))?;
            let mut text = format!(
                "{} {} HTTP/1.1\r\nconnection: close\r\n",
                request.method(),
                request.path()
            );
            for (name, value) in request.headers() {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            stream.write_all(text.as_bytes())?;
            stream.write_all(request.body())?;
            let mut answer = Vec::new();
            stream.take(LONGEST).read_to_end(&mut answer)?;
            Ok(answer)
        };
        let mut answer = parse(&talk().map_err(|error| error.to_string())?)?;
        let said = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        answer.body = lasting(&said);
        Ok(answer)
    }
}

/// What does not change while the check runs: a controller may fence or close meanwhile.
fn lasting(identity: &Value) -> Vec<u8> {
    let fields = ["target", "instance", "version", "slot"].map(|field| &identity[field]);
    format!("{fields:?}").into_bytes()
}

/// An answer that ends with its connection.
fn parse(answer: &[u8]) -> Result<GoldenResponse, String> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("the answer has no end of its head")?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|error| error.to_string())?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or("the answer has no status")?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(GoldenResponse {
        status,
        headers,
        body: answer[end + 4..].to_vec(),
    })
}
