//! Passwords: what one must be, and its hash (argon2id).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use super::PersonError;

/// Memory of a hash in KiB, and passes: what OWASP recommends where memory is short, as on a Raspberry Pi.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes at once; so many times 19 MiB are taken at most.
const AT_ONCE: usize = 2;
/// Who waits for one, at most, and for how long.
const WAITING: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a password, at least and at most.
const SHORTEST: usize = 12;
const LONGEST: usize = 256;
/// Different characters of a password, at least.
const DIFFERENT: usize = 5;

/// Looks whether a password is good enough for a person.
pub(super) fn check(password: &str, name: &str) -> Result<(), PersonError> {
    let weak = |why: String| Err(PersonError::Weak { why });
    let count = password.chars().count();
    if count < SHORTEST {
        return weak(format!("it has {count} characters; it takes {SHORTEST}"));
    }
    if count > LONGEST {
        return weak(format!("it is longer than {LONGEST} characters"));
    }
    let mut characters: Vec<char> = password.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < DIFFERENT {
        return weak(format!("it has {} different characters; it takes {DIFFERENT}", characters.len()));
    }
    if password.to_lowercase().replace(name, "").chars().count() < SHORTEST / 2 {
        return weak("it is little more than the name".to_owned());
    }
    Ok(())
}

/// Makes and checks hashes, on threads of their own and a few at a time.
#[derive(Debug)]
pub(super) struct Hashes {
    working: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { working: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(WAITING) }
    }
}

impl Hashes {
    /// The hash of a password.
    pub(super) async fn make(&self, password: &str) -> Result<String, PersonError> {
        let password = password.to_owned();
        let salt = super::random::<16>()?;
        self.work(move || hash(&password, &salt)).await?.ok_or(PersonError::Busy)
    }

    /// Whether a password has this hash. Without one it takes as long and says no.
    pub(super) async fn fits(&self, password: &str, wanted: Option<String>) -> Result<bool, PersonError> {
        let password = password.to_owned();
        self.work(move || {
            // Made in any case, so that the first who is asked for does not show whether they are known.
            let nobodys = nobodys();
            let is_one = wanted.is_some();
            let wanted = wanted.unwrap_or_else(|| nobodys.to_owned());
            has(&password, &wanted) && is_one
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PersonError> {
        let Ok(_waiting) = self.waiting.try_acquire() else { return Err(PersonError::Busy) };
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.working).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(PersonError::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Not before, though nobody may wait for it any more.
            drop(permit);
            done
        });
        done.await.map_err(|_| PersonError::Busy)
    }
}

/// Room for this many blocks is asked for at least. glibc gives back to the system what is larger than 32 MiB and may keep
/// what is smaller, a piece for each thread; what is not touched is not taken.
const ROOM: usize = (33 << 20) / Block::SIZE;

fn compute(password: &str, salt: &[u8], params: Params) -> Option<Output> {
    let count = params.block_count();
    let mut blocks: Vec<Block> = Vec::with_capacity(count.max(ROOM));
    blocks.resize(count, Block::new());
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut blocks).ok()?;
    Output::new(&out).ok()
}

fn hash(password: &str, salt: &[u8]) -> Option<String> {
    let params = Params::new(MEMORY, PASSES, 1, None).ok()?;
    let made = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: compute(password, salt, params),
    };
    made.hash.is_some().then(|| made.to_string())
}

/// Whether a password has this hash. How far two hashes are the same does not show in the time that it takes.
fn has(password: &str, hash: &str) -> bool {
    let Ok(wanted) = PasswordHash::new(hash) else { return false };
    let (Ok(params), Some(salt)) = (Params::try_from(&wanted), &wanted.salt) else { return false };
    let ours = wanted.algorithm == Algorithm::Argon2id.ident() && wanted.hash.is_some();
    compute(password, salt.as_ref(), params) == wanted.hash && ours
}

/// A hash that is nobody's, so that an unknown name takes as long as a known one.
fn nobodys() -> &'static str {
    static NOBODYS: OnceLock<String> = OnceLock::new();
    NOBODYS.get_or_init(|| hash("nobody has this password", b"nobody has this!").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_says_how_it_was_made_and_fits_its_password_alone() {
        let hashes = Hashes::default();
        let one = hashes.make("correct horse battery").await.expect("a hash");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hashes.make("correct horse battery").await.expect("a hash"), "each has a salt of its own");
        assert!(hashes.fits("correct horse battery", Some(one.clone())).await.expect("an answer"));
        assert!(!hashes.fits("correct horse batterY", Some(one)).await.expect("an answer"));
        assert!(!hashes.fits("nobody has this password", None).await.expect("an answer"));
        assert!(!hashes.fits("x", Some("no hash".to_owned())).await.expect("an answer"));
        assert!(nobodys().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[tokio::test]
    async fn a_crowd_is_told_to_come_again_and_the_others_are_served() {
        let hashes = Arc::new(Hashes::default());
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..WAITING + 8 {
            let hashes = Arc::clone(&hashes);
            crowd.spawn(async move { hashes.fits("x", None).await });
        }
        let answers = crowd.join_all().await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(PersonError::Busy))).count();
        assert_eq!(busy, 8);
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(false))).count(), WAITING);
        assert!(!hashes.fits("x", None).await.expect("there is room again"));
    }

    /// As another program makes them, and some that nothing has.
    #[test]
    fn a_hash_of_another_program_is_understood_and_what_is_none_fits_nothing() {
        // Of argon2-cffi, with the password "password" and the salt "somesaltsomesalt".
        let other = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE";
        assert!(has("password", other) && !has("passwore", other));
        for none in [
            "",
            "$argon2id$",
            &other.replace("argon2id", "argon2i"),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA",
        ] {
            assert!(!has("password", none), "{none}");
        }
    }

    #[test]
    fn weak_passwords_are_refused_with_a_reason() {
        for (password, word) in [
            ("short", "5 characters"),
            ("aaaaaaaaaaaaaaaa", "1 different"),
            ("annaannaanna1!x", "the name"),
            (&*"ab".repeat(500), "longer"),
        ] {
            let error = check(password, "anna").expect_err(password).to_string();
            assert!(error.contains(word), "{error}");
        }
        check("correct horse battery", "anna").expect("good");
        check("密码密码很长的一句话没人知道", "anna").expect("good");
    }
}
