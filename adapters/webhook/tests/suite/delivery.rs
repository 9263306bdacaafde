//! Tried again where that may help, given up where it may not, and never twice under two keys.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use unattended::{Notice, Notifier, Pulse};
use unattended_webhook::{Failure, Webhook, WebhookError};

use crate::server::{Answer, Server};

/// A notice as it stands in the guide.
fn notice(text: &str) -> Notice {
    serde_json::from_value(json!({
        "schema": 1, "code": "permit.withheld", "severity": "critical", "dedup_key": "mesh-2/permit.withheld/größe %",
        "change": "mesh-2", "lanes": [], "owner": "li (MESH-192)", "stage": {"is": "raised"},
        "raised_unix_ms": 1_795_420_800_000_i64, "at_unix_ms": 1_795_420_800_000_i64, "text": text,
        "question": null, "briefing": null
    }))
    .unwrap()
}

fn pulse() -> Pulse {
    serde_json::from_value(json!({
        "schema": 1, "change": "mesh-2", "at_unix_ms": 1_795_420_800_000_i64, "state": "baking", "open": 1,
        "next_within_ms": 240_000
    }))
    .unwrap()
}

/// A webhook whose failures are kept. On a slow machine it takes longer, and comes to the same.
fn webhook(url: &str) -> (Webhook, Arc<Mutex<Vec<Failure>>>) {
    let failures: Arc<Mutex<Vec<Failure>>> = Arc::default();
    let kept = Arc::clone(&failures);
    let webhook = Webhook::new(url)
        .unwrap()
        .retry_ms(1)
        .answer_ms(60_000)
        .patience_ms(600_000)
        .on_failure(move |failure| kept.lock().push(failure.clone()));
    (webhook, failures)
}

#[tokio::test]
async fn what_may_pass_is_tried_again_under_one_key() {
    let rough = [
        Answer::Status(500, "oops"),
        Answer::Status(503, ""),
        Answer::Status(429, "slow down"),
        Answer::Status(408, ""),
        Answer::Status(425, ""),
        Answer::Cut,
    ];
    let server = Server::start(rough).await;
    let (webhook, failures) = webhook(&server.url("/notices?team=mesh"));
    let webhook = webhook.header("authorization", "Bearer s3cret").unwrap();
    webhook.notify(&notice("first")).await;
    assert_eq!(*failures.lock(), []);
    let received = server.received();
    assert_eq!(received.len(), 7, "six tries that fail, and one");
    let key = &received[0].headers["idempotency-key"];
    assert_eq!(key, "mesh-2/permit.withheld/gr%c3%b6%c3%9fe_%25_raised_1795420800000");
    for request in &received {
        assert_eq!(request.path, "/notices?team=mesh");
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["authorization"], "Bearer s3cret");
        assert_eq!(request.headers["host"], server.address.to_string());
        assert_eq!(&request.headers["idempotency-key"], key);
        assert_eq!(
            serde_json::from_value::<Notice>(request.body.clone()).unwrap(),
            notice("first")
        );
    }
}

#[tokio::test]
async fn what_cannot_help_is_not_tried_again_and_is_told() {
    for status in [301, 400, 401, 404, 410] {
        let server = Server::start([Answer::Status(status, "no such hook")]).await;
        let url = server.url("/gone");
        let (webhook, failures) = webhook(&url);
        webhook.notify(&notice("first")).await;
        assert_eq!(server.received().len(), 1, "{status}");
        let failures = failures.lock().clone();
        assert_eq!(failures.len(), 1);
        assert!(
            failures[0].refused && failures[0].tries == 1 && failures[0].url == url,
            "{failures:?}"
        );
        assert_eq!(failures[0].why, format!("it answered {status}: no such hook"));
        assert_eq!(failures[0].what, "mesh-2/permit.withheld/größe % raised");
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    // More refusals than patience has tries.
    let server = Server::start(vec![Answer::Status(503, "busy"); 100_000]).await;
    let (busy, failures) = webhook(&server.url("/"));
    busy.patience_ms(200).notify(&notice("first")).await;
    let told = failures.lock().clone();
    assert_eq!(told.len(), 1);
    assert!(!told[0].refused && told[0].why == "it answered 503: busy", "{told:?}");
    assert_eq!(told[0].tries as usize, server.received().len());
    // Who is asked to come again after the end is not waited for.
    let server = Server::start([Answer::Later(503, "3600")]).await;
    let (later, failures) = webhook(&server.url("/"));
    later.notify(&notice("first")).await;
    assert_eq!((failures.lock()[0].tries, server.received().len()), (1, 1));
    // Nobody is there at all.
    let gone = Server::start([]).await;
    let url = gone.url("/");
    drop(gone);
    let (nobody, failures) = webhook(&url);
    nobody.patience_ms(50).notify(&notice("first")).await;
    let told = failures.lock().clone();
    assert!(told.len() == 1 && !told[0].refused, "{told:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_and_tried_again() {
    let server = Server::start([Answer::Silence, Answer::Silence]).await;
    let (webhook, failures) = webhook(&server.url("/"));
    // A machine so busy that an answer takes longer tries once more.
    webhook.answer_ms(500).notify(&notice("first")).await;
    assert_eq!(*failures.lock(), []);
    assert!(server.received().len() >= 3, "{}", server.received().len());
}

#[tokio::test]
async fn signs_of_life_go_where_they_are_watched() {
    let (notices, alive) = (Server::start([]).await, Server::start([Answer::Status(502, "")]).await);
    let (webhook, failures) = webhook(&notices.url("/notices"));
    webhook.pulse(&pulse()).await;
    assert!(notices.received().is_empty(), "nobody watches");
    let webhook = webhook.heartbeat(&alive.url("/alive")).unwrap();
    webhook.pulse(&pulse()).await;
    webhook.notify(&notice("first")).await;
    assert_eq!((notices.received().len(), alive.received().len()), (1, 2));
    let last = alive.received().pop().unwrap();
    assert_eq!(
        (last.path.as_str(), &last.body["next_within_ms"]),
        ("/alive", &json!(240_000))
    );
    assert_eq!(serde_json::from_value::<Pulse>(last.body).unwrap(), pulse());
    assert_eq!(*failures.lock(), []);
}

#[tokio::test]
async fn whom_nobody_trusts_is_told_nothing() {
    let server = Server::secure().await;
    let url = format!("https://localhost:{}/notices", server.address.port());
    let config = |roots| {
        Arc::new(
            ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    };
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(include_bytes!("../data/root.der").to_vec());
    roots.add(root).unwrap();
    Webhook::secure(&url, config(roots.clone()))
        .unwrap()
        .answer_ms(60_000)
        .notify(&notice("first"))
        .await;
    assert_eq!(server.received().len(), 1);

    let failures: Arc<Mutex<Vec<Failure>>> = Arc::default();
    let kept = Arc::clone(&failures);
    let stranger = Webhook::secure(&url, config(RootCertStore::empty())).unwrap();
    let stranger = stranger
        .patience_ms(1)
        .on_failure(move |failure| kept.lock().push(failure.clone()));
    stranger.notify(&notice("second")).await;
    assert_eq!(server.received().len(), 1);
    assert!(failures.lock()[0].why.contains("certificate"), "{:?}", failures.lock());
    // The right certificate, and another name.
    let other = format!("https://127.0.0.1:{}/notices", server.address.port());
    let other = Webhook::secure(&other, config(roots)).unwrap().patience_ms(1);
    other.notify(&notice("third")).await;
    assert_eq!(server.received().len(), 1);
}

#[test]
fn what_is_no_address_is_refused_at_once() {
    for (url, words) in [
        ("", "no address"),
        ("127.0.0.1:9093/x", "no address"),
        ("ftp://host/x", "neither http nor https"),
        ("/notices", "does not begin with http"),
        ("http://li:pw@host/x", "use a header"),
        ("http:///x", "no address"),
    ] {
        let error = Webhook::new(url).unwrap_err();
        assert!(matches!(error, WebhookError::Url { .. }), "{url}: {error:?}");
        let told = error.to_string();
        assert!(
            told.contains(words) && told.contains("http://127.0.0.1:9093"),
            "{url}: {told}"
        );
    }
    let error = Webhook::new("https://host/x").unwrap_err();
    assert!(error.to_string().contains("whose certificates to trust"), "{error}");
    assert!(Webhook::new("http://host").unwrap().heartbeat("host:80").is_err());
    for (name, value) in [("a b", "c"), ("", "c"), ("authorization", "two\nlines")] {
        let error = Webhook::new("http://host").unwrap().header(name, value).unwrap_err();
        assert!(matches!(error, WebhookError::Header { .. }), "{error:?}");
        assert!(!error.to_string().contains("lines"), "a secret is told: {error}");
    }
    let webhook = Webhook::new("http://[::1]:80/x")
        .unwrap()
        .header("authorization", "s3cret")
        .unwrap();
    assert!(!format!("{webhook:?}").contains("s3cret"));
}
