//! How far products are from the real numbers: `accuracy::bounds` from what codes and scales stand
//! for (A2, A5), and from the numbers before they were cast (A4), for casts of recipes × K × spreads,
//! presets × passes × outputs, and every matrix unit. None is passed, and most are come near.
#![cfg(feature = "std")]

mod common;

use common::gemm::{C, Call, Factor, Out, Words, ordinary};
use common::scaling::Source;
use quarter::FormatId;
use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
use quarter::accuracy::check::Report;
use quarter::gemm::{Accumulation, Activation};
use quarter::mma::{UNITS, Unit};
use quarter::recipe::{Pass, presets};
use std::collections::BTreeMap;
use std::sync::Mutex;

const ROWS: usize = 7;

/// How the numbers of an operand are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Gaussian,
    /// x · |x|⁵: a few elements are far larger than the rest.
    HeavyTail,
    /// One element of 1,000 in each run of 32.
    OneHuge,
    /// Equal magnitudes and signs in turn: what is summed cancels.
    Alternating,
    /// Positive: nothing cancels.
    Positive,
    /// The second half of K is the negative of the first, but for the last bits.
    Cancelling,
    /// One large product, then ones of a little more than half of the place that its sum has last:
    /// each is rounded up by almost as much.
    Stagnant,
}

const SPREADS: [Spread; 7] = [
    Spread::Gaussian,
    Spread::HeavyTail,
    Spread::OneHuge,
    Spread::Alternating,
    Spread::Positive,
    Spread::Cancelling,
    Spread::Stagnant,
];

/// Rows of k numbers, for the left operand or the right one.
fn numbers(spread: Spread, k: usize, right: bool, seed: u64) -> Factor {
    let mut x = ordinary(ROWS * k, seed);
    let mut words = Words::new(seed + 1);
    for (i, x) in x.iter_mut().enumerate() {
        let at = i % k;
        *x = match spread {
            Spread::Gaussian => *x,
            Spread::HeavyTail => *x * x.abs().powi(5),
            Spread::OneHuge if at % 32 == words.below(32) => *x * 1000.0,
            Spread::OneHuge => *x,
            Spread::Alternating if right => x.abs() + 1.0,
            Spread::Alternating => {
                if at.is_multiple_of(2) {
                    1.25
                } else {
                    -1.25
                }
            }
            Spread::Positive => x.abs() + 0.01,
            Spread::Cancelling => *x,
            // Products 448 · 448 = 200,704 and 9 · 2^−10, where the last place is 2^−6.
            Spread::Stagnant if at == 0 => 448.0,
            Spread::Stagnant if right => 0.0625,
            Spread::Stagnant => 0.140_625,
        };
    }
    if spread == Spread::Cancelling && !right {
        for row in x.chunks_exact_mut(k) {
            let (first, second) = row.split_at_mut(k / 2);
            second.iter_mut().zip(first).for_each(|(y, x)| *y = -*x * (1.0 + 1e-3));
        }
    }
    Factor::values(Source::F32(x), (ROWS, k))
}

const CASTS: [[&str; 2]; 16] = [
    ["f32", "f32"],
    ["bf16", "bf16"],
    ["e4m3:tensor:te-current", "e4m3:tensor:te-current"],
    ["e5m2:tensor:te-current-pow2", "e4m3:tensor:te-current-pow2"],
    ["e4m3:row:torchao", "e4m3:row:torchao"],
    ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
    ["e4m3:1x128:te-block-f32", "e4m3:128x128:te-block-f32"],
    ["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"],
    ["e4m3:1x128:deepgemm", "e4m3:1x128:deepgemm"],
    ["e5m2:1x128:torchao-block", "e4m3:1x128:torchao-block"],
    ["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"],
    ["e5m2:1x32:ocp-floor", "e4m3:1x32:ocp-floor"],
    ["e2m3:1x32:ocp-rceil", "e3m2:1x32:ocp-rceil"],
    ["e2m1:1x32:ocp-even", "e2m1:1x32:ocp-even"],
    ["e2m1:1x16:nvfp4", "e2m1:16x16:nvfp4"],
    ["bf16", "e4m3:128x128:te-block-f32"],
];

const DEPTHS: [usize; 7] = [32, 96, 128, 500, 1024, 2048, 4096];

/// What was found under a name: dots, and the largest parts of A2 and A4 that an error took, and of
/// what is probable. `plain` is that of A2 where nothing is asked for beside a product in f32: codes
/// take all of their bound by their own rounding.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    dots: usize,
    a2: f64,
    plain: f64,
    a4: f64,
    probable: f64,
}

impl Found {
    fn note(&mut self, [exact, cast]: &[Report; 2], call: &Call) {
        self.join(&Self {
            dots: exact.count,
            a2: exact.most_of_bound,
            plain: if is_plain(call) { exact.most_of_bound } else { 0.0 },
            a4: cast.most_of_bound,
            probable: cast.most_of_probable.unwrap_or(0.0),
        });
    }

    fn join(&mut self, other: &Self) {
        self.dots += other.dots;
        self.a2 = self.a2.max(other.a2);
        self.plain = self.plain.max(other.plain);
        self.a4 = self.a4.max(other.a4);
        self.probable = self.probable.max(other.probable);
    }
}

fn is_plain(call: &Call) -> bool {
    let Call { alpha, c, bias, activation, out, .. } = call;
    let beside = alpha.is_some() || !matches!(c, C::None) || bias.is_some();
    !beside && *activation == Activation::None && *out == Out::F32
}

type Table = BTreeMap<String, Found>;

fn join(all: &Mutex<Table>, name: &str, found: Found) {
    let mut all = all.lock().unwrap();
    all.entry(name.to_owned()).or_default().join(&found);
}

fn show(title: &str, table: Mutex<Table>) -> Table {
    let table = table.into_inner().unwrap();
    let [a2, plain, a4, probable] = ["A2, A5", "plain", "A4", "probable"];
    println!("{title:64} {:>8} {a2:>8} {plain:>8} {a4:>8} {probable:>8}", "dots");
    for (name, Found { dots, a2, plain, a4, probable }) in &table {
        println!("{name:64} {dots:8} {a2:8.4} {plain:8.4} {a4:8.4} {probable:8.4}");
    }
    let dots = table.values().map(|found| found.dots as u64).sum();
    let most = |of: fn(&Found) -> f64| table.values().map(of).fold(0.0, f64::max);
    common::readme::held(title, dots, most(|found| found.a2));
    common::readme::held(&format!("{title}, with their casts"), dots, most(|found| found.a4));
    table
}

/// Holds a product to both bounds, and gives the largest part of what is probable that a sum and its
/// casts took.
fn check(values: &[Factor; 2], factors: &[Factor; 2], call: &Call, found: &mut Found) -> f64 {
    let [a, b] = factors;
    let note = || format!("{a} * {b}, K = {}, {call}, unit {:?}", a.shape().1, call.sums.unit);
    let got = call.outputs(a, b).unwrap_or_else(|error| panic!("{}: {error}", note()));
    let exact = factors.each_ref().map(|factor| Operand::exact(factor.input()).unwrap());
    let cast = [0, 1].map(|i| Operand::cast(values[i].matrix(), factors[i].input()).unwrap());
    let reports = [exact, cast].map(|[a, b]| {
        let report = call.bound(a, b).check(&got);
        report.unwrap_or_else(|violation| panic!("{}: {violation}", note()))
    });
    found.note(&reports, call);
    reports.iter().filter_map(|report| report.most_of_probable).fold(0.0, f64::max)
}

fn operands(spread: Spread, k: usize, casts: [&str; 2]) -> [[Factor; 2]; 2] {
    let seed = (k * 31 + spread as usize) as u64;
    let values = [numbers(spread, k, false, seed), numbers(spread, k, true, seed + 99)];
    let factors = [0, 1].map(|i| values[i].cast_to(casts[i]));
    [values, factors]
}

/// No product is farther from the real numbers than A2 and A4 say; some are almost as far.
///
/// All are within what is probable (A6), but where errors are not independent with mean 0: stagnant
/// sums, and long sums of positive numbers, of which coarse formats round more in one direction.
#[test]
fn no_bound_is_passed() {
    let table = Mutex::new(Table::new());
    let probable = Mutex::new([0.0_f64; SPREADS.len()]);
    let jobs = CASTS.len() * DEPTHS.len();
    let chosen = common::gemm::spread_over(jobs);
    common::parallel(chosen.len(), |i| {
        let (casts, k) = (CASTS[chosen[i] % CASTS.len()], DEPTHS[chosen[i] / CASTS.len()]);
        let mut here = Found::default();
        for spread in SPREADS {
            let [values, factors] = operands(spread, k, casts);
            for promote in [None, Some(64), Some(5000)] {
                let sums = Accumulation { promote, ..Accumulation::default() };
                let call = Call { sums, ..Call::new() };
                let most = check(&values, &factors, &call, &mut here);
                let alike = spread == Spread::Stagnant || spread == Spread::Positive && k > 500;
                assert!(alike || most <= 1.0, "{casts:?}, {spread:?}, K = {k}: {most} of A6");
                let all = &mut probable.lock().unwrap()[spread as usize];
                *all = all.max(most);
            }
        }
        join(&table, &casts.join(" * "), here);
    });
    let probable = probable.into_inner().unwrap();
    println!("{SPREADS:?}: {probable:.4?} of what is probable");
    assert!(
        probable[Spread::Stagnant as usize] > 1.0,
        "roundings that are alike are seen: {probable:?}"
    );
    let table = show("products of casts", table);
    let most = |of: fn(&Found) -> f64| table.values().map(of).fold(0.0, f64::max);
    let [a2, a4] = [most(|f| f.a2), most(|f| f.a4)];
    assert!(a2 > 0.3 && a4 > 0.3, "bounds that nothing comes near prove nothing: {a2}, {a4}");
    for (casts, found) in &table {
        // Sums of so few bits are nearly exact.
        let least = match &casts[..4] {
            "e2m3" => 0.03,
            "e2m1" if casts.contains("ocp") => 0.05,
            "e2m1" => 0.13,
            _ => 0.5,
        };
        assert!(thin() || found.a2 > least && found.a4 > 0.25, "{casts}: {found:?}");
    }
}

/// A kernel of f32 in any order is within A2 as well: the law's is one of them.
#[test]
fn any_order_is_wider() {
    let mut most = 0.0_f64;
    for (casts, k) in CASTS.iter().zip(DEPTHS.iter().cycle()) {
        let [_, [a, b]] = operands(Spread::Stagnant, *k, *casts);
        let got = Call::new().outputs(&a, &b).unwrap();
        let exact = [&a, &b].map(|factor| Operand::exact(factor.input()).unwrap());
        let [left, right] = exact;
        let report = GemmBound::new(left, right, Sums::F32).unwrap().check(&got);
        most = most.max(report.unwrap_or_else(|v| panic!("{casts:?}: {v}")).most_of_bound);
    }
    println!("at most {most:.4} of the bound of any order");
    assert!(most > 0.05);
}

/// Whether an emulator runs this, which takes ten times as long.
fn thin() -> bool {
    common::sweep() == common::Sweep::Thin
}

/// All spreads with their numbers, in a thin run one of them.
fn some_spreads(i: usize) -> impl Iterator<Item = (usize, Spread)> {
    let all = SPREADS.into_iter().enumerate();
    all.filter(move |(n, _)| !thin() || *n == i % SPREADS.len())
}

/// Every preset × pass × spread × K × call. Plain products are within what is probable, but where each
/// rounding is made to be like the one before it: there errors are not independent.
fn of_presets(title: &str, depths: &[usize]) -> Table {
    let table = Mutex::new(Table::new());
    let cases: Vec<_> =
        presets::ALL.iter().flat_map(|p| Pass::ALL.iter().map(move |q| (p, q))).collect();
    common::parallel(cases.len(), |i| {
        let ((name, preset), pass) = cases[i];
        let gemm = *preset().gemm(*pass);
        let casts = [gemm.a.to_string(), gemm.b.to_string()];
        let mut here = Found::default();
        for (n, spread) in some_spreads(i) {
            for &k in depths {
                let [values, factors] = operands(spread, k, [&casts[0], &casts[1]]);
                for call in calls(gemm.sums, (n + k) as u64) {
                    let probable = check(&values, &factors, &call, &mut here);
                    let seldom = !is_plain(&call) || spread == Spread::Stagnant;
                    assert!(
                        seldom || probable <= 1.0,
                        "{name} {pass}, {spread:?}, K = {k}: {probable}"
                    );
                }
            }
        }
        join(&table, &format!("{name} {pass}"), here);
    });
    show(title, table)
}

/// Every preset × pass, with alpha, C, bias, an activation and every type of output.
#[test]
fn presets_keep_a4() {
    for (name, found) in of_presets("products of presets", &[64, 200, 1500]) {
        let least = if name.starts_with("nvfp4") { 0.1 } else { 0.5 };
        assert!(thin() || found.plain > least && found.a4 > 0.1, "{name}: {found:?}");
    }
}

/// The same where K is less than a block, a tile or a quad, or a little more.
#[test]
fn small_products_keep_a4() {
    for (name, found) in of_presets("small products of presets", &[1, 2, 3, 17, 33, 129]) {
        assert!(thin() || found.a2 > 0.1 && found.a4 > 0.1, "{name}: {found:?}");
    }
}

/// What may be asked for beside a product.
fn calls(sums: Accumulation, seed: u64) -> Vec<Call> {
    let plain = Call { sums, ..Call::new() };
    let c =
        || C::Matrix(-0.75, Factor::values(Source::F32(ordinary(ROWS * ROWS, seed)), (ROWS, ROWS)));
    let full = |out| Call {
        alpha: Some(0.3),
        c: c(),
        bias: Some(ordinary(ROWS, seed + 1)),
        activation: Activation::Relu,
        out,
        ..plain.clone()
    };
    let outs = [
        Out::F32,
        [Out::Bf16, Out::F16][seed as usize % 2],
        Out::Codes(FormatId::F8E4M3, 0.37),
        Out::Codes(FormatId::F8E5M2, 16.0),
    ];
    let mut calls: Vec<Call> = outs.into_iter().map(full).collect();
    calls.push(Call { activation: Activation::Gelu, ..full(Out::F32) });
    calls.push(Call { out: Out::Bf16, ..plain.clone() });
    calls.push(plain);
    calls
}

/// Casts that a unit multiplies.
fn casts_of(unit: &Unit) -> Vec<[String; 2]> {
    let names = |a: FormatId, b: FormatId| -> Vec<[String; 2]> {
        let wide = |id: FormatId| match id {
            FormatId::F16 => Some("f16"),
            FormatId::Bf16 => Some("bf16"),
            FormatId::F32 => Some("f32"),
            _ => None,
        };
        if let (Some(a), Some(b)) = (wide(a), wide(b)) {
            return vec![[a.to_owned(), b.to_owned()]];
        }
        let of = |id: FormatId, rest: &str| format!("{id}:{rest}");
        let both = |x: &str, y: &str| [of(a, x), of(b, y)];
        if unit.has_block_scales() {
            return vec![both("1x32:te-mx", "1x32:ocp-floor")];
        }
        let tensor = "tensor:te-current-pow2";
        vec![
            both(tensor, tensor),
            both("1x128:te-block", "128x128:te-block-f32"),
            both("1x32:te-mx", "1x32:te-mx"),
        ]
    };
    let formats: Vec<FormatId> =
        unit.inputs().iter().map(|spec| spec.id().unwrap_or(FormatId::F32)).collect();
    let pairs = formats.iter().flat_map(|a| formats.iter().map(move |b| (*a, *b)));
    let takes =
        |(a, b): &(FormatId, FormatId)| a == b || (a.spec().bits() <= 8 && b.spec().bits() <= 8);
    pairs.filter(takes).flat_map(|(a, b)| names(a, b)).collect()
}

/// Every unit × formats × scales × promotion × split K, from C on where it begins with that, and the
/// other [`calls`] in turn.
#[test]
fn units_keep_a5_in_products() {
    let table = Mutex::new(Table::new());
    common::parallel(UNITS.len(), |i| {
        let unit = UNITS[i];
        let mut here = Found::default();
        for (n, casts) in casts_of(unit).iter().enumerate() {
            for (m, spread) in some_spreads(i + n) {
                let k = [40, 128, 300, 1024][(n + m) % 4];
                let [values, factors] = operands(spread, k, [&casts[0], &casts[1]]);
                let split = (m % 3 == 1).then_some(3);
                for promote in [None, Some(128)] {
                    let sums = Accumulation {
                        unit: Some(unit),
                        promote,
                        split_k: split,
                        ..Accumulation::F32
                    };
                    let plain = Call { sums, ..Call::new() };
                    let c = Factor::values(Source::F32(ordinary(ROWS * ROWS, 3)), (ROWS, ROWS));
                    let with_c = Call { c: C::Matrix(1.0, c), ..plain.clone() };
                    let mut all = vec![plain, with_c];
                    if !thin() && promote.is_some() == (n + m).is_multiple_of(2) {
                        let others = calls(sums, (n + m) as u64).into_iter();
                        all.extend(others.skip((n + m) % 3).step_by(3));
                    }
                    all.iter().for_each(|call| _ = check(&values, &factors, call, &mut here));
                }
            }
        }
        join(&table, unit.name(), here);
    });
    for (name, found) in show("products on matrix units", table) {
        assert!(thin() || found.plain > 0.2, "{name}: {found:?}");
    }
}
