//! `gridctl token`.

use std::io::{BufWriter, Write as _, stdout};

use gridctl_transport::message::client::{Answer, Request, TokenRow};

use super::Ended;
use crate::cli::{GridOption, Role, TokenCommand, TokenCreate, TokenList};
use crate::error::Exit;
use crate::output::json::{self, Rows};
use crate::output::screen::Screen;
use crate::output::table::{Align, Table};
use crate::output::time::rfc3339_seconds;

/// Makes, lists and revokes join tokens.
pub(super) async fn token(command: TokenCommand, screen: Screen) -> Ended {
    match command {
        TokenCommand::Create(args) => create(args, screen).await,
        TokenCommand::List(args) => list(args, screen).await,
        TokenCommand::Revoke(args) => revoke(args.id, &args.grid, screen).await,
    }
}

async fn create(args: TokenCreate, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let (uses, command) = match args.role {
        Role::Worker => (args.uses, "gridctl worker --join"),
        // A person's identity is one person's.
        Role::User | Role::Admin => (Some(args.uses.unwrap_or(1)), "gridctl login"),
    };
    let valid_ms = u64::try_from(args.expires.as_millis()).unwrap_or(u64::MAX);
    let request = Request::CreateToken { role: args.role.into(), uses, valid_ms };
    let take = |answer| {
        let Answer::TokenCreated { token_id, token, expires_at } = answer else { return None };
        Some((token_id, token, expires_at))
    };
    let (token_id, token, expires_at) = client.ask_one(&request, take).await?;
    let mut out = stdout().lock();
    writeln!(out, "{token}")?;
    out.flush()?;
    let until = rfc3339_seconds(expires_at);
    screen.confirm(format_args!(
        "token {token_id}, until {until}; whoever has it types: {command} TOKEN"
    ));
    Ok(Exit::Done)
}

async fn list(args: TokenList, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let mut answers = client.ask(&Request::Tokens).await?;
    let mut tokens = Vec::new();
    let take = |answer| if let Answer::Tokens(tokens) = answer { Some(tokens) } else { None };
    while let Some(some) = answers.next_of(take).await? {
        tokens.extend(some);
    }
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        let mut rows = Rows::default();
        for token in &tokens {
            rows.row(&mut out, &json::JoinToken::from(token))?;
        }
        rows.end(&mut out)?;
    } else if tokens.is_empty() {
        screen.confirm("no join tokens; make one: gridctl token create --role worker");
    } else {
        let mut table = table();
        tokens.iter().for_each(|token| table.row(cells(token)));
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

async fn revoke(token_id: u64, grid: &GridOption, screen: Screen) -> Ended {
    let client = super::connect(grid).await?;
    let take = |answer| (answer == Answer::TokenRevoked).then_some(());
    client.ask_one(&Request::RevokeToken { token_id }, take).await?;
    screen.note(format_args!("join token {token_id} is revoked; who has joined by it stays"));
    Ok(Exit::Done)
}

fn table() -> Table {
    Table::new(&[
        ("id", Align::Right),
        ("role", Align::Left),
        ("used", Align::Right),
        ("left", Align::Right),
        ("created", Align::Left),
        ("expires", Align::Left),
        ("note", Align::Left),
    ])
}

fn cells(token: &TokenRow) -> [String; 7] {
    [
        token.token_id.to_string(),
        json::token_role(token.role).to_owned(),
        token.used.to_string(),
        token.uses_left.map_or_else(|| "any".to_owned(), |left| left.to_string()),
        rfc3339_seconds(token.created_at),
        rfc3339_seconds(token.expires_at),
        if token.revoked { "revoked".to_owned() } else { String::new() },
    ]
}
