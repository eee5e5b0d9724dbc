//! Matrix products: every path against the definition, with messages that diagnose. Operands are
//! in `factor`, options and outputs in `call`, their bounds in `bound`, random ones in `draw`.

#[cfg(feature = "std")]
mod bound;
mod call;
pub mod draw;
mod factor;

pub use call::{C, Call, Out, Results};
pub use factor::{Factor, Words, cuts, implied, ordinary, sums};

use half::{bf16, f16};
use quarter::gemm::{Activation, Blocking, GemmInput, Packed, Workspace, gemm_nt_in, reference};
use quarter::{Error, Isa};
use std::sync::LazyLock;

/// One way to compute a product.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub isa: Isa,
    pub threads: usize,
    pub blocking: Blocking,
    /// Whether the right operand is packed before.
    pub packed: bool,
}

/// The sizes that are chosen, the least there are, and two of which many fit and few.
pub const BLOCKINGS: [Blocking; 4] = [
    Blocking { k: 0, m: 0, n: 0 },
    Blocking { k: 1, m: 1, n: 1 },
    Blocking { k: 64, m: 28, n: 64 },
    Blocking { k: 2048, m: 14, n: 96 },
];

/// Every path with these threads and blockings.
pub fn paths(threads: &[usize], blockings: &[Blocking]) -> Vec<Path> {
    let mut all = Vec::new();
    for isa in Isa::available() {
        for &blocking in blockings {
            for &threads in threads {
                all.extend([false, true].map(|packed| Path { isa, threads, blocking, packed }));
            }
        }
    }
    all
}

/// Paths on one thread, as small products ask for no more: all, but of the slowest instruction set
/// a few.
pub static SMALL: LazyLock<Vec<Path>> = LazyLock::new(|| {
    let few = |path: &Path| path.blocking == BLOCKINGS[if path.packed { 0 } else { 2 }];
    let mut all = paths(&[1], &BLOCKINGS);
    all.retain(|path| path.isa != Isa::SCALAR || few(path));
    all
});

/// A pool of three threads.
pub static POOL: LazyLock<rayon::ThreadPool> =
    LazyLock::new(|| rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap());

/// The product on a path, in memory that others used.
pub fn product(
    path: Path,
    space: &mut Workspace,
    a: &Factor,
    b: GemmInput<'_>,
    call: &Call,
) -> Result<Results, Error> {
    call.run((a.shape().0, b.shape().0), |out, options| {
        let options = options.isa(path.isa).threads(path.threads).blocking(path.blocking);
        let run = || gemm_nt_in(space, a.input(), b, out, &options);
        if path.threads == 1 { run() } else { POOL.install(run) }
    })
}

/// The product by `reference`, which is what the law says in words.
pub fn defined(a: &Factor, b: &Factor, call: &Call) -> Result<Results, String> {
    let want = call.run((a.shape().0, b.shape().0), |out, options| {
        reference::gemm_nt(a.input(), b.input(), out, &options)
    });
    let want = want.map_err(|error| format!("{a} * {b}, {call}: {error}"))?;
    if call.activation != Activation::Gelu {
        let words = call.in_words(a, b);
        same(a, b, call, "the reference, not the law in words", &want, &words)?;
    }
    Ok(want)
}

/// The first difference between the definition and a path.
pub fn check(a: &Factor, b: &Factor, call: &Call, paths: &[Path]) -> Result<(), String> {
    let want = defined(a, b, call)?;
    let cuts = cuts(a, b, call.sums.promote);
    // Every path meets what the one before it left.
    let mut space = Workspace::new();
    let packed = Packed::new(b.input()).map_err(|error| format!("packing {b}: {error}"))?;
    let whole = cuts[..cuts.len() - 1].iter().all(|cut| cut.is_multiple_of(4));
    for path in paths {
        let right = if path.packed { GemmInput::from(&packed) } else { b.input() };
        match product(*path, &mut space, a, right, call) {
            Ok(got) if whole || !path.packed => {
                let Path { isa, threads, blocking: Blocking { k, m, n }, packed } = path;
                let packed = if *packed { ", packed" } else { "" };
                let name = format!("{}, {threads} threads, {k} {m} {n}{packed}", isa.name());
                same(a, b, call, &name, &got, &want)?;
            }
            Err(Error::Cast { .. }) if path.packed && !whole => {}
            done => return Err(format!("{a} * {b}, {call}, cuts {cuts:?}, {path:?}: {done:?}")),
        }
    }
    Ok(())
}

/// [`check`], which must not find a difference.
#[track_caller]
pub fn assert_same(a: &Factor, b: &Factor, call: &Call, paths: &[Path]) {
    check(a, b, call, paths).unwrap_or_else(|difference| panic!("{difference}"));
}

fn same(
    a: &Factor,
    b: &Factor,
    call: &Call,
    path: &str,
    got: &Results,
    want: &Results,
) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    let ((m, k), n) = (a.shape(), b.shape().0);
    let head = format!("{a} * {b}, {m} x {n} x {k}, {call}: {path}");
    let stride = want.bits.len() / m.max(1);
    let wrong: Vec<usize> =
        (0..want.bits.len()).filter(|i| got.bits[*i] != want.bits[*i]).collect();
    let Some(first) = wrong.first() else {
        return Err(format!("{head}: amax {:08x?}, not {:08x?}", got.amax, want.amax));
    };
    let hex = |bits: u64| match (bits, call.out) {
        (u64::MAX, _) => "NaN".to_owned(),
        (_, Out::F64) => format!("{bits:016x} ({:e})", f64::from_bits(bits)),
        (_, Out::F32) => format!("{bits:08x} ({:e})", f32::from_bits(bits as u32)),
        (_, Out::F16) => format!("{bits:04x} ({:e})", f16::from_bits(bits as u16).to_f32()),
        (_, Out::Bf16) => format!("{bits:04x} ({:e})", bf16::from_bits(bits as u16).to_f32()),
        (_, Out::Codes(format, _)) => super::describe(format.spec(), bits),
    };
    Err(format!(
        "{head}: {} of {} differ, first [{}, {}]\n  got  {}\n  want {}",
        wrong.len(),
        m * n,
        first / stride,
        first % stride,
        hex(got.bits[*first]),
        hex(want.bits[*first])
    ))
}

/// Indices below `n`: all, or a sixteenth in a thin run, at all distances.
pub fn spread_over(n: usize) -> Vec<usize> {
    let every = n.div_ceil(super::share(n).max(1)).max(1);
    (0..n).step_by(every).map(|i| (i + i / every % every).min(n - 1)).collect()
}
