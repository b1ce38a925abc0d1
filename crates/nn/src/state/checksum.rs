//! Checksums of safetensors files, which tell whether a file still holds what Kiln wrote.
//!
//! XXH3-128 with seed 0 finds damage by disks, memory and transfers. It does not stop a forger, who can compute it too.
//!
//! The header's `__metadata__` has, under `kiln_checksums`, numbers of 32 hexadecimal digits with spaces between: the checksum of the
//! content, then one of each tensor's bytes in the byte order of the names. The content is, with every number as a `u64` in
//! little-endian order and every text as its length in bytes and its UTF-8:
//!
//! 1. the number of pairs in the JSON object under `kiln`, then key and value of each, in the byte order of the keys;
//! 2. the number of tensors, then of each, in the byte order of the names: the name, the type as safetensors names it (`F32`), the
//!    number of axes and their sizes, and the checksum of its bytes in 16 bytes, little-endian.
//!
//! How a header is laid out is not covered, nor what other programs add to `__metadata__`, so that a program that writes the same tensors
//! and metadata again leaves a file that verifies. The object under `kiln` has `kiln_checksums` too, with the algorithm's name: were either
//! key lost by damage, the other would still say that there must be checksums.

use std::collections::BTreeMap;

use twox_hash::XxHash3_128;

/// The key of the checksums in `__metadata__`, and of the algorithm's name in Kiln's own text.
pub(super) const KEY: &str = "kiln_checksums";

/// The algorithm's name.
pub(super) const ALGORITHM: &str = "xxh3-128";

/// The checksum of a tensor's bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// A tensor as the content's checksum covers it.
pub(super) struct Covered<'a> {
    pub(super) dtype: String,
    pub(super) shape: &'a [usize],
    pub(super) bytes: u128,
}

/// The checksums of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    content: u128,
    /// In the byte order of the names.
    pub(super) tensors: Vec<u128>,
}

impl Checksums {
    pub(super) fn new(text: &BTreeMap<String, String>, tensors: &BTreeMap<&str, Covered<'_>>) -> Checksums {
        let mut hasher = XxHash3_128::new();
        let number = |hasher: &mut XxHash3_128, number: usize| hasher.write(&(number as u64).to_le_bytes());
        let words = |hasher: &mut XxHash3_128, words: &str| {
            number(hasher, words.len());
            hasher.write(words.as_bytes());
        };
        number(&mut hasher, text.len());
        for (key, value) in text {
            words(&mut hasher, key);
            words(&mut hasher, value);
        }
        number(&mut hasher, tensors.len());
        for (name, Covered { dtype, shape, bytes }) in tensors {
            words(&mut hasher, name);
            words(&mut hasher, dtype);
            number(&mut hasher, shape.len());
            shape.iter().for_each(|&side| number(&mut hasher, side));
            hasher.write(&bytes.to_le_bytes());
        }
        Checksums { content: hasher.finish_128(), tensors: tensors.values().map(|tensor| tensor.bytes).collect() }
    }

    /// As the header has them: the same length for the same number of tensors.
    pub(super) fn to_text(&self) -> String {
        let numbers = [self.content].into_iter().chain(self.tensors.iter().copied());
        numbers.map(|number| format!("{number:032x}")).collect::<Vec<_>>().join(" ")
    }

    /// Those of a header, or `None` for a text of another form.
    pub(super) fn parse(text: &str) -> Option<Checksums> {
        let number = |text: &str| u128::from_str_radix(text, 16).ok();
        let mut numbers = text.split(' ').map(number);
        let content = numbers.next()??;
        Some(Checksums { content, tensors: numbers.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a program of 20 lines of Python computes them with `xxhash.xxh3_128_intdigest` from the layout above.
    #[test]
    fn the_checksums_are_those_of_the_layout_that_is_described() {
        let floats = [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat();
        let long: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        let count = 7i64.to_le_bytes();
        let (two, none, many) = ([2, 1], [], [1000]);
        let tensors =
            [("weight", "F32", &two[..], &floats[..]), ("bias", "I64", &none, &count), ("long", "U8", &many, &long)]
                .map(|(name, dtype, shape, bytes)| {
                    (name, Covered { dtype: dtype.to_string(), shape, bytes: of_bytes(bytes) })
                });
        let text = [(KEY, ALGORITHM), ("model", "é")].map(|(key, value)| (key.to_string(), value.to_string()));
        let checksums = Checksums::new(&text.into(), &tensors.into());
        let expected = "0f3b305aa207b06b75acbc5888ea547c deb6d224c549cbd3e8c0d782b2f61276 18bf41bc8229e27733ef703fb2b20ed1 \
                        285de70f94d428756baf58964558b47c";
        assert_eq!(checksums.to_text(), expected);
        assert_eq!(Checksums::parse(expected), Some(checksums));
        assert_eq!(Checksums::parse(""), None);
        assert_eq!(Checksums::parse("0f3b30 xyz"), None);
    }
}
