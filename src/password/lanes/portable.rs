//! The twin of the vector kernels without vectors: the same code over plain words, for tests, Miri and sanitizers. It is
//! slower than the ready-made implementation and derives no key outside of tests.

use super::kernel::kernel;

type Word = [u32; 4];

kernel!(4);

fn load(words: &[u32; 4]) -> Word {
    *words
}

fn store(into: &mut [u32; 4], word: Word) {
    *into = word;
}

fn splat(word: u32) -> Word {
    [word; 4]
}

fn add(left: Word, right: Word) -> Word {
    std::array::from_fn(|lane| left[lane].wrapping_add(right[lane]))
}

fn xor(left: Word, right: Word) -> Word {
    std::array::from_fn(|lane| left[lane] ^ right[lane])
}

fn shift<const BITS: u32>(word: Word) -> Word {
    word.map(|word| word >> BITS)
}

fn rotate<const RIGHT: u32, const LEFT: u32>(word: Word) -> Word {
    word.map(|word| word >> RIGHT | word << LEFT)
}

fn xor3(first: Word, second: Word, third: Word) -> Word {
    xor(xor(first, second), third)
}

fn choose(by: Word, yes: Word, no: Word) -> Word {
    std::array::from_fn(|lane| by[lane] & yes[lane] ^ !by[lane] & no[lane])
}

fn majority(first: Word, second: Word, third: Word) -> Word {
    std::array::from_fn(|lane| first[lane] & second[lane] ^ first[lane] & third[lane] ^ second[lane] & third[lane])
}
