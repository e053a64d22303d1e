//! Whether the addresses a node listens on are to be had.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use super::{Finding, config_of};
use crate::context::Context;

/// What a multiaddress asks of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

/// Tries every configured address.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let config = config_of(context);
    let mut ports: Vec<(String, Option<Port>)> = config.node.listen.iter().map(|text| (text.clone(), port_of(text))).collect();
    ports.push((format!("gateway at {}", config.gateway.listen), Some(Port::Tcp(config.gateway.listen))));
    ports.extend(config.node.metrics.map(|address| (format!("metrics at {address}"), Some(Port::Tcp(address)))));
    ports.into_iter().map(|(text, port)| finding(&text, port)).collect()
}

fn finding(text: &str, port: Option<Port>) -> Finding {
    let Some(port) = port else {
        return Finding::yellow("ports", format!("{text} was not tried"), "nothing, if it goes through a relay; else look at node.listen");
    };
    match bind(port).map_err(|error| (error.kind(), error)) {
        Ok(()) => Finding::green("ports", format!("{text} is free")),
        Err((io::ErrorKind::AddrInUse, _)) => {
            Finding::yellow("ports", format!("{text} is in use"), "nothing, if your node runs; else another port in the configuration")
        }
        Err((io::ErrorKind::PermissionDenied, error)) => {
            Finding::red("ports", format!("{text}: {error}"), "a port above 1023 in the configuration")
        }
        // A machine without IPv6, mostly.
        Err((_, error)) => {
            Finding::yellow("ports", format!("{text}: {error}"), "remove it from the configuration if this machine never has it")
        }
    }
}

fn bind(port: Port) -> io::Result<()> {
    match port {
        Port::Tcp(address) => TcpListener::bind(address).map(drop),
        Port::Udp(address) => UdpSocket::bind(address).map(drop),
    }
}

/// The socket of `/ip4/…/tcp/…` and `/ip6/…/udp/…`; none of other multiaddresses.
fn port_of(multiaddress: &str) -> Option<Port> {
    let mut parts = multiaddress.split('/').skip(1);
    let family = parts.next()?;
    let ip: IpAddr = parts.next()?.parse().ok()?;
    let matches = matches!((family, ip), ("ip4", IpAddr::V4(_)) | ("ip6", IpAddr::V6(_)));
    let transport = parts.next()?;
    let address = SocketAddr::new(ip, parts.next()?.parse().ok()?);
    match transport {
        "tcp" if matches => Some(Port::Tcp(address)),
        "udp" if matches => Some(Port::Udp(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Light;
    use super::*;

    #[test]
    fn sockets_are_found_in_multiaddresses() {
        let check = |text: &str, expected| assert_eq!(port_of(text), expected, "{text}");
        check("/ip4/0.0.0.0/tcp/4141", Some(Port::Tcp(([0, 0, 0, 0], 4141).into())));
        check("/ip6/::/udp/4141/quic-v1", Some(Port::Udp("[::]:4141".parse().unwrap())));
        for other in [
            "",
            "/",
            "/dns4/a/tcp/1",
            "/ip4/::/tcp/1",
            "/ip4/1.2.3.4/tcp",
            "/ip4/1.2.3.4/tcp/x",
            "/ip4/1.2.3.4/tcp/1x",
            "/ip4/1.2.3.4/sctp/1",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn a_port_in_use_is_seen() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(finding("x", Some(Port::Tcp(address))).light, Light::Yellow);
        drop(taken);
        assert_eq!(finding("x", Some(Port::Tcp(address))).light, Light::Green);
    }
}
