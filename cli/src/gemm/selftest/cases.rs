//! The products of the selftest.

use super::data::{Data, power, specials};
use super::{Out, Run};
use half::{bf16, f16};
use quarter::gemm::{Accumulation, Activation, BlockSum, GemmInput, GemmOptions, Packed};
use quarter::recipe::{Operand, Pass, Prepared, Role, presets};
use quarter::tensor::{MatRef, Quantized, Scales};
use quarter::{FormatId, Granularity};

/// Multiplies the products of a group.
type Products = fn(&mut Run) -> quarter::Result<()>;

/// All groups, in the order of the digest.
pub const GROUPS: [(&str, Products); 10] = [
    ("recipes", recipes),
    ("lengths of K", lengths),
    ("ragged shapes", shapes),
    ("block sums", block_sums),
    ("promotion", promotion),
    ("pairs of codes", codes),
    ("NaN, Inf, subnormal", not_normal),
    ("scales", scales),
    ("outputs", outputs),
    ("packed, threads", layouts),
];

/// Every preset, every pass.
fn recipes(run: &mut Run) -> quarter::Result<()> {
    const T: usize = 133;
    const I: usize = 170;
    const O: usize = 139;
    let mut data = Data::new(1);
    let (x, w, dy) = (data.matrix(T, I), data.matrix(O, I), data.matrix(T, O));
    for (_, preset) in presets::ALL {
        let recipe = preset();
        for pass in Pass::ALL {
            let gemm = recipe.gemm(*pass);
            let [a, b] = pass.operands().map(|(role, turned)| {
                let tensor = match role {
                    Role::Input => MatRef::new(&x, T, I),
                    Role::Weight => MatRef::new(&w, O, I),
                    Role::GradOutput => MatRef::new(&dy, T, O),
                };
                tensor.map(|tensor| (tensor, turned))
            });
            let ((a, a_turned), (b, b_turned)) = (a?, b?);
            let a = gemm.a.prepare(a, a_turned, &run.casts())?;
            let b = gemm.b.prepare(b, b_turned, &run.casts())?;
            let options = GemmOptions::new().sums(gemm.sums);
            run.product(a.input()?, b.input()?, Out::F32, &options)?;
        }
    }
    Ok(())
}

/// Two operands of each kind that the ways to multiply distinguish.
const KINDS: [[&str; 2]; 8] = [
    ["f32", "f32"],
    ["bf16", "bf16"],
    ["e4m3:tensor:te-current", "e5m2:row:torchao"],
    ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
    ["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"],
    ["e4m3:1x32:te-mx", "e5m2:1x32:ocp-floor"],
    ["e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"],
    ["bf16", "e4m3:1x32:te-mx"],
];

/// A matrix of the data, cast as the text says.
fn cast(run: &Run, text: &str, values: &[f32], shape: (usize, usize)) -> quarter::Result<Kept> {
    let operand: Operand = text.parse()?;
    let matrix = MatRef::new(values, shape.0, shape.1)?;
    Ok(match operand.prepare(matrix, false, &run.casts())? {
        Prepared::Values(_) => Kept::F32(values.to_vec(), shape),
        Prepared::Kept(_) => Kept::Bf16(values.iter().map(|x| bf16::from_f32(*x)).collect(), shape),
        Prepared::Quantized(quantized) => Kept::Quantized(quantized),
    })
}

/// An operand that owns what it is made of.
enum Kept {
    F32(Vec<f32>, (usize, usize)),
    Bf16(Vec<bf16>, (usize, usize)),
    Quantized(Quantized),
}

impl Kept {
    fn input(&self) -> quarter::Result<GemmInput<'_>> {
        Ok(match self {
            Self::F32(values, (rows, cols)) => MatRef::new(values, *rows, *cols)?.into(),
            Self::Bf16(values, (rows, cols)) => MatRef::new(values, *rows, *cols)?.into(),
            Self::Quantized(quantized) => quantized.into(),
        })
    }
}

/// Two operands of a kind.
fn pair(
    run: &Run,
    data: &mut Data,
    kind: [&str; 2],
    (m, n, k): (usize, usize, usize),
) -> quarter::Result<[Kept; 2]> {
    let (a, b) = (data.matrix(m, k), data.matrix(n, k));
    Ok([cast(run, kind[0], &a, (m, k))?, cast(run, kind[1], &b, (n, k))?])
}

/// None, one, odd numbers, and those around quads, blocks and segments.
fn lengths(run: &mut Run) -> quarter::Result<()> {
    let mut data = Data::new(2);
    for k in [0, 1, 2, 3, 5, 31, 32, 33, 127, 128, 129, 383, 1023, 1024, 1025, 2051] {
        for kind in KINDS {
            let [a, b] = pair(run, &mut data, kind, (5, 19, k))?;
            run.plain(a.input()?, b.input()?)?;
        }
    }
    Ok(())
}

/// M and N around the edges of tiles.
fn shapes(run: &mut Run) -> quarter::Result<()> {
    let mut data = Data::new(3);
    for m in [0, 1, 2, 7, 11, 12, 13, 14, 15, 16, 17, 29] {
        for n in [0, 1, 3, 15, 16, 17, 31, 32, 33, 65] {
            let kind = KINDS[(m + n) % KINDS.len()];
            let [a, b] = pair(run, &mut data, kind, (m, n, 77))?;
            run.plain(a.input()?, b.input()?)?;
        }
    }
    Ok(())
}

/// Blocks of every engine with each block sum; one operand with blocks; blocks of unlike lengths.
fn block_sums(run: &mut Run) -> quarter::Result<()> {
    const CASTS: [[&str; 2]; 14] = [
        ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
        ["e4m3:1x128:te-block-f32", "e4m3:128x128:te-block-f32"],
        ["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"],
        ["e4m3:1x128:deepseek-ue8m0", "e4m3:128x128:deepseek-ue8m0"],
        ["e4m3:1x128:deepgemm", "e4m3:128x128:deepgemm"],
        ["e4m3:1x128:deepgemm-ue8m0", "e5m2:1x128:deepgemm-ue8m0"],
        ["e4m3:1x128:torchao-block", "e4m3:128x128:torchao-block"],
        ["e4m3:1x128:torchao-block", "e4m3:tensor:torchao"],
        ["e4m3:row:torchao", "e4m3:128x128:te-block-f32"],
        ["bf16", "e4m3:128x128:deepseek"],
        ["e5m2:1x128:deepgemm", "f32"],
        ["e4m3:1x20:te-block-f32", "e5m2:3x7:te-block-f32"],
        ["e4m3:1x1:te-block", "e4m3fnuz:16x16:te-block"],
        ["e4m3:1x128:te-block", "e4m3:tensor:te-mx"],
    ];
    let mut data = Data::new(4);
    for casts in CASTS {
        let [a, b] = pair(run, &mut data, casts, (15, 37, 390))?;
        for sum in BlockSum::ALL {
            let sums = Accumulation { block_sum: Some(*sum), ..Accumulation::default() };
            let options = GemmOptions::new().sums(sums);
            run.product(a.input()?, b.input()?, Out::F32, &options)?;
        }
    }
    // Those that scales of other forms have.
    for casts in [
        ["e4m3:1x32:ocp-rceil", "e5m2:32x32:ocp-rceil"],
        ["e3m2:1x32:ocp-even", "e2m3:1x32:ocp-even"],
        ["e2m1:1x32:microxcaling", "e4m3:1x32:ocp-ceil"],
        ["e4m3:1x32:te-mx", "e4m3:row:te-mx"],
        ["f32", "e2m1:1x32:ocp-floor"],
        ["e4m3:1x3:te-mx", "e4m3:1x64:te-mx"],
        ["e2m1:1x16:nvfp4", "e2m1:16x16:nvfp4"],
        ["bf16", "e2m1:1x16:nvfp4"],
        ["e4m3:tensor:te-mx", "e4m3:row:ocp-floor"],
    ] {
        let [a, b] = pair(run, &mut data, casts, (15, 37, 390))?;
        run.plain(a.input()?, b.input()?)?;
    }
    Ok(())
}

/// Partial sums that join after few elements, at odd places, or only at the end.
fn promotion(run: &mut Run) -> quarter::Result<()> {
    let mut data = Data::new(5);
    for kind in KINDS {
        let [a, b] = pair(run, &mut data, kind, (6, 18, 1025))?;
        for interval in [1, 2, 3, 8, 32, 100, 128, 1000, 1024, 4096, u32::MAX] {
            let sums = Accumulation { promote: Some(interval), ..Accumulation::default() };
            let options = GemmOptions::new().sums(sums);
            run.product(a.input()?, b.input()?, Out::F32, &options)?;
        }
    }
    Ok(())
}

fn narrow() -> impl Iterator<Item = FormatId> {
    FormatId::ALL.iter().copied().filter(|format| format.spec().bits() <= 8)
}

/// Codes with one scale of 1.
fn unscaled(format: FormatId, rows: usize, codes: Vec<u8>) -> quarter::Result<Quantized> {
    let scales = Scales::F32 { scale: None, scale_inv: vec![1.0] };
    let shape = (rows, codes.len() / rows);
    Quantized::from_parts(format, shape, Granularity::Tensor, codes, scales)
}

/// Every pair of codes of every pair of formats, those of NaN and Inf among them; then sums of
/// any codes that are numbers.
fn codes(run: &mut Run) -> quarter::Result<()> {
    let all = |format: FormatId| (0..=format.spec().code_mask()).map(|code| code as u8);
    for a in narrow() {
        for b in narrow() {
            let [a, b] = [a, b].map(|format| {
                let codes: Vec<u8> = all(format).collect();
                unscaled(format, codes.len(), codes)
            });
            run.plain(&a?, &b?)?;
        }
    }
    let mut data = Data::new(6);
    for a in narrow() {
        for b in narrow() {
            let [a, b] = [(a, 9), (b, 21)].map(|(format, rows)| {
                let finite = |code: &u8| format.spec().decode_f64(u64::from(*code)).is_finite();
                let finite: Vec<u8> = all(format).filter(finite).collect();
                let code = |_| finite[data.below(finite.len() as u64) as usize];
                unscaled(format, rows, (0..rows * 70).map(code).collect())
            });
            run.plain(&a?, &b?)?;
        }
    }
    Ok(())
}

/// Numbers where something may go wrong: all pairs, then in rows of others.
fn not_normal(run: &mut Run) -> quarter::Result<()> {
    let list = specials();
    let n = list.len();
    let (wide, narrow): (Vec<f64>, Vec<f16>) =
        list.iter().map(|x| (f64::from(*x) * 1.000_000_01, f16::from_f32(*x))).unzip();
    let halves: Vec<bf16> = list.iter().map(|x| bf16::from_f32(*x)).collect();
    let columns = [
        MatRef::new(&list, n, 1)?,
        MatRef::new(&halves, n, 1)?,
        MatRef::new(&narrow, n, 1)?,
        MatRef::new(&wide, n, 1)?,
    ];
    for a in columns {
        for b in columns {
            run.plain(a, b)?;
        }
    }
    let mut data = Data::new(7);
    for kind in KINDS {
        for every in [40, 400] {
            let [a, b] = [13, 34].map(|rows| {
                let mut values = data.matrix(rows, 150);
                for value in &mut values {
                    if data.below(every) == 0 {
                        *value = list[data.below(n as u64) as usize];
                    }
                }
                cast(run, kind[usize::from(rows == 34)], &values, (rows, 150))
            });
            run.plain(a?.input()?, b?.input()?)?;
        }
    }
    // bf16 down to the smallest subnormal, where pairs of them cannot be used.
    for low in [-133, -126, -60, 100] {
        let [a, b] = [7, 33].map(|rows| -> Vec<bf16> {
            let number = |_| data.number(low, low + 24);
            (0..rows * 50).map(number).map(bf16::from_f32).collect()
        });
        run.plain(MatRef::new(&a, 7, 50)?, MatRef::new(&b, 33, 50)?)?;
    }
    Ok(())
}

/// Scales that are zero, negative, huge, Inf and NaN; all pairs of bytes of E8M0 and of E4M3.
fn scales(run: &mut Run) -> quarter::Result<()> {
    const LIST: [f32; 9] =
        [1.5, 0.0, -0.0, -2.0, power(-126), power(127), 3e-39, f32::INFINITY, f32::NAN];
    let mut data = Data::new(8);
    let mut codes = |n: usize| -> Vec<u8> {
        let code = |word: u64| (word % 0x7f) as u8 | (word >> 32) as u8 & 0x80;
        (0..n).map(|_| code(data.word())).collect()
    };
    let block = Granularity::Block { rows: 1, cols: 8 };
    for grain in [Granularity::Tensor, Granularity::Row, block] {
        for unusual in LIST {
            let mut operand = |rows: usize, every: usize| {
                let usual = |i: usize| 0.375 + (i * i % 7) as f32;
                let scale = |i: usize| if i.is_multiple_of(every) { unusual } else { usual(i) };
                let scale_inv = (0..grain.groups(rows, 24)).map(scale).collect();
                let scales = Scales::F32 { scale: None, scale_inv };
                Quantized::from_parts(FormatId::F8E4M3, (rows, 24), grain, codes(rows * 24), scales)
            };
            let (a, b) = (operand(9, 4)?, operand(18, 7)?);
            for sum in BlockSum::ALL {
                let sums = Accumulation { block_sum: Some(*sum), ..Accumulation::default() };
                run.product(&a, &b, Out::F32, &GemmOptions::new().sums(sums))?;
            }
        }
    }
    let bytes = || 0..=u8::MAX;
    for code in [0x01, 0x38, 0x7e] {
        let scales = Scales::E8M0(bytes().collect());
        let (shape, grain) = ((256, 32), Granularity::BLOCK_1X32);
        let codes = (0..256 * 32).map(|i| if i % 32 < 3 { code } else { 0 }).collect();
        let all = Quantized::from_parts(FormatId::F8E4M3, shape, grain, codes, scales)?;
        run.plain(&all, &all)?;
    }
    for global_scale_inv in [1.0, 0.0, -3e-20, f32::INFINITY] {
        let scales = Scales::E4M3 { scale_inv: bytes().collect(), global_scale_inv };
        let (shape, grain) = ((256, 16), Granularity::BLOCK_1X16);
        let codes = (0..256 * 16).map(|i| (i * 7 % 16) as u8).collect();
        let all = Quantized::from_parts(FormatId::F4E2M1, shape, grain, codes, scales)?;
        run.plain(&all, &all)?;
    }
    Ok(())
}

/// alpha, beta and C, bias, activations, amax; every type of output.
fn outputs(run: &mut Run) -> quarter::Result<()> {
    const M: usize = 21;
    const N: usize = 45;
    let mut data = Data::new(9);
    let [a, b] = pair(run, &mut data, KINDS[2], (M, N, 100))?;
    let (a, b) = (a.input()?, b.input()?);
    let c = data.matrix(M, N);
    let turned = data.matrix(N, M);
    let halves = data.halves(M, N);
    let wide: Vec<f64> = c.iter().map(|x| f64::from(*x) * 1.000_000_01).collect();
    let narrow: Vec<f16> = c.iter().map(|x| f16::from_f32(*x)).collect();
    let matrices = [
        MatRef::new(&c, M, N)?,
        MatRef::new(&turned, N, M)?.transposed(),
        MatRef::new(&halves, M, N)?,
        MatRef::new(&wide, M, N)?,
        MatRef::new(&narrow, M, N)?,
    ];
    let (nan, bias) = ([f32::NAN; M * N], data.matrix(1, N));
    let plain = GemmOptions::new();
    let mut all = vec![plain, plain.alpha(-0.3), plain.accumulate(1.0), plain.accumulate(-0.7)];
    all.extend(matrices.map(|c| plain.c(1.0, c)));
    all.extend(matrices.map(|c| plain.alpha(0.37).c(-1.9, c).bias(&bias)));
    all.extend([plain.c(0.0, MatRef::new(&nan, M, N)?), plain.c(f32::NAN, matrices[0])]);
    for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
        let options = plain.alpha(0.01).bias(&bias).activation(activation);
        all.extend([options, options.amax(), options.accumulate(0.5).amax()]);
    }
    for options in &all {
        for out in [Out::F32, Out::Bf16, Out::F16, Out::F64, Out::Apart(3)] {
            run.product(a, b, out, options)?;
        }
    }
    let numbers = narrow_numbers();
    for (format, options) in numbers.flat_map(|format| all.iter().map(move |o| (format, o))) {
        let into = |run: &mut Run, scale| run.product(a, b, Out::Codes(format, scale), options);
        match into(run, 0.03) {
            Err(quarter::Error::Cast { .. }) => {} // codes are not accumulated into
            done => done?,
        }
    }
    // Activations of what they may meet.
    let (one, list) = ([1.0_f32], specials());
    let ramp: Vec<f32> = (0..4000).map(|_| data.number(-30, 8)).collect();
    for values in [&list, &ramp] {
        for activation in [Activation::Relu, Activation::Gelu] {
            let options = plain.activation(activation).amax();
            let (a, b) = (MatRef::new(values, values.len(), 1)?, MatRef::new(&one, 1, 1)?);
            run.product(a, b, Out::F32, &options)?;
            run.product(b, a, Out::Bf16, &options)?;
        }
    }
    Ok(())
}

fn narrow_numbers() -> impl Iterator<Item = FormatId> {
    narrow().filter(|format| format.spec().has_zero())
}

/// Strides, rows of a view, packed codes, packed operands, and what threads share.
fn layouts(run: &mut Run) -> quarter::Result<()> {
    let mut data = Data::new(10);
    let (x, y) = (data.matrix(67, 40), data.halves(67, 40));
    let [f32s, bf16s] = [MatRef::new(&x, 67, 40)?, MatRef::new(&y, 67, 40)?];
    let apart = MatRef::with_strides(&x, (13, 9), (200, 4))?;
    for (a, b) in [(f32s, f32s), (bf16s, f32s), (bf16s, bf16s), (apart, apart)] {
        run.plain(a.transposed(), b.transposed())?;
        run.plain(a, b)?;
    }
    for kind in KINDS {
        let [a, mut b] = pair(run, &mut data, kind, (17, 150, 260))?;
        let packed = Packed::new(b.input()?)?;
        for rows in [1, 5, 17] {
            let a = data.matrix(rows, 260);
            run.plain(cast(run, kind[0], &a, (rows, 260))?.input()?, &packed)?;
        }
        run.plain(a.input()?, &packed)?;
        let Kept::Quantized(codes) = &mut b else { continue };
        for (from, to) in [(0, 150), (3, 131), (128, 150), (7, 7)] {
            run.plain(a.input()?, codes.view().slice_rows(from, to)?)?;
        }
        if codes.format().spec().bits() < 8 {
            codes.pack()?;
            run.plain(a.input()?, &*codes)?;
        }
    }
    for kind in KINDS {
        for shape in [(150, 160, 400), (8, 1000, 1100), (1, 300, 2500)] {
            let [a, b] = pair(run, &mut data, kind, shape)?;
            run.plain(a.input()?, b.input()?)?;
            run.plain(a.input()?, &Packed::new(b.input()?)?)?;
        }
    }
    Ok(())
}
