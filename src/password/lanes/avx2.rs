//! Eight passwords at a time in the registers of AVX2.

#![allow(unsafe_code, reason = "loading and storing a vector takes a pointer")]

use super::kernel::kernel;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi32, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_si256, _mm256_xor_si256,
};

type Word = __m256i;

kernel!(8, #[target_feature(enable = "avx2")]);

#[target_feature(enable = "avx2")]
#[inline]
fn load(words: &[u32; 8]) -> Word {
    // SAFETY: the reference is good for reading 32 octets, which is what is read; this load asks for no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(into: &mut [u32; 8], word: Word) {
    // SAFETY: the reference is good for writing 32 octets, which is what is written; this store asks for no alignment.
    unsafe { _mm256_storeu_si256(into.as_mut_ptr().cast(), word) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn splat(word: u32) -> Word {
    _mm256_set1_epi32(word.cast_signed())
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(left: Word, right: Word) -> Word {
    _mm256_add_epi32(left, right)
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor(left: Word, right: Word) -> Word {
    _mm256_xor_si256(left, right)
}

#[target_feature(enable = "avx2")]
#[inline]
fn shift<const BITS: i32>(word: Word) -> Word {
    _mm256_srli_epi32::<BITS>(word)
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate<const RIGHT: i32, const LEFT: i32>(word: Word) -> Word {
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(word), _mm256_slli_epi32::<LEFT>(word))
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor3(first: Word, second: Word, third: Word) -> Word {
    xor(xor(first, second), third)
}

#[target_feature(enable = "avx2")]
#[inline]
fn choose(by: Word, yes: Word, no: Word) -> Word {
    xor(no, _mm256_and_si256(by, xor(yes, no)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn majority(first: Word, second: Word, third: Word) -> Word {
    _mm256_or_si256(_mm256_and_si256(first, second), _mm256_and_si256(third, _mm256_or_si256(first, second)))
}
