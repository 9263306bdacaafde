//! One question a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Method;
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::http::{Http, connect};
use super::long::exchange;
use super::{Draw, Shared, wrong_bytes};

/// HTTP requests, each over a connection of its own.
pub(super) async fn http(shared: Arc<Shared>, home: usize, mut draw: Draw) {
    let tally = &shared.tally;
    while !shared.stopped() {
        let at = shared.balance(home, &mut draw);
        let length = usize::try_from(draw.below(2_000)).unwrap_or(0);
        let message = Bytes::from(draw.message(length));
        let asked = crate::now();
        let answer = async {
            let mut connection = Http::open(shared.sites[at].http).await?;
            connection.ask(Method::POST, "/echo", message.clone()).await
        };
        match answer.await {
            Ok(answer) if answer.status == 200 => {
                tally.answered(asked.elapsed());
                tally.served(at, asked);
                tally
                    .bytes_wrong
                    .fetch_add(wrong_bytes(&message, &answer.body), Ordering::Relaxed);
            }
            Ok(answer) => {
                tally.answered(asked.elapsed());
                tally.failed(
                    at,
                    asked,
                    false,
                    &format!("a short HTTP request was answered with {}", answer.status),
                );
            }
            Err(error) => tally.failed(
                at,
                asked,
                error.refused,
                &format!("a short HTTP request: {}", error.reason),
            ),
        }
        let pause = draw.pause();
        tokio::time::sleep(pause).await;
    }
}

/// Messages over TCP, each over a connection of its own.
pub(super) async fn tcp(shared: Arc<Shared>, home: usize, mut draw: Draw) {
    let tally = &shared.tally;
    while !shared.stopped() {
        let at = shared.balance(home, &mut draw);
        let length = 1 + usize::try_from(draw.below(2_000)).unwrap_or(0);
        let message = draw.message(length);
        let asked = crate::now();
        let answer = async {
            let mut stream = connect(shared.sites[at].tcp).await?;
            let answer = exchange(&mut stream, &message).await?;
            drop(stream.shutdown().await);
            Ok(answer)
        };
        match answer.await {
            Ok(answer) => {
                tally.answered(asked.elapsed());
                tally.served(at, asked);
                tally
                    .bytes_wrong
                    .fetch_add(wrong_bytes(&message, &answer), Ordering::Relaxed);
            }
            Err(error) => {
                let error: super::http::NoAnswer = error;
                tally.failed(
                    at,
                    asked,
                    error.refused,
                    &format!("a short TCP message: {}", error.reason),
                );
            }
        }
        let pause = draw.pause();
        tokio::time::sleep(pause).await;
    }
}
