//! Datagrams: each client has a socket of its own to the application, for as long as one of the two says something.

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::meters::Outcome;
use crate::options::{Protocol, Route};
use crate::state::Sidecar;

/// Longest datagram.
const LONGEST: usize = 64 * 1024;

/// A flow on which nothing came back for so long is forgotten.
const IDLE: Duration = Duration::from_secs(30);

/// Most flows at once; who comes beyond waits until one is forgotten.
const FLOWS: usize = 4_096;

/// Passes datagrams on until `until`. The socket stays with whoever else holds it, and so does what waits in it; answers to
/// what was passed on still go out.
pub(crate) async fn relay(sidecar: Arc<Sidecar>, route: Route, socket: UdpSocket, until: impl Future<Output = ()>) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>, std::hash::BuildHasherDefault<std::hash::DefaultHasher>> =
        HashMap::default();
    let mut bytes = vec![0; LONGEST];
    let mut until = std::pin::pin!(until);
    loop {
        let received = tokio::select! {
            biased;
            () = &mut until => return,
            received = socket.recv_from(&mut bytes) => received,
        };
        // An error here is a word on an earlier datagram.
        let Ok((length, client)) = received else { continue };
        // The task of a flow that is forgotten holds its socket no more.
        flows.retain(|_, flow| Arc::strong_count(flow) > 1);
        let flow = match flows.get(&client) {
            Some(flow) => Arc::clone(flow),
            None if flows.len() >= FLOWS => continue,
            None => match open(&sidecar, route, client, &socket).await {
                Ok(flow) => {
                    flows.insert(client, Arc::clone(&flow));
                    flow
                }
                Err(error) => {
                    sidecar
                        .log
                        .say(format_args!("{route}: no socket to {}: {error}", route.upstream));
                    sidecar.ended(Protocol::Udp, Outcome::Own, 0, 0);
                    continue;
                }
            },
        };
        let sent = flow.send(bytes.get(..length).unwrap_or_default()).await;
        let outcome = if sent.is_ok() {
            Outcome::Good
        } else {
            Outcome::Infrastructure
        };
        sidecar.ended(Protocol::Udp, outcome, 0, 0);
    }
}

async fn open(
    sidecar: &Arc<Sidecar>,
    route: Route,
    client: SocketAddr,
    back: &Arc<UdpSocket>,
) -> std::io::Result<Arc<UdpSocket>> {
    let any: SocketAddr = if route.upstream.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let flow = Arc::new(UdpSocket::bind(any).await?);
    flow.connect(route.upstream).await?;
    let (from, back, sidecar) = (Arc::clone(&flow), Arc::clone(back), Arc::clone(sidecar));
    tokio::spawn(async move {
        let mut bytes = vec![0; LONGEST];
        while let Ok(received) = timeout(IDLE, from.recv(&mut bytes)).await {
            // An error says that nobody was there for an earlier datagram.
            let Ok(length) = received else { continue };
            if let Err(error) = back.send_to(bytes.get(..length).unwrap_or_default(), client).await {
                sidecar
                    .log
                    .say(format_args!("{route}: an answer to {client} was not sent: {error}"));
            }
        }
    });
    Ok(flow)
}
