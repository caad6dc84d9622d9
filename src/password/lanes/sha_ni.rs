//! Four passwords at a time through the processor's own SHA-256 instructions: each waits for the one before it, so that
//! independent streams in turn keep the unit busy. AVX is wanted for its instructions with three operands, which spare
//! copies; the few processors without it have the ready-made implementation.

#![allow(unsafe_code, reason = "loading and storing a vector takes a pointer")]

use super::kernel::{CONSTANTS, DIGEST_TAIL, INITIAL, INNER_PAD, OUTER_PAD};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set1_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi32, _mm_storeu_si128, _mm_xor_si128,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Streams side by side.
pub(super) const STREAMS: usize = 4;

/// As [`Work`](super::kernel::Work), stream by stream. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(align(16))]
pub(super) struct Streams {
    pub(super) password: [[u32; 16]; STREAMS],
    pub(super) first: [[u32; 16]; STREAMS],
    inner: [[u32; 8]; STREAMS],
    outer: [[u32; 8]; STREAMS],
    pub(super) key: [[u32; 8]; STREAMS],
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            password: [[0; 16]; STREAMS],
            first: [[0; 16]; STREAMS],
            inner: [[0; 8]; STREAMS],
            outer: [[0; 8]; STREAMS],
            key: [[0; 8]; STREAMS],
        }
    }
}

/// Four words, the first lowest.
type Words = __m128i;
/// A state or a digest of each stream: a to d, e to h.
type Digests = [[Words; 2]; STREAMS];
/// A block of each stream.
type Blocks = [[Words; 4]; STREAMS];

/// Derives the keys of all streams.
#[target_feature(enable = "sha,avx")]
pub(super) fn stretch(work: &mut Streams, iterations: u32) {
    let initial = [load(&INITIAL); STREAMS];
    let key = compress(&initial, &padded(&work.password, INNER_PAD));
    store(&mut work.inner, &key);
    let key = compress(&initial, &padded(&work.password, OUTER_PAD));
    store(&mut work.outer, &key);

    let first: Blocks = std::array::from_fn(|stream| load(&work.first[stream]));
    let mut round = compress(&states(&work.inner), &first);
    round = compress(&states(&work.outer), &blocks_of(&round));
    let mut sum = round;
    for _ in 1..iterations {
        round = compress(&states(&work.inner), &blocks_of(&round));
        round = compress(&states(&work.outer), &blocks_of(&round));
        for (sum, digest) in sum.iter_mut().zip(&round) {
            *sum = [_mm_xor_si128(sum[0], digest[0]), _mm_xor_si128(sum[1], digest[1])];
        }
    }
    store(&mut work.key, &sum);
}

/// `M` vectors of `N` words; `N` is four times `M`.
#[target_feature(enable = "sha,avx")]
#[inline]
fn load<const N: usize, const M: usize>(words: &[u32; N]) -> [Words; M] {
    const { assert!(N == 4 * M) };
    // SAFETY: `at` is below M, so that the four words behind 4 * at lie within the N = 4 * M words of the reference;
    // this load asks for no alignment.
    std::array::from_fn(|at| unsafe { _mm_loadu_si128(words.as_ptr().add(4 * at).cast()) })
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn store(into: &mut [[u32; 8]; STREAMS], digests: &Digests) {
    for (into, digest) in into.iter_mut().zip(digests) {
        let (low, high) = into.split_at_mut(4);
        // SAFETY: both halves of the eight words are four words long and are written whole; this store asks for no alignment.
        unsafe {
            _mm_storeu_si128(low.as_mut_ptr().cast(), digest[0]);
            _mm_storeu_si128(high.as_mut_ptr().cast(), digest[1]);
        }
    }
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn states(words: &[[u32; 8]; STREAMS]) -> Digests {
    std::array::from_fn(|stream| load(&words[stream]))
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn padded(passwords: &[[u32; 16]; STREAMS], pad: u32) -> Blocks {
    let pad = _mm_set1_epi32(pad.cast_signed());
    std::array::from_fn(|stream| load::<16, 4>(&passwords[stream]).map(|words| _mm_xor_si128(words, pad)))
}

/// The blocks that hash digests behind a key.
#[target_feature(enable = "sha,avx")]
#[inline]
fn blocks_of(digests: &Digests) -> Blocks {
    let [end, length] = load(&DIGEST_TAIL);
    std::array::from_fn(|stream| [digests[stream][0], digests[stream][1], end, length])
}

/// One block of SHA-256 of each stream. The instructions keep a state as (f, e, b, a) and (h, g, d, c), lowest first.
#[target_feature(enable = "sha,avx")]
#[inline]
fn compress(states: &Digests, blocks: &Blocks) -> Digests {
    let mut abef = [_mm_set1_epi32(0); STREAMS];
    let mut cdgh = abef;
    let mut message = *blocks;
    for (stream, [low, high]) in states.iter().enumerate() {
        let (badc, hgfe) = (_mm_shuffle_epi32::<0xB1>(*low), _mm_shuffle_epi32::<0x1B>(*high));
        abef[stream] = _mm_alignr_epi8::<8>(badc, hgfe);
        cdgh[stream] = _mm_blend_epi16::<0xF0>(hgfe, badc);
    }
    let (abef_before, cdgh_before) = (abef, cdgh);
    // Four rounds with words `at` to `at + 3`, and the words that take their place: those of sixteen rounds later.
    macro_rules! quad {
        ($constants:expr, $at:literal, $schedule:literal) => {
            let constants: [Words; 4] = load($constants);
            for stream in 0..STREAMS {
                let words = _mm_add_epi32(message[stream][$at], constants[$at]);
                cdgh[stream] = _mm_sha256rnds2_epu32(cdgh[stream], abef[stream], words);
                abef[stream] = _mm_sha256rnds2_epu32(abef[stream], cdgh[stream], _mm_shuffle_epi32::<0x0E>(words));
                if $schedule {
                    let [this, next, after, last] = [0, 1, 2, 3].map(|step| message[stream][($at + step) % 4]);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(this, next), _mm_alignr_epi8::<4>(last, after));
                    message[stream][$at] = _mm_sha256msg2_epu32(sum, last);
                }
            }
        };
    }
    for constants in &CONSTANTS[..3] {
        quad!(constants, 0, true);
        quad!(constants, 1, true);
        quad!(constants, 2, true);
        quad!(constants, 3, true);
    }
    quad!(&CONSTANTS[3], 0, false);
    quad!(&CONSTANTS[3], 1, false);
    quad!(&CONSTANTS[3], 2, false);
    quad!(&CONSTANTS[3], 3, false);
    std::array::from_fn(|stream| {
        let abef = _mm_shuffle_epi32::<0x1B>(_mm_add_epi32(abef[stream], abef_before[stream]));
        let cdgh = _mm_shuffle_epi32::<0xB1>(_mm_add_epi32(cdgh[stream], cdgh_before[stream]));
        [_mm_blend_epi16::<0xF0>(abef, cdgh), _mm_alignr_epi8::<8>(cdgh, abef)]
    })
}
