//! Connections whose bytes are passed on as they are: relays and framed calls.

use std::future::poll_fn;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use unattended_handover::ConnectionId;
use unattended_handover::codec::Rest;

use super::link::Link;
use super::{Ended, Wish};
use crate::clock::Stopwatch;
use crate::meters::Outcome;
use crate::options::{Protocol, Route};
use crate::state::{Event, Sidecar};

/// From the call to the application to its answer.
const CONNECT: Duration = Duration::from_secs(5);

/// Serves a connection that was just accepted.
pub(super) async fn begin(
    sidecar: &Arc<Sidecar>,
    id: ConnectionId,
    route: Route,
    client: StdStream,
    wishes: watch::Receiver<Wish>,
) -> Ended {
    let client = match TcpStream::from_std(client) {
        Ok(client) => client,
        Err(error) => return fail(sidecar, route, Outcome::Own, 0, &error),
    };
    let watch = Stopwatch::start(&sidecar.waits);
    if !sidecar.work().await {
        super::hang_up(&client);
        return fail(
            sidecar,
            route,
            Outcome::Own,
            watch.own_us(&sidecar.waits),
            &"a fault that was asked for",
        );
    }
    let own_us = watch.own_us(&sidecar.waits);
    let server = match timeout(CONNECT, TcpStream::connect(route.upstream)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => {
            super::hang_up(&client);
            return fail(sidecar, route, Outcome::Infrastructure, own_us, &error);
        }
        Err(late) => {
            super::hang_up(&client);
            return fail(sidecar, route, Outcome::Infrastructure, own_us, &late);
        }
    };
    super::prepare(sidecar, &server);
    if route.protocol == Protocol::Tcp {
        // What is served is the connection; calls on a framed one are counted one by one.
        sidecar.ended(route.protocol, Outcome::Good, own_us, 0);
    }
    go_on(sidecar, id, route, Link::new(client, server, route.protocol), wishes).await
}

fn fail(sidecar: &Sidecar, route: Route, outcome: Outcome, own_us: u64, why: &(dyn std::fmt::Display + Sync)) -> Ended {
    sidecar.log.say(format_args!(
        "{route}: a connection to {} failed: {why}",
        route.upstream
    ));
    sidecar.ended(route.protocol, outcome, own_us, 0);
    Ended::Over
}

/// Counts a connection as under way while it is there.
struct Active<'a>(&'a Sidecar);

impl<'a> Active<'a> {
    fn new(sidecar: &'a Sidecar) -> Self {
        sidecar.meters.active.fetch_add(1, Ordering::Relaxed);
        Self(sidecar)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.meters.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What there is to do next.
enum Next {
    Over,
    Rest,
    Wished,
}

/// Passes bytes on until the connection is over or given away.
pub(super) async fn go_on(
    sidecar: &Sidecar,
    id: ConnectionId,
    route: Route,
    mut link: Link,
    mut wishes: watch::Receiver<Wish>,
) -> Ended {
    let _active = Active::new(sidecar);
    let mut declined = false;
    loop {
        let wish = *wishes.borrow_and_update();
        if wish.end {
            link.hang_up();
            return Ended::Over;
        }
        declined &= wish.freeze;
        let freezing = wish.freeze && !declined;
        let next = tokio::select! {
            biased;
            // Without a conductor the process is about to end.
            changed = wishes.changed() => if changed.is_ok() { Next::Wished } else { Next::Over },
            next = poll_fn(|cx| {
                if freezing && link.rest() != Rest::Wait {
                    return Poll::Ready(Next::Rest);
                }
                let over = link.poll(cx, freezing).is_ready();
                count(sidecar, route, &mut link);
                if over {
                    Poll::Ready(Next::Over)
                } else if freezing && link.rest() != Rest::Wait {
                    Poll::Ready(Next::Rest)
                } else if wish.stop && route.protocol == Protocol::Framed && link.rest() == Rest::Now {
                    // Between two calls: nothing of the client's is under way that this process has seen.
                    Poll::Ready(Next::Over)
                } else {
                    Poll::Pending
                }
            }) => next,
        };
        match (next, link.rest()) {
            (Next::Wished, _) => {}
            (Next::Rest, Rest::Never(decline)) => {
                declined = true;
                sidecar.tell(Event::Declined(id, decline));
            }
            (Next::Rest, _) => match link.into_parts(id, route) {
                Ok(parts) => return Ended::AtRest(Box::new(parts)),
                Err(_) => return Ended::Over,
            },
            (Next::Over, _) => {
                link.hang_up();
                return Ended::Over;
            }
        }
    }
}

fn count(sidecar: &Sidecar, route: Route, link: &mut Link) {
    for _ in 0..link.take_answered() {
        sidecar.ended(route.protocol, Outcome::Good, 0, 0);
    }
}
