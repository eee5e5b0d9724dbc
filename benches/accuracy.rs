//! Comparing slices, beside a loop that only reads them.
//!
//! ```text
//! cargo bench --bench accuracy -- --sizes 16M --threads 1
//! ```

#[allow(dead_code)] // some of it is for conversions of slices and for products
mod harness;

use harness::{Entry, Group, Suite};
use quarter::accuracy::{CompareOptions, Distribution, Metrics};
use quarter::tensor::MatRef;
use quarter::{FormatId, Granularity, Isa};

const COLS: usize = 4096;

struct Data {
    actual: Vec<f32>,
    expected: Vec<f32>,
    actual_f64: Vec<f64>,
    expected_f64: Vec<f64>,
}

impl Data {
    fn new(n: usize) -> Self {
        let expected = Distribution::Uniform.matrix(n / COLS, COLS, 1);
        let actual: Vec<f32> =
            expected.iter().map(|x| quarter::F8E4M3::from_f32(*x).to_f32()).collect();
        let [actual_f64, expected_f64] =
            [&actual, &expected].map(|x| x.iter().map(|x| f64::from(*x)).collect());
        Self { actual, expected, actual_f64, expected_f64 }
    }
}

/// The exclusive or of all bits.
fn read(values: &[f32]) -> u32 {
    let read = |values: &[f32]| values.iter().fold(0, |all, x| all ^ x.to_bits());
    if rayon::current_thread_index().is_none() {
        return read(values);
    }
    let (a, b) = values.split_at(values.len() / 2);
    let (a, b) = rayon::join(|| read(a), || read(b));
    a ^ b
}

fn entry(name: &str, bytes: f64, run: impl Fn(&mut Data) + Send + Sync + 'static) -> Entry<Data> {
    Entry { name: name.into(), bytes, run: Box::new(run) }
}

fn main() {
    let suite = Suite::new("accuracy", &[1 << 16, 1 << 24]);
    let options = CompareOptions::new(FormatId::F8E4M3.spec());
    for n in suite.options.sizes.clone() {
        let n = n / COLS * COLS;
        let mut data = Data::new(n);
        for threads in suite.options.threads.clone() {
            let mut entries = vec![entry("read of as many bytes", 8.0, |d| {
                std::hint::black_box(read(&d.actual) ^ read(&d.expected));
            })];
            for isa in Isa::available() {
                entries.push(entry(&format!("f32, {}", isa.name()), 8.0, move |d| {
                    let options = options.isa(isa);
                    std::hint::black_box(Metrics::of(&d.actual, &d.expected, &options).ok());
                }));
            }
            entries.push(entry("f64", 16.0, move |d| {
                let metrics = Metrics::of(&d.actual_f64, &d.expected_f64, &options);
                std::hint::black_box(metrics.ok());
            }));
            entries.push(entry("f32 with a histogram", 8.0, move |d| {
                let options = options.histogram(true);
                std::hint::black_box(Metrics::of(&d.actual, &d.expected, &options).ok());
            }));
            entries.push(entry("f32 with magnitudes", 12.0, move |d| {
                let magnitudes = &d.expected;
                let metrics = Metrics::of_product(&d.actual, &d.expected, magnitudes, &options);
                std::hint::black_box(metrics.ok());
            }));
            for granularity in [Granularity::Row, Granularity::BLOCK_1X32] {
                entries.push(entry(&format!("f32 by {granularity}"), 8.0, move |d| {
                    let [actual, expected] = [&d.actual, &d.expected]
                        .map(|x| MatRef::new(x, x.len() / COLS, COLS).expect("whole rows"));
                    let groups = Metrics::by_group(actual, expected, granularity, &options);
                    std::hint::black_box(groups.ok());
                }));
            }
            let case = "metrics of pairs".into();
            suite.group(&mut data, &Group { case, elements: n, threads, entries });
        }
    }
}
