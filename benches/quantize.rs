//! Quantizing matrices under every kind of cast, beside a copy that moves the same bytes.
//!
//! ```text
//! cargo bench --bench quantize                                 # tables
//! cargo bench --bench quantize -- 1x128 --sizes 16M --threads 1
//! ```
//!
//! The yardstick reads and writes as many bytes in all as the row's source and result have.

#[allow(dead_code)] // some of it is for conversions of slices and for products
mod harness;

use half::bf16;
use harness::{Entry, Group, Suite};
use quarter::tensor::{
    Cast, MatMut, MatRef, QuantizeOptions, Quantized, Scales, StatsLevel, fake_quantize_into,
    quantize_both_into, quantize_into,
};
use std::mem::take;

const COLS: usize = 4096;

struct Data {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    out: Vec<f32>,
    out_bf16: Vec<bf16>,
    bytes: Vec<u8>,
    copy: Vec<u8>,
    quantized: Quantized,
    turned: Quantized,
    given: Scales,
}

impl Data {
    fn new(n: usize) -> Self {
        let mut state = 1u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        // Sums of four uniforms: bell-shaped.
        let f32: Vec<f32> =
            (0..n).map(|_| uniform() + uniform() + uniform() + uniform() - 2.0).collect();
        Self {
            bf16: f32.iter().map(|x| bf16::from_f32(*x)).collect(),
            f32,
            out: vec![0.0; n],
            out_bf16: vec![bf16::ZERO; n],
            bytes: vec![1; 4 * n],
            copy: vec![0; 4 * n],
            quantized: Quantized::default(),
            turned: Quantized::default(),
            given: Scales::from_scale(200.0),
        }
    }

    fn src(&self) -> MatRef<'_> {
        MatRef::new(&self.f32, self.f32.len() / COLS, COLS).expect("whole rows")
    }
}

/// Copies half of the bytes that the row moves: they are read and written.
fn copy(bytes: f64) -> Entry<Data> {
    let run = move |d: &mut Data| {
        let n = (d.f32.len() as f64 * bytes / 2.0) as usize;
        if rayon::current_thread_index().is_some() {
            let half = n / 2;
            let (a, b) = d.copy[..n].split_at_mut(half);
            let (x, y) = d.bytes[..n].split_at(half);
            rayon::join(|| a.copy_from_slice(x), || b.copy_from_slice(y));
        } else {
            d.copy[..n].copy_from_slice(&d.bytes[..n]);
        }
    };
    Entry { name: "copy of as many bytes".into(), bytes, run: Box::new(run) }
}

fn entry(name: &str, bytes: f64, run: impl Fn(&mut Data) + Send + Sync + 'static) -> Entry<Data> {
    Entry { name: name.into(), bytes, run: Box::new(run) }
}

fn cast(text: &str) -> Cast {
    text.parse().expect("a cast")
}

fn main() {
    let suite = Suite::new("quantize", &[1 << 16, 1 << 24]);
    for n in suite.options.sizes.clone() {
        let n = n / COLS * COLS;
        let mut data = Data::new(n);
        for threads in suite.options.threads.clone() {
            let groups = groups(n, threads);
            for group in groups {
                suite.group(&mut data, &group);
            }
        }
    }
}

fn groups(elements: usize, threads: usize) -> Vec<Group<Data>> {
    let options = QuantizeOptions::new();
    let mut groups = Vec::new();
    let mut add = |case: &str, bytes: f64, entries: Vec<Entry<Data>>| {
        let entries = std::iter::once(copy(bytes)).chain(entries).collect();
        groups.push(Group { case: case.into(), elements, threads, entries });
    };
    for text in [
        "e4m3:tensor:te-current",
        "e4m3:row:torchao",
        "e4m3:col:torchao",
        "e4m3:1x128:te-block",
        "e4m3:1x128:deepseek",
        "e4m3:128x1:te-block",
        "e4m3:128x128:te-block",
        "e4m3:1x32:te-mx",
        "e4m3:1x32:ocp-floor",
        "e4m3:32x1:te-mx",
        "e2m1:1x16:nvfp4",
        "e2m1:1x32:ocp-rceil",
        "e5m2:tensor:te-current:stochastic",
    ] {
        let cast = cast(text);
        let stream = quarter::RandomStream { seed: 1, tensor: 1, step: 1 };
        let options = if cast.rounding.is_stochastic() { options.random(stream) } else { options };
        let run = move |d: &mut Data| {
            let mut q = take(&mut d.quantized);
            quantize_into(d.src(), &cast, &options, &mut q).expect("a cast");
            d.quantized = q;
        };
        let bf16 = move |d: &mut Data| {
            let mut q = take(&mut d.quantized);
            let src = MatRef::new(&d.bf16, d.bf16.len() / COLS, COLS).expect("whole rows");
            quantize_into(src, &cast, &options, &mut q).expect("a cast");
            d.quantized = q;
        };
        add(text, 5.0, vec![entry("from f32", 5.0, run)]);
        if text.contains("1x128:te") || text.contains("te-current") {
            add(&format!("{text} of bf16"), 3.0, vec![entry("from bf16", 3.0, bf16)]);
        }
    }
    let given = cast("e4m3:tensor:te-delayed");
    for stats in [StatsLevel::None, StatsLevel::Tensor] {
        let run = move |d: &mut Data| {
            let mut q = take(&mut d.quantized);
            let scales = d.given.clone();
            let options = options.scales(&scales).stats(stats);
            quantize_into(d.src(), &given, &options, &mut q).expect("a cast");
            d.quantized = q;
        };
        let name = match stats {
            StatsLevel::None => "e4m3:tensor with a given scale",
            _ => "e4m3:tensor with a given scale, amax and statistics",
        };
        add(name, 5.0, vec![entry("from f32", 5.0, run)]);
    }
    let block = cast("e4m3:1x128:te-block");
    let both = move |d: &mut Data| {
        let (mut one, mut two) = (take(&mut d.quantized), take(&mut d.turned));
        quantize_both_into(d.src(), (&block, &block), &options, (&mut one, &mut two))
            .expect("a cast");
        (d.quantized, d.turned) = (one, two);
    };
    let twice = move |d: &mut Data| {
        let src = d.src();
        let one = quarter::tensor::quantize(src, &block, &options).expect("a cast");
        let two = quarter::tensor::quantize_transposed(src, &block, &options).expect("a cast");
        std::hint::black_box((one, two));
    };
    add(
        "e4m3:1x128 of rows and of columns",
        6.0,
        vec![entry("at once", 6.0, both), entry("one after the other", 10.0, twice)],
    );
    for text in ["e4m3:1x128:te-block", "e4m3:1x32:te-mx", "e4m3:tensor:te-current"] {
        let cast = cast(text);
        let to_f32 = move |d: &mut Data| {
            let mut out = take(&mut d.out);
            let dst = MatMut::new(&mut out, d.f32.len() / COLS, COLS).expect("whole rows");
            fake_quantize_into(d.src(), &cast, &options, dst).expect("a cast");
            d.out = out;
        };
        let to_bf16 = move |d: &mut Data| {
            let mut out = take(&mut d.out_bf16);
            let dst = MatMut::new(&mut out, d.f32.len() / COLS, COLS).expect("whole rows");
            fake_quantize_into(d.src(), &cast, &options, dst).expect("a cast");
            d.out_bf16 = out;
        };
        add(&format!("fake quantize {text} to f32"), 8.0, vec![entry("ours", 8.0, to_f32)]);
        add(&format!("fake quantize {text} to bf16"), 6.0, vec![entry("ours", 6.0, to_bf16)]);
    }
    for (text, to_f32) in [
        ("e4m3:128x128:deepseek", true),
        ("e4m3:128x128:deepseek", false),
        ("e4m3:1x32:te-mx", false),
    ] {
        let cast = cast(text);
        let (name, bytes) = if to_f32 { ("f32", 5.0) } else { ("bf16", 3.0) };
        let run = move |d: &mut Data| {
            let mut q = take(&mut d.quantized);
            if (q.granularity(), q.rows() * q.cols()) != (cast.granularity, d.f32.len()) {
                quantize_into(d.src(), &cast, &options, &mut q).expect("a cast");
            }
            let rows = d.f32.len() / COLS;
            let dst = match to_f32 {
                true => MatMut::new(&mut d.out, rows, COLS),
                false => MatMut::new(&mut d.out_bf16, rows, COLS),
            };
            q.dequantize_into(dst.expect("whole rows")).expect("same shape");
            d.quantized = q;
        };
        add(&format!("dequantize {text} to {name}"), bytes, vec![entry("ours", bytes, run)]);
    }
    groups
}
