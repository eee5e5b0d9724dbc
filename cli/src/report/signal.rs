//! Signal to noise of casts, measured and predicted (A8 of the bounds).

use super::table::Table;
use super::{Part, Plan, Record, figure, formats, plot};
use quarter::accuracy::bounds::{Density, sqnr, sqnr_blocks, sqnr_formula};
use quarter::accuracy::{CompareOptions, Distribution, Meter};
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Scales, quantize};
use quarter::{FormatId, Granularity, Rule};
use rayon::prelude::*;
use serde::Serialize;

/// Elements of each measurement: the noise of blocks of them is known to some hundredths of a dB.
const SHAPE: (usize, usize) = (1024, 1024);
/// Matrices of normal numbers for each format: those beyond the largest are few and lose much.
const DRAWS: u64 = 16;
/// Standard deviations of normal numbers below the largest of a format: about what an amax is.
const SIGMAS: f64 = 3.7;
/// Formats whose numbers blocks are of, and rules of their scales: down and up to powers of two, and
/// in f32.
const BLOCKS: [FormatId; 5] =
    [FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F6E2M3, FormatId::F6E3M2, FormatId::F4E2M1];
const RULES: [Rule; 3] = [Rule::OcpFloor, Rule::OcpRceil, Rule::TeCurrent];

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Signal {
    /// `format` or `block`.
    pub kind: &'static str,
    /// The format, or the cast of blocks.
    pub cast: String,
    /// What was cast.
    pub data: &'static str,
    /// 6.02 p + 7.44 dB, of formats.
    pub formula_db: Option<f64>,
    /// What was measured.
    pub measured_db: f64,
    /// What theory predicts of these data.
    pub predicted_db: f64,
    /// Measured less predicted.
    pub difference_db: f64,
    pub seed: u64,
}

impl Signal {
    fn new(cast: String, data: &'static str, measured: f64, predicted: f64) -> Self {
        let rounded = |x: f64| (x * 1e3).round() / 1e3;
        Self {
            kind: "block",
            cast,
            data,
            formula_db: None,
            measured_db: rounded(measured),
            predicted_db: rounded(predicted),
            difference_db: rounded(measured - predicted),
            seed: 0,
        }
    }

    fn cells(&self) -> Vec<String> {
        let formula = self.formula_db.map(|x| format!("{x:.2}"));
        let names = [self.cast.clone(), self.data.to_owned()];
        let figures = [self.measured_db, self.predicted_db].map(|x| format!("{x:.2}"));
        let last = format!("{:+.3}", self.difference_db);
        names.into_iter().chain(formula).chain(figures).chain([last]).collect()
    }
}

/// Measures what numbers are after a cast and back; without a rule's scale where one is given.
fn measure(
    meter: &mut Meter,
    cast: &Cast,
    x: &[f32],
    shape: (usize, usize),
    scale: Option<f32>,
) -> quarter::Result<()> {
    let scales = scale.map(Scales::from_scale);
    let options =
        scales.as_ref().map_or(QuantizeOptions::new(), |s| QuantizeOptions::new().scales(s));
    let codes = quantize(MatRef::new(x, shape.0, shape.1)?, cast, &options)?;
    let mut back = vec![0.0_f32; x.len()];
    codes.dequantize_into(MatMut::new(&mut back, shape.0, shape.1)?)?;
    meter.add(&back, x)
}

/// Of numbers of a format without a scale, each matrix times `by`, in dB.
fn alone(
    format: FormatId,
    matrices: &[Vec<f32>],
    by: f32,
    shape: (usize, usize),
) -> quarter::Result<f64> {
    let cast = Cast::new(format, Granularity::Tensor, Rule::TeCurrent);
    let mut meter = meter(&cast);
    for x in matrices {
        let scaled: Vec<f32> = x[..shape.0 * shape.1].iter().map(|x| x * by).collect();
        measure(&mut meter, &cast, &scaled, shape, Some(1.0))?;
    }
    Ok(meter.metrics().sqnr_db())
}

fn meter(cast: &Cast) -> Meter {
    Meter::new(&CompareOptions::new(cast.format.spec()))
}

pub fn part(plan: &Plan, draw: bool) -> anyhow::Result<Part> {
    let (rows, cols) = SHAPE;
    let draws = |distribution: Distribution, n: u64| -> Vec<Vec<f32>> {
        let seeds = (0..n).into_par_iter().map(|i| plan.seed.wrapping_add(i));
        seeds.map(|seed| distribution.matrix(rows, cols, seed)).collect()
    };
    let (normal, even) = (draws(Distribution::Gaussian, DRAWS), draws(Distribution::Uniform, 1));
    let formats: Vec<FormatId> = formats().collect();
    let of_formats = formats.par_iter().map(|format| {
        let spec = format.spec();
        let most = spec.max() as f32;
        let sigma = most / SIGMAS as f32;
        let theories = [
            ("gaussian", &normal, sigma, Density::Normal { sigma: sigma.into() }),
            ("uniform", &even, most, Density::Uniform { most: most.into() }),
        ];
        theories.map(|(data, x, by, theory)| {
            let measured = alone(*format, x, by, SHAPE)?;
            let signal = Signal::new(format.to_string(), data, measured, sqnr(spec, theory));
            let formula_db = figure(sqnr_formula(spec.precision()));
            Ok(Signal { kind: "format", formula_db, ..signal })
        })
    });
    let of_formats: Vec<Signal> =
        of_formats.collect::<Vec<_>>().into_iter().flatten().collect::<quarter::Result<_>>()?;
    let blocks = BLOCKS
        .into_iter()
        .flat_map(|format| RULES.map(|rule| Cast::new(format, Granularity::BLOCK_1X32, rule)));
    let nvfp4 = Cast::new(FormatId::F4E2M1, Granularity::BLOCK_1X16, Rule::Nvfp4);
    let x = &normal[0];
    let amax = x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
    let of_blocks = blocks.chain([nvfp4]).collect::<Vec<_>>().into_par_iter().map(|cast| {
        let spec = cast.format.spec();
        let (_, n) = cast.granularity.block(rows, cols);
        let predicted = sqnr_blocks(spec, cast.rule, n, cast.rule.global_scale(spec, amax));
        let mut meter = meter(&cast);
        measure(&mut meter, &cast, x, SHAPE, None)?;
        Ok(Signal::new(cast.to_string(), "gaussian", meter.metrics().sqnr_db(), predicted))
    });
    let of_blocks: Vec<Signal> = of_blocks.collect::<quarter::Result<_>>()?;
    let titles = |names: [&str; 2], more: &[&str]| {
        let last = ["measured", "predicted", "difference"];
        names.iter().chain(more).chain(&last).map(|title| (*title).to_owned()).collect()
    };
    let tables = vec![
        Table {
            title: "Signal to noise of formats, dB".to_owned(),
            about: format!(
                "Numbers rounded to nearest even: normal ones, the format's largest number being \
                 {SIGMAS} standard deviations, and such as are spread evenly up to it. The formula \
                 is 6.02 p + 7.44 dB for p bits of significand. Predicted is sqnr of \
                 quarter::accuracy::bounds, an integral over the format's numbers."
            ),
            columns: titles(["format", "data"], &["formula"]),
            names: 2,
            rows: of_formats.iter().map(Signal::cells).collect(),
        },
        Table {
            title: "Signal to noise of blocks, dB".to_owned(),
            about:
                "Normal numbers, each block with a scale by its own amax: powers of two rounded \
                    down (ocp-floor) or up (ocp-rceil), f32 (te-current), E4M3 (nvfp4)."
                    .to_owned(),
            columns: titles(["cast", "data"], &[]),
            names: 2,
            rows: of_blocks.iter().map(Signal::cells).collect(),
        },
    ];
    let pictures =
        if draw { vec![("sqnr", curves(&formats, &normal[..1], plan.seed)?)] } else { Vec::new() };
    let all = of_formats.into_iter().chain(of_blocks);
    let records = all.map(|signal| Record::Sqnr(Signal { seed: plan.seed, ..signal })).collect();
    Ok(Part { records, tables, pictures })
}

/// How signal to noise depends on where numbers lie in a format: predicted lines, measured points.
fn curves(formats: &[FormatId], normal: &[Vec<f32>], seed: u64) -> anyhow::Result<String> {
    const SHAPE: (usize, usize) = (128, 512);
    let curves = formats.par_iter().map(|format| {
        let spec = format.spec();
        let sigma = |power: f64| spec.max() * power.exp2();
        let line = (0..=68).map(|i| {
            let power = f64::from(i) / 2.0 - 34.0;
            (power, sqnr(spec, Density::Normal { sigma: sigma(power) }))
        });
        let marks = (0..17).map(|i| {
            let power = f64::from(-2 * i);
            Ok((power, alone(*format, normal, sigma(power) as f32, SHAPE)?))
        });
        let marks = marks.collect::<quarter::Result<_>>()?;
        Ok(plot::Curve { name: format.to_string(), line: line.collect(), marks })
    });
    plot::signal(&curves.collect::<quarter::Result<Vec<_>>>()?, seed)
}
