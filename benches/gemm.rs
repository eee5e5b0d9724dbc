//! Matrix products of every recipe beside what the units that multiply can do at most, and beside
//! memory.
//!
//! ```text
//! cargo bench --bench gemm                           # the usual shapes, about 3 minutes
//! cargo bench --bench gemm -- --all                  # every shape and recipe, a quarter of an hour
//! cargo bench --bench gemm -- every --shapes 2048x2048x2048 --threads 1
//! cargo bench --bench gemm -- turn                   # few rows, from memory
//! ```
//!
//! Contests: `every recipe`, `prepacked`, `few rows in turn` (of 16 matrices, 256 MiB of codes),
//! `quantizing`, `instruction sets`, with `--all` also `transposed`. A share is that of the
//! medians over the same rounds. Other libraries are in `benches/peers`.

#[allow(dead_code)] // some of it is for conversions of slices
mod harness;

use harness::Suite;
use harness::data::normals;
use harness::matrix::{Matrix, Room};
use harness::products::{Contest, Runner};
use quarter::gemm::{GemmInput, GemmOptions};
use quarter::recipe::{GemmRecipe, Operand, Recipe, presets};
use quarter::tensor::{MatRef, QuantizeOptions, quantize_into};
use quarter::{FormatId, Granularity, Isa};

/// Shapes with many rows, and whether they are run without being asked for.
const SHAPES: [([usize; 3], bool); 6] = [
    ([256; 3], true),
    ([512; 3], false),
    ([1024; 3], true),
    ([2048; 3], true),
    ([4096; 3], false),
    ([2048, 8192, 2048], false),
];
const FEW_ROWS: [[usize; 3]; 2] = [[1, 4096, 4096], [16, 4096, 4096]];
/// Rows up to which a shape is one of few.
const FEW: usize = 16;
/// Matrices in turn.
const TURNS: usize = 16;

/// Products beside the presets': blocks with f32 scales of each engine, and of 1 × 128 twice.
const BESIDE: [(&str, &str); 4] = [
    ("deepseek", "e4m3:1x128:deepseek*e4m3:128x128:deepseek"),
    ("deepgemm", "e4m3:1x128:deepgemm*e4m3:128x128:deepgemm"),
    ("te-block-f32", "e4m3:1x128:te-block-f32*e4m3:128x128:te-block-f32"),
    ("te-block-f32, 1x128 twice", "e4m3:1x128:te-block-f32*e4m3:1x128:te-block-f32"),
];

type Named = (String, GemmRecipe);

/// The presets' forward products, each kind of operand once, and those beside; with `all` every
/// preset's, and the backward ones that differ.
fn products(all: bool) -> Vec<Named> {
    let mut found: Vec<Named> = Vec::new();
    for (name, preset) in presets::ALL {
        let Recipe { fprop, dgrad, wgrad, .. } = preset();
        let passes = [("", fprop), (" dgrad", dgrad), (" wgrad", wgrad)];
        for (pass, gemm) in &passes[..if all { 3 } else { 1 }] {
            let known = found.iter().any(|(_, other)| match all {
                true => (other.a, other.b) == (gemm.a, gemm.b),
                false => [(other.a, gemm.a), (other.b, gemm.b)].iter().all(|(x, y)| alike(x, y)),
            });
            if !known {
                found.push((format!("{name}{pass}"), *gemm));
            }
        }
    }
    found.extend(BESIDE.map(|(name, text)| (name.into(), parse(text))));
    found
}

/// Whether two operands are the same but for the values of their scales.
fn alike(x: &Operand, y: &Operand) -> bool {
    type Kind = (FormatId, Granularity, quarter::scale::ScaleFormat);
    let kind = |operand: &Operand| -> Option<Kind> {
        let cast = operand.cast()?;
        Some((cast.format, cast.granularity, cast.rule.scale_format()))
    };
    if x.cast().is_some() { kind(x) == kind(y) } else { x == y }
}

fn parse(text: &str) -> GemmRecipe {
    text.parse().expect("A*B")
}

fn named(name: &str) -> Named {
    let found = products(true).into_iter().find(|(known, _)| known == name);
    found.expect("a product of the list")
}

fn main() {
    let suite = Suite::new("quarter: matrix products", &[]);
    let all = suite.options.all;
    let (few, many): (Vec<_>, Vec<_>) = match &suite.options.shapes[..] {
        [] => (
            FEW_ROWS.to_vec(),
            SHAPES.iter().filter(|(_, usual)| all || *usual).map(|(shape, _)| *shape).collect(),
        ),
        given => given.iter().partition(|[m, ..]| *m <= FEW),
    };
    for shape in many {
        every_recipe(&suite, shape);
    }
    for shape in few {
        let list = if all {
            products(false)
        } else {
            ["bf16", "tensorwise", "blockwise", "mxfp8"].map(named).into()
        };
        for product in list {
            in_turn(&suite, shape, &product);
        }
    }
    if suite.options.shapes.is_empty() {
        prepacked(&suite, [2048; 3]);
        quantizing(&suite, [2048; 3]);
        instruction_sets(&suite, [1024; 3]);
        if all {
            transposed(&suite, [1024; 3]);
        }
    }
}

fn text([m, n, k]: [usize; 3]) -> String {
    format!("{m}x{n}x{k}")
}

fn operations([m, n, k]: [usize; 3]) -> f64 {
    2.0 * m as f64 * n as f64 * k as f64
}

/// Operands of a product, of which nothing is known but their shapes.
fn operands(gemm: &GemmRecipe, [m, n, k]: [usize; 3]) -> [Matrix; 2] {
    [
        Matrix::new(&gemm.a, &normals(m * k, 1), [m, k]),
        Matrix::new(&gemm.b, &normals(n * k, 2), [n, k]),
    ]
}

/// The peaks of an instruction set: f32, then bf16 pairs if it has a unit for them.
fn peaks<'a>(isa: Isa, threads: usize) -> Vec<Runner<'a, Room>> {
    [false, true].iter().filter_map(|pairs| Runner::peak(isa, *pairs, threads)).collect()
}

/// Which of these a product is a share of.
fn peak_of(gemm: &GemmRecipe, peaks: usize) -> usize {
    if [gemm.a, gemm.b].contains(&Operand::F32) { 0 } else { peaks - 1 }
}

/// A runner that multiplies.
fn multiply<'a>(
    name: &str,
    gemm: &GemmRecipe,
    a: GemmInput<'a>,
    b: GemmInput<'a>,
    options: GemmOptions<'a>,
    of: usize,
) -> Runner<'a, Room> {
    let options = options.sums(gemm.sums);
    let work = operations([a.shape().0, b.shape().0, a.shape().1]);
    Runner::product(name, work, &[of], move |room: &mut Room| {
        room.product(a, b, &options, false);
    })
}

fn every_recipe(suite: &Suite, shape: [usize; 3]) {
    let case = format!("every recipe, {}", text(shape));
    if !suite.options.threads.iter().any(|threads| suite.wants(&case, *threads)) {
        return;
    }
    let list = products(suite.options.all);
    let matrices: Vec<[Matrix; 2]> = list.iter().map(|(_, gemm)| operands(gemm, shape)).collect();
    for &threads in &suite.options.threads {
        let mut runners = peaks(Isa::best(), threads);
        let peaks = runners.len();
        let options = GemmOptions::new().threads(threads);
        runners.extend(list.iter().zip(&matrices).map(|((name, gemm), [a, b])| {
            multiply(name, gemm, a.input(), b.input(), options, peak_of(gemm, peaks))
        }));
        let contest = Contest { case: case.clone(), threads, runners, first: vec![] };
        suite.contest(&mut Room::default(), &contest);
    }
}

/// Few rows: b comes from memory where many are multiplied in turn.
fn in_turn(suite: &Suite, shape: [usize; 3], (name, gemm): &Named) {
    let case = format!("few rows in turn, {}, {name}", text(shape));
    if !suite.options.threads.iter().any(|threads| suite.wants(&case, *threads)) {
        return;
    }
    let [a, b] = operands(gemm, shape);
    let packed = vec![b.packed(); TURNS];
    let bytes = vec![1; TURNS * b.bytes()];
    let plain = vec![b; TURNS];
    for &threads in &suite.options.threads {
        let mut runners = peaks(Isa::best(), threads);
        let peak = peak_of(gemm, runners.len());
        let read = runners.len();
        runners.push(Runner::read(&bytes, threads));
        let options = GemmOptions::new().threads(threads).sums(gemm.sums);
        let input = a.input();
        for (name, bs) in [("16 in turn", &plain), ("16 in turn, packed", &packed)] {
            let run = move |room: &mut Room| {
                let b = &bs[room.turn(TURNS)];
                room.product(input, b.input(), &options, false);
            };
            let product = Runner::product(name, operations(shape), &[read, peak], run);
            runners.push(Runner { bytes: (bytes.len() / TURNS) as f64, ..product });
        }
        for (name, bs) in [("always the same", &plain), ("always the same, packed", &packed)] {
            runners.push(multiply(name, gemm, input, bs[0].input(), options, peak));
        }
        let contest = Contest { case: case.clone(), threads, runners, first: vec![] };
        suite.contest(&mut Room::default(), &contest);
    }
}

fn prepacked(suite: &Suite, shape: [usize; 3]) {
    let list = ["f32", "bf16", "tensorwise", "blockwise", "deepseek", "mxfp8"].map(named);
    let case = format!("prepacked, {}", text(shape));
    if !suite.options.threads.iter().any(|threads| suite.wants(&case, *threads)) {
        return;
    }
    let matrices = list.each_ref().map(|(_, gemm)| operands(gemm, shape));
    let packed = matrices.each_ref().map(|[_, b]| b.packed());
    for &threads in &suite.options.threads {
        let mut runners = peaks(Isa::best(), threads);
        let peaks = runners.len();
        let options = GemmOptions::new().threads(threads);
        for (((name, gemm), [a, b]), packed) in list.iter().zip(&matrices).zip(&packed) {
            let of = peak_of(gemm, peaks);
            runners.push(multiply(name, gemm, a.input(), b.input(), options, of));
            let name = format!("{name}, packed");
            runners.push(multiply(&name, gemm, a.input(), packed.input(), options, of));
        }
        let contest = Contest { case: case.clone(), threads, runners, first: vec![] };
        suite.contest(&mut Room::default(), &contest);
    }
}

/// What it costs to quantize both operands before each product.
fn quantizing(suite: &Suite, shape: [usize; 3]) {
    let [m, n, k] = shape;
    let values = [normals(m * k, 1), normals(n * k, 2)];
    for (name, gemm) in ["tensorwise", "rowwise", "blockwise", "deepseek", "mxfp8"].map(named) {
        let case = format!("quantizing, {}, {name}", text(shape));
        let (Operand::Cast(cast_a), Operand::Cast(cast_b)) = (gemm.a, gemm.b) else { continue };
        for &threads in &suite.options.threads {
            if !suite.wants(&case, threads) {
                continue;
            }
            let [a, b] = operands(&gemm, shape);
            let mut runners = peaks(Isa::best(), threads);
            let peak = peak_of(&gemm, runners.len());
            let options = GemmOptions::new().threads(threads).sums(gemm.sums);
            let casts = QuantizeOptions::new().threads(threads);
            let first = runners.len();
            runners.push(multiply("product", &gemm, a.input(), b.input(), options, peak));
            let values = &values;
            let both = move |room: &mut Room| {
                for (i, (cast, rows)) in [(cast_a, m), (cast_b, n)].iter().enumerate() {
                    let source = MatRef::new(&values[i], *rows, k).expect("the shape");
                    quantize_into(source, cast, &casts, &mut room.quantized[i]).expect("a cast");
                }
            };
            runners.push(Runner::product(
                "both operands quantized, product",
                operations(shape),
                &[peak],
                move |room: &mut Room| {
                    both(room);
                    let [a, b] = std::mem::take(&mut room.quantized);
                    room.product((&a).into(), (&b).into(), &options, false);
                    room.quantized = [a, b];
                },
            ));
            let contest = Contest { case: case.clone(), threads, runners, first: vec![first] };
            suite.contest(&mut Room::default(), &contest);
        }
    }
}

/// Each instruction set beside its own units.
fn instruction_sets(suite: &Suite, shape: [usize; 3]) {
    for isa in Isa::available() {
        let case = format!("instruction sets, {}, {}", text(shape), isa.name());
        let names = ["tensorwise", "f32", "bf16", "blockwise", "deepseek", "mxfp8"];
        // Without a fused multiply-add the others take many times as long.
        let names = if isa == Isa::SCALAR { &names[..1] } else { &names };
        let list: Vec<Named> = names.iter().map(|name| named(name)).collect();
        for &threads in &suite.options.threads {
            if !suite.wants(&case, threads) {
                continue;
            }
            let matrices: Vec<_> = list.iter().map(|(_, gemm)| operands(gemm, shape)).collect();
            let mut runners = peaks(isa, threads);
            let peaks = runners.len();
            let options = GemmOptions::new().threads(threads).isa(isa);
            runners.extend(list.iter().zip(&matrices).map(|((name, gemm), [a, b])| {
                multiply(name, gemm, a.input(), b.input(), options, peak_of(gemm, peaks))
            }));
            let contest = Contest { case: case.clone(), threads, runners, first: vec![] };
            suite.contest(&mut Room::default(), &contest);
        }
    }
}

/// Numbers with rows and columns exchanged.
fn turn(matrix: &Matrix) -> GemmInput<'_> {
    match matrix.input() {
        GemmInput::Values(values) => values.transposed().into(),
        other => other,
    }
}

/// Numbers whose columns are contiguous, as in backward products of high precision.
fn transposed(suite: &Suite, shape: [usize; 3]) {
    let [m, n, k] = shape;
    let case = format!("transposed, {}", text(shape));
    let list = ["f32", "bf16"].map(named);
    let matrices = list.each_ref().map(|(_, gemm)| {
        let turned = [
            Matrix::new(&gemm.a, &normals(m * k, 1), [k, m]),
            Matrix::new(&gemm.b, &normals(n * k, 2), [k, n]),
        ];
        (operands(gemm, shape), turned)
    });
    for &threads in &suite.options.threads {
        let mut runners = peaks(Isa::best(), threads);
        let peaks = runners.len();
        let options = GemmOptions::new().threads(threads);
        for ((name, gemm), ([a, b], [a_t, b_t])) in list.iter().zip(&matrices) {
            let of = peak_of(gemm, peaks);
            for (how, a, b) in [
                ("", a.input(), b.input()),
                (", a transposed", turn(a_t), b.input()),
                (", b transposed", a.input(), turn(b_t)),
                (", both transposed", turn(a_t), turn(b_t)),
            ] {
                runners.push(multiply(&format!("{name}{how}"), gemm, a, b, options, of));
            }
        }
        let contest = Contest { case: case.clone(), threads, runners, first: vec![] };
        suite.contest(&mut Room::default(), &contest);
    }
}
