//! The small values that everything else is made of: times, periods, ids.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;

/// A word that is not in its list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {}", known.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What would have been understood.
    pub known: Vec<&'static str>,
}

/// A point in time, in JSON an RFC 3339 string in UTC with milliseconds:
/// `2026-11-24T10:45:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub jiff::Timestamp);

impl Time {
    /// Now, by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// From milliseconds since 1970-01-01T00:00:00Z. A count that is beyond what a calendar can
    /// show becomes the nearest time that it can.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(jiff::Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0.as_millisecond()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A length of time, in JSON and on the command line a string like `30s`, `5m`, `1h 30m`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.0), f)
    }
}

/// A string that is not a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write for example 30s, 5m, 2h or 90d")]
pub struct BadPeriod(String);

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self).map_err(|_| BadPeriod(text.to_owned()))
    }
}

/// The id of a message: 16 bytes, written as 32 lower-case hex digits. Chosen by the sender, and
/// unique per contact and direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A string that is not a message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message id is 32 lower-case hex digits")]
pub struct BadMessageId;

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| BadMessageId)?;
        Ok(Self(bytes.try_into().map_err(|_| BadMessageId)?))
    }
}

/// The way that a message may go: in JSON and on the command line `direct`, `relay` or `relay:NICK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    /// Only from daemon to daemon.
    Direct,
    /// Only through a relay, whichever.
    Relay,
    /// Only through the relay of this nickname.
    Through(String),
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Relay => f.write_str("relay"),
            Self::Through(nick) => write!(f, "relay:{nick}"),
        }
    }
}

/// A string that names no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a way; write direct, relay or relay:NICK")]
pub struct BadVia(String);

impl FromStr for Via {
    type Err = BadVia;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("relay:")) {
            ("direct", _) => Ok(Self::Direct),
            ("relay", _) => Ok(Self::Relay),
            (_, Some(nick)) if !nick.is_empty() => Ok(Self::Through(nick.to_owned())),
            _ => Err(BadVia(text.to_owned())),
        }
    }
}

/// JSON strings for types that have `Display` and `FromStr`.
macro_rules! as_text {
    ($name:ident, $schema:tt) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
as_text!(Time, {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339 in UTC, with milliseconds"
});
as_text!(Period, {
    "type": "string",
    "pattern": "^([0-9]+ ?[A-Za-z]+ ?)+$",
    "description": "a duration like 30s, 5m, 1h 30m or 90d"
});
as_text!(MessageId, {
    "type": "string",
    "pattern": "^[0-9a-f]{32}$",
    "description": "a message id: 32 lower-case hex digits"
});
as_text!(Via, {
    "type": "string",
    "pattern": "^(direct|relay|relay:.+)$",
    "description": "a way: direct, relay or relay:NICK"
});
