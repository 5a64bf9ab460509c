//! # Chapter 20b. Why a fingerprint, and why not this one?
//!
//! A fingerprint (hash) of 16 bytes stands for a content of any length: equal contents have equal ones, and
//! different contents nearly always have different ones. So it can be a name: a photo that is uploaded twice
//! is stored once, and two clients cannot replace each other's `photo.jpg`.
//!
//! MD5 (RFC 1321) mixes 64 bytes at a time into four numbers, so it needs no more memory for 1 GiB than for
//! one byte. By chance, two files have the same MD5 only among about 2⁶⁴ files. On purpose it is easy: since
//! 2004 two files of one MD5 can be made, today in seconds; then the second upload replaces the first.
//! New programs take SHA-256; this one has MD5 because clients of the dialect expect its names.

/// The sine of 1, 2, 3 … times 2³², without sign and fraction: not chosen freely, so they hide no trap.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

/// Bits by which each round turns the number it has made.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Bytes that are mixed in at a time.
const BLOCK: usize = 64;

/// The fingerprint of what has come so far.
pub struct Md5 {
    state: [u32; 4],
    /// The block that is being filled; what it holds follows from `length`.
    block: [u8; BLOCK],
    /// Bytes that have come.
    length: u64,
}

impl Md5 {
    pub fn new() -> Md5 {
        Md5 {
            // The digits 0 to f, and back again.
            state: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
            block: [0; BLOCK],
            length: 0,
        }
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        let filled = self.length as usize % BLOCK;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let (front, rest) = bytes.split_at(bytes.len().min(BLOCK - filled));
            self.block[filled..][..front.len()].copy_from_slice(front);
            if filled + front.len() < BLOCK {
                return;
            }
            mix(&mut self.state, &self.block);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| mix(&mut self.state, block));
        self.block[..rest.len()].copy_from_slice(rest);
    }

    /// Fills the last block: a bit that is set, zeros, and the length in bits, which takes 8 bytes. Returns
    /// the fingerprint in hexadecimal.
    pub fn finish(mut self) -> String {
        let bits = self.length.wrapping_mul(8).to_le_bytes();
        let mut end = [0; BLOCK];
        end[0] = 0x80;
        let room = BLOCK - (self.length as usize + bits.len()) % BLOCK;
        self.update(&end[..room]);
        self.update(&bits);
        let digits = self.state.into_iter().flat_map(u32::to_le_bytes);
        digits.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Mixes a block in: four rounds, each of which takes the words of the block in another order and mixes three
/// of the four numbers in another way (RFC 1321, section 3.4).
fn mix(state: &mut [u32; 4], block: &[u8; BLOCK]) {
    let mut numbers = *state;
    turn::<0>(&mut numbers, block, |step| step, |b, c, d| b & c | !b & d);
    turn::<1>(&mut numbers, block, |step| 5 * step + 1, |b, c, d| d & b | !d & c);
    turn::<2>(&mut numbers, block, |step| 3 * step + 5, |b, c, d| b ^ c ^ d);
    turn::<3>(&mut numbers, block, |step| 7 * step, |b, c, d| c ^ (b | !d));
    for (number, more) in state.iter_mut().zip(numbers) {
        *number = number.wrapping_add(more);
    }
}

/// One round: 16 steps, each of which turns one of the numbers.
// With the round as a constant the compiler writes out all its steps, without a branch.
fn turn<const ROUND: usize>(
    numbers: &mut [u32; 4],
    block: &[u8; BLOCK],
    word: impl Fn(usize) -> usize,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let (words, _) = block.as_chunks::<4>();
    let [mut a, mut b, mut c, mut d] = *numbers;
    for step in 0..16 {
        let word = u32::from_le_bytes(words[word(step) % 16]);
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(word);
        let sum = sum.wrapping_add(SINES[16 * ROUND + step]);
        let turned = sum.rotate_left(TURNS[ROUND][step % 4]);
        (a, b, c, d) = (d, b.wrapping_add(turned), b, c);
    }
    *numbers = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5(bytes: &[u8]) -> String {
        let mut sum = Md5::new();
        sum.update(bytes);
        sum.finish()
    }

    #[test]
    fn the_vectors_of_the_standard_come_out() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let digits = "1234567890".repeat(8);
        for (text, sum) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (&letters[26..52], "c3fcd3d76192e4007dfb496cca67e13b"),
            (letters, "d174ab98d277d9f5a5611c2c9f419d9f"),
            (&digits, "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(md5(text.as_bytes()), sum, "{text}");
        }
    }

    #[test]
    fn pieces_of_any_size_have_one_fingerprint() {
        for length in [1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
            for piece in [1, 3, 55, 56, 63, 64, 65, 200] {
                let mut sum = Md5::new();
                bytes.chunks(piece).for_each(|piece| sum.update(piece));
                assert_eq!(sum.finish(), md5(&bytes), "{length} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn the_table_holds_sines() {
        for (at, sine) in SINES.iter().enumerate() {
            let exact = ((at + 1) as f64).sin().abs() * 2_f64.powi(32);
            assert_eq!(*sine, exact as u32, "{at}");
        }
    }
}
