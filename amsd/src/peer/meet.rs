//! We look at who answers at an address, and say nothing of ourselves.

use std::time::Duration;

use ams_link::handshake::HandshakeError;
use ams_link::peer;
use ams_wire::address::HostPort;
use ams_wire::id::Key;

use crate::contacts::direct::Met;
use crate::outside::Outside;
use crate::profile;
use crate::relay::DialError;
use crate::store::{Store, StoreError};

/// For the round trip of the handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why it is not known who is there. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It was closed before anybody said who is there.
    #[error("what listens there does not say who it is: it may take no requests, or be no amsd")]
    Closed,
}

/// Looks at who answers.
#[derive(Clone)]
pub struct Meeter {
    store: Store,
    outside: Outside,
}

impl Meeter {
    /// Over this network.
    pub fn new(store: Store, outside: Outside) -> Self {
        Self { store, outside }
    }

    /// Who answers at `at`; its word holds, and nothing of ours was shown.
    ///
    /// # Errors
    /// [`MeetError`].
    pub async fn meet(&self, at: &HostPort) -> Result<Met, MeetError> {
        let secret = self.store.write(profile::link_secret).await;
        let secret = secret.map_err(MeetError::Store)?;
        let stream = self.outside.network.connect(at).await?;
        let met = peer::meet(stream, &secret, HANDSHAKE).await.map_err(|error| match error {
            HandshakeError::TimedOut => MeetError::Dial(DialError::Silent),
            HandshakeError::Io(error) => MeetError::Dial(DialError::from_io(&error)),
            _ => MeetError::Closed,
        })?;
        Ok(Met {
            identity: met.identity,
            link_key: Key(*met.link.as_bytes()),
            at: at.to_string(),
            verified: false,
            linked: false,
        })
    }
}
