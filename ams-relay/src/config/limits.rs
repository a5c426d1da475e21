//! `[limits]` of the config, and durations as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Deserialize;

use super::Block;

/// Bounds on what clients may use. Each is a key of `[limits]` in the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections that are accepted per second, from everybody together.
    pub accepts_per_second: u32,
    /// As many may come at once.
    pub accept_burst: u32,
    /// Connections that are accepted per second from one IPv4 address or IPv6 /64.
    pub source_accepts_per_second: u32,
    /// As many may come at once.
    pub source_accept_burst: u32,
    /// Connections that are accepted per second from one IPv6 /48.
    pub network_accepts_per_second: u32,
    /// As many may come at once.
    pub network_accept_burst: u32,
    /// Connections that have not shown an account yet.
    pub strangers: u32,
    /// Of these from one source: an IPv4 address or IPv6 /64.
    pub source_strangers: u32,
    /// Of these from one IPv6 /48.
    pub network_strangers: u32,
    /// Handshakes that wait for their turn to be computed; one more, and the oldest goes.
    pub handshakes_waiting: u32,
    /// Time for the handshake.
    #[serde(with = "duration")]
    pub handshake_time: Duration,
    /// Time from connecting to being attached, for whoever registers or logs in.
    #[serde(with = "duration")]
    pub login_time: Duration,
    /// Registrations and logins per minute from one source.
    pub source_logins_per_minute: u32,
    /// Logins per hour for one name, existing or not.
    pub name_logins_per_hour: u32,
    /// How long the answer to the fourth login for a name within that time waits; to each one after
    /// it twice as long, up to a quarter of `login_time`.
    #[serde(with = "duration")]
    pub name_login_delay: Duration,
    /// A source is kept out for so long for bytes that are no handshake or no frame.
    #[serde(with = "duration")]
    pub penalty_protocol: Duration,
    /// The same for a refused login, registration or device.
    #[serde(with = "duration")]
    pub penalty_refused: Duration,
    /// The same for letting the time run out.
    #[serde(with = "duration")]
    pub penalty_late: Duration,
    /// Penalties add up, and count from this sum on.
    #[serde(with = "duration")]
    pub penalty_least: Duration,
    /// Their greatest sum.
    #[serde(with = "duration")]
    pub penalty_most: Duration,
    /// Addresses that the limits per source and network do not concern.
    pub exempt: Vec<Block>,
    /// Addresses that are not let in: the connection is closed without a byte.
    pub banned: Vec<Block>,
    /// Memory of the process; from four fifths of it on nobody new is let in and nothing is held.
    pub memory_bytes: u64,
    /// Frames that are taken per second from one link.
    pub frames_per_second: u32,
    /// As many may come at once.
    pub frame_burst: u32,
    /// Control frames (contacts, presence, password) that are taken per second from one link.
    pub control_frames_per_second: u32,
    /// As many may come at once.
    pub control_frame_burst: u32,
    /// Bytes that are taken per second from one link.
    pub bytes_per_second: u32,
    /// As many may come at once.
    pub byte_burst: u32,
    /// A write that does not go on for so long ends the link.
    #[serde(with = "duration")]
    pub write_stall: Duration,
    /// Contact requests a day from one account.
    pub asks_per_day: u32,
    /// Contact requests of one account that wait for an answer.
    pub asks_pending: u32,
    /// Least time between two contact requests of one account.
    #[serde(with = "duration")]
    pub ask_interval: Duration,
    /// Time for one renewal of a contact; a few may follow each other at once.
    #[serde(with = "duration")]
    pub renewal_interval: Duration,
    /// Requests that an account is shown at once.
    pub requests_shown: u32,
    /// Contact rows of one account.
    pub contacts: u32,
    /// Accounts.
    pub accounts: u64,
    /// Bytes of messages in memory, of everybody. From nine tenths on nothing more is held for people
    /// who are not online.
    pub held_bytes: u64,
    /// Bytes of one sender's messages for people who are not online; one more than that is not held.
    /// For one contact whose link ended, as much.
    pub sender_held_bytes: u64,
    /// One sender's messages for people who are not online.
    pub sender_held_messages: u32,
    /// One sender's messages for one contact who is not online; all handles without a contact
    /// count as one.
    pub contact_held_messages: u32,
    /// Bytes of messages that wait for one link; above it is closed.
    pub link_bytes: u64,
    /// Longest time until a change of presence is told.
    #[serde(with = "duration")]
    pub presence_tick: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accepts_per_second: 50,
            accept_burst: 200,
            source_accepts_per_second: 5,
            source_accept_burst: 20,
            network_accepts_per_second: 10,
            network_accept_burst: 50,
            strangers: 256,
            source_strangers: 8,
            network_strangers: 50,
            handshakes_waiting: 64,
            handshake_time: Duration::from_secs(5),
            login_time: Duration::from_secs(20),
            source_logins_per_minute: 5,
            name_logins_per_hour: 10,
            name_login_delay: Duration::from_millis(500),
            penalty_protocol: Duration::from_secs(5),
            penalty_refused: Duration::from_secs(10),
            penalty_late: Duration::from_secs(20),
            penalty_least: Duration::from_secs(15),
            penalty_most: Duration::from_secs(600),
            exempt: vec![
                Block::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Block::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
            banned: Vec::new(),
            memory_bytes: 768 << 20,
            frames_per_second: 5_000,
            frame_burst: 20_000,
            control_frames_per_second: 100,
            control_frame_burst: 400,
            bytes_per_second: 8 << 20,
            byte_burst: 32 << 20,
            write_stall: Duration::from_secs(5),
            asks_per_day: 20,
            asks_pending: 50,
            ask_interval: Duration::from_secs(2),
            renewal_interval: Duration::from_secs(15 * 60),
            requests_shown: 100,
            contacts: 1_500,
            accounts: 10_000,
            held_bytes: 256 << 20,
            sender_held_bytes: 8 << 20,
            sender_held_messages: 1_024,
            contact_held_messages: 128,
            link_bytes: 8 << 20,
            presence_tick: Duration::from_secs(2),
        }
    }
}

pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }

    /// A duration, or what was expected.
    pub(in super::super) fn parse(text: &str) -> Result<Duration, String> {
        humantime::parse_duration(text).map_err(|_| {
            format!("`{text}` is not a duration; write for example \"30s\", \"5m\" or \"2h\"")
        })
    }
}
