//! How far a run is: bars with rate and estimate on a terminal, plain lines elsewhere, nothing with `--json`.

use super::output::{Output, counted};
use crate::engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Progress in the form that fits where standard error goes.
pub(crate) fn progress(output: &Output) -> Box<dyn Progress> {
    if output.json {
        Box::new(crate::engine::Silent)
    } else if output.progress_target().is_some() {
        Box::new(Bars { output: output.clone(), bar: None, title: String::new() })
    } else {
        Box::new(Lines { output: output.clone(), title: String::new(), done: 0 })
    }
}

/// A bar for the step that runs.
struct Bars {
    output: Output,
    bar: Option<ProgressBar>,
    title: String,
}

impl Progress for Bars {
    fn step_started(&mut self, step: &str, connector: &str) {
        self.title = format!("{connector}: {step}");
        let bar = ProgressBar::with_draw_target(None, self.output.progress_target().unwrap_or_else(ProgressDrawTarget::hidden));
        bar.set_style(spinner());
        bar.set_message(self.title.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bar = Some(bar);
    }

    fn advanced(&mut self, done: u64, of: Option<u64>) {
        if let Some(bar) = &self.bar {
            if let Some(of) = of.filter(|of| *of >= done && *of > 0)
                && bar.length() != Some(of)
            {
                bar.set_length(of);
                bar.set_style(style());
            }
            bar.set_position(done);
        }
    }

    fn step_finished(&mut self, result: &str) {
        if let Some(bar) = self.bar.take() {
            let done = bar.position();
            bar.finish_and_clear();
            self.output.note(format!("{}: {result}, {}", self.title, counted(done, "object")));
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:<40} {bar:30} {human_pos}/{human_len} {per_sec}, {eta} left").unwrap_or_else(|_| spinner())
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{msg:<40} {spinner} {human_pos} {per_sec}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A line for every step.
struct Lines {
    output: Output,
    title: String,
    done: u64,
}

impl Progress for Lines {
    fn step_started(&mut self, step: &str, connector: &str) {
        self.title = format!("{connector}: {step}");
        self.done = 0;
    }

    fn advanced(&mut self, done: u64, _of: Option<u64>) {
        self.done = done;
    }

    fn step_finished(&mut self, result: &str) {
        self.output.note(format!("{}: {result}, {}", self.title, counted(self.done, "object")));
    }
}
