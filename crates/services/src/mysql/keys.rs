//! The RSA key under which clients without TLS hide their passwords, and which plugin a name gets.

use std::sync::OnceLock;

use aviary_service::{Slot, Vault};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand_core::{OsRng, RngCore as _};
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::{Oaep, RsaPrivateKey};
use sha2::Sha256;

use super::scramble::{Plugin, Salt};

/// Bits of the key that `caching_sha2_password_auto_generate_rsa_keys` makes.
const BITS: usize = 2048;

/// Bytes of what is encrypted under it.
pub(super) const CIPHER: usize = BITS / 8;

/// What an installation keeps for itself.
pub(super) struct Keys {
    rsa: Slot,
    accounts: Slot,
    parsed: OnceLock<Option<(RsaPrivateKey, String)>>,
}

impl Keys {
    /// Asks the vault; nothing is made here.
    pub(super) fn new(vault: &dyn Vault) -> Self {
        Self {
            rsa: vault.slot("mysql-rsa", Box::new(make_rsa)),
            accounts: vault.slot("mysql-accounts", Box::new(make_secret)),
            parsed: OnceLock::new(),
        }
    }

    fn parsed(&self) -> Option<&(RsaPrivateKey, String)> {
        let parse = || {
            let key = RsaPrivateKey::from_pkcs8_der(self.rsa.wait()).ok()?;
            let public = key.to_public_key().to_public_key_pem(LineEnding::LF).ok()?;
            Some((key, public))
        };
        self.parsed.get_or_init(parse).as_ref()
    }

    /// The public key as PEM; empty when there is none. May wait for the vault.
    pub(super) fn public(&self) -> &[u8] {
        self.parsed().map_or(&[], |(_, public)| public.as_bytes())
    }

    /// The password that a client encrypted: OAEP with SHA-1 over its bytes and a NUL, each combined
    /// with the salt by exclusive or. Takes some milliseconds and may wait for the vault.
    pub(super) fn decrypt(&self, cipher: &[u8], salt: &Salt) -> Option<Vec<u8>> {
        let (key, _) = self.parsed()?;
        // The blinding draws from the system and changes nothing that anybody sees.
        let hidden = key.decrypt_blinded(&mut OsRng, Oaep::new::<sha1_of_rsa::Sha1>(), cipher).ok()?;
        let clear = hidden.iter().zip(salt.iter().cycle()).map(|(byte, salt)| byte ^ salt);
        Some(clear.take_while(|byte| *byte != 0).collect())
    }

    /// The plugin of an account. `root` has the default; MySQL 8 draws one for each unknown user and
    /// host and then stays with it, so that nobody learns which names exist.
    pub(super) fn plugin_of(&self, user: &[u8], host: &str, plugins: &[Plugin]) -> Plugin {
        let default = plugins.first().copied().unwrap_or(Plugin::Native);
        if plugins.len() < 2 || user == b"root" {
            return default;
        }
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.accounts.wait()) else { return default };
        mac.update(user);
        mac.update(&[0]);
        mac.update(host.as_bytes());
        let drawn = mac.finalize().into_bytes().first().map_or(0, |byte| usize::from(*byte));
        drawn.checked_rem(plugins.len()).and_then(|at| plugins.get(at)).copied().unwrap_or(default)
    }
}

fn make_rsa() -> Vec<u8> {
    let made = RsaPrivateKey::new(&mut OsRng, BITS).ok();
    made.and_then(|key| key.to_pkcs8_der().ok()).map(|document| document.as_bytes().to_vec()).unwrap_or_default()
}

fn make_secret() -> Vec<u8> {
    let mut secret = vec![0; 32];
    OsRng.fill_bytes(&mut secret);
    secret
}

#[cfg(test)]
mod tests {
    use aviary_service::MemoryVault;
    use rsa::RsaPublicKey;
    use rsa::pkcs8::DecodePublicKey as _;

    use super::*;

    #[test]
    fn a_password_under_the_public_key_comes_back() {
        let keys = Keys::new(&MemoryVault::default());
        let pem = std::str::from_utf8(keys.public()).unwrap();
        // A 2048 bit key: seven lines of Base64 between the two that name it.
        assert_eq!((pem.len(), pem.lines().count()), (451, 9));
        let public = RsaPublicKey::from_public_key_pem(pem).unwrap();
        let salt = *b"0123456789abcdefghij";
        let password = b"correct horse battery staple\0";
        let hidden: Vec<u8> = password.iter().zip(salt.iter().cycle()).map(|(a, b)| a ^ b).collect();
        let cipher = public.encrypt(&mut OsRng, Oaep::new::<sha1_of_rsa::Sha1>(), &hidden).unwrap();
        assert_eq!(cipher.len(), CIPHER);
        assert_eq!(keys.decrypt(&cipher, &salt).as_deref(), password.strip_suffix(b"\0"));
        assert_eq!(keys.decrypt(&[0x42; CIPHER], &salt), None);
        assert_eq!(keys.decrypt(b"short", &salt), None);
    }

    #[test]
    fn an_unknown_name_keeps_its_plugin_and_others_have_others() {
        let keys = Keys::new(&MemoryVault::default());
        let plugins = [Plugin::CachingSha2, Plugin::Native, Plugin::Sha256];
        let drawn = |n: u32| keys.plugin_of(format!("user{n}").as_bytes(), "192.0.2.7", &plugins);
        for plugin in plugins {
            assert!((0..50).any(|n| drawn(n) == plugin), "{plugin:?} was never drawn");
        }
        assert!((0..50).all(|n| drawn(n) == drawn(n)));
        assert_eq!(keys.plugin_of(b"root", "192.0.2.7", &plugins), Plugin::CachingSha2);
        assert_eq!(keys.plugin_of(b"user", "192.0.2.7", &[Plugin::Native]), Plugin::Native);
    }
}
