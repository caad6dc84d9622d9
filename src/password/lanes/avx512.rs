//! Sixteen passwords at a time in the registers of AVX-512, which rotates and combines three words in one instruction.

#![allow(unsafe_code, reason = "loading and storing a vector takes a pointer")]

use super::kernel::kernel;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

type Word = __m512i;

kernel!(16, #[target_feature(enable = "avx512f")]);

#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u32; 16]) -> Word {
    // SAFETY: the reference is good for reading 64 octets, which is what is read; this load asks for no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(into: &mut [u32; 16], word: Word) {
    // SAFETY: the reference is good for writing 64 octets, which is what is written; this store asks for no alignment.
    unsafe { _mm512_storeu_si512(into.as_mut_ptr().cast(), word) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn splat(word: u32) -> Word {
    _mm512_set1_epi32(word.cast_signed())
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add(left: Word, right: Word) -> Word {
    _mm512_add_epi32(left, right)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor(left: Word, right: Word) -> Word {
    _mm512_xor_si512(left, right)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn shift<const BITS: u32>(word: Word) -> Word {
    _mm512_srli_epi32::<BITS>(word)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate<const RIGHT: i32, const LEFT: i32>(word: Word) -> Word {
    _mm512_ror_epi32::<RIGHT>(word)
}

// The third operand of a ternary operation is its truth table, over 0xF0, 0xCC and 0xAA for the three words.

#[target_feature(enable = "avx512f")]
#[inline]
fn xor3(first: Word, second: Word, third: Word) -> Word {
    _mm512_ternarylogic_epi32::<0x96>(first, second, third)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn choose(by: Word, yes: Word, no: Word) -> Word {
    _mm512_ternarylogic_epi32::<0xCA>(by, yes, no)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn majority(first: Word, second: Word, third: Word) -> Word {
    _mm512_ternarylogic_epi32::<0xE8>(first, second, third)
}
