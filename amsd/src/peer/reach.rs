//! Where this daemon is reached, and which places a contact may have it dial.

use std::net::{IpAddr, SocketAddr};

use ams_wire::address::{DIRECT_PORT, HostPort};
use ams_wire::limits::MAX_OFFERED;

/// The addresses that others are told: those that the user named, else those listened on, where
/// they say where that is.
pub(super) fn own(public: &[HostPort], listening: &[SocketAddr]) -> Vec<HostPort> {
    if listening.is_empty() {
        return Vec::new();
    }
    if !public.is_empty() {
        return public.to_vec();
    }
    let specific = listening.iter().filter(|at| !at.ip().is_unspecified());
    specific.map(|at| HostPort::from_socket(*at)).collect()
}

/// Of these, what is offered to contacts.
pub(super) fn offered(own: &[HostPort]) -> Vec<String> {
    own.iter().take(MAX_OFFERED).map(ToString::to_string).collect()
}

/// Whether this daemon dials what a contact offers. Not what leads back to this machine or to
/// everybody on its network: the contact would have it speak to what trusts this machine. Where this
/// daemon itself is offered in such a place, as on one machine, its contacts may be there, too.
pub(super) fn may_be_dialled(at: &str, own: &[String]) -> bool {
    let Some(place) = Place::of(at) else { return false };
    match place {
        Place::Anywhere => true,
        Place::Nowhere => false,
        near => own.iter().any(|own| Place::of(own) == Some(near)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// This machine.
    Loopback,
    /// This wire; what clouds tell their machines lies there, too.
    LinkLocal,
    /// Unspecified, or many at once.
    Nowhere,
}

impl Place {
    fn of(at: &str) -> Option<Self> {
        let at = HostPort::parse(at, DIRECT_PORT).ok()?;
        let host = at.bare_host().trim_end_matches('.').to_ascii_lowercase();
        let Ok(ip) = host.parse::<IpAddr>() else {
            let last = host.rsplit('.').next().unwrap_or_default();
            // 127.1, 2130706433, 0x7f.1: resolvers take them for IPv4 addresses, and no name ends so.
            let is_number = last.starts_with(|c: char| c.is_ascii_digit());
            return Some(match last {
                // No name either, such as an IPv6 address on a wire of this machine.
                _ if host.contains([':', '%']) => Self::Nowhere,
                _ if is_number => Self::Nowhere,
                "localhost" => Self::Loopback,
                _ => Self::Anywhere,
            });
        };
        Some(match ip.to_canonical() {
            ip if ip.is_unspecified() || ip.is_multicast() => Self::Nowhere,
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_broadcast() => Self::Nowhere,
            // 0.0.0.0/8 is this network (RFC 1122, 3.2.1.3).
            IpAddr::V4(ip) if matches!(ip.octets(), [0, ..]) => Self::Nowhere,
            IpAddr::V4(ip) if ip.is_link_local() => Self::LinkLocal,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::LinkLocal,
            _ => Self::Anywhere,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_leads_nobody_to_his_own_machine() {
        let far = ["192.0.2.7:7310".to_owned()];
        for good in ["bob.example.org:7310", "192.0.2.1:1", "[2001:db8::1]:7310", "10.0.0.7:7310"] {
            assert!(may_be_dialled(good, &far), "{good}");
        }
        for bad in [
            "127.0.0.1:22",
            "127.9.9.9:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "localhost:22",
            "x.LOCALHOST:22",
            "127.1:22",
            "2130706433:22",
            "0x7f000001:22",
            "0.0.0.0:22",
            "0.1.2.3:22",
            "[::]:22",
            "224.0.0.1:7310",
            "[ff02::1]:7310",
            "255.255.255.255:7310",
            "169.254.169.254:80",
            "[fe80::1]:7310",
            "[fe80::1%eth0]:7310",
            "no address at all",
            "",
        ] {
            assert!(!may_be_dialled(bad, &far), "{bad}");
        }
        let here = ["127.0.0.1:7310".to_owned()];
        assert!(may_be_dialled("127.0.0.1:7311", &here), "both are on this machine");
        assert!(!may_be_dialled("169.254.169.254:80", &here));
        assert!(!may_be_dialled("224.0.0.1:7310", &["224.0.0.1:7310".to_owned()]));
    }

    #[test]
    fn who_does_not_listen_offers_no_place() {
        let public = [HostPort::parse("me.example.org", DIRECT_PORT).unwrap()];
        let everywhere = ["0.0.0.0:7310".parse().unwrap()];
        let here = ["192.0.2.7:7310".parse().unwrap()];
        assert!(own(&public, &[]).is_empty());
        assert_eq!(offered(&own(&public, &everywhere)), ["me.example.org:7310"]);
        assert!(own(&[], &everywhere).is_empty());
        assert_eq!(offered(&own(&[], &here)), ["192.0.2.7:7310"]);
        let many = vec![public[0].clone(); MAX_OFFERED + 1];
        assert_eq!(offered(&own(&many, &here)).len(), MAX_OFFERED);
    }
}
