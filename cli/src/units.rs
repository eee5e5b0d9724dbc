//! `quarter units`: the matrix units of chips that products go through.

use crate::formats::{Side, align};
use quarter::FormatSpec;
use quarter::mma::{Evidence, UNITS, Unit};
use quarter::recipe::Recipe;
use serde::Serialize;
use std::io::Write;
use std::str::FromStr;

/// Arguments of `quarter units`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`quarter gemm --unit NAME` multiplies as one of them does. inputs are the formats of its operands, which \
may differ where all have at most 8 bits; output is what its sums are: f32, f16, or e8m13, an f32 without \
its lower 10 bits; step is how many products along K it takes at a time.
JSON has one object a line: name, hardware, inputs, output, step, evidence, source.")]
pub struct Args {
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// The keys of the JSON.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    hardware: &'static str,
    inputs: Vec<&'static str>,
    output: String,
    step: usize,
    evidence: String,
    source: &'static str,
}

impl Row {
    fn new(unit: &Unit) -> Self {
        Self {
            name: unit.name(),
            hardware: unit.hardware(),
            inputs: unit.inputs().iter().map(|spec| FormatSpec::name(spec)).collect(),
            output: unit.output().to_string(),
            step: unit.step(),
            evidence: unit.evidence().to_string(),
            source: unit.source(),
        }
    }

    fn cells(&self) -> [String; 7] {
        let inputs = self.inputs.join(", ");
        let step = self.step.to_string();
        let text = str::to_owned;
        let (output, evidence) = (self.output.clone(), self.evidence.clone());
        [text(self.name), text(self.hardware), inputs, output, step, evidence, text(self.source)]
    }
}

/// What a class of evidence means.
const fn meaning(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Measured => "outputs of the hardware were replayed",
        Evidence::Vendor => "its vendor's model or pseudocode",
        Evidence::Peer => "a published model, no outputs at hand",
        Evidence::Definition => "no hardware",
    }
}

/// Prints the table.
///
/// # Errors
/// Those of the writer.
pub fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = UNITS.iter().map(|unit| Row::new(unit));
    if args.json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
        return Ok(());
    }
    let title = ["name", "hardware", "inputs", "output", "step", "evidence", "source"];
    let rows: Vec<_> =
        [title.map(str::to_owned)].into_iter().chain(rows.map(|row| row.cells())).collect();
    out.write_all(
        align(&rows, |column| if column == 4 { Side::Right } else { Side::Left }).as_bytes(),
    )?;
    let classes = [Evidence::Measured, Evidence::Vendor, Evidence::Peer, Evidence::Definition];
    let meanings = classes.map(|evidence| format!("{evidence} ({})", meaning(evidence)));
    writeln!(out, "\nevidence: {}; quarter::mma says what is open of each.", meanings.join(", "))?;
    Ok(())
}

/// A recipe, or one on a unit: `RECIPE@UNIT`.
#[derive(Clone, Debug)]
pub(crate) struct OnUnit(pub(crate) Recipe);

impl FromStr for OnUnit {
    type Err = quarter::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('@') {
            None => text.parse().map(Self),
            Some((recipe, unit)) => recipe.parse::<Recipe>()?.on(unit.parse()?).map(Self),
        }
    }
}
