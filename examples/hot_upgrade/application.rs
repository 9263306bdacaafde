//! What the sidecars stand before: a server that says back what it is told, over HTTP/1.1 and over bare TCP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An application with a cold start.
#[derive(Debug, Parser)]
#[command(name = "hot_upgrade application", disable_version_flag = true)]
struct Options {
    /// Where it answers HTTP/1.1
    #[arg(long)]
    http: SocketAddr,
    /// Where it echoes bytes
    #[arg(long)]
    tcp: SocketAddr,
    /// How long it takes to start, in milliseconds
    #[arg(long, default_value_t = 0)]
    cold_start_ms: u64,
}

/// Runs until it is killed.
pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let options = match Options::try_parse_from(std::iter::once("application".to_owned()).chain(args)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(&options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("application: {error}");
            ExitCode::from(4)
        }
    }
}

async fn serve(options: &Options) -> io::Result<()> {
    // What an application does at its start: classes to load, caches to fill. It cannot be asked before.
    tokio::time::sleep(Duration::from_millis(options.cold_start_ms)).await;
    let http = TcpListener::bind(options.http).await?;
    let tcp = TcpListener::bind(options.tcp).await?;
    loop {
        tokio::select! {
            accepted = http.accept() => {
                if let Ok((stream, _)) = accepted {
                    drop(stream.set_nodelay(true));
                    tokio::spawn(answer(stream));
                }
            }
            accepted = tcp.accept() => {
                if let Ok((stream, _)) = accepted {
                    drop(stream.set_nodelay(true));
                    tokio::spawn(echo(stream));
                }
            }
        }
    }
}

async fn answer(stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let body = request
            .into_body()
            .collect()
            .await
            .map_or_else(|_| Bytes::new(), |whole| whole.to_bytes());
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    // A client that goes away ends its connection; there is nobody to tell.
    drop(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    drop(stream.shutdown().await);
}
