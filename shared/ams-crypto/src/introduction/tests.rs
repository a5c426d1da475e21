use proptest::prelude::*;

use super::*;
use crate::envelope::{self, Direction};
use crate::pair::Side;

struct Person {
    identity: IdentityKey,
    account: OlmAccount,
}

impl Person {
    fn new() -> Self {
        Self { identity: IdentityKey::generate(), account: OlmAccount::new() }
    }

    fn asks(&mut self) -> Request {
        request(&self.identity, &mut self.account, meeting(), 1_900_000_000, None)
    }
}

fn meeting() -> Meeting {
    let name = |text| Username::new(text).unwrap();
    Meeting { from: name("alice"), to: name("bob"), place: Place::Relay(Key([5; 32])) }
}

/// Signs other fields with the same or another key, as an attacker could.
fn forge(identity: &IdentityKey, intro: &[u8], change: impl FnOnce(&mut Intro)) -> Vec<u8> {
    let mut fields = Intro::decode(&Signed::decode(intro).unwrap().fields).unwrap();
    change(&mut fields);
    sign(identity, labels::INTRO, fields.encode())
}

#[test]
fn both_sides_get_the_same_keys() {
    let (mut alice, bob) = (Person::new(), Person::new());
    let asked = alice.asks();
    let intro = verify(&asked.intro).unwrap();
    assert_eq!(intro.identity, alice.identity.public());
    assert_eq!(intro.id, asked.secrets.id());
    assert_eq!(intro.fields.expires, 1_900_000_000);
    let mut approved = approve(&bob.identity, &bob.account, &intro, None).unwrap();
    assert!(asked.intro.len() <= MAX_BLOB && approved.approval.len() <= MAX_BLOB);

    // A crash between asking and the answer.
    let secrets = RequestSecrets::from_bytes(&asked.secrets.to_bytes()).unwrap();
    let mut account = OlmAccount::from_bytes(&alice.account.to_bytes()).unwrap();
    let mut completed = secrets.complete(&mut account, &approved.approval).unwrap();
    assert_eq!(completed.identity, bob.identity.public());
    assert_eq!(completed.roots.to_bytes(), approved.roots.to_bytes());
    assert_eq!(account.waiting_keys(), 0);

    let (a, b) = (alice.identity.public(), bob.identity.public());
    let direction = Direction { from: &a, to: &b };
    let olm = completed.session.encrypt(b"hi").unwrap();
    let sealed = envelope::seal(completed.roots.sealing(Side::Requester), direction, &olm.bytes);
    let opened =
        envelope::open(approved.roots.opening(Side::Approver), direction, &sealed).unwrap();
    assert_eq!(approved.session.decrypt(olm.kind, &opened).unwrap(), b"hi");
}

#[test]
fn a_link_secret_goes_into_the_root() {
    let (mut alice, bob) = (Person::new(), Person::new());
    let secret = LinkSecret::generate();
    let copy = LinkSecret::from_bytes(*secret.to_bytes());
    let asked = request(&alice.identity, &mut alice.account, meeting(), 1, Some(copy));
    let intro = verify(&asked.intro).unwrap();
    let with = approve(
        &bob.identity,
        &bob.account,
        &intro,
        Some(ByLink { secret: &secret, name: &Username::new("carol").unwrap() }),
    )
    .unwrap();
    let without = approve(&bob.identity, &bob.account, &intro, None).unwrap();
    let secrets = RequestSecrets::from_bytes(&asked.secrets.to_bytes()).unwrap();
    let mut copy = OlmAccount::from_bytes(&alice.account.to_bytes()).unwrap();
    let completed = secrets.complete(&mut copy, &with.approval).unwrap();
    assert_eq!(completed.roots.to_bytes(), with.roots.to_bytes());
    let completed = secrets.complete(&mut alice.account, &without.approval).unwrap();
    assert_ne!(completed.roots.to_bytes(), without.roots.to_bytes());
}

#[test]
fn an_introduction_is_checked_in_every_part() {
    let mut alice = Person::new();
    let eve = IdentityKey::generate();
    let intro = alice.asks().intro;
    let forged = |change: fn(&mut Intro)| verify(&forge(&alice.identity, &intro, change));
    assert!(forged(|_| ()).is_ok());
    assert_eq!(forged(|fields| fields.ephemeral = Key([0; 32])), Err(IntroError::BadKey));
    assert_eq!(forged(|fields| fields.olm = Key([0; 32])), Err(IntroError::BadKey));
    assert_eq!(forged(|fields| fields.one_time = Key([0; 32])), Err(IntroError::BadKey));
    assert_eq!(forged(|fields| fields.identity = Key([0; 32])), Err(IntroError::BadKey));
    assert_eq!(forged(|fields| fields.kem = vec![0xff; 1184]), Err(IntroError::BadKey));
    assert_eq!(forged(|fields| fields.kem.truncate(1183)), Err(IntroError::Malformed));
    // By somebody else in her name.
    assert_eq!(verify(&forge(&eve, &intro, |_| ())), Err(IntroError::BadSignature));
    // Signed for another purpose.
    let fields = Signed::decode(&intro).unwrap().fields;
    let other = sign(&alice.identity, labels::APPROVAL, fields);
    assert_eq!(verify(&other), Err(IntroError::BadSignature));
}

#[test]
fn a_second_encoding_of_the_fields_is_refused_although_signed() {
    let mut alice = Person::new();
    let intro = alice.asks().intro;
    let fields = Signed::decode(&intro).unwrap().fields;
    // A field twice, which decoders disagree on: one more entry in the map of nine.
    let mut doubled = fields.clone();
    assert_eq!(doubled[0], 0xa9);
    doubled[0] = 0xaa;
    doubled.extend_from_slice(&[0x08, 0x00]);
    assert_eq!(verify(&sign(&alice.identity, labels::INTRO, doubled)), Err(IntroError::Malformed));
    let mut longer = fields;
    longer.push(0);
    assert_eq!(verify(&sign(&alice.identity, labels::INTRO, longer)), Err(IntroError::Malformed));
    let mut behind = intro;
    behind.push(0);
    assert_eq!(verify(&behind), Err(IntroError::Malformed));
}

#[test]
fn an_approval_of_anything_else_is_refused() {
    let (mut alice, bob) = (Person::new(), Person::new());
    let asked = alice.asks();
    let intro = verify(&asked.intro).unwrap();
    let approved = approve(&bob.identity, &bob.account, &intro, None).unwrap();

    // Of another introduction of hers: sealed to another key.
    let other = alice.asks();
    let complete = |secrets: &RequestSecrets, account: &mut OlmAccount, approval: &[u8]| {
        secrets.complete(account, approval).unwrap_err()
    };
    let account = &mut alice.account;
    assert_eq!(complete(&other.secrets, account, &approved.approval), ApprovalError::Sealed);

    // Made for her key, but with other fields, signed by whoever made it.
    let opened =
        blob::open(Purpose::Approval, &asked.secrets.ephemeral, &approved.approval).unwrap();
    let fields = Approval::decode(&Signed::decode(&opened).unwrap().fields).unwrap();
    let remade = |identity: &IdentityKey, change: fn(&mut Approval)| {
        let mut fields = fields.clone();
        change(&mut fields);
        let signed = sign(identity, labels::APPROVAL, fields.encode());
        blob::seal(Purpose::Approval, &asked.secrets.ephemeral.public(), &signed).unwrap()
    };
    let mut error = |change: fn(&mut Approval)| {
        complete(&asked.secrets, account, &remade(&bob.identity, change))
    };
    assert_eq!(error(|fields| fields.intro.0[0] ^= 1), ApprovalError::Mismatch);
    assert_eq!(error(|fields| fields.place = Place::Direct), ApprovalError::Mismatch);
    assert_eq!(
        error(|fields| std::mem::swap(&mut fields.from, &mut fields.to)),
        ApprovalError::Mismatch
    );
    assert_eq!(error(|fields| fields.ephemeral = Key([0; 32])), ApprovalError::BadKey);
    assert_eq!(error(|fields| fields.olm = Key([0; 32])), ApprovalError::BadKey);
    assert_eq!(error(|fields| fields.kem.truncate(9)), ApprovalError::Malformed);
    assert_eq!(error(|fields| fields.first.truncate(9)), ApprovalError::Ratchet);
    let eve = IdentityKey::generate();
    let forged = remade(&eve, |_| ());
    assert_eq!(complete(&asked.secrets, account, &forged), ApprovalError::BadSignature);

    // After all that, the true one still completes, and only once.
    assert!(asked.secrets.complete(account, &approved.approval).is_ok());
    assert_eq!(complete(&asked.secrets, account, &approved.approval), ApprovalError::Ratchet);
}

#[test]
fn stored_secrets_that_are_damaged_are_no_secrets() {
    let mut alice = Person::new();
    let secrets = alice.asks().secrets;
    let bytes = secrets.to_bytes();
    for cut in [0, 1, 33, 97, 98, 114, bytes.len() - 1] {
        assert!(RequestSecrets::from_bytes(&bytes[..cut]).is_none(), "{cut}");
    }
    for at in [0, 97] {
        let mut bent = bytes.to_vec();
        bent[at] = 9;
        assert!(RequestSecrets::from_bytes(&bent).is_none(), "{at}");
    }
    let debug = format!("{secrets:?}");
    assert_eq!(debug, format!("RequestSecrets({}, secret)", secrets.id()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_changed_byte_is_an_error(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut alice, bob) = (Person::new(), Person::new());
        let asked = alice.asks();
        let mut bent = asked.intro.clone();
        bent[at.index(asked.intro.len())] ^= 1 << bit;
        prop_assert!(verify(&bent).is_err());

        let intro = verify(&asked.intro).unwrap();
        let mut approval = approve(&bob.identity, &bob.account, &intro, None).unwrap().approval;
        let at = at.index(approval.len());
        approval[at] ^= 1 << bit;
        let error = asked.secrets.complete(&mut alice.account, &approval).unwrap_err();
        prop_assert_eq!(error, ApprovalError::Sealed);
        prop_assert_eq!(alice.account.waiting_keys(), 1);
    }

    #[test]
    fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify(&bytes).is_err());
        let mut alice = Person::new();
        let secrets = alice.asks().secrets;
        prop_assert!(secrets.complete(&mut alice.account, &bytes).is_err());
        prop_assert!(RequestSecrets::from_bytes(&bytes).is_none());
    }
}
