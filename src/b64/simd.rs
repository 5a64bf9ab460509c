//! How does the same happen to 64 bytes at once? One instruction does the same to all bytes of a register of
//! 32 (AVX2) or 64 (AVX-512): no branch, no table in memory. After Wojciech Muła and Daniel Lemire: "Faster
//! Base64 Encoding and Decoding using AVX2 Instructions" (arXiv 1704.00605) and "Base64 encoding and decoding
//! at almost the speed of a memory copy" (arXiv 1910.05109). Whatever the input, what comes out together with
//! `b64.rs` is what that alone gives: padding, carry and errors are left to it.

use super::Kernel;
use std::env;
use std::sync::OnceLock;

/// The environment variable that forces one kernel, for tests and lessons.
const FORCE: &str = "KOLAM_SIMD";

/// The kernels that this processor can run, the best one first.
pub fn available() -> Vec<&'static Kernel> {
    #[cfg(target_arch = "x86_64")]
    return x86::available();
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// What `KOLAM_SIMD` asks for, or the best there is; `None` is the scalar loop of `b64.rs`.
pub fn choose() -> Result<Option<&'static Kernel>, String> {
    let kernels = available();
    match env::var(FORCE).as_deref() {
        Err(_) => Ok(kernels.first().copied()),
        Ok("scalar") => Ok(None),
        Ok(name) => match kernels.iter().find(|kernel| kernel.name == name) {
            Some(kernel) => Ok(Some(kernel)),
            None => {
                let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name).collect();
                let known = [&["scalar"], names.as_slice()].concat().join(", ");
                Err(format!("{FORCE}={name}: this processor offers {known}"))
            }
        },
    }
}

/// The choice, made once.
pub fn chosen() -> Option<&'static Kernel> {
    static CHOSEN: OnceLock<Option<&'static Kernel>> = OnceLock::new();
    // `main` has reported a wrong value already.
    *CHOSEN.get_or_init(|| choose().unwrap_or(None))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! What happens to one group, `Kol` = 4b 6f 6c, in a lane of 32 bits; 8 or 16 lanes go the same way at
    //! once. The processor counts from the least significant byte, so the picture begins at the right:
    //!
    //! ```text
    //!               byte 3   byte 2   byte 1   byte 0
    //!   bytes       ........ 01101100 01101111 01001011      6c 6f 4b
    //!   1 shuffle   01101111 01101100 01001011 01101111      6f 6c 4b 6f: every value is now one run of bits
    //!                   cccc ccdddddd aaaaaabb bbbb              (d from bit 16, c 22, a 10, b 4)
    //!   2 shift     00101100 00111101 00110110 00010010      44 61 54 18: each run at the foot of its byte
    //!   3 look up        's'      '9'      '2'      'S'      the text is S29s
    //!
    //!   text             's'      '9'      '2'      'S'      and back:
    //!   1 look up   00101100 00111101 00110110 00010010      44 61 54 18, or a mark for "no symbol"
    //!   2 multiply        61 × 64 + 44      18 × 64 + 54      two values a word: 3948, 1206
    //!   3 multiply              1206 × 4096 + 3948            four values a lane: 4943724 = 4b6f6c
    //!   4 shuffle   ........ 01101100 01101111 01001011      the three bytes, turned round
    //! ```

    use crate::b64::{ALPHABET, Kernel};
    use std::arch::x86_64::*;

    static AVX512: Kernel = Kernel {
        name: "avx512",
        encode: encode_avx512,
        decode: decode_avx512,
    };
    static AVX2: Kernel = Kernel {
        name: "avx2",
        encode: encode_avx2,
        decode: decode_avx2,
    };

    pub fn available() -> Vec<&'static Kernel> {
        let mut kernels = Vec::new();
        if has_avx512() {
            kernels.push(&AVX512);
        }
        if is_x86_feature_detected!("avx2") {
            kernels.push(&AVX2);
        }
        kernels
    }

    fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
    }

    // ---- AVX-512 VBMI: 48 bytes are 64 symbols ----

    /// For each byte below 128 its value, or 0x80: two registers. What is 128 or more has that bit itself.
    static VALUES: [[u8; 64]; 2] = {
        let mut values = [[0x80; 64]; 2];
        let mut value = 0;
        while value < 64 {
            let symbol = ALPHABET[value] as usize;
            values[symbol / 64][symbol % 64] = value as u8;
            value += 1;
        }
        values
    };

    /// Step 1 of encoding: where each byte of the 16 lanes comes from. Lane n holds group n as
    /// `b a c b`, so that each value lies in one run of bits. Three registers of bytes make four of lanes:
    /// output k begins at byte 48 k, which is in register k - 1 or k; indices from 64 on mean the latter.
    static SPREAD: [[u8; 64]; 4] = {
        let mut from = [[0; 64]; 4];
        let order = [1, 0, 2, 1];
        let mut at = 0;
        while at < 256 {
            let (output, lane) = (at / 64, at % 64 / 4);
            let byte = output * 48 + lane * 3 + order[at % 4];
            let first = if output == 0 { 0 } else { output - 1 };
            from[output][at % 64] = (byte - first * 64) as u8;
            at += 1;
        }
        from
    };

    /// Step 2: the bit of a 64-bit word (two lanes) at which the value of each byte begins.
    const SHIFTS: i64 = i64::from_le_bytes([10, 4, 22, 16, 42, 36, 54, 48]);

    /// Last step of decoding: lane n holds 24 bits, least significant byte first; its bytes 2, 1, 0 are
    /// bytes 3n, 3n + 1, 3n + 2 of the output. Four registers make three: output k takes its bytes out of
    /// registers k (indices 0 to 63) and k + 1 (64 to 127).
    static PACK: [[u8; 64]; 3] = {
        let mut from = [[0; 64]; 3];
        let mut byte = 0;
        while byte < 192 {
            let lane = byte / 3;
            let at = lane * 4 + 2 - byte % 3;
            from[byte / 64][byte % 64] = (at - byte / 64 * 64) as u8;
            byte += 1;
        }
        from
    };

    fn encode_avx512(bytes: &[u8], out: &mut [u8]) -> usize {
        // SAFETY: this function is reached through `available` only, which has seen the features.
        unsafe { encode_192(bytes, out) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn encode_192(bytes: &[u8], out: &mut [u8]) -> usize {
        let spread = [
            load_512(&SPREAD[0]),
            load_512(&SPREAD[1]),
            load_512(&SPREAD[2]),
            load_512(&SPREAD[3]),
        ];
        // One register is the whole alphabet.
        let (symbols, shifts) = (load_512(ALPHABET), _mm512_set1_epi64(SHIFTS));
        let (blocks, _) = bytes.as_chunks::<64>().0.as_chunks::<3>();
        let (outputs, _) = out.as_chunks_mut::<64>().0.as_chunks_mut::<4>();
        let count = blocks.len().min(outputs.len());
        for (block, output) in blocks.iter().zip(outputs) {
            let (a, b, c) = (load_512(&block[0]), load_512(&block[1]), load_512(&block[2]));
            // Four times the same, and no loop: a compiler that saves space would keep it as one.
            let text = |lanes| _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shifts, lanes), symbols);
            store_512(&mut output[0], text(_mm512_permutexvar_epi8(spread[0], a)));
            store_512(&mut output[1], text(_mm512_permutex2var_epi8(a, spread[1], b)));
            store_512(&mut output[2], text(_mm512_permutex2var_epi8(b, spread[2], c)));
            store_512(&mut output[3], text(_mm512_permutexvar_epi8(spread[3], c)));
        }
        count * 192
    }

    fn decode_avx512(text: &[u8], out: &mut [u8]) -> usize {
        // SAFETY: this function is reached through `available` only, which has seen the features.
        unsafe { decode_256(text, out) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn decode_256(text: &[u8], out: &mut [u8]) -> usize {
        let (low, high) = (load_512(&VALUES[0]), load_512(&VALUES[1]));
        let pack = [load_512(&PACK[0]), load_512(&PACK[1]), load_512(&PACK[2])];
        let (pairs, fours) = (_mm512_set1_epi32(0x0140_0140), _mm512_set1_epi32(0x0001_1000));
        let (blocks, _) = text.as_chunks::<64>().0.as_chunks::<4>();
        let (outputs, _) = out.as_chunks_mut::<64>().0.as_chunks_mut::<3>();
        let mut used = 0;
        for (block, output) in blocks.iter().zip(outputs) {
            let (a, b) = (load_512(&block[0]), load_512(&block[1]));
            let (c, d) = (load_512(&block[2]), load_512(&block[3]));
            let look_up = |text| _mm512_permutex2var_epi8(low, text, high);
            let (va, vb, vc, vd) = (look_up(a), look_up(b), look_up(c), look_up(d));
            let wrong = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
            let values = _mm512_or_si512(_mm512_or_si512(va, vb), _mm512_or_si512(vc, vd));
            if _mm512_movepi8_mask(_mm512_or_si512(wrong, values)) != 0 {
                break;
            }
            // a × 64 + b and c × 64 + d, then the first times 4096 plus the second.
            let join = |values| _mm512_madd_epi16(_mm512_maddubs_epi16(values, pairs), fours);
            let (a, b, c, d) = (join(va), join(vb), join(vc), join(vd));
            store_512(&mut output[0], _mm512_permutex2var_epi8(a, pack[0], b));
            store_512(&mut output[1], _mm512_permutex2var_epi8(b, pack[1], c));
            store_512(&mut output[2], _mm512_permutex2var_epi8(c, pack[2], d));
            used += 256;
        }
        used
    }

    #[target_feature(enable = "avx512f")]
    fn load_512(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the array is 64 bytes long, and this load needs no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    fn store_512(bytes: &mut [u8; 64], value: __m512i) {
        // SAFETY: the array is 64 bytes long, and this store needs no alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
    }

    // ---- AVX2: 24 bytes are 32 symbols, in two halves of 16 that do not see each other ----

    fn encode_avx2(bytes: &[u8], out: &mut [u8]) -> usize {
        // SAFETY: this function is reached through `available` only, which has seen the feature.
        unsafe { encode_32(bytes, out) }
    }

    #[target_feature(enable = "avx2")]
    fn encode_32(bytes: &[u8], out: &mut [u8]) -> usize {
        let spread = twice([1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10]);
        let mut used = 0;
        let (blocks, _) = out.as_chunks_mut::<32>();
        for block in blocks {
            // 12 bytes go into each half, but 16 are read.
            let Some(input) = bytes[used..].first_chunk::<28>() else {
                break;
            };
            let lanes = _mm256_shuffle_epi8(halves(input), spread);
            // There is no shift for each byte, so each value is cut out of its lane and moved alone: a from
            // bit 10 to 0, b from 4 to 8, c from 22 to 16, d from 16 to 24.
            let value = |bits: i32| _mm256_and_si256(lanes, _mm256_set1_epi32(bits));
            let a = _mm256_srli_epi32(value(0x0000_fc00), 10);
            let b = _mm256_slli_epi32(value(0x0000_03f0), 4);
            let c = _mm256_srli_epi32(value(0x0fc0_0000), 6);
            let d = _mm256_slli_epi32(value(0x003f_0000), 8);
            let values = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
            store_256(block, symbols(values));
            used += 24;
        }
        used
    }

    /// Values become symbols by adding an offset that is the same for each run of the alphabet:
    /// `A`–`Z` is run 13, `a`–`z` run 0, the ten digits runs 1 to 10, `+` 11, `/` 12.
    #[target_feature(enable = "avx2")]
    fn symbols(values: __m256i) -> __m256i {
        let offsets = twice([71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0]);
        let run = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
        let capital = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), values);
        let run = _mm256_or_si256(run, _mm256_and_si256(capital, _mm256_set1_epi8(13)));
        _mm256_add_epi8(values, _mm256_shuffle_epi8(offsets, run))
    }

    fn decode_avx2(text: &[u8], out: &mut [u8]) -> usize {
        // SAFETY: this function is reached through `available` only, which has seen the feature.
        unsafe { decode_32(text, out) }
    }

    #[target_feature(enable = "avx2")]
    fn decode_32(text: &[u8], out: &mut [u8]) -> usize {
        let pack = twice([2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1]);
        let close = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
        let mut wrote = 0;
        let (blocks, _) = text.as_chunks::<32>();
        for block in blocks {
            let Some(output) = out[wrote..].first_chunk_mut::<32>() else {
                break;
            };
            let Some(values) = values(load_256(block)) else {
                break;
            };
            let halves = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x0140_0140));
            let lanes = _mm256_madd_epi16(halves, _mm256_set1_epi32(0x0001_1000));
            // 12 bytes at the front of each half, then the second half up to the first.
            let packed = _mm256_shuffle_epi8(lanes, pack);
            store_256(output, _mm256_permutevar8x32_epi32(packed, close));
            wrote += 24;
        }
        wrote / 3 * 4
    }

    /// The values of 32 symbols, or `None` if one of them is none. A byte is a symbol if the sets of runs
    /// that its upper and its lower four bits can belong to have nothing in common: the tables hold the
    /// runs that each excludes, a bit a run, and any common bit means an error.
    #[target_feature(enable = "avx2")]
    fn values(text: __m256i) -> Option<__m256i> {
        let upper_excludes = twice([16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16]);
        let lower_excludes = twice([21, 17, 17, 17, 17, 17, 17, 17, 17, 17, 19, 26, 27, 27, 27, 26]);
        let offsets = twice([0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0]);
        let four_bits = _mm256_set1_epi8(15);
        let upper = _mm256_and_si256(_mm256_srli_epi32(text, 4), four_bits);
        let lower = _mm256_and_si256(text, four_bits);
        let excluded = _mm256_shuffle_epi8(upper_excludes, upper);
        if _mm256_testz_si256(excluded, _mm256_shuffle_epi8(lower_excludes, lower)) == 0 {
            return None;
        }
        // `+` and `/` share their upper half; the comparison, which gives -1, tells them apart.
        let slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'/' as i8));
        let offset = _mm256_shuffle_epi8(offsets, _mm256_add_epi8(slash, upper));
        Some(_mm256_add_epi8(text, offset))
    }

    /// The same 16 bytes in both halves.
    #[target_feature(enable = "avx2")]
    fn twice(bytes: [i8; 16]) -> __m256i {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        _mm256_broadcastsi128_si256(_mm_setr_epi8(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p))
    }

    /// Bytes 0 to 15 in the lower half, 12 to 27 in the upper.
    #[target_feature(enable = "avx2")]
    fn halves(bytes: &[u8; 28]) -> __m256i {
        // SAFETY: 16 bytes from byte 0 and 16 from byte 12 are within 28; no alignment is needed.
        unsafe { _mm256_loadu2_m128i(bytes.as_ptr().add(12).cast(), bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn load_256(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the array is 32 bytes long, and this load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store_256(bytes: &mut [u8; 32], value: __m256i) {
        // SAFETY: the array is 32 bytes long, and this store needs no alignment.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
    }
}
