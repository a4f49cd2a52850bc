//! Blobs by the names that IPFS has for them.
//!
//! A blob's BLAKE3 digest as a CID (version 1, raw bytes): whoever has the name can check the bytes, wherever they come
//! from, and IPFS's own tools understand it.

use data_encoding::BASE32_NOPAD;
use gristmill_proto::digest::Digest;

/// CID version 1, codec `raw`, hash `blake3` of 32 bytes.
const HEAD: [u8; 4] = [0x01, 0x55, 0x1e, 0x20];
/// A multiaddr of protocol `ipfs` (421), which iExec's SDK makes of `/ipfs/…`: it keeps only the hash, of 34 bytes.
const MULTIADDR_HEAD: [u8; 5] = [0xa5, 0x03, 0x22, 0x1e, 0x20];

pub fn cid(digest: Digest) -> String {
    // The letter says that base32 in small letters follows.
    format!("b{}", BASE32_NOPAD.encode(&[&HEAD[..], &digest.0].concat()).to_ascii_lowercase())
}

/// Where a blob is, as results on chain say it.
pub fn path(digest: Digest) -> String {
    format!("/ipfs/{}", cid(digest))
}

/// The blob of a CID of our kind.
pub fn parse_cid(text: &str) -> Option<Digest> {
    let letters = text.strip_prefix('b').filter(|letters| !letters.contains(|c: char| c.is_ascii_uppercase()))?;
    let bytes = BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes()).ok()?;
    Some(Digest(bytes.strip_prefix(&HEAD)?.try_into().ok()?))
}

/// The blob that a text names by `/ipfs/CID` at its end, whatever origin stands before.
pub fn parse_address(text: &str) -> Option<Digest> {
    let (_, name) = text.rsplit_once("/ipfs/")?;
    parse_cid(name.trim_end_matches('/'))
}

/// The blob that a `multiaddr` field on chain names.
pub fn parse_multiaddr(bytes: &[u8]) -> Option<Digest> {
    match bytes.strip_prefix(&MULTIADDR_HEAD) {
        Some(digest) => Some(Digest(digest.try_into().ok()?)),
        None => parse_address(std::str::from_utf8(bytes).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the empty file, as the `multiformats` package names it.
    const EMPTY: &str = "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi";

    #[test]
    fn a_blob_has_one_name() {
        assert_eq!(cid(Digest::of(b"")), EMPTY);
        for content in [&b""[..], b"grist", &[255; 100]] {
            let digest = Digest::of(content);
            assert_eq!(parse_cid(&cid(digest)), Some(digest));
            assert_eq!(parse_address(&format!("https://a.example/x{}", path(digest))), Some(digest));
            assert_eq!(parse_multiaddr(path(digest).as_bytes()), Some(digest));
            assert_eq!(parse_multiaddr(&[&MULTIADDR_HEAD[..], &digest.0].concat()), Some(digest));
        }
    }

    #[test]
    fn other_names_are_none() {
        // The last letter carries bits beyond the last byte, which must be zero.
        let twin = EMPTY.strip_suffix('i').unwrap().to_owned() + "j";
        let foreign = "QmYwAPJzv5CZsnA625s1Xf2nemtYgPpHdWEz79ojWKPbdG";
        for text in ["", "b", foreign, &EMPTY[1..], &EMPTY.to_uppercase(), &twin, &EMPTY[..50]] {
            assert_eq!(parse_cid(text), None, "{text}");
        }
        for bytes in [&b"registry.example/image:1"[..], &MULTIADDR_HEAD, &[0xff, 0xfe], b"/ipfs/"] {
            assert_eq!(parse_multiaddr(bytes), None, "{bytes:?}");
        }
    }
}
