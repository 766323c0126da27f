//! A person's session: a greeting, then each request on a stream of its own, as the role allows.

use std::sync::Arc;

use gridctl_core::effect::Reply;
use gridctl_core::event::{Caller, Event};
use gridctl_core::fact::{Digest, TokenId, UserRole};
use gridctl_jobs::id::{JobId, UserId};
use gridctl_jobs::spec::JobSpec;
use gridctl_transport::endpoint::{CloseCode, Connection};
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::handshake::welcome_client;
use gridctl_transport::identity::Role;
use gridctl_transport::join_token::{JoinToken, Secret};
use gridctl_transport::message::Turned;
use gridctl_transport::message::client::{Answer, Refused, RefusedKind, Request, TokenRole};
use gridctl_transport::permission::{MessageKind, Permission, Sender, permission};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::end::End;
use super::{Peer, Shared, answers, backup, control, output, room, room_units, watch};
use crate::convert;
use crate::limits::{
    CLIENT_STEP_WITHIN, SMALL_REQUEST_BYTES_MAX, SUBMISSION_BYTES_IN_FLIGHT_MAX, SUBMISSION_WITHIN,
    TOKEN_VALID_MS_MAX,
};
use crate::reactor::Stopped;

/// Serves a client until it goes.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    let peer = Peer::of(&connection);
    let Some(caller) = caller(&shared, &connection) else {
        let why = Turned::UnknownIdentity;
        connection.close(CloseCode::Refused, &why.to_string());
        tracing::warn!(%peer, %why, "refused a peer");
        return;
    };
    if let Err(error) = welcome_client(&connection, shared.epoch, &shared.grid).await {
        connection.close(CloseCode::Violation, &error.to_string());
        tracing::warn!(%peer, why = %error, "refused a peer");
        return;
    }
    let end = requests(&shared, &connection, &peer, caller).await;
    end.conclude(&peer, &connection);
}

/// Says who asks: by the certificate, and only if the grid knows them in that role.
fn caller(shared: &Shared, connection: &Connection) -> Option<Caller> {
    let user = UserId(connection.peer().id());
    let role = match connection.peer().role() {
        Role::User => UserRole::User,
        Role::Admin => UserRole::Admin,
        Role::Worker | Role::Coordinator => return None,
    };
    (shared.views.user_role(user) == Some(role)).then_some(Caller { user, role })
}

/// Takes in requests, as many at once as the connection has streams.
async fn requests(
    shared: &Arc<Shared>,
    connection: &Connection,
    peer: &Peer,
    caller: Caller,
) -> End {
    let mut stopping = shared.stopping.clone();
    let mut open: JoinSet<()> = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((writer, reader)) => {
                    let asked = Asked { shared: Arc::clone(shared), role: connection.peer().role(), caller, writer };
                    let peer = peer.clone();
                    open.spawn(async move {
                        if let Err(end) = asked.serve(reader).await {
                            tracing::debug!(%peer, why = %end, "a request was not served to its end");
                        }
                    });
                }
                Err(lost) => return lost.into(),
            },
            Some(ended) = open.join_next() => {
                if ended.is_err() {
                    return End::Abnormal;
                }
            }
            // Whoever could say it is gone: that is as good as saying it.
            _ = stopping.wait_for(|stopping| *stopping) => return End::Stopping,
        }
    }
}

/// A request that is being served.
pub(super) struct Asked {
    pub(super) shared: Arc<Shared>,
    role: Role,
    pub(super) caller: Caller,
    writer: FrameWriter,
}

impl Asked {
    async fn serve(mut self, mut reader: FrameReader) -> Result<(), End> {
        let (request, bytes, memory) = self.read(&mut reader).await?;
        if permission(Sender::Enrolled(self.role), MessageKind::from(&request)) == Permission::Never
        {
            let message = "your role does not allow this; ask an admin".to_owned();
            self.answer(Answer::Refused(Refused { kind: RefusedKind::Role, message })).await?;
        } else {
            match room::admit(&self.shared, &request, bytes) {
                // Held until the answer: by then what it was promised for is durable.
                Ok(_admitted) => self.dispatch(request, memory).await?,
                Err(shortage) => self.refuse(RefusedKind::NoRoom, shortage.to_string()).await?,
            }
        }
        self.writer.finish();
        Ok(())
    }

    /// Reads the request; a large one only once there is memory for it. Returns how long it is, too.
    async fn read(
        &self,
        reader: &mut FrameReader,
    ) -> Result<(Request, u64, Option<OwnedSemaphorePermit>), End> {
        let late = || End::Late("a request");
        let announced = timeout(CLIENT_STEP_WITHIN, reader.announced::<Request>())
            .await
            .map_err(|_| late())??;
        let length = announced.unwrap_or(0) as u64;
        match announced {
            Some(bytes) if bytes > SMALL_REQUEST_BYTES_MAX => {
                // What is decoded takes about as much as what came, and both are there at once.
                let units = room_units(2 * bytes, SUBMISSION_BYTES_IN_FLIGHT_MAX);
                let room = Arc::clone(&self.shared.room.submissions);
                let room = room.acquire_many_owned(units).await.map_err(|_| End::Stopping)?;
                let request =
                    timeout(SUBMISSION_WITHIN, reader.expect()).await.map_err(|_| late())??;
                Ok((request, length, Some(room)))
            }
            Some(_) | None => {
                let request =
                    timeout(CLIENT_STEP_WITHIN, reader.expect()).await.map_err(|_| late())??;
                Ok((request, length, None))
            }
        }
    }

    async fn dispatch(
        &mut self,
        request: Request,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), End> {
        match request {
            Request::Submit { id, spec } => self.submit(id, spec, room).await,
            Request::Cancel { target } => control::cancel(self, &target).await,
            Request::Jobs { open_only } => answers::jobs(self, open_only).await,
            Request::Status { job } => answers::status(self, &job).await,
            Request::Tasks { target, states } => answers::tasks(self, &target, &states).await,
            Request::Watch { job } => watch::serve(self, &job).await,
            Request::Output { target, stream, follow, attempt, stages } => {
                let wanted = output::Wanted { target, stream, follow, attempt, stages };
                output::serve(self, wanted).await
            }
            Request::Explain { job } => answers::explain(self, &job).await,
            Request::Workers => answers::workers(self).await,
            Request::CreateToken { role, uses, valid_ms } => {
                self.create_token(role, uses, valid_ms).await
            }
            Request::Tokens => answers::tokens(self).await,
            Request::RevokeToken { token_id } => self.revoke_token(token_id).await,
            Request::Retry { target, all } => control::retry(self, &target, all).await,
            Request::Forget { job } => control::forget(self, &job).await,
            Request::DrainWorker { worker } => control::drain_worker(self, &worker).await,
            Request::ResumeWorker { worker } => control::resume_worker(self, &worker).await,
            Request::Backup => backup::serve(self).await,
        }
    }

    async fn submit(
        &mut self,
        id: JobId,
        spec: JobSpec,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), End> {
        // Takes time by the bytes of the job: not where heartbeats are served.
        let checked =
            spawn_blocking(move || spec.check().map(|()| (digest(&spec), Arc::new(spec))));
        let (digest, spec) = match checked.await.map_err(|_| End::Abnormal)? {
            Ok(checked) => checked,
            Err(error) => {
                return self
                    .refuse(RefusedKind::Invalid, format!("the job is not valid: {error}"))
                    .await;
            }
        };
        let caller = self.caller;
        let reply = self
            .shared
            .reactor
            .ask(|request| Event::Submit { request, caller, id, digest, spec })
            .await?;
        drop(room);
        self.answer(convert::answer(reply)).await
    }

    async fn create_token(
        &mut self,
        role: TokenRole,
        uses: Option<u32>,
        valid_ms: u64,
    ) -> Result<(), End> {
        if uses == Some(0) || valid_ms == 0 || valid_ms > TOKEN_VALID_MS_MAX {
            let message =
                "a join token is used at least once and holds for at most a year".to_owned();
            return self.refuse(RefusedKind::Invalid, message).await;
        }
        match create_token(&self.shared, self.caller, role, uses, valid_ms).await? {
            Ok((token, text)) => {
                let expires_at = self.shared.views.token_expires_at(token).unwrap_or_default();
                self.answer(Answer::TokenCreated { token_id: token.0, token: text, expires_at })
                    .await
            }
            Err(refused) => self.answer(Answer::Refused(refused)).await,
        }
    }

    async fn revoke_token(&mut self, token_id: u64) -> Result<(), End> {
        let (caller, token) = (self.caller, TokenId(token_id));
        let reply = self
            .shared
            .reactor
            .ask(|request| Event::RevokeToken { request, caller, token })
            .await?;
        self.answer(convert::answer(reply)).await
    }

    /// Sends one piece of the answer.
    pub(super) async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        timeout(CLIENT_STEP_WITHIN, self.writer.write(&answer))
            .await
            .map_err(|_| End::DoesNotRead)??;
        Ok(())
    }

    /// Encodes one piece of the answer; `flush` sends it.
    pub(super) fn queue(&mut self, answer: &Answer) -> Result<(), End> {
        Ok(self.writer.queue(answer)?)
    }

    /// Returns how many bytes wait for a flush.
    pub(super) fn queued_bytes(&self) -> usize {
        self.writer.queued_bytes()
    }

    /// Sends what was queued.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        timeout(CLIENT_STEP_WITHIN, self.writer.flush()).await.map_err(|_| End::DoesNotRead)??;
        Ok(())
    }

    pub(super) async fn refuse(&mut self, kind: RefusedKind, message: String) -> Result<(), End> {
        self.answer(Answer::Refused(Refused { kind, message })).await
    }

    /// Waits until whoever asked wants no more.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.writer.stream().stopped();
        async move {
            // However it ended, nobody reads any more.
            let _ = stopped.await;
        }
    }
}

/// Makes a join token: its secret here, its entry in the core. Gives its number and the text of it.
pub(crate) async fn create_token(
    shared: &Shared,
    caller: Caller,
    role: TokenRole,
    uses: Option<u32>,
    valid_ms: u64,
) -> Result<Result<(TokenId, String), Refused>, Stopped> {
    let secret = Secret::random();
    let (secret_hash, role) = (secret.hash().0, convert::token_role(role));
    let event = |request| Event::CreateToken { request, caller, secret_hash, role, uses, valid_ms };
    let token = match shared.reactor.ask(event).await? {
        Reply::TokenCreated { token } => token,
        Reply::Refused(refusal) => return Ok(Err(convert::refused(&refusal))),
        other @ (Reply::Submitted { .. }
        | Reply::Cancelled { .. }
        | Reply::Retried { .. }
        | Reply::Forgotten { .. }
        | Reply::WorkerDraining { .. }
        | Reply::WorkerResumed { .. }
        | Reply::TokenRevoked
        | Reply::Enrolled(_)) => {
            unreachable!("the core answers the creation of a token in kind: {other:?}")
        }
    };
    let addresses = shared.advertised.iter().cloned();
    let text = JoinToken::new(addresses, shared.authority.hash(), token.0, secret)
        .expect("a coordinator advertises at least one address, and all were checked");
    Ok(Ok((token, text.to_string())))
}

/// Hashes a job as it travels: the same content under the same id is the same submission.
fn digest(spec: &JobSpec) -> Digest {
    let mut hasher = blake3::Hasher::new();
    postcard::to_io(spec, &mut hasher)
        .expect("a job that came in postcard can be written in it, and a hasher takes all");
    *hasher.finalize().as_bytes()
}
