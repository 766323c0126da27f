//! Lets peers in and gives each a task; every refusal is one line in the log.

use std::sync::Arc;

use gridctl_transport::endpoint::{Admitted, CloseCode, Connection, Listener};
use gridctl_transport::identity::Role;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Peer, Shared, canonical, client, join, worker};
use crate::limits::{CONNECTIONS_MAX, GOODBYE_WITHIN};

/// Serves until `stop` says so; then gives sessions a moment to say goodbye, and closes all.
pub(crate) async fn accept(
    mut listener: Listener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            admitted = listener.accept() => match admitted {
                Some(Ok(Admitted::Peer(connection))) => begin(&mut sessions, &shared, &places, connection),
                Some(Ok(Admitted::Joining(peer))) => {
                    sessions.spawn(join::serve(Arc::clone(&shared), peer));
                }
                Some(Err(refused)) => {
                    tracing::warn!(peer = %canonical(refused.address), why = %refused.why, "refused a peer");
                }
                None => break,
            },
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a session ended abnormally");
                }
            }
            // Whoever could say it is gone: that is as good as saying it.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    let goodbye = async { while sessions.join_next().await.is_some() {} };
    // Those who do not listen to a goodbye are closed all the same.
    let _ = timeout(GOODBYE_WITHIN, goodbye).await;
    listener.close(CloseCode::Stopping, "the coordinator is stopping");
    listener.flush(GOODBYE_WITHIN).await;
}

fn begin(
    sessions: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    places: &Arc<Semaphore>,
    connection: Connection,
) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        let why = "too many connections at once; try again later";
        connection.close(CloseCode::Overloaded, why);
        tracing::warn!(peer = %Peer::of(&connection), why, "refused a peer");
        return;
    };
    let shared = Arc::clone(shared);
    sessions.spawn(async move {
        match connection.peer().role() {
            Role::Worker => worker::serve(shared, connection).await,
            Role::User | Role::Admin => client::serve(shared, connection).await,
            // Admission lets none in; should it ever, there is nothing to talk about.
            Role::Coordinator => {
                connection.close(CloseCode::Refused, "a coordinator does not connect to another")
            }
        }
        drop(place);
    });
}
