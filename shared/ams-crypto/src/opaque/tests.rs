use data_encoding::HEXLOWER;
use opaque_ke::ksf::Identity;
use proptest::prelude::*;
use rand_core_06::{CryptoRng, RngCore};

use super::*;

const LINK: [u8; 32] = [9; 32];

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn register(relay: &RelayAccounts, user: &str, secret: &str) -> [u8; RECORD] {
    let (client, request) = ClientRegistration::start(password(secret)).unwrap();
    let response = relay.register(&name(user), &request).unwrap();
    let record = client.finish(&response).unwrap();
    check_record(&record).unwrap();
    record
}

/// A login whose two ends see the links `client_link` and `relay_link`.
fn login(
    relay: &RelayAccounts,
    user: &str,
    record: Option<&[u8; RECORD]>,
    secret: &str,
    links: ([u8; 32], [u8; 32]),
) -> Result<(), ClientError> {
    let (client, ke1) = ClientLogin::start(password(secret)).unwrap();
    let (server, ke2) = relay.login(&name(user), record, &ke1, &links.1).unwrap();
    let ke3 = client.finish(&ke2, &links.0)?;
    server.finish(&ke3).unwrap();
    Ok(())
}

#[test]
fn the_password_logs_in_and_everything_else_is_one_refusal() {
    let relay = RelayAccounts::generate().unwrap();
    let record = register(&relay, "alice", "correct horse");
    let same = (LINK, LINK);
    assert_eq!(login(&relay, "alice", Some(&record), "correct horse", same), Ok(()));
    let refused = Err(ClientError::Refused);
    // Wrong password, unknown user, somebody in the middle of the link, a record under another name.
    assert_eq!(login(&relay, "alice", Some(&record), "correct zebra", same), refused);
    assert_eq!(login(&relay, "nobody", None, "correct horse", same), refused);
    assert_eq!(login(&relay, "alice", Some(&record), "correct horse", (LINK, [8; 32])), refused);
    assert_eq!(login(&relay, "bob", Some(&record), "correct horse", same), refused);
}

#[test]
fn a_client_that_does_not_finish_is_refused() {
    let relay = RelayAccounts::generate().unwrap();
    let record = register(&relay, "alice", "correct horse");
    for record in [Some(&record), None] {
        let (_, ke1) = ClientLogin::start(password("correct horse")).unwrap();
        let (server, _) = relay.login(&name("alice"), record, &ke1, &LINK).unwrap();
        assert_eq!(server.finish(&[0; KE3]), Err(LoginRefused));
    }
}

#[test]
fn the_relays_keys_survive_a_restart_in_two_parts() {
    let relay = RelayAccounts::generate().unwrap();
    let record = register(&relay, "alice", "correct horse");
    let again = RelayAccounts::from_parts(&relay.seed(), &relay.keys()).unwrap();
    assert_eq!(login(&again, "alice", Some(&record), "correct horse", (LINK, LINK)), Ok(()));
    // Under another seed the record is worthless.
    let other = RelayAccounts::generate().unwrap();
    let mixed = RelayAccounts::from_parts(&other.seed(), &relay.keys()).unwrap();
    let refused = Err(ClientError::Refused);
    assert_eq!(login(&mixed, "alice", Some(&record), "correct horse", (LINK, LINK)), refused);
    assert_eq!(RelayAccounts::from_parts(&relay.seed(), &[0xff; 64]).unwrap_err(), BadRelayKeys);
}

#[test]
fn an_unknown_name_answers_alike_each_time() {
    let relay = RelayAccounts::generate().unwrap();
    let (_, ke1) = ClientLogin::start(password("whatever it is")).unwrap();
    let answer = |user| relay.login(&name(user), None, &ke1, &LINK).unwrap().1;
    // The OPRF part depends on the seed and the name alone, as it does for an account.
    assert_eq!(answer("nobody")[..32], answer("nobody")[..32]);
    assert_ne!(answer("nobody")[..32], answer("somebody")[..32]);
    assert_ne!(answer("nobody")[32..], answer("nobody")[32..]);
}

#[test]
fn malformed_messages_are_told_before_a_record_is_read() {
    let relay = RelayAccounts::generate().unwrap();
    let record = register(&relay, "alice", "correct horse");
    for record in [Some(&record), None] {
        let error = relay.login(&name("alice"), record, &[0xff; KE1], &LINK).unwrap_err();
        assert_eq!(error, MalformedMessage);
    }
    assert_eq!(relay.register(&name("alice"), &[0xff; REQUEST]), Err(MalformedMessage));
    assert_eq!(check_record(&[0xff; RECORD]), Err(MalformedMessage));
    let (client, _) = ClientRegistration::start(password("correct horse")).unwrap();
    assert_eq!(client.finish(&[0xff; RESPONSE]), Err(ClientError::Malformed));
    let (client, _) = ClientLogin::start(password("correct horse")).unwrap();
    assert_eq!(client.finish(&[0xff; KE2], &LINK), Err(ClientError::Malformed));
}

#[test]
fn passwords_have_bounds() {
    assert_eq!(Password::new("1234567".to_owned()).unwrap_err(), BadPassword::TooShort);
    assert!(Password::new("12345678".to_owned()).is_ok());
    // Characters count, not bytes.
    assert_eq!(Password::new("äöüäöü".to_owned()).unwrap_err(), BadPassword::TooShort);
    assert!(Password::new("x".repeat(MAX_PASSWORD)).is_ok());
    assert_eq!(Password::new("x".repeat(MAX_PASSWORD + 1)).unwrap_err(), BadPassword::TooLong);
}

#[test]
fn debug_shows_no_secret() {
    let (client, _) = ClientRegistration::start(password("correct horse")).unwrap();
    assert_eq!(format!("{client:?}"), "ClientRegistration(secret)");
    assert_eq!(format!("{:?}", password("correct horse")), "Password(secret)");
    assert_eq!(format!("{:?}", RelayAccounts::generate().unwrap()), "RelayAccounts(secret)");
}

#[test]
fn stretching_is_argon2id_of_rfc_9106() {
    // Computed with the reference implementation in C (argon2-cffi).
    let input = GenericArray::<u8, opaque_ke::generic_array::typenum::U64>::from([1; 64]);
    assert_eq!(HEXLOWER.encode(&Stretch.hash(input).unwrap()), STRETCHED);
}

const STRETCHED: &str = "7efc3c9a9a794ae0bd74c6522a76ee8419906b4b136959c19edcc2696d93f6a5\
    3c6249c610a15a4ba5432654dd11a7d33c4550dcd28475507135588848d89f4c";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_an_error_or_refused(
        ke1 in prop::array::uniform32(any::<u8>()),
        ke3 in prop::array::uniform32(any::<u8>()),
    ) {
        let relay = RelayAccounts::generate().unwrap();
        let mut long = [0; KE1];
        long[..32].copy_from_slice(&ke1);
        prop_assert!(relay.login(&name("alice"), None, &long, &LINK).is_err());
        let (_, good) = ClientLogin::start(password("correct horse")).unwrap();
        let (server, _) = relay.login(&name("alice"), None, &good, &LINK).unwrap();
        let mut long = [0; KE3];
        long[32..].copy_from_slice(&ke3);
        prop_assert_eq!(server.finish(&long), Err(LoginRefused));
    }
}

/// The suite of the RFC's vectors: ours, but for the stretching.
struct VectorSuite;

impl CipherSuite for VectorSuite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = Identity;
}

/// Gives out what a vector says was drawn.
struct Script(Vec<u8>);

impl Script {
    fn new(draws: &[&str]) -> Self {
        Self(draws.iter().flat_map(|draw| hex(draw)).collect())
    }
}

impl RngCore for Script {
    fn next_u32(&mut self) -> u32 {
        unimplemented_draw()
    }

    fn next_u64(&mut self) -> u64 {
        unimplemented_draw()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Script {}

fn unimplemented_draw() -> ! {
    panic!("OPAQUE draws bytes only")
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// RFC 9807 appendix C.1.1.
#[test]
fn rfc_9807_vector_1() {
    // A blind is drawn as 64 bytes and reduced.
    let zeros = "0".repeat(64);
    let secret = hex(PASSWORD);
    let mut draws = Script::new(&[BLIND_REGISTRATION, &zeros]);
    let started = opaque_ke::ClientRegistration::<VectorSuite>::start(&mut draws, &secret).unwrap();
    assert_eq!(started.message.serialize()[..], hex(REGISTRATION_REQUEST));

    let setup = [OPRF_SEED, SERVER_PRIVATE, SERVER_PUBLIC].concat();
    let setup = ServerSetup::<VectorSuite>::deserialize(&hex(&setup)).unwrap();
    let credential = hex("31323334");
    let response = ServerRegistration::start(&setup, started.message.clone(), &credential).unwrap();
    assert_eq!(response.message.serialize()[..], hex(REGISTRATION_RESPONSE));

    let finished = started
        .state
        .finish(
            &mut Script::new(&[ENVELOPE_NONCE]),
            &secret,
            response.message,
            ClientRegistrationFinishParameters::default(),
        )
        .unwrap();
    assert_eq!(finished.message.serialize()[..], hex(REGISTRATION_UPLOAD));
    let record = ServerRegistration::finish(finished.message);

    let mut draws = Script::new(&[BLIND_LOGIN, &zeros, CLIENT_KEYSHARE_SEED, CLIENT_NONCE]);
    let started = opaque_ke::ClientLogin::<VectorSuite>::start(&mut draws, &secret).unwrap();
    assert_eq!(started.message.serialize()[..], hex(VECTOR_KE1));

    let context = hex("4f50415155452d504f43");
    // First a masking key for the case of an unknown user, drawn always.
    let mut draws =
        Script::new(&[&zeros, &zeros, MASKING_NONCE, SERVER_KEYSHARE_SEED, SERVER_NONCE]);
    let answered = ServerLogin::start(
        &mut draws,
        &setup,
        Some(record),
        started.message.clone(),
        &credential,
        ServerLoginParameters { context: Some(&context), ..ServerLoginParameters::default() },
    )
    .unwrap();
    assert_eq!(answered.message.serialize()[..], hex(VECTOR_KE2));

    let parameters = ClientLoginFinishParameters {
        context: Some(&context),
        ..ClientLoginFinishParameters::default()
    };
    let finished =
        started.state.finish(&mut Script::new(&[]), &secret, answered.message, parameters).unwrap();
    assert_eq!(finished.message.serialize()[..], hex(VECTOR_KE3));
    assert_eq!(finished.session_key[..], hex(SESSION_KEY));
    let server = answered.state.finish(finished.message, ServerLoginParameters::default()).unwrap();
    assert_eq!(server.session_key[..], hex(SESSION_KEY));
}

const OPRF_SEED: &str = "f433d0227b0b9dd54f7c4422b600e764e47fb503f1f9a0f0a47c6606b054a7fdc65347f1a08f277e\
    22358bbabe26f823fca82c7848e9a75661f4ec5d5c1989ef";
const PASSWORD: &str = "436f7272656374486f72736542617474657279537461706c65";
const ENVELOPE_NONCE: &str = "ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd323d23ba7a38dfec";
const MASKING_NONCE: &str = "38fe59af0df2c79f57b8780278f5ae47355fe1f817119041951c80f612fdfc6d";
const SERVER_PRIVATE: &str = "47451a85372f8b3537e249d7b54188091fb18edde78094b43e2ba42b5eb89f0d";
const SERVER_PUBLIC: &str = "b2fe7af9f48cc502d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78";
const SERVER_NONCE: &str = "71cd9960ecef2fe0d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1";
const CLIENT_NONCE: &str = "da7e07376d6d6f034cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc";
const CLIENT_KEYSHARE_SEED: &str =
    "82850a697b42a505f5b68fcdafce8c31f0af2b581f063cf1091933541936304b";
const SERVER_KEYSHARE_SEED: &str =
    "05a4f54206eef1ba2f615bc0aa285cb22f26d1153b5b40a1e85ff80da12f982f";
const BLIND_REGISTRATION: &str = "76cfbfe758db884bebb33582331ba9f159720ca8784a2a070a265d9c2d6abe01";
const BLIND_LOGIN: &str = "6ecc102d2e7a7cf49617aad7bbe188556792d4acd60a1a8a8d2b65d4b0790308";
const REGISTRATION_REQUEST: &str =
    "5059ff249eb1551b7ce4991f3336205bde44a105a032e747d21bf382e75f7a71";
const REGISTRATION_RESPONSE: &str = "7408a268083e03abc7097fc05b587834539065e86fb0c7b6342fcf5e01e5b019b2fe7af9f48cc502\
    d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78";
const REGISTRATION_UPLOAD: &str = "76a845464c68a5d2f7e442436bb1424953b17d3e2e289ccbaccafb57ac5c36751ac5844383c77080\
    77dea41cbefe2fa15724f449e535dd7dd562e66f5ecfb95864eadddec9db5874959905117dad40a4\
    524111849799281fefe3c51fa82785c5ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd\
    323d23ba7a38dfec634b0f5b96109c198a8027da51854c35bee90d1e1c781806d07d49b76de6a28b\
    8d9e9b6c93b9f8b64d16dddd9c5bfb5fea48ee8fd2f75012a8b308605cdd8ba5";
const VECTOR_KE1: &str = "c4dedb0ba6ed5d965d6f250fbe554cd45cba5dfcce3ce836e4aee778aa3cd44dda7e07376d6d6f03\
    4cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc6e29bee50701498605b2c085d7b241ca\
    15ba5c32027dd21ba420b94ce60da326";
const VECTOR_KE2: &str = "7e308140890bcde30cbcea28b01ea1ecfbd077cff62c4def8efa075aabcbb47138fe59af0df2c79f\
    57b8780278f5ae47355fe1f817119041951c80f612fdfc6dd6ec60bcdb26dc455ddf3e718f102049\
    0c192d70dfc7e403981179d8073d1146a4f9aa1ced4e4cd984c657eb3b54ced3848326f70331953d\
    91b02535af44d9fedc80188ca46743c52786e0382f95ad85c08f6afcd1ccfbff95e2bdeb015b166c\
    6b20b92f832cc6df01e0b86a7efd92c1c804ff865781fa93f2f20b446c8371b671cd9960ecef2fe0\
    d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1c4f62198a9d6fa9170c42c3c71f1971b\
    29eb1d5d0bd733e40816c91f7912cc4a660c48dae03e57aaa38f3d0cffcfc21852ebc8b405d15bd6\
    744945ba1a93438a162b6111699d98a16bb55b7bdddfe0fc5608b23da246e7bd73b47369169c5c90";
const VECTOR_KE3: &str = "4455df4f810ac31a6748835888564b536e6da5d9944dfea9e34defb9575fe5e2661ef61d2ae3929b\
    cf57e53d464113d364365eb7d1a57b629707ca48da18e442";
const SESSION_KEY: &str = "42afde6f5aca0cfa5c163763fbad55e73a41db6b41bc87b8e7b62214a8eedc6731fa3cb857d657ab\
    9b3764b89a84e91ebcb4785166fbb02cedfcbdfda215b96f";
