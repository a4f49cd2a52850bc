//! Results that people judge, as `Outcome.sol` reads them: `exit status (4) ‖ storage location (32) ‖ answer`.

use alloy::primitives::{B256, Bytes};

const HEAD_BYTES: usize = 36;
/// What the market takes of a result: `MAX_RESULT_BYTES` in `Market.sol`.
pub const RESULT_BYTES_MAX: usize = 8192;
/// What is left of that for an answer.
pub const ANSWER_BYTES_MAX: usize = RESULT_BYTES_MAX - HEAD_BYTES;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub exit_status: u32,
    /// Names what the program left; zero if that was nothing but the answer.
    pub location: B256,
    pub answer: Bytes,
}

impl Outcome {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        [&self.exit_status.to_be_bytes()[..], self.location.as_slice(), &self.answer].concat().into()
    }

    /// Nothing if it is too short to be one.
    #[must_use]
    pub fn parse(result: &[u8]) -> Option<Self> {
        let (status, rest) = result.split_first_chunk::<4>()?;
        let (location, answer) = rest.split_first_chunk::<32>()?;
        let answer = Bytes::copy_from_slice(answer);
        Some(Self { exit_status: u32::from_be_bytes(*status), location: location.into(), answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_as_it_was_written() {
        let outcome = Outcome { exit_status: 7, location: B256::repeat_byte(9), answer: Bytes::from_static(b"42") };
        let encoded = outcome.encode();
        assert_eq!(encoded.len(), HEAD_BYTES + 2);
        assert_eq!(encoded[..4], [0, 0, 0, 7]);
        assert_eq!(Outcome::parse(&encoded), Some(outcome));
        assert_eq!(Outcome::parse(&encoded[..HEAD_BYTES - 1]), None);
    }
}
