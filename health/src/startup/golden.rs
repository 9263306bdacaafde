//! Requests whose answer is known byte for byte: the instance's core functions, exercised before traffic comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Attempt, Check, CheckAnswer};

/// Differences that a failure names; more say nothing new.
const MAX_DIFFERENCES: usize = 5;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built literally by every exchange")]
pub struct GoldenResponse {
    /// Status code of the protocol.
    pub status: u16,
    /// In the order received; a name may come several times.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// Sends a golden request through the instance itself: in through its listener, through codec, routes and filters, to a
/// stub that answers the same each time.
pub trait Exchange {
    /// Sends `request` and returns what comes back before `deadline_ms`, on the clock of the [`Startup`](crate::Startup).
    ///
    /// # Errors
    ///
    /// In words for people, when nothing usable comes back in time.
    fn exchange(&mut self, request: &GoldenRequest, deadline_ms: u64) -> Result<GoldenResponse, String>;
}

/// A request, and the answer it must have: status, the named headers, and the SHA-256 of the body.
///
/// ```
/// use unattended_health::{CheckAnswer, Exchange, GoldenRequest, GoldenResponse};
///
/// /// In a sidecar: a connection to its own listener.
/// struct Loopback;
/// impl Exchange for Loopback {
///     fn exchange(&mut self, request: &GoldenRequest, _deadline_ms: u64) -> Result<GoldenResponse, String> {
///         let body = format!("{} {}", request.method(), request.path()).into_bytes();
///         Ok(GoldenResponse { status: 200, headers: vec![("X-Route".into(), "echo".into())], body })
///     }
/// }
///
/// // What a version that is known to be good answers becomes the expectation.
/// let golden = GoldenRequest::new("http1", "GET", "/echo");
/// let golden = { let known = Loopback.exchange(&golden, 0)?; golden.expecting(&known, &["x-route"]) };
///
/// let check = golden.check().limit_ms(500);
/// assert_eq!(check.id(), "golden_request.http1");
/// let mut other = Loopback.exchange(&golden, 0)?;
/// assert!(matches!(golden.compare(&other), CheckAnswer::Pass(_)));
/// other.status = 502;
/// assert_eq!(golden.compare(&other), CheckAnswer::Fail("status 502, not 200".into()));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct GoldenRequest {
    id: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    status: u16,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    body_sha256: [u8; 32],
}

/// Why a golden request cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// A body is not hexadecimal.
    #[error("golden request `{id}`: the body is not hexadecimal; write two digits 0-9, a-f for each byte")]
    Hex {
        /// Which.
        id: String,
    },
    /// A digest is not one.
    #[error(
        "golden request `{id}`: body_sha256 has {length} characters or other signs than 0-9, a-f; a SHA-256 has 64"
    )]
    Digest {
        /// Which.
        id: String,
        /// How long it is.
        length: usize,
    },
}

fn sha256(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .bytes()
        .map(|byte| char::from(byte).to_digit(16))
        .collect::<Option<Vec<_>>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    pairs.collect()
}

impl GoldenRequest {
    /// A request without headers and body, that expects status 200 and an empty body.
    #[must_use]
    pub fn new(id: impl Into<String>, method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            method: method.into(),
            path: path.into(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            expected: Expected {
                status: 200,
                headers: BTreeMap::new(),
                body_sha256: sha256(&[]),
            },
        }
    }

    /// The same request with a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same request, expecting what a known good instance answered: its status, its body, and of its headers those named.
    /// A named header that it did not send must not come.
    #[must_use]
    pub fn expecting(mut self, known: &GoldenResponse, headers: &[&str]) -> Self {
        self.expected = Expected {
            status: known.status,
            headers: headers
                .iter()
                .map(|name| (name.to_ascii_lowercase(), known.header(name).unwrap_or_default()))
                .collect(),
            body_sha256: sha256(&known.body),
        };
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Method or command of the protocol.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path or service of the protocol.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Headers to send.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Body to send.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The self-check that runs it: required, and named `golden_request.` and its id.
    #[must_use]
    pub fn check(&self) -> Check {
        Check::new(format!("golden_request.{}", self.id)).required()
    }

    /// Sends it, and compares.
    pub fn answer(&self, through: &mut dyn Exchange, attempt: &Attempt) -> CheckAnswer {
        match through.exchange(self, attempt.deadline_ms) {
            Ok(response) => self.compare(&response),
            Err(reason) => CheckAnswer::Fail(format!("no answer: {reason}")),
        }
    }

    /// Compares an answer with the expected one, and names what differs.
    #[must_use]
    pub fn compare(&self, response: &GoldenResponse) -> CheckAnswer {
        let expected = &self.expected;
        let mut differences = Vec::new();
        if response.status != expected.status {
            differences.push(format!("status {}, not {}", response.status, expected.status));
        }
        for (name, wanted) in &expected.headers {
            match response.header(name) {
                Some(found) if found == *wanted => {}
                None if wanted.is_empty() => {}
                Some(found) => differences.push(format!("header {name} is `{found}`, not `{wanted}`")),
                None => differences.push(format!("header {name} is missing, `{wanted}` is expected")),
            }
        }
        let digest = sha256(&response.body);
        if digest != expected.body_sha256 {
            let (found, wanted) = (hex(&digest[..6]), hex(&expected.body_sha256[..6]));
            let bytes = response.body.len();
            differences.push(format!("body of {bytes} bytes has SHA-256 {found}…, not {wanted}…"));
        }
        if differences.is_empty() {
            return CheckAnswer::Pass(format!("{} bytes as expected", response.body.len()));
        }
        differences.truncate(MAX_DIFFERENCES);
        CheckAnswer::Fail(differences.join("; "))
    }
}

impl GoldenResponse {
    /// All values of a header, joined as HTTP allows.
    fn header(&self, name: &str) -> Option<String> {
        let named = self
            .headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let values: Vec<&str> = named.map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// A body, as text or as hexadecimal bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireBody {
    /// UTF-8.
    Text(String),
    /// Two hexadecimal digits a byte.
    Hex(String),
}

/// As it is written in files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    id: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<WireBody>,
    expect: WireExpected,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExpected {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body_sha256: String,
}

impl TryFrom<Wire> for GoldenRequest {
    type Error = GoldenError;

    fn try_from(wire: Wire) -> Result<Self, GoldenError> {
        let id = wire.id;
        let body = match wire.body {
            None => Vec::new(),
            Some(WireBody::Text(text)) => text.into_bytes(),
            Some(WireBody::Hex(text)) => unhex(&text).ok_or_else(|| GoldenError::Hex { id: id.clone() })?,
        };
        let written = wire.expect.body_sha256;
        let digest = unhex(&written).and_then(|bytes| bytes.try_into().ok());
        let body_sha256 = digest.ok_or_else(|| GoldenError::Digest {
            id: id.clone(),
            length: written.chars().count(),
        })?;
        let lower = wire.expect.headers.into_iter();
        Ok(Self {
            id,
            method: wire.method,
            path: wire.path,
            headers: wire.headers,
            body,
            expected: Expected {
                status: wire.expect.status,
                headers: lower.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
                body_sha256,
            },
        })
    }
}

impl From<GoldenRequest> for Wire {
    fn from(golden: GoldenRequest) -> Self {
        let body = match String::from_utf8(golden.body) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(WireBody::Text(text)),
            Err(bytes) => Some(WireBody::Hex(hex(bytes.as_bytes()))),
        };
        Self {
            id: golden.id,
            method: golden.method,
            path: golden.path,
            headers: golden.headers,
            body,
            expect: WireExpected {
                status: golden.expected.status,
                headers: golden.expected.headers,
                body_sha256: hex(&golden.expected.body_sha256),
            },
        }
    }
}
