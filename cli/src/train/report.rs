//! What is told in the end: charts, the table, pictures, and what the models write.

use super::Training;
use super::show::table::{Baselines, summary_table};
use super::show::{Summary, chart, svg};
use crate::output::Output;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

/// Columns and lines of the chart.
const CHART: (usize, usize) = (100, 16);

impl Training {
    /// The table, the charts, and where everything is.
    ///
    /// # Errors
    /// Those of the last validation, and of files.
    pub(super) fn report(&mut self, done: bool) -> anyhow::Result<String> {
        let mut text = String::new();
        let ascii = !std::io::stdout().is_terminal() && std::env::var_os("LANG").is_none();
        text += &chart::loss_chart(&self.records, CHART.0, CHART.1, ascii);
        if self.runs.len() > 1 {
            text.push('\n');
            text += &chart::gap_chart(&self.records, CHART.0, ascii);
        }
        text.push('\n');
        let summaries = self.summaries()?;
        text += &summary_table(&summaries, Baselines::of(&summaries));
        for Summary { recipe, skipped, .. } in summaries.iter().filter(|s| s.skipped > 0) {
            let step = self.step;
            write!(text, "\nwarning: {skipped} of {step} steps of {recipe} were skipped: ")?;
            writeln!(text, "their gradients were not finite")?;
        }
        if let Some(out) = &self.out {
            for (name, picture) in [
                ("loss.svg", svg::loss_svg(&self.records)?),
                ("scales.svg", svg::scales_svg(&self.scales)?),
            ] {
                let mut file = Output::create(&out.join(name))?;
                file.write_all(picture.as_bytes())?;
                file.finish()?;
            }
            let out = out.display();
            writeln!(text, "\n{out}: metrics.jsonl, scales.jsonl, loss.svg, scales.svg, train.*")?;
            if !done {
                let (step, steps) = (self.step, self.settings.steps);
                writeln!(text, "stopped after {step} of {steps} steps; to go on:")?;
                writeln!(text, "    quarter train --resume {out}")?;
            }
        }
        Ok(text.trim_end().to_owned())
    }

    /// `n` bytes that each model writes.
    ///
    /// # Errors
    /// Those of the layers.
    pub(super) fn samples(&mut self, n: usize) -> anyhow::Result<String> {
        let mut text = String::new();
        let prompt = self.text.validation(1, 0..1, (self.settings.size.context / 2).max(1));
        let prompt: Vec<u8> = prompt.inputs.iter().map(|byte| *byte as u8).collect();
        for run in &mut self.runs {
            let bytes = run.sample(&prompt, n, &self.settings)?;
            writeln!(text, "\n--- {} goes on\n{}", run.name, String::from_utf8_lossy(&bytes))?;
        }
        Ok(text.trim_end().to_owned())
    }

    fn summaries(&mut self) -> anyhow::Result<Vec<Summary>> {
        let Self { settings, text, runs, records, scales, step, .. } = self;
        let mut summaries = Vec::new();
        for run in runs {
            // Only the last step of all has a validation with all rows.
            let last = records.iter().rev().find(|record| record.recipe == run.name);
            let last = last.filter(|last| last.step == settings.steps && last.step == *step);
            let val_loss = match last.and_then(|record| record.val_loss) {
                Some(loss) => loss,
                None => run.validate(text, settings.val_rows, settings)?,
            };
            summaries.push(run.summary(records, scales, val_loss, settings));
        }
        Ok(summaries)
    }
}
