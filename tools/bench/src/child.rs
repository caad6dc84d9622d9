//! Runs programs and tells what they cost: processor time, time by the clock, peak memory.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use syncline::context::Clock;
use wait4::Wait4;

/// Whatever goes wrong ends the measurement with a sentence.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// What something cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Processor seconds, user and system.
    pub cpu: f64,
    /// Seconds by the clock.
    pub wall: f64,
    /// Peak resident memory in octets; 0 where it has no meaning.
    pub peak: u64,
}

/// What becomes of what a program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    /// It is given back.
    Kept,
    /// It goes nowhere: writing it down would be counted, too.
    Dropped,
}

/// Runs a program to its end. Gives its cost and what it printed.
///
/// The costs are those of the process and of the children it waited for. Linux counts what a process was before it
/// became another program, too: keep the memory of the caller small, or the peak is the caller's.
pub(crate) fn measured(clock: &dyn Clock, command: &mut Command, printed: Printed) -> Outcome<(Cost, String)> {
    let (mut output, mut complaints) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let sink = if printed == Printed::Kept { output.try_clone()?.into() } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(sink).stderr(complaints.try_clone()?);
    let name = command.get_program().to_string_lossy().into_owned();
    let began = clock.elapsed();
    let mut child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
    let ended = child.wait4()?;
    let wall = clock.elapsed().saturating_sub(began);
    if !ended.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let (output, complaints) = (content(&mut output)?, content(&mut complaints)?);
        return Err(format!("{name} {}: {}\n{output}{complaints}", arguments.join(" "), ended.status).into());
    }
    let cpu = ended.rusage.utime + ended.rusage.stime;
    let cost = Cost { cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64(), peak: ended.rusage.maxrss };
    Ok((cost, content(&mut output)?))
}

/// Runs a program whose cost does not matter.
pub(crate) fn run(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn content(file: &mut File) -> Outcome<String> {
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Processor time of a process that still runs, in seconds: fields 14 and 15 of its `stat`, in hundredths.
pub(crate) fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    f64::from(ticks) / 100.0
}

/// A server that ends with its owner.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It closes its file when it is asked to end; what it says then concerns nobody.
        if let Ok(Some(process)) = i32::try_from(self.0.id()).map(rustix::process::Pid::from_raw)
            && rustix::process::kill_process(process, rustix::process::Signal::TERM).is_err()
        {
            drop(self.0.kill());
        }
        drop(self.0.wait());
    }
}
