//! Passwords: stored as argon2id PHC strings, checked with the same work whether or not the user exists.

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use thiserror::Error;

/// Longest password in bytes; a longer one would only be a way to keep the server busy.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// What is compared against where there is no such user: a hash with the parameters of [`hash`], of no password at all.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dG9tYm9sb25vYm9keQ$4fTxGgVYVmJUEdNmDGQ5XcuW0QWJpwt40gMFY6xQ2rA";

/// What argon2 fills while it checks a password: 19 MiB, made with the first check and used again by the next one. Given back
/// to the allocator each time, every thread that ever checked one would keep such a piece.
#[derive(Default)]
pub struct Memory(Vec<Block>);

/// Why a password cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Nothing was given.
    #[error("the password is empty: nothing was changed; give one on standard input")]
    Empty,
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes: nothing was changed; choose a shorter one")]
    TooLong,
}

/// The PHC string of a password, with a fresh random salt from the caller.
///
/// # Errors
/// [`PasswordError`] when the password is empty or too long.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    let salt = SaltString::encode_b64(&salt).expect("sixteen bytes are a salt");
    let phc = Argon2::default().hash_password(password.as_bytes(), &salt).expect("the default parameters are sound");
    Ok(phc.to_string())
}

/// Whether the password is the one of this PHC string. Without one (no such user) the same work is done and the answer is no.
pub fn verify(password: &str, phc: Option<&str>, memory: &mut Memory) -> bool {
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let mut matches = |phc: &str| PasswordHash::new(phc).is_ok_and(|phc| is_it(password, &phc, memory).unwrap_or(false));
    match phc {
        Some(phc) => matches(phc),
        None => {
            std::hint::black_box(matches(NOBODY));
            false
        }
    }
}

/// Compares in constant time, as [`Output`] does; `None` where the string is no complete argon2 hash.
fn is_it(password: &str, phc: &PasswordHash<'_>, memory: &mut Memory) -> Option<bool> {
    let (salt, expected) = (phc.salt?, phc.hash?);
    let algorithm = Algorithm::try_from(phc.algorithm).ok()?;
    let version = Version::try_from(phc.version?).ok()?;
    let params = Params::try_from(phc).ok()?;
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes).ok()?;
    if memory.0.len() < params.block_count() {
        memory.0.resize(params.block_count(), Block::new());
    }
    let output = Output::init_with(expected.len(), |out| {
        let hasher = Argon2::new(algorithm, version, params);
        Ok(hasher.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut memory.0)?)
    });
    Some(output.ok()? == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_recognised_and_another_is_not() {
        let phc = hash("river stone", [7; 16]).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let mut memory = Memory::default();
        assert!(verify("river stone", Some(&phc), &mut memory));
        assert!(!verify("river stones", Some(&phc), &mut memory));
        assert!(verify("river stone", Some(&phc), &mut memory), "what another check left behind does not matter");
        assert!(!verify("river stone", Some("no hash at all"), &mut memory));
    }

    #[test]
    fn nobody_logs_in_as_a_user_who_does_not_exist() {
        let parsed = PasswordHash::new(NOBODY).unwrap();
        let stored = hash("x", [1; 16]).unwrap();
        let params = |phc: &PasswordHash<'_>| phc.params.to_string();
        // The same parameters, so that an answer takes as long as for a user who exists.
        assert_eq!(params(&parsed), params(&PasswordHash::new(&stored).unwrap()));
        assert_eq!(parsed.hash.unwrap().len(), 32);
        let mut memory = Memory::default();
        assert!(!verify("", None, &mut memory));
        assert!(!verify("tombolo", None, &mut memory));
        assert_eq!(memory.0.len(), 19_456, "the same memory is filled");
    }

    #[test]
    fn an_empty_or_endless_password_is_refused() {
        assert_eq!(hash("", [0; 16]), Err(PasswordError::Empty));
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert_eq!(hash(&long, [0; 16]), Err(PasswordError::TooLong));
        assert!(!verify(&long, None, &mut Memory::default()));
    }
}
