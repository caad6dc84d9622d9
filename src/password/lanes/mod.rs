//! Many keys at once: PBKDF2-HMAC-SHA256 over several passwords side by side, as wide as the processor allows.
//!
//! The only module with `unsafe`: vectors are loaded through pointers, and code for a processor may only run where that
//! processor is. All of it is compared octet by octet with the ready-made implementation, which remains the
//! reference, and does what no kernel takes (design: storage and performance 9).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(target_arch = "x86_64", test))]
mod kernel;
#[cfg(test)]
mod portable;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use super::hash::{KEY_LENGTH, stretch, wipe_stack};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// The longest salt that fits one block together with the number of the output block, the end mark and the length.
const SALT_IN_ONE_BLOCK: usize = 64 - 4 - 1 - 8;

/// One password with its salt.
pub(super) struct Job<'a> {
    /// The 64 octets that PBKDF2 takes as its password.
    pub(super) password: Zeroizing<[u8; 64]>,
    /// 0 to 64 octets.
    pub(super) salt: &'a [u8],
}

/// A way to derive keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Sixteen lanes of AVX-512.
    Avx512,
    /// The SHA-256 instructions of x86, four streams.
    ShaNi,
    /// Eight lanes of AVX2.
    Avx2,
    /// The `pbkdf2` crate, one key at a time; works everywhere.
    Crate,
}

static AVAILABLE: LazyLock<Vec<Backend>> = LazyLock::new(|| {
    let all = [Backend::Avx512, Backend::ShaNi, Backend::Avx2, Backend::Crate];
    all.into_iter().filter(|backend| backend.works()).collect()
});

impl Backend {
    /// Those that work on this machine, the fastest first; [`Backend::Crate`] is always the last.
    pub fn available() -> &'static [Self] {
        &AVAILABLE
    }

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512, 16 lanes",
            Self::ShaNi => "SHA-NI, 4 streams",
            Self::Avx2 => "AVX2, 8 lanes",
            Self::Crate => "pbkdf2 crate, one by one",
        }
    }

    /// How many keys one pass derives.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::ShaNi => 4,
            Self::Avx2 => 8,
            Self::Crate => 1,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn works(self) -> bool {
        match self {
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            Self::ShaNi => is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx"),
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Crate => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn works(self) -> bool {
        self == Self::Crate
    }
}

/// Derives the key of each job, in their order, with the first of `backends` (of which there is one at least) that the
/// jobs fill well enough. What is left over when the widest has had its fill goes to it all the same while more than a
/// quarter of its lanes has work: below that the next one is faster.
pub(super) fn derive(backends: &[Backend], jobs: &[Job<'_>], iterations: u32) -> Zeroizing<Vec<[u8; KEY_LENGTH]>> {
    let mut keys = Zeroizing::new(vec![[0; KEY_LENGTH]; jobs.len()]);
    let (short, long): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|at| jobs[*at].salt.len() <= SALT_IN_ONE_BLOCK);
    one_by_one(jobs, &long, iterations, &mut keys);
    let mut left = short.as_slice();
    for (at, backend) in backends.iter().enumerate() {
        let last = at + 1 == backends.len();
        while left.len() * 4 > backend.lanes() || last && !left.is_empty() {
            let (now, later) = left.split_at(backend.lanes().min(left.len()));
            pass(*backend, jobs, now, iterations, &mut keys);
            // What the pass has put aside below this frame is as good as the passwords.
            wipe_stack();
            left = later;
        }
    }
    keys
}

/// Derives the keys of at most as many jobs as the backend has lanes; lanes without one work on zeros. Never inlined, so that
/// all that it uses of the stack lies below its caller.
#[inline(never)]
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the kernels are compiled for processors that not everybody has")]
fn pass(backend: Backend, jobs: &[Job<'_>], now: &[usize], iterations: u32, keys: &mut [[u8; KEY_LENGTH]]) {
    macro_rules! side_by_side {
        ($kernel:ident) => {{
            let mut work = kernel::Work::new();
            fill(&mut work, jobs, now);
            // SAFETY: the kernel is compiled for the features that `works` looks for, and this arm is taken only where it
            // found them.
            unsafe { $kernel::stretch(&mut work, iterations) };
            take(&work, now, keys);
        }};
    }
    match backend {
        Backend::Avx512 if backend.works() => side_by_side!(avx512),
        Backend::Avx2 if backend.works() => side_by_side!(avx2),
        Backend::ShaNi if backend.works() => {
            let mut work = sha_ni::Streams::new();
            for (stream, at) in now.iter().enumerate() {
                (work.password[stream], work.first[stream]) = (password_words(&jobs[*at]), first_words(&jobs[*at]));
            }
            // SAFETY: the kernel is compiled for the features that `works` looks for, and this arm is taken only where it
            // found them.
            unsafe { sha_ni::stretch(&mut work, iterations) };
            for (stream, at) in now.iter().enumerate() {
                keys[*at] = octets_of(&work.key[stream]);
            }
        }
        _ => one_by_one(jobs, now, iterations, keys),
    }
}

#[inline(never)]
#[cfg(not(target_arch = "x86_64"))]
fn pass(_backend: Backend, jobs: &[Job<'_>], now: &[usize], iterations: u32, keys: &mut [[u8; KEY_LENGTH]]) {
    one_by_one(jobs, now, iterations, keys);
}

fn one_by_one(jobs: &[Job<'_>], now: &[usize], iterations: u32, keys: &mut [[u8; KEY_LENGTH]]) {
    for at in now {
        keys[*at] = stretch(&jobs[*at].password, jobs[*at].salt, iterations);
    }
}

/// Lays the words of the jobs side by side.
#[cfg(any(target_arch = "x86_64", test))]
fn fill<const N: usize>(work: &mut kernel::Work<N>, jobs: &[Job<'_>], now: &[usize]) {
    for (lane, at) in now.iter().enumerate() {
        let (password, first) = (Zeroizing::new(password_words(&jobs[*at])), first_words(&jobs[*at]));
        for word in 0..16 {
            work.password[word][lane] = password[word];
            work.first[word][lane] = first[word];
        }
    }
}

/// Picks the keys of the jobs apart.
#[cfg(any(target_arch = "x86_64", test))]
fn take<const N: usize>(work: &kernel::Work<N>, now: &[usize], keys: &mut [[u8; KEY_LENGTH]]) {
    for (lane, at) in now.iter().enumerate() {
        keys[*at] = octets_of(&work.key.map(|words| words[lane]));
    }
}

/// The password as the words of a block.
#[cfg(any(target_arch = "x86_64", test))]
fn password_words(job: &Job<'_>) -> [u32; 16] {
    words_of(&job.password)
}

/// The block behind the key that the first round hashes: salt, the number 1 of the only output block, end mark, and the
/// length in bits of both blocks' content.
#[cfg(any(target_arch = "x86_64", test))]
fn first_words(job: &Job<'_>) -> [u32; 16] {
    let mut block = [0; 64];
    let length = job.salt.len();
    block[..length].copy_from_slice(job.salt);
    block[length + 3] = 1;
    block[length + 4] = 0x80;
    let mut words = words_of(&block);
    // At most 64 + 51 + 4 octets.
    words[15] = u32::try_from((64 + length + 4) * 8).unwrap_or(u32::MAX);
    words
}

#[cfg(any(target_arch = "x86_64", test))]
fn words_of(block: &[u8; 64]) -> [u32; 16] {
    std::array::from_fn(|at| u32::from_be_bytes([block[4 * at], block[4 * at + 1], block[4 * at + 2], block[4 * at + 3]]))
}

#[cfg(any(target_arch = "x86_64", test))]
fn octets_of(words: &[u32; 8]) -> [u8; KEY_LENGTH] {
    std::array::from_fn(|at| words[at / 4].to_be_bytes()[at % 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    struct Case {
        password: [u8; 64],
        salt: Vec<u8>,
    }

    /// `count` random passwords; salts of `salt_length` octets, or of all lengths from 0 to 64 in turn.
    fn cases(random: &mut SmallRng, count: usize, salt_length: Option<usize>) -> Vec<Case> {
        let case = |at| {
            let mut case = Case { password: [0; 64], salt: vec![0; salt_length.unwrap_or(at % 65)] };
            random.fill(&mut case.password);
            random.fill(&mut case.salt[..]);
            case
        };
        (0..count).map(case).collect()
    }

    fn jobs(cases: &[Case]) -> Vec<Job<'_>> {
        cases.iter().map(|case| Job { password: Zeroizing::new(case.password), salt: &case.salt }).collect()
    }

    fn expected(cases: &[Case], iterations: u32) -> Vec<[u8; KEY_LENGTH]> {
        let key = |case: &Case| {
            let mut key = [0; KEY_LENGTH];
            pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&case.password, &case.salt, iterations, &mut key);
            key
        };
        cases.iter().map(key).collect()
    }

    /// Every backend of this machine alone, with batches that fill its lanes, leave remainders, and are smaller than one.
    #[test]
    fn every_backend_agrees_with_the_crate() {
        let mut random = SmallRng::seed_from_u64(1);
        for backend in Backend::available() {
            for (iterations, counts) in [(1, (0..=70).collect()), (2, vec![1, 15, 16, 17, 65, 130]), (1000, vec![5, 33])] {
                for count in counts {
                    let cases = cases(&mut random, count, None);
                    assert_eq!(
                        *derive(&[*backend], &jobs(&cases), iterations),
                        expected(&cases, iterations),
                        "{}: {count} passwords, {iterations} iterations",
                        backend.name()
                    );
                }
            }
        }
    }

    #[test]
    fn every_backend_takes_every_salt() {
        let mut random = SmallRng::seed_from_u64(2);
        for backend in Backend::available() {
            for length in 0..=64 {
                let cases = cases(&mut random, 16, Some(length));
                assert_eq!(*derive(&[*backend], &jobs(&cases), 2), expected(&cases, 2), "{}: salt of {length} octets", backend.name());
            }
        }
    }

    /// As products derive: what does not fill the widest backend goes to the next.
    #[test]
    fn all_backends_together_agree_with_the_crate() {
        let mut random = SmallRng::seed_from_u64(3);
        for count in 0..=70 {
            let cases = cases(&mut random, count, Some(10));
            assert_eq!(*derive(Backend::available(), &jobs(&cases), 3), expected(&cases, 3), "{count} passwords");
        }
    }

    /// The code of the vector kernels over plain words: this is what Miri can look at.
    #[test]
    fn the_portable_twin_agrees_with_the_crate() {
        let mut random = SmallRng::seed_from_u64(4);
        let rounds: &[u32] = if cfg!(miri) { &[1, 2] } else { &[1, 2, 1000] };
        for iterations in rounds {
            for length in if cfg!(miri) { vec![0, 10, 51] } else { (0..=SALT_IN_ONE_BLOCK).collect() } {
                let cases = cases(&mut random, 4, Some(length));
                let mut work = kernel::Work::new();
                fill(&mut work, &jobs(&cases), &[0, 1, 2, 3]);
                portable::stretch(&mut work, *iterations);
                let mut keys = [[0; KEY_LENGTH]; 4];
                take(&work, &[0, 1, 2, 3], &mut keys);
                assert_eq!(keys.as_slice(), expected(&cases, *iterations), "salt of {length} octets, {iterations} iterations");
            }
        }
    }

    #[test]
    fn there_is_always_a_backend() {
        assert_eq!(Backend::available().last(), Some(&Backend::Crate));
        for backend in Backend::available() {
            assert!(backend.works() && backend.lanes() > 0 && !backend.name().is_empty());
        }
    }
}
