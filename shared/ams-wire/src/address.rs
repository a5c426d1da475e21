//! One grammar for all links: `ams://HOST:PORT/KIND#BASE64URL`. The part behind `#` is a version
//! byte, the kind's fields and a CRC-32 over everything before it, host and port included: a
//! mistyped link is caught before anything is asked of anybody.

use data_encoding::BASE64URL_NOPAD;

use crate::id::{ContactSecret, InviteToken, Key, RoutingId};
use crate::limits::{MAX_HOST, MAX_LINK};
use crate::username::Username;

/// Port of a relay where none is named.
pub const RELAY_PORT: u16 = 7311;
/// Port of direct links where none is named.
pub const DIRECT_PORT: u16 = 7310;

const SCHEME: &str = "ams://";
const VERSION: u8 = 1;

/// What is wrong with a link. The texts are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Does not begin with the scheme, or lacks a part.
    #[error("this is not an ams:// link")]
    NotALink,
    /// The checksum does not fit: mistyped or cut off.
    #[error("the link is damaged: a character is wrong or its end is missing; copy it again")]
    Damaged,
    /// A version that this program does not know.
    #[error("the link is of a newer version of AMS")]
    Version,
    /// A good link, but of another kind than asked for.
    #[error("this is not {wanted} link but {found} link")]
    Kind {
        /// The kind that was needed, with its article.
        wanted: &'static str,
        /// The kind that it is, with its article.
        found: &'static str,
    },
}

/// The text is no `HOST:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address: HOST or HOST:PORT is needed, an IPv6 address in brackets")]
pub struct BadHostPort;

/// A host and a port. The host is a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`, or `HOST` with `default_port`.
    ///
    /// # Errors
    /// [`BadHostPort`].
    pub fn parse(text: &str, default_port: u16) -> Result<Self, BadHostPort> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = if digits {
                    port.parse().map_err(|_| BadHostPort)?
                } else {
                    return Err(BadHostPort);
                };
                (host, port)
            }
            _ => (text, default_port),
        };
        if port == 0 || !is_host(host) {
            return Err(BadHostPort);
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    /// From a socket address.
    pub fn from_socket(address: std::net::SocketAddr) -> Self {
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: address.port() }
    }

    /// The host as written, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as resolvers take it, an IPv6 address without brackets.
    pub fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= MAX_HOST && host.split('.').all(label)
}

/// The address of a relay: where it is and who it must prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayLink {
    /// Where to dial.
    pub at: HostPort,
    /// The relay's X25519 static key.
    pub relay: Key,
}

/// An invite to a relay, bound to one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// Where to dial.
    pub at: HostPort,
    /// The relay's X25519 static key.
    pub relay: Key,
    /// The name that the account will have.
    pub user: Username,
    /// Spent by joining.
    pub token: InviteToken,
}

/// Makes whoever redeems it a contact, once. Whoever holds it is who its maker meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactLink {
    /// Where to dial.
    pub at: HostPort,
    /// The relay's X25519 static key.
    pub relay: Key,
    /// Under which the redeemer asks there.
    pub by: RoutingId,
    /// The maker's identity key.
    pub identity: Key,
    /// X25519 key made for this link alone, to which the introduction is sealed.
    pub one_time: Key,
    /// What the relay does not know.
    pub secret: ContactSecret,
    /// Seconds since 1970 after which it is worth nothing.
    pub expires: u64,
}

/// Where somebody can be met directly, and who it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLink {
    /// Where to dial.
    pub at: HostPort,
    /// The identity key that has to answer there.
    pub identity: Key,
}

/// Any link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// `ams://HOST:PORT/relay#…`: key 32
    Relay(RelayLink),
    /// `ams://HOST:PORT/invite#…`: key 32 ‖ token 16 ‖ username
    Invite(InviteLink),
    /// `ams://HOST:PORT/contact#…`: key 32 ‖ routing id 16 ‖ identity 32 ‖ one-time key 32 ‖
    /// secret 16 ‖ expires u64
    Contact(ContactLink),
    /// `ams://HOST:PORT/peer#…`: identity 32
    Peer(PeerLink),
}

impl Link {
    /// Reads a link of any kind.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_LINK {
            return Err(LinkError::NotALink);
        }
        let rest = text.trim().strip_prefix(SCHEME).ok_or(LinkError::NotALink)?;
        let (place, payload) = rest.split_once('#').ok_or(LinkError::NotALink)?;
        let (at, kind) = place.split_once('/').ok_or(LinkError::NotALink)?;
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| LinkError::Damaged)?;
        let (payload, sum) = payload.split_last_chunk::<4>().ok_or(LinkError::Damaged)?;
        if checksum(place, payload) != *sum {
            return Err(LinkError::Damaged);
        }
        let (&version, fields) = payload.split_first().ok_or(LinkError::Damaged)?;
        if version != VERSION {
            return Err(LinkError::Version);
        }
        let at = HostPort::parse(at, RELAY_PORT).map_err(|_| LinkError::NotALink)?;
        let (relay, fields) = fields.split_first_chunk().ok_or(LinkError::Damaged)?;
        let relay = Key(*relay);
        match kind {
            "relay" if fields.is_empty() => Ok(Self::Relay(RelayLink { at, relay })),
            "invite" => {
                let (token, user) = fields.split_first_chunk().ok_or(LinkError::Damaged)?;
                let user = std::str::from_utf8(user).map_err(|_| LinkError::Damaged)?;
                let user = Username::new(user).map_err(|_| LinkError::Damaged)?;
                Ok(Self::Invite(InviteLink { at, relay, user, token: InviteToken(*token) }))
            }
            "contact" => ContactLink::read(at, relay, fields).map(Self::Contact),
            "peer" if fields.is_empty() => Ok(Self::Peer(PeerLink { at, identity: relay })),
            _ => Err(LinkError::NotALink),
        }
    }

    /// The relay link in `text`.
    ///
    /// # Errors
    /// [`LinkError`], also for a link of another kind.
    pub fn parse_relay(text: &str) -> Result<RelayLink, LinkError> {
        match Self::parse(text)? {
            Self::Relay(link) => Ok(link),
            other => Err(LinkError::Kind { wanted: "a relay's address", found: other.kind_text() }),
        }
    }

    /// The invite link in `text`.
    ///
    /// # Errors
    /// [`LinkError`], also for a link of another kind.
    pub fn parse_invite(text: &str) -> Result<InviteLink, LinkError> {
        match Self::parse(text)? {
            Self::Invite(link) => Ok(link),
            other => Err(LinkError::Kind { wanted: "an invite", found: other.kind_text() }),
        }
    }

    /// The contact link in `text`.
    ///
    /// # Errors
    /// [`LinkError`], also for a link of another kind.
    pub fn parse_contact(text: &str) -> Result<ContactLink, LinkError> {
        match Self::parse(text)? {
            Self::Contact(link) => Ok(link),
            other => Err(LinkError::Kind { wanted: "a contact", found: other.kind_text() }),
        }
    }

    /// The peer link in `text`.
    ///
    /// # Errors
    /// [`LinkError`], also for a link of another kind.
    pub fn parse_peer(text: &str) -> Result<PeerLink, LinkError> {
        match Self::parse(text)? {
            Self::Peer(link) => Ok(link),
            other => Err(LinkError::Kind { wanted: "a peer", found: other.kind_text() }),
        }
    }

    fn kind_text(&self) -> &'static str {
        match self {
            Self::Relay(_) => "a relay's address",
            Self::Invite(_) => "an invite",
            Self::Contact(_) => "a contact",
            Self::Peer(_) => "a peer",
        }
    }
}

impl ContactLink {
    fn read(at: HostPort, relay: Key, fields: &[u8]) -> Result<Self, LinkError> {
        let (by, rest) = fields.split_first_chunk().ok_or(LinkError::Damaged)?;
        let (identity, rest) = rest.split_first_chunk().ok_or(LinkError::Damaged)?;
        let (one_time, rest) = rest.split_first_chunk().ok_or(LinkError::Damaged)?;
        let (secret, rest) = rest.split_first_chunk().ok_or(LinkError::Damaged)?;
        Ok(Self {
            at,
            relay,
            by: RoutingId(*by),
            identity: Key(*identity),
            one_time: Key(*one_time),
            secret: ContactSecret(*secret),
            expires: u64::from_be_bytes(rest.try_into().map_err(|_| LinkError::Damaged)?),
        })
    }

    fn fields(&self) -> Vec<u8> {
        let mut fields = self.by.as_bytes().to_vec();
        fields.extend_from_slice(self.identity.as_bytes());
        fields.extend_from_slice(self.one_time.as_bytes());
        fields.extend_from_slice(self.secret.as_bytes());
        fields.extend_from_slice(&self.expires.to_be_bytes());
        fields
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (place, relay, fields) = match self {
            Self::Relay(link) => (format!("{}/relay", link.at), &link.relay, Vec::new()),
            Self::Invite(link) => {
                let fields =
                    [link.token.as_bytes().as_slice(), link.user.as_str().as_bytes()].concat();
                (format!("{}/invite", link.at), &link.relay, fields)
            }
            Self::Contact(link) => (format!("{}/contact", link.at), &link.relay, link.fields()),
            Self::Peer(link) => (format!("{}/peer", link.at), &link.identity, Vec::new()),
        };
        let mut payload = vec![VERSION];
        payload.extend_from_slice(relay.as_bytes());
        payload.extend_from_slice(&fields);
        let sum = checksum(&place, &payload);
        payload.extend_from_slice(&sum);
        write!(f, "{SCHEME}{place}#{}", BASE64URL_NOPAD.encode(&payload))
    }
}

fn checksum(place: &str, payload: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(place.as_bytes());
    sum.update(payload);
    sum.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Link {
        Link::Invite(InviteLink {
            at: HostPort::parse("relay.example.org", RELAY_PORT).unwrap(),
            relay: Key([7; 32]),
            user: Username::new("alice").unwrap(),
            token: InviteToken([9; 16]),
        })
    }

    #[test]
    fn golden() {
        let link = Link::Relay(RelayLink {
            at: HostPort::parse("[::1]:7400", RELAY_PORT).unwrap(),
            relay: Key([7; 32]),
        });
        assert_eq!(
            link.to_string(),
            "ams://[::1]:7400/relay#AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHtHExNQ"
        );
        assert_eq!(Link::parse(&link.to_string()), Ok(link));
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let text = invite().to_string();
        assert_eq!(Link::parse(&text), Ok(invite()));
        for position in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            assert!(Link::parse(&String::from_utf8(wrong).unwrap()).is_err(), "{position}");
            assert!(Link::parse(&text[..position]).is_err(), "{position}");
        }
    }

    #[test]
    fn a_link_of_another_kind_says_so() {
        let error = Link::parse_relay(&invite().to_string()).unwrap_err();
        assert_eq!(error.to_string(), "this is not a relay's address link but an invite link");
    }

    #[test]
    fn hosts() {
        for (text, shown) in [
            ("a.example", "a.example:7311"),
            ("A.example:1", "a.example:1"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("[::1]", "[::1]:7311"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(
                HostPort::parse(text, RELAY_PORT).map(|a| a.to_string()),
                Ok(shown.to_owned())
            );
        }
        for bad in
            ["", ":1", "a:", "a:0", "a:65536", "a:+1", "::1", "[::1", "a b", "a..b", "a/b", "[a]"]
        {
            assert!(HostPort::parse(bad, RELAY_PORT).is_err(), "{bad}");
        }
    }
}
