//! What a node means when it does not take a transaction.

/// Nodes agree on neither codes nor words, so the words are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has these very bytes.
    Known,
    /// A transaction with this nonce is in a block: ours or another.
    NonceUsed,
    /// A better price would help.
    Underpriced,
    Other,
}

impl Refusal {
    pub(super) fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["already known", "known transaction", "already imported", "already exists", "alreadyknown"]) {
            Self::Known
        } else if says(&["nonce too low", "nonce is too low", "old nonce", "oldnonce", "nonce has already been used"]) {
            Self::NonceUsed
        } else if says(&["underpriced", "fee too low", "less than block base fee", "below base fee", "feetoolow"]) {
            Self::Underpriced
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_common_nodes_are_understood() {
        let words = [
            ("already known", Refusal::Known),
            ("Known transaction: 0x12", Refusal::Known),
            ("transaction already imported", Refusal::Known),
            ("AlreadyKnown", Refusal::Known),
            ("nonce too low: next nonce 5, tx nonce 4", Refusal::NonceUsed),
            ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", Refusal::NonceUsed),
            ("replacement transaction underpriced", Refusal::Underpriced),
            ("transaction underpriced: tip needed 25000000000", Refusal::Underpriced),
            ("max fee per gas less than block base fee: address 0x…", Refusal::Underpriced),
            ("FeeTooLow, EffectivePriorityFeePerGas too low", Refusal::Underpriced),
            ("insufficient funds for gas * price + value", Refusal::Other),
        ];
        for (message, expected) in words {
            assert_eq!(Refusal::of(message), expected, "{message}");
        }
    }
}
