//! A client that completes the handshake with every algorithm, for tests.

use aviary_testkit::Talk;
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::{DecapsulationKey, MlKem768, array::Array};
use num_bigint::BigUint;
use p521::elliptic_curve::sec1::ToSec1Point as _;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;
use ring::{digest, signature};

use crate::ssh::cipher::{CipherKind, Way};
use crate::ssh::codec::{Reader, Writer, message};
use crate::ssh::entropy::Entropy;
use crate::ssh::kex::{self, GroupRequest, Method, Outcome, Side};
use crate::ssh::mac::MacKind;
use crate::ssh::negotiation::Suite;
use crate::ssh::packet::{Inbound, Outbound, Received};

pub(super) const LINE: &str = "SSH-2.0-test";

/// What a client offers; one name in each list that matters.
#[derive(Clone, Copy)]
pub(super) struct Offer {
    pub(super) kex: &'static str,
    pub(super) host_key: &'static str,
    pub(super) cipher: &'static str,
    pub(super) mac: &'static str,
    /// Names after the method: `ext-info-c`, `kex-strict-c-v00@openssh.com`.
    pub(super) markers: &'static str,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            kex: "curve25519-sha256",
            host_key: "ssh-ed25519",
            cipher: "chacha20-poly1305@openssh.com",
            mac: "hmac-sha2-256",
            markers: "",
        }
    }
}

impl Offer {
    pub(super) fn init(&self) -> Vec<u8> {
        let kex = [self.kex, self.markers].join(",");
        let mut writer = Writer::message(message::KEXINIT).bytes([5; 16]);
        for list in [&kex, self.host_key, self.cipher, self.cipher, self.mac, self.mac] {
            writer = writer.string(list);
        }
        for list in ["none,zlib@openssh.com", "none,zlib@openssh.com", "", ""] {
            writer = writer.string(list);
        }
        writer.u8(0).u32(0).done()
    }

    fn suite(&self) -> Suite {
        let cipher = CipherKind::by_name(self.cipher).expect("a cipher");
        let mac = (!cipher.authenticates()).then(|| MacKind::by_name(self.mac).expect("a MAC"));
        Suite { cipher, mac }
    }
}

/// A client with its keys.
pub(super) struct Client {
    inbound: Inbound,
    outbound: Outbound,
    entropy: Entropy,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends the identification line and takes the server's KEXINIT; gives its payload.
    pub(super) fn greet(talk: &mut Talk<'_>) -> (Self, Vec<u8>) {
        let mut client = Self {
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            entropy: Entropy::new([1; 32]),
            buffer: Vec::new(),
        };
        let packet = talk.send(format!("{LINE}\r\n").as_bytes());
        client.buffer.extend(packet);
        let init = client.next().expect("the server's KEXINIT");
        (client, init)
    }

    /// The whole handshake; checks the host key's signature.
    pub(super) fn connect(talk: &mut Talk<'_>, offer: Offer) -> Self {
        let replies = talk.transcript().replies();
        let server_line = replies.strip_suffix(b"\r\n").expect("an identification line").to_vec();
        let (mut client, server_init) = Self::greet(talk);
        let init = offer.init();
        client.say(talk, &init);
        let method = Method::by_name(offer.kex).expect("a method");
        let preamble = kex::preamble(LINE.as_bytes(), &server_line, &init, &server_init);

        let mut group = Vec::new();
        let mut prime = fixed_prime(method);
        if method == Method::GroupExchange {
            let request = Writer::message(message::GEX_REQUEST).u32(1024).u32(3072).u32(8192).done();
            client.say(talk, &request);
            let payload = client.next().expect("a group");
            assert_eq!(payload[0], message::KEX_REPLY);
            let mut fields = Reader::new(&payload[1..]);
            prime = fields.string().expect("p").to_vec();
            assert_eq!(fields.string(), Some(&[2_u8][..]));
            group = [&request[1..], &payload[1..]].concat();
        }
        let share = Share::new(method, &prime, &mut client.entropy);
        let (ask, answer) = match method {
            Method::GroupExchange => (message::GEX_INIT, message::GEX_REPLY),
            _ => (message::KEX_INIT, message::KEX_REPLY),
        };
        client.say(talk, &Writer::message(ask).string(&share.public).done());

        let reply = client.next().expect("the reply");
        assert_eq!(reply[0], answer);
        let mut fields = Reader::new(&reply[1..]);
        let host_key = fields.string().expect("the host key");
        let server_share = fields.string().expect("the server's share");
        let signature = fields.string().expect("the signature");
        fields.end().expect("no more");
        let public = share.public.clone();
        let secret = share.agree(server_share, &prime);
        let hashed = Writer::new()
            .bytes(preamble)
            .string(host_key)
            .bytes(group)
            .string(public)
            .string(server_share)
            .bytes(&secret)
            .done();
        let hash = digest::digest(method.hash(), &hashed).as_ref().to_vec();
        verify(offer.host_key, host_key, signature, &hash);

        assert_eq!(client.next().as_deref(), Some(&[message::NEWKEYS][..]));
        client.say(talk, &[message::NEWKEYS]);
        let outcome = Outcome { reply: Vec::new(), secret, hash };
        let keys = |side, way| kex::keys(method, &outcome, &outcome.hash, offer.suite(), side, way).expect("keys");
        let strict = offer.markers.contains("kex-strict-c-v00@openssh.com");
        client.inbound.set_keys(keys(Side::Server, Way::Open), strict);
        client.outbound.set_keys(keys(Side::Client, Way::Seal), strict);
        client
    }

    /// Seals a payload and sends it.
    pub(super) fn say(&mut self, talk: &mut Talk<'_>, payload: &[u8]) {
        let packet = self.seal(payload);
        self.buffer.extend(talk.send(&packet));
    }

    /// The packet of a payload, to be sent by the test itself.
    pub(super) fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        self.outbound.seal(payload, &mut self.entropy).expect("a short payload")
    }

    /// The next payload that the server sent.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        match self.inbound.receive(&self.buffer).expect("a sound packet") {
            Received::Incomplete => None,
            Received::Packet { payload, used, .. } => {
                self.buffer.drain(..used);
                Some(payload)
            }
        }
    }

    /// Sends a payload and gives the answer.
    pub(super) fn ask(&mut self, talk: &mut Talk<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        self.say(talk, payload);
        self.next()
    }
}

/// The prime of a fixed group, taken from a group exchange for its size.
fn fixed_prime(method: Method) -> Vec<u8> {
    let bits = match method {
        Method::Group14 => 2048,
        Method::Group16 => 4096,
        Method::Group18 => 8192,
        _ => return Vec::new(),
    };
    let request = Writer::message(message::GEX_REQUEST).u32(bits).u32(bits).u32(bits).done();
    let reply = GroupRequest::parse(&request).expect("a size").reply();
    Reader::new(&reply[1..]).string().expect("a prime").to_vec()
}

/// The client's half of an agreement.
struct Share {
    method: Method,
    public: Vec<u8>,
    curve: Option<EphemeralPrivateKey>,
    seed: [u8; 64],
}

impl Share {
    fn new(method: Method, prime: &[u8], entropy: &mut Entropy) -> Self {
        let seed: [u8; 64] = entropy.array();
        let curve = match method {
            Method::Curve25519 | Method::Sntrup761X25519 | Method::MlKem768X25519 => Some(&agreement::X25519),
            Method::Nistp256 => Some(&agreement::ECDH_P256),
            Method::Nistp384 => Some(&agreement::ECDH_P384),
            _ => None,
        };
        let curve = curve.map(|a| EphemeralPrivateKey::generate(a, &SystemRandom::new()).expect("a key"));
        let mut public = match method {
            Method::Sntrup761X25519 => sntrup(&seed).0.as_ref().to_vec(),
            Method::MlKem768X25519 => ml_kem(&seed).encapsulation_key().to_bytes().to_vec(),
            Method::Nistp521 => p521_key(&seed).public_key().to_sec1_point(false).as_bytes().to_vec(),
            Method::Group14 | Method::Group16 | Method::Group18 | Method::GroupExchange => {
                let prime = BigUint::from_bytes_be(prime);
                let share = BigUint::from(2_u8).modpow(&BigUint::from_bytes_be(&seed), &prime);
                let number = Writer::new().mpint(&share.to_bytes_be()).done();
                number[4..].to_vec()
            }
            _ => Vec::new(),
        };
        if let Some(key) = &curve {
            public.extend_from_slice(key.compute_public_key().expect("a share").as_ref());
        }
        Self { method, public, curve, seed }
    }

    /// The secret as it stands in the hash.
    fn agree(self, server: &[u8], prime: &[u8]) -> Vec<u8> {
        let method = self.method;
        let split = match method {
            Method::Sntrup761X25519 => 1039,
            Method::MlKem768X25519 => 1088,
            _ => 0,
        };
        let (ciphertext, point) = server.split_at(split);
        let kem = match method {
            Method::Sntrup761X25519 => {
                let ciphertext = ciphertext.try_into().expect("a ciphertext");
                Some(sntrup(&self.seed).1.decapsulate(&ciphertext).as_ref().to_vec())
            }
            Method::MlKem768X25519 => {
                let ciphertext = Array::try_from(ciphertext).expect("a ciphertext");
                Some(ml_kem(&self.seed).decapsulate(&ciphertext).to_vec())
            }
            _ => None,
        };
        let raw = match self.curve {
            Some(key) => {
                let theirs = UnparsedPublicKey::new(key.algorithm(), point);
                agreement::agree_ephemeral(key, &theirs, <[u8]>::to_vec).expect("a share")
            }
            None if method == Method::Nistp521 => {
                let theirs = p521::PublicKey::from_sec1_bytes(server).expect("a point");
                let ours = p521_key(&self.seed);
                p521::ecdh::diffie_hellman(ours.to_nonzero_scalar(), theirs.as_affine()).raw_secret_bytes().to_vec()
            }
            None => {
                let theirs = BigUint::from_bytes_be(server);
                theirs.modpow(&BigUint::from_bytes_be(&self.seed), &BigUint::from_bytes_be(prime)).to_bytes_be()
            }
        };
        match kem {
            Some(kem) => Writer::new().string(digest::digest(method.hash(), &[kem, raw].concat())).done(),
            None => Writer::new().mpint(&raw).done(),
        }
    }
}

fn sntrup(seed: &[u8; 64]) -> (sntrup761::EncapsulationKey, sntrup761::DecapsulationKey) {
    sntrup761::generate_key_from_seed(*seed.first_chunk().expect("32 bytes"))
}

fn ml_kem(seed: &[u8; 64]) -> DecapsulationKey<MlKem768> {
    DecapsulationKey::from_seed(Array::from(*seed))
}

fn p521_key(seed: &[u8; 64]) -> p521::SecretKey {
    p521::SecretKey::from_slice(&[&[0, 0], &seed[..]].concat()).expect("a key")
}

/// Checks a signature blob over an exchange hash.
fn verify(algorithm: &str, host_key: &[u8], blob: &[u8], hash: &[u8]) {
    let mut key = Reader::new(host_key);
    let mut blob = Reader::new(blob);
    assert_eq!(blob.string(), Some(algorithm.as_bytes()));
    let raw = blob.string().expect("a signature");
    let kind = key.string().expect("a key type");
    match algorithm {
        "ssh-ed25519" => {
            assert_eq!(kind, b"ssh-ed25519");
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, key.string().expect("a key"));
            key.verify(hash, raw).expect("a right signature");
        }
        "ecdsa-sha2-nistp256" => {
            assert_eq!(key.string(), Some(&b"nistp256"[..]));
            let mut numbers = Reader::new(raw);
            let mut fixed = Vec::new();
            for _ in 0..2 {
                let number = BigUint::from_bytes_be(numbers.string().expect("a number")).to_bytes_be();
                fixed.extend(std::iter::repeat_n(0, 32 - number.len()).chain(number));
            }
            let verifier = &signature::ECDSA_P256_SHA256_FIXED;
            let key = signature::UnparsedPublicKey::new(verifier, key.string().expect("a point"));
            key.verify(hash, &fixed).expect("a right signature");
        }
        _ => {
            assert_eq!(kind, b"ssh-rsa");
            let strip = |bytes: &[u8]| BigUint::from_bytes_be(bytes).to_bytes_be();
            let e = strip(key.string().expect("e"));
            let n = strip(key.string().expect("n"));
            assert_eq!(n.len(), 384);
            let verifier = match algorithm {
                "rsa-sha2-512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                _ => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            };
            signature::RsaPublicKeyComponents { n, e }.verify(verifier, hash, raw).expect("a right signature");
        }
    }
}
