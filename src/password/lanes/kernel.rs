//! PBKDF2-HMAC-SHA256 over several passwords side by side, written once for every width: word `n` of every password is
//! one vector, and what is done to it is done to all of them.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2), as many rounds
/// together as a block has words.
#[rustfmt::skip]
pub(super) const CONSTANTS: [[u32; 16]; 4] = [
    [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    ],
    [
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    ],
    [
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    ],
    [
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ],
];
/// The state before the first block (FIPS 180-4, 5.3.3).
pub(super) const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// What HMAC mixes into the key for the inner and the outer hash (RFC 2104, 2).
pub(super) const INNER_PAD: u32 = 0x3636_3636;
/// See [`INNER_PAD`].
pub(super) const OUTER_PAD: u32 = 0x5c5c_5c5c;
/// What follows the 32 octets of a digest in the block that hashes it: the end mark, nothing, and the length in bits of
/// that block and the key's block before it.
pub(super) const DIGEST_TAIL: [u32; 8] = [0x8000_0000, 0, 0, 0, 0, 0, 0, (64 + 32) * 8];

/// The words of `N` passwords side by side, in and out. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(align(64))]
pub(super) struct Work<const N: usize> {
    /// The password, exactly one block.
    pub(super) password: [[u32; N]; 16],
    /// The only block behind the key that the first round hashes: salt, number of the output block, padding.
    pub(super) first: [[u32; N]; 16],
    /// The state behind the key's block of the inner hash.
    pub(super) inner: [[u32; N]; 8],
    /// The state behind the key's block of the outer hash.
    pub(super) outer: [[u32; N]; 8],
    /// The derived key.
    pub(super) key: [[u32; N]; 8],
}

impl<const N: usize> Work<N> {
    pub(super) fn new() -> Self {
        Self { password: [[0; N]; 16], first: [[0; N]; 16], inner: [[0; N]; 8], outer: [[0; N]; 8], key: [[0; N]; 8] }
    }
}

/// One block of SHA-256 (FIPS 180-4, 6.2.2): the state behind `state` and a block. The names are the standard's. All rounds
/// stand in one line, so that the compiler works out beforehand what depends on constants only.
macro_rules! rounds {
    ($state:expr, $block:expr) => {{
        let mut w: [Word; 16] = $block;
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h]: [Word; 8] = $state;
        // One round; instead of moving the eight variables each round names them one further. From the second sixteen on, the
        // word is made of earlier ones first.
        macro_rules! round {
            ($sixteen:literal, $at:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                if $sixteen > 0 {
                    let (near, far) = (w[($at + 14) % 16], w[($at + 1) % 16]);
                    let near = xor3(rotate::<17, 15>(near), rotate::<19, 13>(near), shift::<10>(near));
                    let far = xor3(rotate::<7, 25>(far), rotate::<18, 14>(far), shift::<3>(far));
                    w[$at] = add(add(w[$at], far), add(w[($at + 9) % 16], near));
                }
                let sigma = xor3(rotate::<6, 26>($e), rotate::<11, 21>($e), rotate::<25, 7>($e));
                let word = add(w[$at], splat(CONSTANTS[$sixteen][$at]));
                let first = add(add($h, word), add(sigma, choose($e, $f, $g)));
                let sigma = xor3(rotate::<2, 30>($a), rotate::<13, 19>($a), rotate::<22, 10>($a));
                $d = add($d, first);
                $h = add(first, add(sigma, majority($a, $b, $c)));
            };
        }
        macro_rules! eight {
                    ($sixteen:literal, $at:literal) => {
                        round!($sixteen, $at, a b c d e f g h);
                        round!($sixteen, $at + 1, h a b c d e f g);
                        round!($sixteen, $at + 2, g h a b c d e f);
                        round!($sixteen, $at + 3, f g h a b c d e);
                        round!($sixteen, $at + 4, e f g h a b c d);
                        round!($sixteen, $at + 5, d e f g h a b c);
                        round!($sixteen, $at + 6, c d e f g h a b);
                        round!($sixteen, $at + 7, b c d e f g h a);
                    };
                }
        eight!(0, 0);
        eight!(0, 8);
        eight!(1, 0);
        eight!(1, 8);
        eight!(2, 0);
        eight!(2, 8);
        eight!(3, 0);
        eight!(3, 8);
        let after = [a, b, c, d, e, f, g, h];
        std::array::from_fn(|at| add($state[at], after[at]))
    }};
}

/// Expands to `stretch`, which does the whole derivation for `N` passwords. Where it is expanded there must be the type
/// `Word` of `N` words side by side and, on it, `load`, `store`, `splat`, `add`, `xor`, `shift`, `rotate`, `xor3`, `choose` and
/// `majority`; all functions get `attribute`, so that they are compiled for the same processor and vanish into each
/// other. A macro and not a generic function, because a trait's method cannot be bound to a processor, and each operation
/// would have to be `unsafe` for that.
macro_rules! kernel {
    ($lanes:literal $(, #[$attribute:meta])?) => {
        use super::kernel::{CONSTANTS, DIGEST_TAIL, INITIAL, INNER_PAD, OUTER_PAD, Work, rounds};

        /// Derives the keys of all lanes.
        $(#[$attribute])?
        pub(super) fn stretch(work: &mut Work<$lanes>, iterations: u32) {
            let initial = INITIAL.map(|word| splat(word));
            let (inner, outer) = (splat(INNER_PAD), splat(OUTER_PAD));
            let key = compress(initial, std::array::from_fn(|at| xor(load(&work.password[at]), inner)));
            put(&mut work.inner, &key);
            let key = compress(initial, std::array::from_fn(|at| xor(load(&work.password[at]), outer)));
            put(&mut work.outer, &key);

            let mut round = compress(get(&work.inner), get(&work.first));
            round = compress_digest(get(&work.outer), round);
            let mut sum = round;
            for _ in 1..iterations {
                round = compress_digest(get(&work.inner), round);
                round = compress_digest(get(&work.outer), round);
                for (sum, word) in sum.iter_mut().zip(round) {
                    *sum = xor(*sum, word);
                }
            }
            put(&mut work.key, &sum);
        }

        $(#[$attribute])?
        #[inline]
        fn get<const M: usize>(words: &[[u32; $lanes]; M]) -> [Word; M] {
            std::array::from_fn(|at| load(&words[at]))
        }

        $(#[$attribute])?
        #[inline]
        fn put(into: &mut [[u32; $lanes]; 8], words: &[Word; 8]) {
            for (into, word) in into.iter_mut().zip(words) {
                store(into, *word);
            }
        }

        /// The state behind a block.
        $(#[$attribute])?
        #[inline(never)]
        #[allow(clippy::many_single_char_names, reason = "they are those of the standard")]
        fn compress(state: [Word; 8], block: [Word; 16]) -> [Word; 8] {
            rounds!(state, block)
        }

        /// The state behind the block that hashes a digest; half of it is the same for everybody.
        $(#[$attribute])?
        #[inline(never)]
        #[allow(clippy::many_single_char_names, reason = "they are those of the standard")]
        fn compress_digest(state: [Word; 8], digest: [Word; 8]) -> [Word; 8] {
            let [a, b, c, d, e, f, g, h] = digest;
            let [i, j, k, l, m, n, o, p] = DIGEST_TAIL;
            rounds!(state, [a, b, c, d, e, f, g, h, splat(i), splat(j), splat(k), splat(l), splat(m), splat(n), splat(o), splat(p)])
        }
    };
}
pub(super) use {kernel, rounds};
