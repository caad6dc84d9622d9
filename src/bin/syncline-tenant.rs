//! The local tenant as its own process, so that the engine's memory can be measured without it.

use std::io::{stderr, stdout};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(stderr).init();
    syncline::tenant::command::main(&mut stdout().lock(), &mut stderr())
}
