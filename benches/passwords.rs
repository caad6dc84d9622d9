//! How many keys per second one core derives from password hashes, by every way that this machine has and by the plain
//! `pbkdf2` crate in the same run; then all cores together.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use syncline::password::hash::{CredentialData, ITERATIONS, NtHash, SALT_LENGTH};
use syncline::password::lanes::Backend;

/// Fills every width without a remainder.
const ACCOUNTS: usize = 64;
/// What changes within a busy cycle of two minutes.
const CYCLE: usize = 500;

fn accounts(count: usize) -> Vec<(NtHash, [u8; SALT_LENGTH])> {
    let salt = |at: usize| std::array::from_fn(|octet| u8::try_from((at * 31 + octet * 7) % 256).unwrap_or(0));
    (0..count).map(|at| (NtHash::of_password(&format!("Pw-{at:06}-Sync!")), salt(at))).collect()
}

fn one_core(criterion: &mut Criterion) {
    let accounts = accounts(ACCOUNTS);
    let mut group = criterion.benchmark_group("passwords/one core");
    group.throughput(Throughput::Elements(ACCOUNTS as u64));
    for backend in Backend::available() {
        group.bench_function(BenchmarkId::from_parameter(backend.name()), |bencher| {
            bencher.iter(|| CredentialData::derive_all_by(*backend, black_box(&accounts), ITERATIONS).expect("salts and iterations hold"));
        });
    }
    group.finish();
}

fn all_cores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("passwords/all cores");
    for count in [50, CYCLE, 10_000] {
        let accounts = accounts(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| CredentialData::derive_all(black_box(&accounts), ITERATIONS).expect("salts and iterations hold"));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = one_core, all_cores
}
criterion_main!(benches);
