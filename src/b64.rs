//! # Chapter 6. How do bytes become text?
//!
//! Base64 cuts 3 bytes (24 bits) into 4 groups of 6 bits and writes each group as one of 64 symbols.
//! Content that ends in mid-group is filled with zero bits and marked with `=`. The rules are RFC 4648,
//! section 4, taken strictly: one content has exactly one padded text.
//!
//! ```text
//!   bytes    |   'K'   |   'o'   |   'l'   |
//!   bits     |010010 110110 1111 01 101100 |
//!   symbols  |  S      2      9       s    |
//! ```
//!
//! Content arrives in pieces of any size, so both directions keep a *carry* between calls: the encoder up
//! to 2 bytes, the decoder up to 3 symbols. The invariant: cutting the input anywhere changes nothing in
//! the output, and an error names the same offset however the text was cut.
//!
//! What must not live here: sockets, files, and any opinion about white space. The decoder stops in front
//! of a byte that cannot stand there and lets its caller decide what the byte means.
//!
//! before: `server.rs` … after: `json.rs`
//!
//! Experiment:
//! edit: the encoder forgets its carry when a new piece begins
//! run: cargo test --locked --bin kolam b64::
//! see: length 2 piece 1

#[allow(unsafe_code)]
mod simd; // the same at the speed of memcpy

pub use simd::{available, choose};

use std::fmt;

/// The 64 symbols in the order of their values (RFC 4648, table 1).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Fills the last group of four symbols.
const PAD: u8 = b'=';

/// Bytes that enter a full group; 3 × 8 bits are 4 × 6 bits, which is why these two never change.
const GROUP_BYTES: usize = 3;

/// Symbols that leave a full group.
const GROUP_SYMBOLS: usize = 4;

/// Two symbols for each value of 12 bits. One look-up in 8 KiB instead of two in 64 bytes: the table
/// stays in the first-level cache and halves the work.
static PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut value = 0;
    while value < 4096 {
        pairs[value] = [ALPHABET[value >> 6], ALPHABET[value & 63]];
        value += 1;
    }
    pairs
};

/// In `VALUES`: this byte is no symbol. The bit lies above the 24 that a group can fill, so four
/// look-ups can be joined with `|` and tested once.
const FOREIGN: u32 = 1 << 31;

/// The value of each byte as the first, second, third and fourth symbol of a group, shifted into place.
static VALUES: [[u32; 256]; 4] = {
    let mut values = [[FOREIGN; 256]; 4];
    let mut value = 0;
    while value < 64 {
        let symbol = ALPHABET[value] as usize;
        values[0][symbol] = (value as u32) << 18;
        values[1][symbol] = (value as u32) << 12;
        values[2][symbol] = (value as u32) << 6;
        values[3][symbol] = value as u32;
        value += 1;
    }
    values
};

/// Length in symbols of the padded text of `bytes` bytes.
pub const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(GROUP_BYTES) * GROUP_SYMBOLS
}

/// Room in bytes that decoding `symbols` symbols may need, a carry from before included.
pub const fn decoded_room(symbols: usize) -> usize {
    symbols / GROUP_SYMBOLS * GROUP_BYTES + GROUP_BYTES
}

/// A pair of quick loops, for `b64/simd.rs` only. Both may stop early anywhere; the loops of this file do the
/// rest.
pub struct Kernel {
    pub name: &'static str,
    /// Encodes whole groups from the front of the bytes into the front of the output, and returns how many
    /// bytes that were.
    pub encode: fn(&[u8], &mut [u8]) -> usize,
    /// Decodes whole groups up to the first block with anything but symbols in it, and returns how many
    /// symbols that were.
    pub decode: fn(&[u8], &mut [u8]) -> usize,
}

/// Turns bytes into symbols, piece by piece.
pub struct Encoder {
    /// The quick loop for most of a piece (`b64/simd.rs`); `None`: everything goes the slow way.
    kernel: Option<&'static Kernel>,
    /// The group that is being filled; only the first `carried` bytes count.
    carry: [u8; GROUP_BYTES],
    /// 0 to 2 between two calls.
    carried: usize,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder::with(simd::chosen())
    }

    /// With this kernel instead of the best one.
    pub fn with(kernel: Option<&'static Kernel>) -> Encoder {
        Encoder {
            kernel,
            carry: [0; GROUP_BYTES],
            carried: 0,
        }
    }

    /// Encodes all full groups of what was carried and `bytes`, keeps the rest, and returns the number
    /// of symbols written to the front of `out`, which has room for `encoded_len(bytes.len() + 2)`.
    pub fn encode(&mut self, bytes: &[u8], out: &mut [u8]) -> usize {
        let (mut bytes, mut wrote) = (bytes, 0);
        if self.carried > 0 {
            bytes = self.fill_carry(bytes);
            if self.carried < GROUP_BYTES {
                return 0;
            }
            wrote = encode_groups(None, &self.carry, out);
            self.carried = 0;
        }
        let (full, rest) = bytes.split_at(bytes.len() / GROUP_BYTES * GROUP_BYTES);
        wrote += encode_groups(self.kernel, full, &mut out[wrote..]);
        self.fill_carry(rest);
        wrote
    }

    /// Moves bytes into the carry until it is a full group or they are over; returns those left.
    fn fill_carry<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (moved, left) = bytes.split_at(bytes.len().min(GROUP_BYTES - self.carried));
        self.carry[self.carried..][..moved.len()].copy_from_slice(moved);
        self.carried += moved.len();
        left
    }

    /// The content is over: writes the last, padded group if bytes are left, and returns its length: 0 or 4.
    pub fn finish(&mut self, out: &mut [u8]) -> usize {
        if self.carried == 0 {
            return 0;
        }
        self.carry[self.carried..].fill(0);
        let wrote = encode_groups(None, &self.carry, out);
        out[self.carried + 1..GROUP_SYMBOLS].fill(PAD);
        self.carried = 0;
        wrote
    }
}

/// Encodes whole groups: `bytes.len()` is a multiple of 3. Returns the number of symbols.
// Not inlined: compiled by itself the loop is half again as fast.
#[inline(never)]
fn encode_groups(kernel: Option<&Kernel>, bytes: &[u8], out: &mut [u8]) -> usize {
    let quick = kernel.map_or(0, |kernel| (kernel.encode)(bytes, out));
    let (groups, _) = bytes[quick..].as_chunks::<GROUP_BYTES>();
    let (symbols, _) = out[encoded_len(quick)..].as_chunks_mut::<GROUP_SYMBOLS>();
    for (&[a, b, c], symbols) in groups.iter().zip(symbols) {
        let first = PAIRS[usize::from(a) << 4 | usize::from(b) >> 4];
        let second = PAIRS[(usize::from(b) & 15) << 8 | usize::from(c)];
        *symbols = [first[0], first[1], second[0], second[1]];
    }
    encoded_len(bytes.len())
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Offset in bytes from the start of the whole text, bytes passed over included, first byte 0.
    pub offset: u64,
    pub what: &'static str,
}

const FOREIGN_BYTE: &str = "not a base64 symbol";
/// `=` where none can be, or one where two must be.
const PADDING: &str = "wrong padding";
/// 6 bits are no byte.
const LENGTH: &str = "last group has one symbol";
/// The last symbol has bits set that belong to no byte.
const UNUSED_BITS: &str = "unused bits are not zero";
const UNPADDED: &str = "the text ends without its padding";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid base64 at byte {}: {}", self.offset, self.what)
    }
}

/// Progress of one call: how much text was used and how many bytes came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of text used; the byte after them, if there is one, cannot stand there.
    pub read: usize,
    /// Bytes written to the front of the output.
    pub wrote: usize,
}

/// The group that is being filled.
#[derive(Clone, Copy)]
enum Group {
    /// `have` symbols (0 to 3) gathered in the low `6 × have` bits.
    Symbols { bits: u32, have: u32 },
    /// The padding has begun: `missing` more `=` (0 or 1) must follow, and nothing else.
    Padded { missing: u32 },
}

const EMPTY: Group = Group::Symbols { bits: 0, have: 0 };

/// Turns symbols into bytes, piece by piece.
pub struct Decoder {
    /// As in `Encoder`.
    kernel: Option<&'static Kernel>,
    /// The carry.
    group: Group,
    /// Bytes of text seen so far.
    position: u64,
    /// Bytes decoded from them.
    decoded: u64,
    /// Offset of the symbol read last; meaningful while `group` holds symbols.
    last: u64,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::with(simd::chosen())
    }

    /// With this kernel instead of the best one.
    pub fn with(kernel: Option<&'static Kernel>) -> Decoder {
        Decoder {
            kernel,
            group: EMPTY,
            position: 0,
            decoded: 0,
            last: 0,
        }
    }

    /// Decodes `text` until its end or the first byte that cannot stand there, into `out`, which has
    /// `decoded_room(text.len())`.
    pub fn decode(&mut self, text: &[u8], out: &mut [u8]) -> Step {
        let mut step = Step { read: 0, wrote: 0 };
        loop {
            if let Group::Symbols { have: 0, .. } = self.group {
                let groups = decode_groups(self.kernel, &text[step.read..], &mut out[step.wrote..]);
                step.read += groups * GROUP_SYMBOLS;
                step.wrote += groups * GROUP_BYTES;
            }
            // What is left: a border between pieces, padding, or a byte that cannot stand here.
            let Some(&byte) = text.get(step.read) else { break };
            let at = self.position + step.read as u64;
            let Some(wrote) = self.take(byte, at, &mut out[step.wrote..]) else {
                break;
            };
            step.read += 1;
            step.wrote += wrote;
        }
        self.position += step.read as u64;
        self.decoded += step.wrote as u64;
        step
    }

    /// Takes the byte at offset `at`; returns how many bytes that releases. `None`: it cannot stand there.
    fn take(&mut self, byte: u8, at: u64, out: &mut [u8]) -> Option<usize> {
        let value = VALUES[3][usize::from(byte)];
        match self.group {
            Group::Symbols { bits, have } if value != FOREIGN => {
                let (bits, have) = (bits << 6 | value, have + 1);
                self.last = at;
                if have < GROUP_SYMBOLS as u32 {
                    self.group = Group::Symbols { bits, have };
                    return Some(0);
                }
                self.group = EMPTY;
                release(bits, have, out)
            }
            Group::Symbols { bits, have } if byte == PAD && have >= 2 => {
                let wrote = release(bits, have, out)?;
                self.group = Group::Padded { missing: 3 - have };
                Some(wrote)
            }
            Group::Padded { missing: 1 } if byte == PAD => {
                self.group = Group::Padded { missing: 0 };
                Some(0)
            }
            _ => None,
        }
    }

    /// The text is over: releases what an unpadded last group holds (0 to 2 bytes).
    pub fn finish(&self, out: &mut [u8]) -> Result<usize, Error> {
        let (offset, what) = match self.group {
            Group::Padded { missing: 0 } | Group::Symbols { have: 0, .. } => return Ok(0),
            Group::Symbols { have: 1, .. } => (self.last, LENGTH),
            Group::Symbols { bits, have } => match release(bits, have, out) {
                Some(wrote) => return Ok(wrote),
                None => (self.last, UNUSED_BITS),
            },
            Group::Padded { .. } => (self.position, PADDING),
        };
        Err(Error { offset, what })
    }

    /// The text is over, and had to be whole: an end within a group means that it was cut, so nothing is left
    /// to release. The offset of the error is the length of the text.
    pub fn finish_padded(&self) -> Result<(), Error> {
        let (offset, what) = (self.position, UNPADDED);
        match self.group {
            Group::Padded { missing: 0 } | Group::Symbols { have: 0, .. } => Ok(()),
            _ => Err(Error { offset, what }),
        }
    }

    /// Bytes of text seen so far, and bytes decoded from them.
    pub fn progress(&self) -> (u64, u64) {
        (self.position, self.decoded)
    }

    /// The caller passes over `count` bytes of text that mean nothing to it.
    pub fn skip(&mut self, count: usize) {
        self.position += count as u64;
    }

    /// Why `byte`, in front of which `decode` stopped, cannot stand there.
    pub fn reject(&self, byte: u8) -> Error {
        let (offset, what) = match (self.group, byte) {
            (Group::Symbols { have: 2 | 3, .. }, PAD) => (self.last, UNUSED_BITS),
            (Group::Padded { missing: 1 }, _) | (_, PAD) => (self.position, PADDING),
            _ => (self.position, FOREIGN_BYTE),
        };
        Error { offset, what }
    }
}

/// Writes the 1 to 3 bytes of a group of 2 to 4 symbols. `None`: bits that belong to no byte are not zero.
fn release(bits: u32, have: u32, out: &mut [u8]) -> Option<usize> {
    let bytes = have as usize - 1;
    let [_, group @ ..] = (bits << (24 - have * 6)).to_be_bytes();
    out[..bytes].copy_from_slice(&group[..bytes]);
    group[bytes..].iter().all(|&unused| unused == 0).then_some(bytes)
}

/// Decodes whole groups up to the first that holds anything but four symbols; returns their number.
// Not inlined, for the same reason as `encode_groups`.
#[inline(never)]
fn decode_groups(kernel: Option<&Kernel>, text: &[u8], out: &mut [u8]) -> usize {
    let mut done = kernel.map_or(0, |kernel| (kernel.decode)(text, out)) / GROUP_SYMBOLS;
    let (groups, _) = text[done * GROUP_SYMBOLS..].as_chunks::<GROUP_SYMBOLS>();
    let (bytes, _) = out[done * GROUP_BYTES..].as_chunks_mut::<GROUP_BYTES>();
    for (&[a, b, c, d], bytes) in groups.iter().zip(bytes) {
        let bits = VALUES[0][usize::from(a)]
            | VALUES[1][usize::from(b)]
            | VALUES[2][usize::from(c)]
            | VALUES[3][usize::from(d)];
        if bits & FOREIGN != 0 {
            break;
        }
        let [_, x, y, z] = bits.to_be_bytes();
        *bytes = [x, y, z];
        done += 1;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same rules without tables, pieces or speed; only tests use it.
    mod naive {
        use super::super::ALPHABET;

        pub fn encode(bytes: &[u8]) -> String {
            let mut text = String::new();
            for group in bytes.chunks(3) {
                let bit = |i: usize| group.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
                for symbol in 0..group.len() + 1 {
                    let value = (0..6).fold(0, |value, i| value << 1 | bit(symbol * 6 + i));
                    text.push(char::from(ALPHABET[usize::from(value)]));
                }
                (group.len()..3).for_each(|_| text.push('='));
            }
            text
        }

        /// `None` for anything that is not exactly what `encode` writes, padding optional.
        pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
            let symbols: Vec<u8> = text.iter().copied().take_while(|&byte| byte != b'=').collect();
            let mut bits = Vec::new();
            for symbol in &symbols {
                let value = ALPHABET.iter().position(|known| known == symbol)?;
                bits.extend((0..6).map(|i| value >> (5 - i) & 1));
            }
            let bytes: Vec<u8> = (0..bits.len() / 8)
                .map(|i| {
                    bits[i * 8..i * 8 + 8]
                        .iter()
                        .fold(0, |byte, &bit| byte << 1 | bit as u8)
                })
                .collect();
            let padded = encode(&bytes);
            let bare = padded.trim_end_matches('=');
            (text == padded.as_bytes() || text == bare.as_bytes()).then_some(bytes)
        }
    }

    /// All loops there are; the first is the one without a kernel.
    fn kernels() -> Vec<Option<&'static Kernel>> {
        std::iter::once(None)
            .chain(simd::available().into_iter().map(Some))
            .collect()
    }

    /// Encodes with every kernel, which must all give the same.
    fn encode_in_pieces(bytes: &[u8], piece: usize) -> String {
        let mut texts = kernels()
            .into_iter()
            .map(|kernel| encode_with(kernel, bytes, piece));
        let first = texts.next().unwrap();
        texts.for_each(|text| assert_eq!(text, first));
        first
    }

    fn encode_with(kernel: Option<&'static Kernel>, bytes: &[u8], piece: usize) -> String {
        let mut encoder = Encoder::with(kernel);
        let mut text = Vec::new();
        let mut out = vec![0; encoded_len(piece + 2) + GROUP_SYMBOLS];
        for piece in bytes.chunks(piece) {
            let wrote = encoder.encode(piece, &mut out);
            text.extend_from_slice(&out[..wrote]);
        }
        let wrote = encoder.finish(&mut out);
        text.extend_from_slice(&out[..wrote]);
        String::from_utf8(text).unwrap()
    }

    /// Decodes with every kernel, which must all give the same, errors included.
    fn decode_in_pieces(text: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
        let mut results = kernels()
            .into_iter()
            .map(|kernel| decode_with(kernel, text, piece));
        let first = results.next().unwrap();
        results.for_each(|result| assert_eq!(result, first));
        first
    }

    fn decode_with(kernel: Option<&'static Kernel>, text: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
        let mut decoder = Decoder::with(kernel);
        let mut bytes = Vec::new();
        let mut out = vec![0; decoded_room(piece)];
        for piece in text.chunks(piece) {
            let step = decoder.decode(piece, &mut out);
            bytes.extend_from_slice(&out[..step.wrote]);
            if let Some(&byte) = piece.get(step.read) {
                return Err(decoder.reject(byte));
            }
        }
        let wrote = decoder.finish(&mut out)?;
        bytes.extend_from_slice(&out[..wrote]);
        Ok(bytes)
    }

    /// Bytes that repeat only after a long while.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    const PIECES: [usize; 7] = [1, 2, 3, 4, 5, 64, 4096];

    #[test]
    fn vectors_of_rfc_4648_section_10() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in table {
            for piece in PIECES {
                assert_eq!(encode_in_pieces(bytes.as_bytes(), piece), text);
                assert_eq!(
                    decode_in_pieces(text.as_bytes(), piece).unwrap(),
                    bytes.as_bytes()
                );
                let bare = text.trim_end_matches('=');
                assert_eq!(
                    decode_in_pieces(bare.as_bytes(), piece).unwrap(),
                    bytes.as_bytes()
                );
            }
        }
    }

    #[test]
    fn every_length_up_to_1000_agrees_with_the_naive_twin() {
        for length in 0..=1000 {
            let bytes = sample(length);
            let text = naive::encode(&bytes);
            assert_eq!(text.len(), encoded_len(length));
            for piece in PIECES {
                assert_eq!(
                    encode_in_pieces(&bytes, piece),
                    text,
                    "length {length} piece {piece}"
                );
                assert_eq!(decode_in_pieces(text.as_bytes(), piece).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn every_pair_of_symbols_and_strays_agrees_with_the_naive_twin() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for text in [vec![first, second], vec![b'Z', b'm', first, second]] {
                    let expected = naive::decode(&text);
                    for piece in [1, 3, 4] {
                        let got = decode_in_pieces(&text, piece).ok();
                        assert_eq!(got, expected, "{text:?} in pieces of {piece}");
                    }
                }
            }
        }
    }

    #[test]
    fn errors_name_the_offset_however_the_text_is_cut() {
        let table = [
            ("Zm9*", 3, FOREIGN_BYTE),
            ("Zm9vYmFy\u{7f}", 8, FOREIGN_BYTE),
            ("Zg==Zg==", 4, FOREIGN_BYTE),
            ("Zg===", 4, PADDING),
            ("=", 0, PADDING),
            ("Z=", 1, PADDING),
            ("Zg=", 3, PADDING),
            ("Zg=v", 3, PADDING),
            ("Zm9v=", 4, PADDING),
            ("Zm9vY", 4, LENGTH),
            ("Zh==", 1, UNUSED_BITS),
            ("Zm9vZm9=", 6, UNUSED_BITS),
            ("Zm9vZh", 5, UNUSED_BITS),
        ];
        for (text, offset, what) in table {
            for piece in PIECES {
                let error = decode_in_pieces(text.as_bytes(), piece).unwrap_err();
                assert_eq!(error, Error { offset, what }, "{text} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_text_that_must_be_whole_may_not_end_within_a_group() {
        let text = naive::encode(&sample(1000));
        assert!(text.ends_with("=="));
        for (kernel, length) in kernels()
            .into_iter()
            .flat_map(|kernel| (0..=text.len()).map(move |n| (kernel, n)))
        {
            let mut decoder = Decoder::with(kernel);
            let mut out = vec![0; decoded_room(length)];
            assert_eq!(decoder.decode(&text.as_bytes()[..length], &mut out).read, length);
            let cut = Error {
                offset: length as u64,
                what: UNPADDED,
            };
            let expected = if length % 4 == 0 { Ok(()) } else { Err(cut) };
            assert_eq!(decoder.finish_padded(), expected, "{length} symbols");
        }
    }

    /// The borders of pieces and of the blocks of the quick loops, with blanks passed over before them.
    #[test]
    fn a_wrong_byte_is_reported_at_its_own_offset() {
        let text = naive::encode(&sample(9000)).into_bytes();
        let near = |at: usize| at.saturating_sub(2)..=at + 2;
        let places = [0, 31, 64, 128, 256, 512, 1024, 4096, 4128, 8192, 11_000]
            .into_iter()
            .flat_map(near);
        for (at, line) in places.flat_map(|at| [(at, 76), (at, 64), (at, 1000), (at, usize::MAX)]) {
            let mut broken = text.clone();
            broken[at] = b'!';
            let wrapped: Vec<u8> = broken.chunks(line).collect::<Vec<_>>().join(&b"\r\n"[..]);
            let offset = wrapped.iter().position(|&byte| byte == b'!').unwrap() as u64;
            for (kernel, piece) in kernels()
                .into_iter()
                .flat_map(|kernel| [(kernel, 257), (kernel, 4096)])
            {
                let error = wrong_byte(Decoder::with(kernel), &wrapped, piece);
                assert_eq!(
                    error,
                    Error {
                        offset,
                        what: FOREIGN_BYTE
                    },
                    "lines of {line}, pieces of {piece}"
                );
            }
        }
    }

    /// Decodes a text with line ends in it, as far as its first wrong byte.
    fn wrong_byte(mut decoder: Decoder, text: &[u8], piece: usize) -> Error {
        let mut out = vec![0; decoded_room(piece)];
        for mut piece in text.chunks(piece) {
            while !piece.is_empty() {
                piece = &piece[decoder.decode(piece, &mut out).read..];
                match piece.first() {
                    Some(b'\r' | b'\n') => {
                        decoder.skip(1);
                        piece = &piece[1..];
                    }
                    Some(&byte) => return decoder.reject(byte),
                    None => {}
                }
            }
        }
        panic!("there is no wrong byte");
    }

    #[test]
    fn a_broken_byte_is_found_at_every_position() {
        let text = naive::encode(&sample(300)).into_bytes();
        for at in 0..text.len() {
            let mut broken = text.clone();
            broken[at] = b'!';
            for piece in PIECES {
                let error = decode_in_pieces(&broken, piece).unwrap_err();
                assert_eq!(
                    error,
                    Error {
                        offset: at as u64,
                        what: FOREIGN_BYTE
                    }
                );
            }
        }
    }

    #[test]
    fn kernels_agree_around_their_block_sizes_at_every_alignment() {
        let bytes = sample(1000);
        let text = naive::encode(&bytes);
        for block in [24, 28, 48, 96, 192, 384] {
            for length in block - 4..=block + 4 {
                for start in 0..64 {
                    let expected = naive::encode(&bytes[start..start + length]);
                    assert_eq!(encode_in_pieces(&bytes[start..start + length], 4096), expected);
                }
            }
        }
        for length in (0..200).chain(250..270).chain(506..520) {
            for start in (0..64).map(|group| group * 4) {
                let text = &text.as_bytes()[start..start + length];
                assert_eq!(decode_in_pieces(text, 4096).ok(), naive::decode(text));
            }
        }
    }

    #[test]
    fn kernels_know_all_256_bytes_at_every_place_of_a_block() {
        let text = naive::encode(&sample(600)).into_bytes();
        for at in [
            0, 1, 15, 16, 30, 31, 32, 63, 64, 127, 128, 191, 254, 255, 256, 300, 511, 600, 799,
        ] {
            for byte in 0..=255 {
                let mut broken = text.clone();
                broken[at] = byte;
                let known = ALPHABET.contains(&byte) || byte == PAD;
                match decode_in_pieces(&broken, 4096) {
                    Err(error) => assert!(!known || byte == PAD, "{error} for {byte} at {at}"),
                    Ok(_) => assert!(known),
                }
            }
        }
    }

    /// Seeded, so that a failure can be repeated; the release build runs ten million cases.
    #[test]
    fn kernels_agree_on_random_cases() {
        let cases = if cfg!(debug_assertions) {
            100_000
        } else {
            10_000_000
        };
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let source = sample(100_000);
        for _ in 0..cases {
            let longest = if random(8) == 0 { 560 } else { 64 };
            let length = random(longest);
            let start = random(source.len() - length);
            let mut text = encode_in_pieces(&source[start..start + length], longest).into_bytes();
            let (at, byte) = (random(length * 2 + 1), random(256) as u8);
            if let Some(symbol) = text.get_mut(at) {
                *symbol = byte;
            }
            // Both helpers compare all kernels; what came of it is no matter here.
            let _ = decode_in_pieces(&text, longest * 2);
        }
    }

    #[test]
    fn bytes_passed_over_count_in_the_offset() {
        let mut decoder = Decoder::new();
        let mut out = [0; 16];
        assert_eq!(
            decoder.decode(b"Zm9v\r\nZm", &mut out),
            Step { read: 4, wrote: 3 }
        );
        decoder.skip(2);
        assert_eq!(decoder.decode(b"Zm*", &mut out), Step { read: 2, wrote: 0 });
        assert_eq!(decoder.reject(b'*').offset, 8);
    }

    #[test]
    fn fuzz_base64() {
        let texts = [64, 65, 66, 3, 2, 1, 200].map(|length| naive::encode(&sample(length)));
        let corpus: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        crate::session::fuzz("base64", &corpus, |input, random| {
            let whole = decode_in_pieces(input, input.len().max(1));
            assert_eq!(decode_in_pieces(input, 1), whole);
            let piece = 1 + random.below(80);
            assert_eq!(decode_in_pieces(input, piece), whole, "in pieces of {piece}");
            // The naive twin is slow.
            let twin = input.len() < 400;
            if twin {
                assert_eq!(whole.ok(), naive::decode(input));
                assert_eq!(encode_in_pieces(input, piece), naive::encode(input));
            }
            twin
        });
    }
}
