//! Timing of products on demand, so that another program may take turns with this one.
//!
//! Each line of standard input asks for one: `PRODUCT M N K THREADS OUT TURNS SECONDS`, where PRODUCT
//! is `A*B` as in a recipe, OUT `f32` or `bf16`, and TURNS how many b are multiplied in turn. The
//! answer is a line with the seconds of one product, after as many as take SECONDS. What a shape
//! needs is kept until another is asked for.

use super::data::normals;
use super::machine;
use super::matrix::{Matrix, Room};
use quarter::gemm::GemmOptions;
use quarter::recipe::GemmRecipe;
use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

/// A product's operands and room.
struct Job {
    gemm: GemmRecipe,
    a: Matrix,
    bs: Vec<Matrix>,
    room: Room,
}

impl Job {
    fn new(product: &str, [m, n, k]: [usize; 3], turns: usize) -> Self {
        let gemm: GemmRecipe = product.parse().expect("A*B");
        let a = Matrix::new(&gemm.a, &normals(m * k, 1), [m, k]);
        let b = Matrix::new(&gemm.b, &normals(n * k, 2), [n, k]);
        Self { gemm, a, bs: vec![b; turns.max(1)], room: Room::default() }
    }

    /// Seconds of a product.
    fn time(&mut self, threads: usize, to_bf16: bool, seconds: f64) -> f64 {
        let options = GemmOptions::new().threads(threads).sums(self.gemm.sums);
        let mut run = || {
            let b = &self.bs[self.room.turn(self.bs.len())];
            self.room.product(self.a.input(), b.input(), &options, to_bf16);
        };
        run(); // wakes threads, fills caches
        let (start, mut runs) = (Instant::now(), 0);
        loop {
            run();
            runs += 1;
            let elapsed = start.elapsed().as_secs_f64();
            if elapsed >= seconds {
                return elapsed / f64::from(runs);
            }
        }
    }
}

/// Until standard input ends.
pub fn serve() {
    let mut jobs = BTreeMap::new();
    let mut last = [0; 3];
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [product, m, n, k, threads, out, turns, seconds] = words[..] else {
            panic!("PRODUCT M N K THREADS OUT TURNS SECONDS, not {line:?}");
        };
        let [m, n, k, threads, turns] =
            [m, n, k, threads, turns].map(|word| word.parse::<usize>().expect("a number"));
        let seconds = seconds.parse::<f64>().expect("seconds");
        if last != [m, n, k] {
            jobs.clear();
            last = [m, n, k];
        }
        let job = jobs
            .entry((product.to_owned(), turns))
            .or_insert_with(|| Job::new(product, [m, n, k], turns));
        let mut time = || job.time(threads, out == "bf16", seconds);
        let taken = if threads == 1 { time() } else { machine::pool(threads).install(time) };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{taken:e}").and_then(|()| stdout.flush()).expect("standard output");
    }
}
