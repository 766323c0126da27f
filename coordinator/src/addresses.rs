//! Under which addresses workers and clients are told to come.

use std::net::{IpAddr, SocketAddr};

use crate::config::ADVERTISED_MAX;

/// Returns what is advertised: `wanted` as it is, else the address that was told to listen on, else every
/// address of the machine, loopback last.
pub(crate) fn advertised(wanted: &[String], local: SocketAddr) -> Vec<String> {
    if !wanted.is_empty() {
        return wanted.to_vec();
    }
    if !local.ip().is_unspecified() {
        return vec![local.to_string()];
    }
    let of_machine = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the machine's addresses cannot be read, only loopback is advertised; give --advertise HOST:PORT");
        Vec::new()
    });
    let ips = of_machine
        .into_iter()
        .filter(if_addrs::Interface::is_oper_up)
        .map(|interface| interface.ip());
    ordered(ips, local)
}

/// Returns those of `ips` that a peer could dial, loopback last, with the port of `local`.
fn ordered(ips: impl Iterator<Item = IpAddr>, local: SocketAddr) -> Vec<String> {
    let mut ips: Vec<IpAddr> = ips.filter(|ip| is_dialable(*ip, local)).collect();
    if !ips.iter().any(IpAddr::is_loopback) {
        ips.push(loopback_of(local));
    }
    // IPv4 before IPv6 where both are there: a token's first address is the one that people recognise.
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    ips.dedup();
    // The loopback address comes last and is always kept: the machine itself must reach it.
    let loopback = ips.iter().position(IpAddr::is_loopback).unwrap_or(ips.len());
    let others = ADVERTISED_MAX.saturating_sub(ips.len() - loopback).max(1);
    ips.drain(others.min(loopback)..loopback);
    ips.truncate(ADVERTISED_MAX);
    ips.into_iter().map(|ip| SocketAddr::new(ip, local.port()).to_string()).collect()
}

/// Leaves out what only works with the name of an interface (link-local), or not at all over this socket.
fn is_dialable(ip: IpAddr, local: SocketAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => local.is_ipv6() && !ip.is_unicast_link_local(),
    }
}

fn loopback_of(local: SocketAddr) -> IpAddr {
    match local {
        SocketAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_was_asked_for_is_advertised_and_nothing_else() {
        let wanted = vec!["grid.example.org:9".to_owned()];
        assert_eq!(advertised(&wanted, local("0.0.0.0:7443")), wanted);
    }

    #[test]
    fn address_that_was_told_to_listen_on_is_advertised() {
        assert_eq!(advertised(&[], local("127.0.0.1:7443")), ["127.0.0.1:7443"]);
        assert_eq!(advertised(&[], local("[::1]:7443")), ["[::1]:7443"]);
    }

    #[test]
    fn all_addresses_come_with_loopback_last_and_without_link_local() {
        let ips = ["::1", "127.0.0.1", "fe80::1", "169.254.1.1", "10.0.0.5", "fd00::5", "10.0.0.5"];
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
        let both = ordered(ips.iter().copied(), local("[::]:1"));
        assert_eq!(both, ["10.0.0.5:1", "[fd00::5]:1", "127.0.0.1:1", "[::1]:1"]);
        let four = ordered(ips.iter().copied(), local("0.0.0.0:1"));
        assert_eq!(four, ["10.0.0.5:1", "127.0.0.1:1"]);
    }

    #[test]
    fn machine_with_many_addresses_still_advertises_loopback() {
        let ips = (1..=99).map(|n| IpAddr::from([10, 0, 0, n]));
        let all = ordered(ips, local("0.0.0.0:1"));
        assert_eq!(all.len(), ADVERTISED_MAX);
        assert_eq!(all.last().map(String::as_str), Some("127.0.0.1:1"));
        assert_eq!(ordered(std::iter::empty(), local("[::]:1")), ["[::1]:1"]);
    }
}
