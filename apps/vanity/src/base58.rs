//! Base58 and Base58Check, as Bitcoin addresses and WIF keys use them.

use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

pub const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Decoding is quadratic; nothing of ours is longer than a WIF key (52 characters).
const TEXT_LENGTH_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Base58Error {
    #[error("'{0}' is not a Base58 character")]
    Character(char),
    #[error("text is longer than {TEXT_LENGTH_MAX} characters")]
    TooLong,
    #[error("the checksum does not match")]
    Checksum,
}

/// The value of a Base58 character.
pub fn digit(character: char) -> Option<u8> {
    ALPHABET.iter().position(|&known| char::from(known) == character).map(|position| position as u8)
}

/// Wipes what it computes with: the bytes may be a key.
pub fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let mut digits: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(bytes.len() * 138 / 100 + 1));
    for &byte in &bytes[zeros..] {
        let mut carry = u32::from(byte);
        for digit in digits.iter_mut() {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let ones = std::iter::repeat_n('1', zeros);
    ones.chain(digits.iter().rev().map(|&digit| char::from(ALPHABET[usize::from(digit)]))).collect()
}

pub fn decode(text: &str) -> Result<Vec<u8>, Base58Error> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(Base58Error::TooLong);
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for character in text.chars().skip_while(|&character| character == '1') {
        let mut carry = u32::from(digit(character).ok_or(Base58Error::Character(character))?);
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    let zeros = text.chars().take_while(|&character| character == '1').count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Ok(bytes)
}

/// First four bytes of the double SHA-256.
pub fn checksum(payload: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(Sha256::digest(payload));
    [digest[0], digest[1], digest[2], digest[3]]
}

pub fn encode_check(payload: &[u8]) -> String {
    // Room for all: a vector that grows leaves its former place behind as it was.
    let mut bytes = Zeroizing::new(Vec::with_capacity(payload.len() + 4));
    bytes.extend(payload);
    bytes.extend(checksum(payload));
    encode(&bytes)
}

pub fn decode_check(text: &str) -> Result<Vec<u8>, Base58Error> {
    let mut bytes = decode(text)?;
    let body = bytes.len().checked_sub(4).ok_or(Base58Error::Checksum)?;
    if checksum(&bytes[..body]) != bytes[body..] {
        bytes.zeroize();
        return Err(Base58Error::Checksum);
    }
    bytes.truncate(body);
    Ok(bytes)
}
