//! How far training is, on standard error: bars on a terminal, else a line now and then.

use super::{NAME, StepRecord, plain};
use crate::inspect::count;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of a recipe where there is no terminal.
const LINES: u64 = 10;

/// A line for each recipe. They may run one after another, in turns or in threads.
#[derive(Debug)]
pub struct Progress {
    view: View,
    steps: u64,
    first_step: u64,
    names: Vec<String>,
    /// When each was at its first step here, and which that was.
    started: Mutex<Vec<Option<(Instant, u64)>>>,
}

#[derive(Debug)]
enum View {
    Hidden,
    Lines,
    Bars(MultiProgress, Vec<ProgressBar>),
}

impl Progress {
    /// Shows recipes that have `first_step` of `steps` steps behind them.
    #[must_use]
    pub fn new(recipes: &[String], steps: u64, first_step: u64) -> Self {
        if !stderr().is_terminal() {
            return Self::with(View::Lines, recipes, steps, first_step);
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = |name: String| {
            let bar = all.add(ProgressBar::new(steps));
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.set_position(first_step);
            bar.set_message(format!("{first_step}/{steps}"));
            bar
        };
        let bars = padded(recipes).into_iter().map(bar).collect();
        Self::with(View::Bars(all, bars), recipes, steps, first_step)
    }

    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self::with(View::Hidden, &[], 0, 0)
    }

    fn with(view: View, recipes: &[String], steps: u64, first_step: u64) -> Self {
        let started = Mutex::new(vec![None; recipes.len()]);
        Self { view, steps, first_step, names: padded(recipes), started }
    }

    /// Says that a recipe has done a step.
    pub fn step(&self, recipe: usize, record: &StepRecord) {
        let text = || status(record, self.steps, self.eta(recipe, record.step));
        match &self.view {
            View::Hidden => {}
            View::Lines => {
                let text = text(); // the clock starts at the first step
                if is_told(record.step, self.steps, self.first_step) {
                    let name = self.names.get(recipe).map_or("", String::as_str);
                    self.note(&format!("{name} {text}"));
                }
            }
            View::Bars(_, bars) => {
                if let Some(bar) = bars.get(recipe) {
                    bar.set_message(text());
                    bar.set_position(record.step);
                }
            }
        }
    }

    /// Writes a line of text without breaking the bars.
    pub fn note(&self, text: &str) {
        // Nobody may read standard error; that is no reason to stop.
        match &self.view {
            View::Hidden => {}
            View::Lines => drop(writeln!(stderr(), "{text}")),
            View::Bars(all, _) => drop(all.println(text)),
        }
    }

    /// Leaves the bars as they are.
    pub fn finish(&self) {
        if let View::Bars(_, bars) = &self.view {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }

    /// The time that the rest of a recipe takes at its pace so far.
    fn eta(&self, recipe: usize, step: u64) -> Option<Duration> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, first) = *started.get_mut(recipe)?.get_or_insert((Instant::now(), step));
        drop(started);
        let done = step.checked_sub(first).filter(|done| *done > 0)?;
        let rest = self.steps.saturating_sub(step);
        let seconds = since.elapsed().as_secs_f64() / done as f64 * rest as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Names of one width.
fn padded(recipes: &[String]) -> Vec<String> {
    let names: Vec<_> = recipes.iter().map(|name| plain(name, NAME)).collect();
    let wide = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    names.iter().map(|name| format!("{name:wide$}")).collect()
}

/// Whether a line is due: at every tenth of the steps, and at the last.
fn is_told(step: u64, steps: u64, first_step: u64) -> bool {
    let tenth = |step: u64| u128::from(step) * u128::from(LINES) / u128::from(steps.max(1));
    let before = step.saturating_sub(1).max(first_step);
    step == steps || (step > before && tenth(step) > tenth(before))
}

fn status(record: &StepRecord, steps: u64, eta: Option<Duration>) -> String {
    let digits = steps.to_string().len();
    let mut text = format!("{:>digits$}/{steps}  loss {:.4}", record.step, record.train_loss);
    if record.tokens_per_s.is_finite() {
        text += &format!("  {:>7} tokens/s", count(record.tokens_per_s.max(0.0).round() as u64));
    }
    if record.skipped > 0 {
        text += &format!("  {} skipped", record.skipped);
    }
    match eta {
        Some(eta) if record.step < steps => text + "  eta " + &time(eta),
        _ => text,
    }
}

/// A time as `8s`, `2m08s`, `1h02m`.
fn time(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_at_every_tenth_and_at_the_end() {
        let told = |steps, first: u64| {
            (first + 1..=steps).filter(|step| is_told(*step, steps, first)).collect::<Vec<_>>()
        };
        assert_eq!(told(100, 0), (1..=10).map(|n| 10 * n).collect::<Vec<_>>());
        assert_eq!(told(7, 0), (1..=7).collect::<Vec<_>>(), "fewer steps than lines");
        assert_eq!(told(25, 0), [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]);
        assert_eq!(told(100, 95), [100]);
        assert_eq!(told(1, 0), [1]);
        assert!(is_told(u64::MAX, u64::MAX, 0) && !is_told(1, u64::MAX, 0) && !is_told(1, 0, 1));
    }

    #[test]
    fn a_status_says_what_matters() {
        let mut record = StepRecord {
            step: 50,
            recipe: "bf16".to_owned(),
            train_loss: 2.5,
            val_loss: None,
            lr: 1e-3,
            grad_norm: 1.0,
            tokens_per_s: 12_345.4,
            skipped: 0,
        };
        let eta = Some(Duration::from_secs(128));
        assert_eq!(
            status(&record, 1000, eta),
            "  50/1000  loss 2.5000   12'345 tokens/s  eta 2m08s"
        );
        record.skipped = 2;
        record.tokens_per_s = f64::NAN;
        record.train_loss = f32::NAN;
        assert_eq!(status(&record, 50, eta), "50/50  loss NaN  2 skipped");
        assert_eq!(
            [3.4, 60.0, 3725.0].map(|s| time(Duration::from_secs_f64(s))),
            ["3s", "1m00s", "1h02m"]
        );
    }

    #[test]
    fn steps_of_unknown_recipes_are_no_panic() {
        let progress = Progress::with(View::Lines, &["a\u{1b}[2J".to_owned()], 10, 0);
        assert_eq!(progress.names, ["a?[2J"]);
        assert!(progress.eta(7, 1).is_none() && progress.eta(0, 1).is_none());
        assert!(progress.eta(0, 2).is_some() && progress.eta(0, 0).is_none());
    }
}
