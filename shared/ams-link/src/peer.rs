//! From a fresh stream to a [`Link`] between two daemons.
//!
//! Dialling: [`connect`] somebody whose key is known (pattern `IK`), or [`meet`] whoever answers
//! (`XX`), look at who that is, and go on or not ([`Met::go_on`]). Accepting: [`greet`] reads the
//! first message, of a size that its first byte fixes, without any cryptography; what follows is in
//! steps, so that the caller decides before anything is sent.

use ams_crypto::device::{self, DEVICE_RECORD};
use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::identity::IdentityPublic;
use ams_crypto::noise::{
    IK, IkInitiator, IkResponder, NoiseError, Pattern, XX, XxAnswered, XxInitiator, XxResponder,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

use crate::handshake::{HandshakeError, Link, failed, read, within};
use crate::stream::Stream;

/// Bytes of the second and third message of `XX`, each with a device record.
const SECOND: usize = XX.1 + DEVICE_RECORD;
const THIRD: usize = XX.2 + DEVICE_RECORD;

/// Dials somebody who is known by the key `peer`, within `limit`. Whoever does not know ours closes
/// without a byte.
///
/// # Errors
/// [`HandshakeError`].
pub async fn connect<S: Stream>(
    mut stream: S,
    local: &DhSecret,
    peer: &DhPublic,
    limit: Duration,
) -> Result<Link<S>, HandshakeError> {
    within(limit, async {
        let (handshake, first) = IkInitiator::start(local, peer)?;
        send(&mut stream, &[&[Pattern::Ik.byte()], &first]).await?;
        let transport = handshake.finish(&read(&mut stream).await?)?;
        Ok(Link::new(stream, transport))
    })
    .await
}

/// Somebody answered at an address; nothing was said of ourselves.
#[derive(Debug)]
pub struct Met<S> {
    stream: S,
    handshake: XxAnswered,
    /// Whose device it is.
    pub identity: IdentityPublic,
    /// The device's key.
    pub link: DhPublic,
}

/// Dials whoever is there, and learns who it is, within `limit`.
///
/// # Errors
/// [`HandshakeError`].
pub async fn meet<S: Stream>(
    mut stream: S,
    local: &DhSecret,
    limit: Duration,
) -> Result<Met<S>, HandshakeError> {
    within(limit, async {
        let (handshake, first) = XxInitiator::start(local)?;
        send(&mut stream, &[&[Pattern::Xx.byte()], &first]).await?;
        let second: [u8; SECOND] = read(&mut stream).await?;
        let (handshake, record) = handshake.read(&second)?;
        let link = handshake.responder();
        let identity = whose(&record, &link)?;
        Ok(Met { stream, handshake, identity, link })
    })
    .await
}

impl<S: Stream> Met<S> {
    /// Says who we are, by our own device record, and has the link.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn go_on(
        self,
        record: &[u8; DEVICE_RECORD],
        limit: Duration,
    ) -> Result<Link<S>, HandshakeError> {
        let Self { mut stream, handshake, .. } = self;
        within(limit, async {
            let (transport, third) = handshake.finish(record)?;
            send(&mut stream, &[&third]).await?;
            Ok(Link::new(stream, transport))
        })
        .await
    }
}

/// Somebody's first message.
#[derive(Debug)]
pub enum Greeting<S> {
    /// Of somebody who knows our key.
    Known(KnownGreeting<S>),
    /// Of somebody who wants to see who is here.
    First(FirstGreeting<S>),
}

/// See [`Greeting::Known`].
#[derive(Debug)]
pub struct KnownGreeting<S> {
    stream: S,
    message: [u8; IK.0],
}

/// See [`Greeting::First`].
#[derive(Debug)]
pub struct FirstGreeting<S> {
    stream: S,
    message: [u8; XX.0],
}

/// Accepts, first step: reads the first message within `limit`. Sends nothing. Where strangers are
/// not `welcome`, their pattern is none, as any other byte.
///
/// # Errors
/// [`HandshakeError`].
pub async fn greet<S: Stream>(
    mut stream: S,
    welcome: bool,
    limit: Duration,
) -> Result<Greeting<S>, HandshakeError> {
    within(limit, async {
        let [pattern] = read(&mut stream).await?;
        match Pattern::from_byte(pattern) {
            Some(Pattern::Ik) => {
                let message = read(&mut stream).await?;
                Ok(Greeting::Known(KnownGreeting { stream, message }))
            }
            Some(Pattern::Xx) if welcome => {
                let message = read(&mut stream).await?;
                Ok(Greeting::First(FirstGreeting { stream, message }))
            }
            _ => Err(HandshakeError::UnknownPattern),
        }
    })
    .await
}

/// Somebody says whose key it has; nothing was sent, and nothing is proven before its first record
/// opens.
#[derive(Debug)]
pub struct Named<S> {
    stream: S,
    handshake: IkResponder,
}

impl<S: Stream> KnownGreeting<S> {
    /// Second step: computes who it says that it is. Sends nothing.
    ///
    /// # Errors
    /// [`HandshakeError::Rejected`]: not meant for us.
    pub fn read(self, local: &DhSecret) -> Result<Named<S>, HandshakeError> {
        let handshake = IkResponder::read(local, &self.message)?;
        Ok(Named { stream: self.stream, handshake })
    }
}

impl<S: Stream> Named<S> {
    /// The key that it says it has.
    pub fn link(&self) -> DhPublic {
        self.handshake.initiator()
    }

    /// Last step, for somebody who is known: answers.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn answer(self, limit: Duration) -> Result<Link<S>, HandshakeError> {
        let Self { mut stream, handshake } = self;
        within(limit, async {
            let (transport, second) = handshake.answer()?;
            send(&mut stream, &[&second]).await?;
            Ok(Link::new(stream, transport))
        })
        .await
    }
}

/// The answer to a stranger.
#[derive(Debug)]
pub struct Answer<S> {
    stream: S,
    handshake: XxResponder,
    second: Vec<u8>,
}

impl<S: Stream> FirstGreeting<S> {
    /// Second step: computes the answer, which says who we are by our device record. Sends nothing.
    ///
    /// # Errors
    /// [`HandshakeError::Rejected`].
    pub fn answer(
        self,
        local: &DhSecret,
        record: &[u8; DEVICE_RECORD],
    ) -> Result<Answer<S>, HandshakeError> {
        let (handshake, second) = XxResponder::start(local, &self.message, record)?;
        Ok(Answer { stream: self.stream, handshake, second })
    }
}

/// A stranger's last message.
#[derive(Debug)]
pub struct Answered<S> {
    stream: S,
    handshake: XxResponder,
    third: [u8; THIRD],
}

impl<S: Stream> Answer<S> {
    /// Third step: sends the answer, and reads what the stranger says to it, within `limit`: it may
    /// be a person who looks at a fingerprint.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn exchange(self, limit: Duration) -> Result<Answered<S>, HandshakeError> {
        let Self { mut stream, handshake, second } = self;
        within(limit, async {
            send(&mut stream, &[&second]).await?;
            let third = read(&mut stream).await?;
            Ok(Answered { stream, handshake, third })
        })
        .await
    }
}

impl<S: Stream> Answered<S> {
    /// Last step: who it is. Its device's key is [`Link::remote`].
    ///
    /// # Errors
    /// [`HandshakeError::Rejected`].
    pub fn finish(self) -> Result<(Link<S>, IdentityPublic), HandshakeError> {
        let (transport, record) = self.handshake.finish(&self.third)?;
        let identity = whose(&record, &transport.remote)?;
        Ok((Link::new(self.stream, transport), identity))
    }
}

fn whose(record: &[u8], link: &DhPublic) -> Result<IdentityPublic, HandshakeError> {
    let record = record.try_into().map_err(|_| NoiseError::Size)?;
    device::verify(record, link).map_err(|_| HandshakeError::Rejected(NoiseError::Rejected))
}

async fn send(stream: &mut impl Stream, parts: &[&[u8]]) -> Result<(), HandshakeError> {
    stream.write_all(&parts.concat()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use ams_crypto::identity::IdentityKey;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    struct Daemon(IdentityKey, DhSecret);

    impl Daemon {
        fn new(seed: u8) -> Self {
            Self(IdentityKey::from_bytes(&[seed; 32]), DhSecret::from_bytes(&[seed; 32]))
        }

        fn record(&self) -> [u8; DEVICE_RECORD] {
            device::record(&self.0, &self.1.public())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_strangers_learn_who_they_are() {
        let (alice, bob) = (Daemon::new(7), Daemon::new(8));
        let (here, there) = duplex(4096);
        let bobs = tokio::spawn(async move {
            let Greeting::First(first) = greet(there, true, LIMIT).await.unwrap() else {
                panic!("not a first meeting")
            };
            let answer = first.answer(&bob.1, &bob.record()).unwrap();
            answer.exchange(LIMIT).await.unwrap().finish().unwrap()
        });
        let bob = Daemon::new(8);
        let met = meet(here, &alice.1, LIMIT).await.unwrap();
        assert_eq!((met.identity, met.link), (bob.0.public(), bob.1.public()));
        let mine = met.go_on(&alice.record(), LIMIT).await.unwrap();
        let (theirs, who) = bobs.await.unwrap();
        assert_eq!((who, theirs.remote), (alice.0.public(), alice.1.public()));
        assert_eq!(mine.handshake_hash, theirs.handshake_hash);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_shows_the_record_of_another_device_is_nobody() {
        let (alice, bob) = (Daemon::new(7), Daemon::new(8));
        let (here, there) = duplex(4096);
        let bobs = tokio::spawn(async move {
            let Greeting::First(first) = greet(there, true, LIMIT).await.unwrap() else {
                panic!("not a first meeting")
            };
            let answer = first.answer(&bob.1, &bob.record()).unwrap();
            answer.exchange(LIMIT).await.unwrap().finish().map(|_| ())
        });
        let met = meet(here, &DhSecret::from_bytes(&[9; 32]), LIMIT).await.unwrap();
        met.go_on(&alice.record(), LIMIT).await.unwrap();
        assert!(matches!(bobs.await.unwrap(), Err(HandshakeError::Rejected(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_known_is_named_before_anything_is_sent() {
        let (alice, bob) = (Daemon::new(7), Daemon::new(8));
        let (here, there) = duplex(4096);
        let key = bob.1.public();
        let alices = tokio::spawn(async move { connect(here, &alice.1, &key, LIMIT).await });
        let Greeting::Known(known) = greet(there, false, LIMIT).await.unwrap() else {
            panic!("not a known one")
        };
        let named = known.read(&bob.1).unwrap();
        assert_eq!(named.link(), Daemon::new(7).1.public());
        let link = named.answer(LIMIT).await.unwrap();
        assert_eq!(alices.await.unwrap().unwrap().handshake_hash, link.handshake_hash);
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_stranger_is_welcome_none_gets_a_byte() {
        let (mut here, there) = duplex(4096);
        here.write_all(&[Pattern::Xx.byte()]).await.unwrap();
        assert!(matches!(greet(there, false, LIMIT).await, Err(HandshakeError::UnknownPattern)));
        let mut said = Vec::new();
        here.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty());
    }
}
