//! `quarter gemm`: one matrix product of arrays or tensors, how long it takes, and how far it is
//! from the same in f64.
//!
//! ```text
//!  FILE ──operand──► numbers, codes ──recipe──► operands ──gemm_nt──► output ──► D.npy
//!                                                  └──────measure──────┘└──► the lines printed
//!                                                  └─other units─►compare┘
//! ```

pub mod compare;
pub mod measure;
pub mod operand;
pub mod output;
pub mod selftest;
pub mod side;

use crate::array::{Array, Taken};
use crate::inspect::count;
use crate::output::Output;
use crate::units::OnUnit;
use anyhow::{Context as _, bail, ensure};
use compare::{Other, difference};
use measure::{Errors, Sum, errors};
use operand::{Given, Operand};
use output::Results;
use quarter::gemm::{Accumulation, BlockSum, GemmOptions, Workspace, gemm_nt_in};
use quarter::mma::{TF32, Unit};
use quarter::recipe::{self, GemmRecipe, Pass};
use quarter::{FormatId, Isa};
use side::{Layout, Side};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Arguments of `quarter gemm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
D[M, N] = A[M, K] . B[N, K]^T, sums in f32, the same bits on every machine.
A and B: an .npy array of numbers (float64, float32, float16), which --a-format rounds to bf16 or f16 or \
cuts off to tf32; with --a-format of codes as uint8 (uint16 for bf16 and f16), --a-scale being what they \
are multiplied by: float32 (or uint8 for those of e8m0) for the array, each row, or each block as the \
shape says. Or a safetensors file, an index or a directory: \
codes with scales as `quarter quantize` writes them and models have them, or numbers; --a-tensor names \
one of several tensors.
With --recipe, A and B are a layer's tensors in their own layout, and are cast and turned as it says: \
fprop y[T, O] of x[T, I] and w[O, I], dgrad dx[T, I] of dy[T, O] and w[O, I], wgrad dw[O, I] of dy[T, O] \
and x[T, I]. Histories are not known here: delayed casts take the tensor's own amax. Codes are taken if \
the recipe's cast made them.
With --unit, sums are those of a chip's matrix unit, bit for bit as far as it is known: `quarter units` \
says what each multiplies. Its chains run over all of K but for --promote, --split-k and blocks of \
scales, where they join in f32; with --recipe, a unit that keeps 13 bits is promoted every 128 elements \
unless the recipe is fast. Where nothing joins and nothing but the unit itself scales, C is what it \
begins with, else C is added last in f32. Units for tf32 take float32, and cut it off. --compare computes \
the same product through other units, promoted and split at the same places, and prints where they differ: ulps \
are steps from one float32 to the next, relative is |x - y| / max(|x|, |y|).
D.npy has float32; with --out-type bf16 or f16 their codes as uint16, with another format uint8.
The error is that against f64 sums of the operands as they were multiplied, of all rows or, for large \
products, of some that lie evenly. The bound is gamma(h) sum |a b|, gamma(h) = h u / (1 - h u), \
u = 2^-24, h roundings in a row, and what C, the output's type and subnormal numbers add: \
no element may be beyond it. For a unit's sums, but for those of `exact`, \
`quarter report products --unit NAME` holds drawn data to one.
--selftest multiplies a fixed list and compares the digest of all results with the one that every \
machine has.")]
pub struct Args {
    /// The left operand
    #[arg(value_name = "A", required_unless_present = "selftest")]
    a: Option<PathBuf>,
    /// The right operand
    #[arg(value_name = "B", required_unless_present = "selftest")]
    b: Option<PathBuf>,
    /// Where the result goes; without, nothing is written
    #[arg(short, long, value_name = "D.npy")]
    output: Option<PathBuf>,
    /// The format of the codes in A.npy; of numbers, bf16, f16 or tf32
    #[arg(long, value_name = "FORMAT")]
    a_format: Option<Taken>,
    /// The format of the codes in B.npy; of numbers, bf16, f16 or tf32
    #[arg(long, value_name = "FORMAT")]
    b_format: Option<Taken>,
    /// What the codes in A.npy are multiplied by
    #[arg(long, value_name = "S.npy")]
    a_scale: Option<PathBuf>,
    /// What the codes in B.npy are multiplied by
    #[arg(long, value_name = "S.npy")]
    b_scale: Option<PathBuf>,
    /// The tensor of A, where there are several
    #[arg(long, value_name = "NAME")]
    a_tensor: Option<String>,
    /// The tensor of B, where there are several
    #[arg(long, value_name = "NAME")]
    b_tensor: Option<String>,
    /// Cast A and B as this recipe does; NAME@UNIT is on a unit
    #[arg(long, value_name = "NAME", requires = "pass")]
    recipe: Option<OnUnit>,
    /// Which of its products: fprop, dgrad or wgrad
    #[arg(long, value_name = "PASS", requires = "recipe")]
    pass: Option<Pass>,
    /// A matrix [M, N] of numbers that is added: D = A . B^T + C
    #[arg(long, value_name = "C.npy")]
    c: Option<PathBuf>,
    /// The matrix unit whose sums these are (`quarter units` has the names)
    #[arg(long, value_name = "NAME")]
    unit: Option<&'static Unit>,
    /// Partial sums join after so many elements of K (1024, or as the recipe says; with --unit, never)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    promote: Option<u32>,
    /// K in so many parts that a unit sums apart
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    split_k: Option<u32>,
    /// Show where the product through these units differs, or that with sums in f32
    #[arg(long, value_name = "NAME|f32", value_delimiter = ',')]
    compare: Vec<Other>,
    /// How blocks with f32 scales join: deepseek, deepgemm or te (or as the casts' engine does)
    #[arg(long, value_name = "RULE")]
    block_sum: Option<BlockSum>,
    /// What the result becomes: f32, bf16, f16, or a format of up to 8 bits
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    out_type: FormatId,
    /// What the result is multiplied by before it becomes codes of up to 8 bits (1)
    #[arg(long, value_name = "S")]
    out_scale: Option<f32>,
    /// Check that this machine computes the bits of all others
    #[arg(long, conflicts_with_all = [
        "a", "b", "output", "a_format", "b_format", "a_scale", "b_scale", "a_tensor", "b_tensor",
        "recipe", "pass", "c", "unit", "promote", "split_k", "compare", "block_sum", "out_type",
        "out_scale",
    ])]
    selftest: bool,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// Elements of D where K is 0, and rows of an array without elements: a header of some bytes may ask
/// for any number.
const MOST_OF_NOTHING: usize = 1 << 20;

/// Multiplies; gives the lines that are printed.
///
/// # Errors
/// What is wrong, with the file or the flag it is wrong with. Then no output file is left.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let (Some(a), Some(b)) = (&args.a, &args.b) else {
        ensure!(args.selftest, "A and B are needed");
        return run_selftest(selftest::EXPECTED);
    };
    let given = [
        Given {
            side: "a",
            path: a,
            format: args.a_format,
            scale: args.a_scale.as_deref(),
            tensor: args.a_tensor.as_deref(),
        },
        Given {
            side: "b",
            path: b,
            format: args.b_format,
            scale: args.b_scale.as_deref(),
            tensor: args.b_tensor.as_deref(),
        },
    ];
    let gemm = args.recipe.as_ref().zip(args.pass).map(|(recipe, pass)| recipe.0.gemm(pass));
    let sums = sums(args, gemm)?;
    let operands = [given[0].read()?, given[1].read()?];
    let casts = gemm.map(|gemm| [gemm.a, gemm.b]);
    let operands =
        if cuts_off(sums.unit, casts) { operands.map(Operand::cut_to_tf32) } else { operands };
    let labels = [given[0].label(), given[1].label()];
    let layout = Layout::of(args.pass);
    let (m, n, k) = layout.shape([&operands[0], &operands[1]], [&labels[0], &labels[1]])?;
    check_empty((m, n, k), [&labels[0], &labels[1]])?;
    let c = args.c.as_deref().map(|path| addend(path, (m, n))).transpose()?;
    let mut results = Results::new((m, n), args.out_type, args.out_scale)?;
    let begun = match &args.output {
        Some(path) => Some((Output::create(path)?, path)),
        None => None,
    };

    let start = Instant::now();
    let [a_turned, b_turned] = layout.turned();
    let a = Side::new(&operands[0], gemm.map(|gemm| gemm.a), a_turned);
    let a = a.with_context(|| labels[0].clone())?;
    let b = Side::new(&operands[1], gemm.map(|gemm| gemm.b), b_turned);
    let b = b.with_context(|| labels[1].clone())?;
    let casts = start.elapsed();

    let mut options = GemmOptions::new().sums(sums);
    if let Some(c) = &c {
        options = options.c(1.0, c.matrix()?);
    }
    let [a_text, b_text] =
        [(&labels[0], &a), (&labels[1], &b)].map(|(l, s)| format!("{l}: {}", s.text));
    let times = multiply(&a, &b, &mut results, &options);
    let times = match sums.unit {
        None => times?,
        Some(_) => times.with_context(|| format!("{a_text}, {b_text}"))?,
    };
    let sum = a.sum(&b, k, sums, c.as_ref());
    let found = match (a.exact(), b.exact()) {
        (Some(a), Some(b)) => errors([&a, &b], (m, n), &sum, &results),
        _ => Errors::default(),
    };
    let compared = compare(&args.compare, [&a, &b], &results, &options, sums)?;
    if let Some((output, path)) = begun {
        results.write(output, path)?;
    }

    let mut text = format!("shape  M {m}  N {n}  K {k}\na      {a_text}\nb      {b_text}\n");
    if let Some(unit) = sums.unit {
        write!(text, "unit   {unit}  {}", unit.hardware())?;
        if let Some(promote) = sums.promote {
            write!(text, ", promoted every {promote}")?;
        }
        if let Some(parts) = sums.split_k {
            write!(text, ", K in {parts} parts")?;
        }
        writeln!(text)?;
    }
    let time = times[times.len() / 2];
    let flops = 2.0 * m as f64 * n as f64 * k as f64;
    let speed = flops / time.as_secs_f64().max(1e-9) / 1e9;
    write!(text, "time   {}", milliseconds(time))?;
    if times.len() > 1 {
        write!(text, " (median of {})", times.len())?;
    }
    if gemm.is_some() {
        write!(text, "  casts {}", milliseconds(casts))?;
    }
    writeln!(text, "  {speed:.1} GFLOP/s  {}", means())?;
    report(&mut text, &found, &sum, m)?;
    text.push_str(&compared);
    Ok(text)
}

/// How sums are kept: as the recipe says, but for what is said beside it.
fn sums(args: &Args, gemm: Option<&GemmRecipe>) -> anyhow::Result<Accumulation> {
    let said = gemm.map_or(Accumulation::default(), |gemm| gemm.sums);
    let mut sums = Accumulation {
        promote: args.promote.or(said.promote),
        block_sum: args.block_sum.or(said.block_sum),
        split_k: args.split_k.or(said.split_k),
        ..said
    };
    if let Some(unit) = args.unit {
        sums = match gemm {
            None => Accumulation { unit: Some(unit), ..sums },
            Some(gemm) => GemmRecipe { sums, ..*gemm }.on(unit)?.sums,
        };
    }
    let through = sums.unit.or(args.compare.iter().find_map(|other| other.unit()));
    ensure!(
        through.is_some() || args.split_k.is_none(),
        "--split-k is for units: name one with --unit"
    );
    let out = args.out_type;
    ensure!(
        args.compare.is_empty() || out == FormatId::F32,
        "--compare is for results of f32, and --out-type is {out}"
    );
    Ok(sums)
}

/// Whether a unit multiplies f32 without their lower bits, and nothing is cast before.
fn cuts_off(unit: Option<&Unit>, casts: Option<[recipe::Operand; 2]>) -> bool {
    let as_they_are = casts.is_none_or(|casts| casts == [recipe::Operand::F32; 2]);
    as_they_are && unit.is_some_and(|unit| unit.takes(&TF32, &TF32))
}

/// Where the products through other units differ: the lines that are printed.
fn compare(
    others: &[Other],
    [a, b]: [&Side<'_>; 2],
    results: &Results,
    options: &GemmOptions<'_>,
    sums: Accumulation,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for other in others {
        let (mut there, (_, n)) = (results.empty()?, results.shape());
        let options = options.sums(Accumulation { unit: other.unit(), ..sums });
        let context = || format!("--compare {}", other.name());
        let done =
            gemm_nt_in(&mut Workspace::new(), a.input()?, b.input()?, there.place()?, &options);
        done.with_context(context)?;
        write!(text, "\n{}", difference(results.singles(), there.singles()).lines(*other, n))?;
    }
    Ok(text)
}

/// That little was given does not ask for much.
fn check_empty((m, n, k): (usize, usize, usize), [a, b]: [&str; 2]) -> anyhow::Result<()> {
    let most = MOST_OF_NOTHING;
    if m == 0 || n == 0 || k == 0 {
        let all = m.saturating_mul(n).max(m).max(n).max(k);
        ensure!(
            all <= most,
            "{a} or {b} has 0 elements, M, N, K are {m}, {n}, {k}, and without elements {most} \
             rows, columns and results are the most"
        );
    }
    Ok(())
}

/// The matrix that is added.
fn addend(path: &Path, (m, n): (usize, usize)) -> anyhow::Result<Array> {
    let label = path.display();
    let c = Array::read(path, "added").with_context(|| label.to_string())?;
    let (rows, cols) = (c.rows, c.cols);
    ensure!((rows, cols) == (m, n), "{label} is [{rows}, {cols}], and D is [M, N] = [{m}, {n}]");
    Ok(c)
}

/// Multiplies, short products some times; gives the times, the shortest first.
fn multiply(
    a: &Side<'_>,
    b: &Side<'_>,
    results: &mut Results,
    options: &GemmOptions<'_>,
) -> anyhow::Result<Vec<Duration>> {
    const RUNS: usize = 9;
    const ENOUGH: Duration = Duration::from_millis(300);
    let (mut workspace, mut times) = (Workspace::new(), Vec::new());
    let start = Instant::now();
    while times.is_empty() || (times.len() < RUNS && start.elapsed() < ENOUGH) {
        let (a, b) = (a.input()?, b.input()?);
        let begun = Instant::now();
        gemm_nt_in(&mut workspace, a, b, results.place()?, options)?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}

/// The lines about errors.
fn report(text: &mut String, found: &Errors, sum: &Sum<'_>, m: usize) -> anyhow::Result<()> {
    let Errors { rows, compared, not_finite, saturated, max, worst, beyond, .. } = *found;
    if compared == 0 {
        write!(text, "error  nothing to compare")?;
    } else {
        write!(
            text,
            "error  max {max:.3e}  rms {:.3e}  of {} elements",
            found.rms(),
            count(compared)
        )?;
    }
    if rows < m {
        write!(text, " in {rows} of {m} rows")?;
    }
    for (n, what) in [(not_finite, "not finite"), (saturated, "saturated")] {
        if n > 0 {
            write!(text, ", {} {what}", count(n))?;
        }
    }
    if let Some(unit) = sum.unbounded() {
        write!(
            text,
            "\nbound  not computed for the sums of {unit} (`quarter report products --unit {unit}` \
             holds drawn data to one)"
        )?;
        return Ok(());
    }
    let h = sum.roundings();
    write!(text, "\nbound  gamma({h})  largest error/bound {worst:.3}  beyond it {beyond}")?;
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// Instruction set and threads.
fn means() -> String {
    let inside = rayon::current_thread_index().is_some();
    let threads = if inside { rayon::current_num_threads() } else { 1 };
    let many = if threads == 1 { "" } else { "s" };
    format!("{}  {threads} thread{many}", Isa::best().name())
}

/// Runs the list as the command does; gives what is printed.
///
/// # Errors
/// If the digest is not `expected`.
pub fn run_selftest(expected: u64) -> anyhow::Result<String> {
    let (groups, digest) = selftest::digest(selftest::PRODUCT, Isa::best(), 0)?;
    let means = means();
    if digest != expected {
        let part = |group: &selftest::Group| format!("{} {:016x}", group.name, group.digest);
        let parts: Vec<_> = groups.iter().map(part).collect();
        bail!(
            "selftest: the digest is {digest:016x}, but {expected:016x} is expected ({means}; {})",
            parts.join(", ")
        );
    }
    let mut text = String::new();
    let wide = groups.iter().map(|group| group.name.len()).max().unwrap_or(0);
    for selftest::Group { name, products, digest } in &groups {
        writeln!(text, "{name:wide$}  {products:>5} products  {digest:016x}")?;
    }
    write!(text, "digest {digest:016x}, as expected  {means}")?;
    Ok(text)
}
