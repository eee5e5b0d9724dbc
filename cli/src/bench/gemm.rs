//! Matrix products beside the unit that multiplies, and where b comes from memory, beside reading.

use super::convert::numbers;
use super::report::Unit;
use super::yardstick::Yardstick;
use super::{Bench, Round, Shape, contest};
use crate::checkpoint::buffer::reserve;
use quarter::gemm::{GemmInput, GemmOptions, Packed, Workspace, gemm_nt_in};
use quarter::recipe::{Operand, Prepared, Recipe};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};

/// Products with so few rows read b once for each: memory may be what they wait for.
const FEW: usize = 16;
/// Bytes of b, and the most of them, that are multiplied in turn then.
const BYTES: usize = 256 << 20;
const TURNS: usize = 16;

/// Every recipe's product of each shape.
pub fn run(bench: &Bench<'_>, shapes: &[Shape], recipes: &[Recipe]) -> anyhow::Result<()> {
    for shape in shapes {
        for recipe in recipes {
            row(bench, *shape, recipe)?;
        }
    }
    Ok(())
}

/// Bytes that n elements of an operand take.
const fn bytes_of(operand: &Operand, n: usize) -> usize {
    match operand {
        Operand::F32 => 4 * n,
        Operand::Bf16 => 2 * n,
        Operand::Cast(_) => n,
    }
}

fn row(bench: &Bench<'_>, shape: Shape, recipe: &Recipe) -> anyhow::Result<()> {
    let Shape { m, n, k } = shape;
    let gemm = &recipe.fprop;
    let bytes = bytes_of(&gemm.b, n * k);
    let turns = if m <= FEW { (BYTES / bytes).clamp(1, TURNS) } else { 1 };
    // Numbers as they are stay in their place, so each turn has its own.
    let places = if gemm.b == Operand::F32 { turns } else { 1 };
    let casts = QuantizeOptions::new().threads(bench.threads);
    let x = numbers(m * k, 1)?;
    let a = gemm.a.prepare(MatRef::new(&x, m, k)?, false, &casts)?;
    let w = numbers(n * k, 2)?;
    let copies = vec![w; places];
    let mut bs: Vec<Prepared<'_>> = Vec::new();
    for turn in 0..turns {
        let w = MatRef::new(&copies[turn.min(places - 1)], n, k)?;
        bs.push(match bs.first() {
            Some(first) if gemm.b != Operand::F32 => first.clone(),
            _ => gemm.b.prepare(w, false, &casts)?,
        });
    }
    let plain = bs.iter().map(Prepared::input).collect::<Result<Vec<_>, _>>()?;
    let packed: Vec<Packed> = match m {
        ..=FEW => plain.iter().map(|b| Packed::new(*b)).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    let packed: Vec<GemmInput<'_>> = packed.iter().map(GemmInput::from).collect();

    let options = GemmOptions::new().threads(bench.threads).sums(gemm.sums);
    let mut kernels = Vec::new();
    for (suffix, bs) in [("", plain), (", packed", packed)] {
        if bs.is_empty() {
            continue;
        }
        let mut out = Vec::new();
        reserve(&mut out, m * n)?;
        out.resize(m * n, 0.0_f32);
        let (a, mut workspace, mut next) = (a.input()?, Workspace::new(), 0);
        let mut product = move || -> anyhow::Result<()> {
            next = (next + 1) % bs.len();
            let out = MatMut::new(&mut out, m, n)?;
            gemm_nt_in(&mut workspace, a, bs[next], out, &options)?;
            Ok(())
        };
        product()?; // what is wrong shows at once
        let operations = 2.0 * m as f64 * n as f64 * k as f64;
        let work = move || if product().is_ok() { operations } else { 0.0 };
        kernels.push((format!("gemm {}{suffix}", recipe.name), work));
    }

    let f32 = gemm.a == Operand::F32 || gemm.b == Operand::F32;
    let pairs = if f32 { None } else { Yardstick::pairs(bench.threads) };
    let Some(mut unit) = pairs.or_else(|| Yardstick::fma(bench.threads)) else { return Ok(()) };
    let mut read = if m <= FEW { Yardstick::read(bench.threads, turns * bytes)? } else { None };
    let mut contestants: Vec<Round<'_>> = vec![&mut unit.work];
    if let Some(read) = &mut read {
        contestants.push(&mut read.work);
    }
    let yardsticks = contestants.len();
    contestants.extend(kernels.iter_mut().map(|(_, work)| work as Round<'_>));
    let rates = contest(bench.budget, &mut contestants);
    // Of the two bounds the one that takes longer.
    let intensity = 2.0 * (m * n * k) as f64 / bytes as f64; // operations a byte
    let median = |rates: &[f64]| super::measure::spread(rates)[0];
    let reading = yardsticks == 2 && median(&rates[1]) * intensity < median(&rates[0]);
    for ((name, _), rates_of) in kernels.iter().zip(&rates[yardsticks..]) {
        let shape = shape.to_string();
        let row = |unit, rates_of: &[f64], of| {
            bench.report.row(name, &shape, bench.threads, unit, rates_of, Some(of))
        };
        if reading {
            let bytes: Vec<f64> = rates_of.iter().map(|rate| rate / intensity).collect();
            row(Unit::Bytes, &bytes, ("read", &rates[1]))?;
        } else {
            row(Unit::Operations, rates_of, (unit.name, &rates[0]))?;
        }
    }
    Ok(())
}
