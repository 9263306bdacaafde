//! One client's HTTP/1.1 connection.

use std::convert::Infallible;
use std::future::Future as _;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use unattended_handover::ConnectionId;
use unattended_handover::codec::Unread;

use super::envelope::Parts;
use super::io::{AtRest, ClientSocket, Exchange};
use super::link::Protocols;
use super::{Ended, Wish, proxy};
use crate::options::Route;
use crate::state::Sidecar;

/// A process that stops ends a connection on which nothing has happened for so long: its client may be about to send.
const QUIET: Duration = Duration::from_secs(1);

/// What there is to do next.
enum Next {
    Over,
    Rest,
    Wished,
    Quiet,
}

/// Serves a connection until it is over or given away. `unread`: what its client has sent already.
pub(super) async fn serve(
    sidecar: &Arc<Sidecar>,
    id: ConnectionId,
    route: Route,
    stream: StdStream,
    unread: Vec<u8>,
    mut wishes: watch::Receiver<Wish>,
) -> Ended {
    let Ok(stream) = TcpStream::from_std(stream) else {
        return Ended::Over;
    };
    let client = stream.peer_addr().map_or(0, |address| proxy::hash(&address.ip()));
    let rest = Arc::new(AtRest::default());
    let socket = ClientSocket::new(stream, unread, Arc::clone(&rest));
    let service = {
        let (sidecar, rest) = (Arc::clone(sidecar), Arc::clone(&rest));
        service_fn(move |request: Request<Incoming>| {
            let (sidecar, exchange) = (Arc::clone(&sidecar), Exchange::new(&rest));
            let rest = Arc::clone(&rest);
            async move {
                let mut response = proxy::answer(sidecar, route, client, exchange, request).await;
                if rest.closing.load(Ordering::Relaxed) {
                    proxy::say_close(&mut response);
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    // A client that has ended its side may still wait for an answer.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(socket), service);
    loop {
        let wish = *wishes.borrow_and_update();
        rest.closing.store(wish.drain || wish.stop, Ordering::Relaxed);
        let before = rest.answered();
        let next = tokio::select! {
            biased;
            // Without a conductor the process is about to end.
            changed = wishes.changed(), if !wish.end => if changed.is_ok() { Next::Wished } else { Next::Over },
            next = std::future::poll_fn(|cx| {
                if wish.end {
                    return Poll::Ready(Next::Over);
                }
                // First what can be done: a request that has come is answered before the connection is given away.
                if std::pin::Pin::new(&mut connection).poll(cx).is_ready() {
                    Poll::Ready(Next::Over)
                } else if wish.freeze && rest.now() {
                    Poll::Ready(Next::Rest)
                } else {
                    Poll::Pending
                }
            }) => next,
            () = tokio::time::sleep(QUIET), if wish.stop => Next::Quiet,
        };
        match next {
            Next::Wished => {}
            Next::Quiet if !rest.now() || rest.answered() != before => {}
            Next::Over | Next::Quiet => {
                let (socket, _) = connection.into_parts().io.into_inner().into_parts();
                super::hang_up(&socket);
                return Ended::Over;
            }
            Next::Rest => {
                let parts = connection.into_parts();
                let (stream, behind) = parts.io.into_inner().into_parts();
                let mut from_client = parts.read_buf.to_vec();
                from_client.extend(behind);
                let Ok(stream) = stream.into_std() else {
                    return Ended::Over;
                };
                return Ended::AtRest(Box::new(Parts {
                    id,
                    route,
                    at_us: 0,
                    protocols: Protocols::Http,
                    unread: Unread {
                        from_client,
                        ..Unread::default()
                    },
                    sockets: vec![stream.into()],
                }));
            }
        }
    }
}
