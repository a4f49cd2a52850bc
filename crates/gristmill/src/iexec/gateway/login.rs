//! How a caller shows which account it is: it signs a challenge, as iExec's SDK does for each change.
//!
//! Challenges are not kept: one is computed from the account, the time and a secret, and computed again when it comes back.
//! So nobody can fill a table with them. One is good for five to ten minutes, and for its account only.

use alloy::primitives::{Address, B256, Signature};
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use serde_json::{Value, json};

alloy::sol! {
    struct Challenge {
        string challenge;
    }
}

/// How long a challenge is handed out; it is taken for as long again.
const WINDOW_SECONDS: u64 = 300;
const NAME: &str = "gristmill order book";
const VERSION: &str = "1";

#[derive(Clone)]
pub(super) struct Login {
    secret: [u8; 32],
    chain_id: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LoginError {
    #[error("this needs an `authorization` header: HASH_SIGNATURE_ADDRESS of a signed challenge")]
    Missing,
    #[error("the authorization is malformed")]
    Malformed,
    #[error("the challenge is unknown or has expired: ask for a new one")]
    Expired,
    #[error("the challenge was not signed by {0}")]
    NotSigned(Address),
}

impl Login {
    /// `seed` is anything that only this pool knows.
    pub(super) fn new(seed: &str, chain_id: u64) -> Self {
        Self { secret: blake3::derive_key("gristmill order book challenge", seed.as_bytes()), chain_id }
    }

    /// Typed data to sign, as the SDK expects it.
    pub(super) fn challenge(&self, account: Address, now_seconds: u64) -> Value {
        json!({
            "types": {
                "EIP712Domain": [
                    { "name": "name", "type": "string" },
                    { "name": "version", "type": "string" },
                    { "name": "chainId", "type": "uint256" },
                ],
                "Challenge": [{ "name": "challenge", "type": "string" }],
            },
            "domain": { "name": NAME, "version": VERSION, "chainId": self.chain_id },
            "primaryType": "Challenge",
            "message": { "challenge": self.text(account, now_seconds / WINDOW_SECONDS) },
        })
    }

    /// The account that signed a challenge of ours, by an `authorization` header.
    pub(super) fn account(&self, authorization: Option<&str>, now_seconds: u64) -> Result<Address, LoginError> {
        let mut parts = authorization.ok_or(LoginError::Missing)?.split('_');
        let mut next = || parts.next().ok_or(LoginError::Malformed);
        let hash: B256 = next()?.parse().map_err(|_| LoginError::Malformed)?;
        let signature = alloy::hex::decode(next()?).map_err(|_| LoginError::Malformed)?;
        let account: Address = next()?.parse().map_err(|_| LoginError::Malformed)?;
        let window = now_seconds / WINDOW_SECONDS;
        let ours = [window, window.saturating_sub(1)].into_iter().any(|window| self.hash(account, window) == hash);
        if !ours {
            return Err(LoginError::Expired);
        }
        let signature = Signature::from_raw(&signature).map_err(|_| LoginError::Malformed)?;
        match signature.recover_address_from_prehash(&hash) {
            Ok(signer) if signer == account => Ok(account),
            _ => Err(LoginError::NotSigned(account)),
        }
    }

    fn hash(&self, account: Address, window: u64) -> B256 {
        Challenge { challenge: self.text(account, window) }.eip712_signing_hash(&self.domain())
    }

    fn domain(&self) -> Eip712Domain {
        eip712_domain! { name: NAME, version: VERSION, chain_id: self.chain_id, }
    }

    fn text(&self, account: Address, window: u64) -> String {
        let subject = [&account.0[..], &window.to_be_bytes(), &self.chain_id.to_be_bytes()].concat();
        let mark = blake3::keyed_hash(&self.secret, &subject).to_hex();
        format!("Sign this to change your orders in this pool's order book: {}", &mark[..32])
    }
}

#[cfg(test)]
mod tests {
    use alloy::signers::SignerSync as _;
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn key(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
    }

    fn authorization(login: &Login, signer: &PrivateKeySigner, account: Address, at: u64) -> String {
        let hash = login.hash(account, at / WINDOW_SECONDS);
        format!("{hash}_{}_{account}", alloy::hex::encode_prefixed(signer.sign_hash_sync(&hash).unwrap().as_bytes()))
    }

    #[test]
    fn whoever_signs_is_let_in_for_a_while() {
        let login = Login::new("token", 31_337);
        let alice = key(1);
        let header = authorization(&login, &alice, alice.address(), NOW);
        assert_eq!(login.account(Some(&header), NOW), Ok(alice.address()));
        assert_eq!(login.account(Some(&header), NOW + WINDOW_SECONDS), Ok(alice.address()));
        assert_eq!(login.account(Some(&header), NOW + 2 * WINDOW_SECONDS), Err(LoginError::Expired));
    }

    #[test]
    fn nobody_gets_in_for_another_or_from_elsewhere() {
        let login = Login::new("token", 31_337);
        let (alice, bob) = (key(1), key(2));
        let forged = authorization(&login, &bob, alice.address(), NOW);
        assert_eq!(login.account(Some(&forged), NOW), Err(LoginError::NotSigned(alice.address())));
        for other in [Login::new("other", 31_337), Login::new("token", 1)] {
            let header = authorization(&other, &alice, alice.address(), NOW);
            assert_eq!(login.account(Some(&header), NOW), Err(LoginError::Expired));
        }
        assert_eq!(login.account(None, NOW), Err(LoginError::Missing));
        for text in ["", "_", "a_b_c", "0x12_0x34_0x56"] {
            assert_eq!(login.account(Some(text), NOW), Err(LoginError::Malformed), "{text:?}");
        }
    }
}
