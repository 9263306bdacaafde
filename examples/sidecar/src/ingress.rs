//! Whether traffic is led here: by order, and opened by itself when its time has passed and nobody calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock;
use crate::files::Ingress;
use crate::state::{Reply, SelfCheck, Sidecar};

/// Before it is looked again whether this process may open the way by itself.
const AGAIN: Duration = Duration::from_millis(50);

/// Longest that is slept: the clock may have gone on while the machine stood still.
const LONGEST: Duration = Duration::from_secs(1);

/// Does as the controller says. It is written before it is answered.
pub(crate) async fn order(sidecar: &Arc<Sidecar>, wanted: Ingress) -> Reply {
    let _one = sidecar.ingress_order.lock().await;
    set(sidecar, wanted).await
}

/// For who holds the lock.
async fn set(sidecar: &Arc<Sidecar>, wanted: Ingress) -> Reply {
    if *sidecar.ingress.borrow() == wanted {
        return Reply::AlreadyApplied;
    }
    let one = Arc::clone(sidecar);
    let written = tokio::task::spawn_blocking(move || wanted.write(&one.options.dir, one.options.slot.as_str())).await;
    match written {
        Ok(Ok(())) => {
            sidecar.ingress.send_replace(wanted);
            Reply::Applied
        }
        Ok(Err(error)) => Reply::Retry {
            after_ms: 100,
            reason: format!("ingress: {error}"),
        },
        Err(error) => Reply::Failed(error.to_string()),
    }
}

/// Opens the way when its time has passed, if this process can be relied on. To the end of the process.
pub(crate) async fn watch(sidecar: Arc<Sidecar>) {
    let mut changes = sidecar.ingress.subscribe();
    loop {
        let now = *changes.borrow_and_update();
        let Ingress::Closed { reopen_by_ms } = now else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let left_ms = reopen_by_ms.saturating_sub(clock::now_ms());
        if left_ms > 0 {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(Duration::from_millis(left_ms).min(LONGEST)) => {}
            }
            continue;
        }
        if !verified(&sidecar) {
            sleep(AGAIN).await;
            continue;
        }
        let _one = sidecar.ingress_order.lock().await;
        // An order that came meanwhile is the later word.
        if *sidecar.ingress.borrow() == now {
            match set(&sidecar, Ingress::Open).await {
                Reply::Applied => {
                    sidecar.meters.reopened.fetch_add(1, Ordering::Relaxed);
                    sidecar
                        .log
                        .say("the way in is open again: its time had passed, and nobody called");
                }
                other => {
                    sidecar.log.say(format_args!("the way in stays closed: {other:?}"));
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

/// Only who serves, and has shown that it can, leads traffic to itself.
fn verified(sidecar: &Sidecar) -> bool {
    let view = sidecar.view.lock();
    view.self_check == SelfCheck::Passed && view.ready && view.accepting
}
