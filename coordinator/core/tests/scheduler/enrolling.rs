//! Join tokens and enrolment.

use gridctl_core::effect::{Enrolled, Refusal, Reply};
use gridctl_core::event::{Caller, Event, RequestId};
use gridctl_core::fact::{TokenId, TokenRole, UserRole};
use gridctl_core::state::LOCAL_ADMIN;
use gridctl_jobs::id::{UserId, WorkerId};

use crate::world::{ADMIN, World};

fn enrol(world: &mut World, token: TokenId, secret: u8, key: u8, name: &str) -> Reply {
    let request = RequestId(world.number());
    let (secret_hash, key) = ([secret; 32], [key; 32]);
    world.step(Event::Enrol { request, token, secret_hash, key, wanted_name: name.to_owned() });
    world.reply().clone()
}

fn worker(id: u64, name: &str) -> Reply {
    Reply::Enrolled(Enrolled::Worker { worker: WorkerId(id), name: name.to_owned() })
}

#[test]
fn a_name_in_use_gets_a_number() {
    let mut world = World::new();
    let token = world.new_token(TokenRole::Worker, None);
    assert_eq!(enrol(&mut world, token, 9, 1, "box"), worker(1, "box"));
    assert_eq!(enrol(&mut world, token, 9, 2, "box"), worker(2, "box-2"));
    assert_eq!(enrol(&mut world, token, 9, 3, "box"), worker(3, "box-3"));
    let long = "x".repeat(128);
    assert_eq!(enrol(&mut world, token, 9, 4, &long), worker(4, &long));
    let cut = format!("{}-2", "x".repeat(126));
    assert_eq!(enrol(&mut world, token, 9, 5, &long), worker(5, &cut));
}

#[test]
fn the_same_key_with_the_same_token_is_the_same_enrolment() {
    let mut world = World::new();
    let token = world.new_token(TokenRole::Worker, Some(1));
    assert_eq!(enrol(&mut world, token, 9, 1, "box"), worker(1, "box"));
    assert_eq!(enrol(&mut world, token, 9, 1, "box"), worker(1, "box"), "the reply was lost");
    assert_eq!(world.recorded(), [""; 0]);
    world.pass(100_000_000);
    assert_eq!(enrol(&mut world, token, 9, 1, "box"), worker(1, "box"));
}

#[test]
fn tokens_run_out_of_uses_and_of_time() {
    let mut world = World::new();
    let token = world.new_token(TokenRole::Worker, Some(1));
    enrol(&mut world, token, 9, 1, "box");
    assert_eq!(enrol(&mut world, token, 9, 2, "box"), Reply::Refused(Refusal::TokenUsedUp));
    let token = world.new_token(TokenRole::Worker, None);
    world.pass(86_400_000);
    assert_eq!(enrol(&mut world, token, 9, 2, "box"), Reply::Refused(Refusal::TokenExpired));
}

#[test]
fn a_wrong_secret_and_a_revoked_token_are_refused_alike() {
    let mut world = World::new();
    let token = world.new_token(TokenRole::Worker, None);
    let bad = Reply::Refused(Refusal::BadToken);
    assert_eq!(enrol(&mut world, token, 8, 1, "box"), bad);
    assert_eq!(enrol(&mut world, TokenId(99), 9, 1, "box"), bad);
    let request = RequestId(world.number());
    world.step(Event::RevokeToken { request, caller: ADMIN, token });
    assert_eq!(*world.reply(), Reply::TokenRevoked);
    assert_eq!(enrol(&mut world, token, 9, 1, "box"), bad);
}

#[test]
fn a_bad_name_is_refused() {
    let mut world = World::new();
    let token = world.new_token(TokenRole::Worker, None);
    for name in ["", "a b", "a/b", &"x".repeat(129)] {
        let refused = Reply::Refused(Refusal::BadName);
        assert_eq!(enrol(&mut world, token, 9, 1, name), refused, "{name:?}");
    }
}

#[test]
fn users_join_beside_the_local_admin() {
    let mut world = World::new();
    let admin = world.core.state().directory().user(LOCAL_ADMIN).unwrap();
    assert_eq!(admin.role, UserRole::Admin);
    let token = world.new_token(TokenRole::User(UserRole::User), None);
    let user = |id, name: &str| {
        let (user, role) = (UserId(id), UserRole::User);
        Reply::Enrolled(Enrolled::User { user, name: name.to_owned(), role })
    };
    assert_eq!(enrol(&mut world, token, 9, 1, "ann"), user(1, "ann"));
    assert_eq!(enrol(&mut world, token, 9, 2, "local"), user(2, "local-2"));
}

#[test]
fn only_admins_make_and_revoke_tokens() {
    let mut world = World::new();
    let caller = Caller { user: UserId(3), role: UserRole::User };
    let request = RequestId(world.number());
    let role = TokenRole::Worker;
    world.step(Event::CreateToken {
        request,
        caller,
        secret_hash: [9; 32],
        role,
        uses: None,
        valid_ms: 1,
    });
    assert_eq!(*world.reply(), Reply::Refused(Refusal::AdminOnly));
    world.step(Event::RevokeToken { request, caller, token: TokenId(1) });
    assert_eq!(*world.reply(), Reply::Refused(Refusal::AdminOnly));
    world.step(Event::RevokeToken { request, caller: ADMIN, token: TokenId(1) });
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchToken));
}
