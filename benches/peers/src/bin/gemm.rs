//! quarter's matrix products against the other Rust libraries', in the same rounds.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin gemm
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin gemm -- --shapes 512x512x512 --threads 1
//! ```
//!
//! The others multiply f32: none of them has a kernel for FP8, and bf16 only by way of f32. All
//! choose their instruction set when they run. Each number of threads has a process of its own,
//! because matrixmultiply asks for it once.

#[allow(dead_code)] // some of it is for conversions of slices
#[path = "../../../harness/mod.rs"]
mod harness;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use harness::Suite;
use harness::data::normals;
use harness::machine;
use harness::matrix::{Matrix, Room};
use harness::products::{Contest, Runner};
use quarter::Isa;
use quarter::gemm::GemmOptions;
use quarter::recipe::GemmRecipe;

const SHAPES: [[usize; 3]; 2] = [[1024; 3], [2048; 3]];
/// What tells matrixmultiply its number of threads.
const VARIABLE: &str = "MATMUL_NUM_THREADS";

/// Who multiplies f32: a \[m, k\] by the transpose of b \[n, k\].
type Multiply = fn(shape: [usize; 3], threads: usize, a: &[f32], b: &[f32], out: &mut [f32]);

const PEERS: [(&str, Multiply); 3] = [
    ("faer f32", |[m, n, k], threads, a, b, out| {
        let parallel = if threads == 1 { Par::Seq } else { Par::rayon(threads) };
        matmul(
            MatMut::from_row_major_slice_mut(out, m, n),
            Accum::Replace,
            MatRef::from_row_major_slice(a, m, k),
            MatRef::from_row_major_slice(b, n, k).transpose(),
            1.0,
            parallel,
        );
    }),
    ("gemm f32", |[m, n, k], threads, a, b, out| {
        use gemm::Parallelism::{None, Rayon};
        let parallel = if threads == 1 { None } else { Rayon(threads) };
        let [row, k_row] = [n, k].map(|stride| stride as isize);
        assert!(a.len() == m * k && b.len() == n * k && out.len() == m * n);
        // SAFETY: the slices are as long as shapes and strides say, which was checked.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                row,
                false,
                a.as_ptr(),
                1,
                k_row,
                b.as_ptr(),
                k_row,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                parallel,
            );
        }
    }),
    ("matrixmultiply f32", |[m, n, k], _, a, b, out| {
        let [row, k_row] = [n, k].map(|stride| stride as isize);
        assert!(a.len() == m * k && b.len() == n * k && out.len() == m * n);
        // SAFETY: the slices are as long as shapes and strides say, which was checked.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.as_ptr(),
                k_row,
                1,
                b.as_ptr(),
                1,
                k_row,
                0.0,
                out.as_mut_ptr(),
                row,
                1,
            );
        }
    }),
];

const OURS: [(&str, &str); 3] = [
    ("quarter e4m3", "e4m3:tensor:torchao*e4m3:tensor:torchao"),
    ("quarter bf16", "bf16*bf16"),
    ("quarter f32", "f32*f32"),
];

fn main() {
    if std::env::var_os(VARIABLE).is_none() {
        return for_each_number_of_threads();
    }
    // Starts matrixmultiply's threads before this one is held to a core, which they would inherit.
    let mut out = vec![0.0; 512 * 512];
    PEERS[2].1([512; 3], 0, &normals(512 * 512, 1), &normals(512 * 512, 2), &mut out);

    let suite = Suite::new("quarter and its peers: matrix products", &[]);
    let shapes = if suite.options.shapes.is_empty() { &SHAPES[..] } else { &suite.options.shapes };
    for shape in shapes {
        for &threads in &suite.options.threads {
            contest(&suite, *shape, threads);
        }
    }
}

fn contest(suite: &Suite, shape: [usize; 3], threads: usize) {
    let [m, n, k] = shape;
    let (x, w) = (normals(m * k, 1), normals(n * k, 2));
    let operations = 2.0 * m as f64 * n as f64 * k as f64;
    let mut runners: Vec<Runner<'_, Room>> = [false, true]
        .iter()
        .filter_map(|pairs| Runner::peak(Isa::best(), *pairs, threads))
        .collect();
    let first = runners.len();
    for (name, text) in OURS {
        let gemm: GemmRecipe = text.parse().expect("A*B");
        let (a, b) = (Matrix::new(&gemm.a, &x, [m, k]), Matrix::new(&gemm.b, &w, [n, k]));
        let options = GemmOptions::new().threads(threads);
        let of = if text.starts_with("f32") { 0 } else { first - 1 };
        runners.push(Runner::product(name, operations, &[of], move |room: &mut Room| {
            room.product(a.input(), b.input(), &options, false);
        }));
    }
    for (name, multiply) in PEERS {
        let (x, w) = (&x, &w);
        runners.push(Runner::product(name, operations, &[0], move |room: &mut Room| {
            multiply(shape, threads, x, w, &mut room.f32);
        }));
    }
    let case = format!("{m}x{n}x{k}");
    let contest = Contest { case, threads, runners, first: vec![first, first + 2] };
    if suite.wants(&contest.case, threads) {
        machine::pool(threads).install(|| agree(shape, threads, &x, &w));
        let mut room = Room::default();
        room.f32.resize(m * n, 0.0);
        suite.contest(&mut room, &contest);
    }
}

/// That everyone multiplies the same.
fn agree([m, n, k]: [usize; 3], threads: usize, x: &[f32], w: &[f32]) {
    let mut room = Room::default();
    let gemm: GemmRecipe = OURS[2].1.parse().expect("A*B");
    let [a, b] =
        [(&gemm.a, x, m), (&gemm.b, w, n)].map(|(o, v, rows)| Matrix::new(o, v, [rows, k]));
    room.product(a.input(), b.input(), &GemmOptions::new(), false);
    for (name, multiply) in PEERS {
        let mut out = vec![f32::NAN; m * n];
        multiply([m, n, k], threads, x, w, &mut out);
        let close = |(x, y): (&f32, &f32)| (x - y).abs() < 1e-3 * (k as f32).sqrt();
        assert!(out.iter().zip(&room.f32).all(close), "{name} multiplies something else");
    }
}

/// Runs this program again for each number of threads that its arguments ask for.
fn for_each_number_of_threads() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let at = args.iter().position(|arg| arg == "--threads");
    let list = at.and_then(|at| {
        let list = args.get(at + 1).cloned();
        args.drain(at..(at + 2).min(args.len()));
        list
    });
    for threads in list.as_deref().unwrap_or("1,2").split(',') {
        let own = std::env::current_exe().expect("the path of this program");
        let mut command = std::process::Command::new(own);
        command.args(&args).args(["--threads", threads]).env(VARIABLE, threads);
        let status = command.status().expect("this program starts");
        if !status.success() {
            std::process::exit(status.code().unwrap_or(1));
        }
    }
}
