//! Matrix units: multiply-adds a second of every unit, as a share of the product with f32 sums.
//!
//! ```console
//! cargo bench --bench units -- --threads 1
//! cargo bench --bench units -- h100          # units whose name has these letters
//! ```
//!
//! Each multiplies standard normals, 256 × 256 × 1024, in its first format; packing is counted. The
//! rates are in FLOP: two for a multiply-add.

#[allow(dead_code)] // some of it is for conversions and plain products
mod harness;

use half::{bf16, f16};
use harness::Suite;
use harness::data::normals;
use harness::matrix::Room;
use harness::products::{Contest, Runner};
use quarter::gemm::{Accumulation, GemmInput, GemmOptions};
use quarter::mma::{B200_MXFP8, UNITS, Unit};
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Quantized, quantize};

const SHAPE: [usize; 3] = [256, 256, 1024];

/// An operand as a unit takes it.
enum Operand {
    Half(Vec<f16>),
    Brain(Vec<bf16>),
    Single(Vec<f32>),
    Codes(Quantized),
}

impl Operand {
    fn new(unit: &Unit, rows: usize, seed: u32) -> Self {
        let x = normals(rows * SHAPE[2], seed);
        match unit.inputs()[0].name() {
            "f16" => Self::Half(x.iter().map(|x| f16::from_f32(*x)).collect()),
            "bf16" => Self::Brain(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            "tf32" => Self::Single(x),
            format => {
                let scales = if *unit == B200_MXFP8 { "1x32:te-mx" } else { "tensor:torchao" };
                let cast: Cast = format!("{format}:{scales}").parse().expect("a cast");
                let x = MatRef::new(&x, rows, SHAPE[2]).expect("the shape");
                Self::Codes(quantize(x, &cast, &QuantizeOptions::new()).expect("numbers"))
            }
        }
    }

    fn input(&self, rows: usize) -> GemmInput<'_> {
        match self {
            Self::Half(x) => MatRef::new(x, rows, SHAPE[2]).expect("the shape").into(),
            Self::Brain(x) => MatRef::new(x, rows, SHAPE[2]).expect("the shape").into(),
            Self::Single(x) => MatRef::new(x, rows, SHAPE[2]).expect("the shape").into(),
            Self::Codes(codes) => codes.into(),
        }
    }
}

fn main() {
    let suite = Suite::new("quarter: matrix units", &[]);
    let [m, n, k] = SHAPE;
    let work = 2.0 * m as f64 * n as f64 * k as f64;
    for unit in UNITS {
        let (a, b) = (Operand::new(unit, m, 1), Operand::new(unit, n, 2));
        let (a, b) = (a.input(m), b.input(n));
        for &threads in &suite.options.threads {
            let options = GemmOptions::new().threads(threads);
            let through = Accumulation { unit: Some(unit), ..Accumulation::F32 };
            let run = |options: GemmOptions<'static>| {
                move |room: &mut Room| {
                    room.product(a, b, &options, false);
                }
            };
            let runners = vec![
                Runner::product("sums in f32", work, &[], run(options)),
                Runner::product(unit.name(), work, &[0], run(options.sums(through))),
            ];
            let case = format!("unit {unit}");
            if suite.wants(&case, threads) {
                let contest = Contest { case, threads, runners, first: vec![] };
                suite.contest(&mut Room::default(), &contest);
            }
        }
    }
}
