//! Every params and result shape, one file per noun.
//!
//! Params refuse unknown names; results may gain fields, but a field never changes its meaning.
//! An optional value that is absent is `null`, never left out.

pub mod contact;
pub mod daemon;
pub mod event;
pub mod history;
pub mod hook;
pub mod inbox;
pub mod message;
pub mod profile;
pub mod queue;
pub mod relay;
pub mod scalar;
pub mod secret;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use contact::*;
pub use daemon::*;
pub use event::*;
pub use history::*;
pub use hook::*;
pub use inbox::*;
pub use message::*;
pub use profile::*;
pub use queue::*;
pub use relay::*;
pub use scalar::*;
pub use secret::*;

/// Params of a method that takes none: `{}` or nothing at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// The result of a method that has nothing to tell but that it was done: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

/// Declares an enum of fixed lower-case words, with the same words for JSON, `Display` and
/// `FromStr`.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for this value in JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::types::scalar::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    $crate::types::scalar::UnknownWord {
                        word: text.to_owned(),
                        known: Self::ALL.iter().map(|v| v.as_str()).collect(),
                    }
                })
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod golden;
