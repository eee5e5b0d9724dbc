//! How often stochastic rounding goes away from zero, held to its probability.

use super::evidence::explains;
use super::violation::Kind;
use super::{Bits, Element, Report, Symptom, Violation, check_rounded, number};
use crate::accuracy::bounds::{Bound, Term, away_probability, hoeffding};
use crate::format::{FormatSpec, Policy, bf16_from_f64, f16_from_f64};
use crate::slice::Values;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// The probability with which a right kernel is called wrong, at most, by each of the three tests.
const ALPHA: f64 = 1e-9;

/// Ranges of the probability whose draws are counted together.
const BINS: usize = 32;

/// Down to which multiples of 2^−k the probability is looked at.
const FINE: usize = 8;

/// Distances in elements at which draws are held to be independent.
const DISTANCES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Stochastic rounding goes away from zero as often as it should: each source is rounded in several
/// runs, whose codes follow each other: the code of source i in run r is `codes[r * n + i]`, and each
/// run has random words of its own.
///
/// Each code must be a neighbour, and numbers of the format must stay ([`check_rounded`]). Then come
/// three tests, each of which calls a right kernel wrong with a probability of at most 1e-9
/// ([`hoeffding`]); 2^−r is allowed beside it, for r random bits:
///
/// * the share of codes away from zero: of each source over the runs, of sources whose
///   [`away_probability`] lies in the same 32nd, or in the same quarter between multiples of 2^−k for
///   k of 1 to 8, and of each run;
/// * draws of elements 1, 2, 4 … 64 apart do not go together;
/// * no two runs are the same.
///
/// The report counts draws, and among `without_bound` those of sources beyond the largest number.
/// A bias d of all draws in a cell is seen from some 13/d² of them on: 3·10⁵ draws show rounding to
/// bf16 before E4M3, and 10³ a kernel that never goes away from zero.
///
/// # Errors
/// A [`Violation`] whose elements are shares. A policy that is not stochastic, and codes that are not
/// whole runs, are not checked at all.
///
/// ```
/// use quarter::accuracy::check::{Symptom, check_stochastic};
/// use quarter::{F8E4M3, Format, FormatId, Policy, RandomStream, Rounding};
/// let x: Vec<f32> = (0..256).map(|i| 1.0 + i as f32 / 256.0).collect();
/// let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
/// let runs = |word: fn(RandomStream, u64) -> u32| -> Result<Vec<F8E4M3>, quarter::Error> {
///     let run = |step| RandomStream { seed: 1, tensor: 0, step };
///     (0..100)
///         .flat_map(|step| x.iter().enumerate().map(move |(i, x)| (run(step), i, x)))
///         .map(|(run, i, x)| F8E4M3::convert_stochastic(*x, policy, word(run, i as u64)))
///         .collect()
/// };
/// let format = FormatId::F8E4M3.spec();
/// let right = runs(|run, i| run.word(i))?;
/// let report = check_stochastic(format, policy, &x, &right);
/// assert!(report.is_ok_and(|report| report.count == 100 * 256));
/// let coin = runs(|run, i| if run.word(i) >> 31 == 1 { 0 } else { u32::MAX })?;
/// let violation = check_stochastic(format, policy, &x, &coin).unwrap_err();
/// assert_eq!(violation.symptoms(), [Symptom::EvenOdds]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn check_stochastic<'a>(
    format: &FormatSpec,
    policy: Policy,
    source: impl Into<Values<'a>>,
    codes: impl Into<Bits>,
) -> Result<Report, Box<Violation>> {
    let (source, codes) = (source.into(), codes.into());
    let (n, all) = (source.len(), codes.codes().len());
    if !policy.rounding.is_stochastic() {
        let why = std::format!("rounding {} is not stochastic", policy.rounding);
        return Err(Box::new(Violation::of_refusal(why)));
    }
    if all % n.max(1) != 0 || (n == 0 && all > 0) {
        let why = std::format!("{all} codes are not whole runs of {n} sources");
        return Err(Box::new(Violation::of_refusal(why)));
    }
    if n == 0 || all == 0 {
        return Ok(Report::default());
    }
    let x: Vec<f64> = (0..n).map(|i| number(source, i)).collect();
    let many: Vec<f64> = codes.codes().chunks(n).flat_map(|_| x.iter().copied()).collect();
    let draws = codes.codes().to_vec();
    check_rounded(format, policy, &many, codes)?;
    Draws::new(format, policy, x, &draws).check()
}

/// A draw: which source, in which run, and whether it went away from zero.
#[derive(Clone, Copy)]
struct Draw {
    source: usize,
    run: usize,
    away: bool,
}

/// Draws that are counted together, and their share.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    draws: u64,
    away: u64,
    /// The sum of probabilities.
    sum: f64,
}

impl Cell {
    fn add(&mut self, p: f64, away: bool) {
        self.draws += 1;
        self.away += u64::from(away);
        self.sum += p;
    }

    fn share(&self) -> f64 {
        self.away as f64 / self.draws as f64
    }

    fn mean(&self) -> f64 {
        self.sum / self.draws as f64
    }
}

/// What the cells of a test are.
#[derive(Clone, Copy)]
enum Cut {
    Sources,
    Bins,
    Fine,
    Runs,
}

impl Cut {
    /// Those that show a wrong probability.
    const BIASED: [Self; 3] = [Self::Bins, Self::Fine, Self::Sources];

    const fn what(self) -> &'static str {
        match self {
            Self::Sources => "shares away from zero (by source)",
            Self::Bins => "shares away from zero (by 32nds of the probability)",
            Self::Fine => {
                "shares away from zero ([4 k - 4 + q]: by the quarter q in which the probability \
                 lies between multiples of 2^-k)"
            }
            Self::Runs => "shares away from zero (by run)",
        }
    }
}

struct Draws {
    x: Vec<f64>,
    /// The probability of each source, where it is between two numbers.
    p: Vec<Option<f64>>,
    /// The distance of its neighbours.
    steps: Vec<f64>,
    draws: Vec<Draw>,
    runs: usize,
    /// Draws whose probability is 0, or not known.
    exact: usize,
    unknown: usize,
    /// What random bits leave open.
    open: f64,
}

impl Draws {
    fn new(format: &FormatSpec, policy: Policy, x: Vec<f64>, codes: &[u64]) -> Self {
        let (n, runs) = (x.len(), codes.len() / x.len());
        let between: Vec<_> = x.iter().map(|x| away_probability(format, *x)).collect();
        let exact = |x: &&f64| x.is_finite() && x.abs() < format.max();
        let exact = x.iter().zip(&between).filter(|(x, p)| p.is_none() && exact(x)).count();
        let known = between.iter().flatten().count();
        let away = |i: usize, code: u64| {
            let (_, hi, _) = between[i % n]?;
            let away = format.decode_f64(code).abs() == hi;
            Some(Draw { source: i % n, run: i / n, away })
        };
        let draws = codes.iter().enumerate().filter_map(|(i, code)| away(i, *code)).collect();
        Self {
            p: between.iter().map(|between| between.map(|(_, _, p)| p)).collect(),
            steps: between.iter().map(|b| b.map_or(1.0, |(lo, hi, _)| hi - lo)).collect(),
            draws,
            runs,
            exact: exact * runs,
            unknown: (n - known - exact) * runs,
            open: f64::from(-i32::from(policy.rounding.random_bits())).exp2(),
            x,
        }
    }

    fn probability(&self, source: usize) -> f64 {
        self.p[source].unwrap_or(0.0)
    }

    /// Adds a draw to its cells.
    fn add(&self, cut: Cut, cells: &mut [Cell], draw: &Draw, under: f64) {
        let p = self.probability(draw.source);
        let at = match cut {
            Cut::Sources => draw.source,
            Cut::Bins => (p * BINS as f64) as usize,
            Cut::Runs => draw.run,
            Cut::Fine => {
                for k in 1..=FINE {
                    let part = (p * f64::from(1 << k)).fract();
                    cells[4 * (k - 1) + (4.0 * part) as usize].add(under, draw.away);
                }
                return;
            }
        };
        cells[at].add(under, draw.away);
    }

    /// The cells under some probability of each source.
    fn cells(&self, cut: Cut, p: impl Fn(usize) -> f64) -> Vec<Cell> {
        let n = match cut {
            Cut::Sources => self.x.len(),
            Cut::Bins => BINS,
            Cut::Fine => 4 * FINE,
            Cut::Runs => self.runs,
        };
        let mut cells = vec![Cell::default(); n];
        self.draws.iter().for_each(|draw| self.add(cut, &mut cells, draw, p(draw.source)));
        cells
    }

    /// How far shares may be from probabilities.
    fn bound(&self, cell: &Cell, cells: usize) -> f64 {
        hoeffding(cell.draws, ALPHA / (4.0 * cells as f64)) + self.open
    }

    fn check(&self) -> Result<Report, Box<Violation>> {
        let count = self.draws.len() + self.exact;
        let mut report = Report { count, without_bound: self.unknown, ..Report::default() };
        for cut in Cut::BIASED {
            self.hold(cut, &mut report)?;
        }
        let p = |i: usize| self.probability(i);
        self.same_runs().or_else(|| self.shared_words(&p)).map_or(Ok(()), Err)?;
        self.hold(Cut::Runs, &mut report)?;
        Ok(Report { count, ..report })
    }

    /// Holds the shares of cells to their probabilities.
    fn hold(&self, cut: Cut, report: &mut Report) -> Result<(), Box<Violation>> {
        let cells = self.cells(cut, |i| self.probability(i));
        let used = cells.iter().filter(|cell| cell.draws > 0).count();
        let mut wrong = Vec::new();
        for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.draws > 0) {
            let (actual, expected) = (cell.share(), cell.mean());
            let bound = Bound::of(Term::Rounding, self.bound(cell, used));
            if (actual - expected).abs() <= bound.total() {
                report.note(index, (actual - expected).abs(), &bound);
            } else {
                wrong.push(Element { index, actual, expected, bound, codes: None });
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let mut violation = Violation::new(wrong, cells.len(), 0, Kind::F64).of_what(cut.what());
        if !matches!(cut, Cut::Runs) {
            violation.symptoms.extend(self.named(violation.elements()));
        }
        Err(Box::new(violation))
    }

    fn named(&self, wrong: &[Element]) -> Option<Symptom> {
        if let Some(name) = self.biased() {
            return Some(name);
        }
        // A bias is no covariance.
        let bins = self.cells(Cut::Bins, |_| 0.0);
        let share = |i: usize| bins[(self.probability(i) * BINS as f64) as usize].share();
        if let Some(violation) = self.same_runs().or_else(|| self.shared_words(&share)) {
            return violation.symptoms.first().cloned();
        }
        let toward = explains(wrong, |e| e.actual < e.expected);
        (toward && wrong.len() >= 8).then_some(Symptom::TowardZero)
    }

    /// A probability that explains what shares are, in each bin and for each source.
    fn biased(&self) -> Option<Symptom> {
        let p = |i: usize| self.probability(i);
        let holds = |trial: &dyn Fn(usize) -> f64| {
            Cut::BIASED.into_iter().all(|cut| {
                let cells = self.cells(cut, trial);
                let mut used = cells.iter().filter(|cell| cell.draws > 0);
                let n = used.clone().count();
                used.all(|cell| (cell.share() - cell.mean()).abs() <= self.bound(cell, n))
            })
        };
        let narrow = |i: usize, through: fn(f64) -> f64| {
            // Between the same neighbours; at the farther one it is sure.
            let (x, y) = (self.x[i].abs(), through(self.x[i]).abs());
            let step = self.steps[i];
            (p(i) + (y - x) / step).clamp(0.0, 1.0)
        };
        let bf16 = |i: usize| narrow(i, |x| bf16_from_f64(x).to_f64());
        let f16 = |i: usize| narrow(i, |x| f16_from_f64(x).to_f64());
        let nearest = |i: usize| if p(i) == 0.5 { 0.5 } else { p(i).round() };
        let trials: [(Symptom, &dyn Fn(usize) -> f64); 7] = [
            (Symptom::NeverAway, &|_| 0.0),
            (Symptom::AlwaysAway, &|_| 1.0),
            (Symptom::AlwaysNearest, &nearest),
            (Symptom::InvertedProbability, &|i| 1.0 - p(i)),
            (Symptom::EvenOdds, &|_| 0.5),
            (Symptom::DoubleRounding { through: "bf16" }, &bf16),
            (Symptom::DoubleRounding { through: "f16" }, &f16),
        ];
        let found = trials.into_iter().find(|(_, trial)| holds(trial));
        found.map(|(name, _)| name).or_else(|| {
            let few = |bits: &u32| {
                let steps = f64::from(*bits).exp2();
                holds(&|i| (p(i) * steps).floor() / steps)
            };
            (1..16).find(few).map(|bits| Symptom::FewRandomBits { bits })
        })
    }

    /// Runs that are the same, where that is too unlikely.
    fn same_runs(&self) -> Option<Box<Violation>> {
        let each = self.p.iter().flatten().count();
        if each == 0 || self.runs < 2 {
            return None;
        }
        let chance: f64 =
            self.p.iter().flatten().map(|p| (p * p + (1.0 - p) * (1.0 - p)).ln()).sum();
        let pairs = self.runs as f64 - 1.0;
        if chance + pairs.ln() > ALPHA.ln() {
            return None;
        }
        let runs: Vec<&[Draw]> = self.draws.chunks(each).collect();
        let same = |pair: &&[Draw]| pair.len() == each;
        let is_same = |a: &[Draw], b: &[Draw]| a.iter().zip(b).all(|(a, b)| a.away == b.away);
        let wrong: Vec<Element> = (1..runs.len())
            .filter(|i| same(&runs[*i]) && is_same(runs[i - 1], runs[*i]))
            .map(|index| Element {
                index,
                actual: 0.0,
                expected: self.p.iter().flatten().map(|p| 2.0 * p * (1.0 - p)).sum(),
                bound: Bound::ZERO,
                codes: None,
            })
            .collect();
        if wrong.is_empty() {
            return None;
        }
        let what = "runs (the number of codes in which a run differs from the one before)";
        let mut violation = Violation::new(wrong, self.runs, 0, Kind::F64).of_what(what);
        violation.symptoms.push(Symptom::SameRuns);
        Some(Box::new(violation))
    }

    /// Draws that go together: the mean of (a − p)(a' − p') over draws some way apart.
    fn shared_words(&self, p: &dyn Fn(usize) -> f64) -> Option<Box<Violation>> {
        let n = self.x.len();
        let off = |draw: &Draw| f64::from(u8::from(draw.away)) - p(draw.source);
        let mut at = vec![None; n * self.runs];
        self.draws.iter().for_each(|draw| at[draw.run * n + draw.source] = Some(off(draw)));
        let mut wrong = Vec::new();
        let distances = DISTANCES.into_iter().enumerate();
        for (index, distance) in distances.filter(|(_, distance)| *distance < n) {
            let (mut sum, mut pairs) = (0.0, 0_u64);
            for run in at.chunks(n) {
                for (a, b) in run.iter().zip(&run[distance..]) {
                    if let (Some(a), Some(b)) = (a, b) {
                        sum += a * b;
                        pairs += 1;
                    }
                }
            }
            // Azuma's inequality: of numbers within ±1 whose mean is 0 whatever came before.
            let bound = 2.0 * hoeffding(pairs.max(1), ALPHA / DISTANCES.len() as f64) + self.open;
            let mean = sum / pairs.max(1) as f64;
            if mean.abs() > bound {
                wrong.push(Element {
                    index,
                    actual: mean,
                    expected: 0.0,
                    bound: Bound::of(Term::Rounding, bound),
                    codes: None,
                });
            }
        }
        // The nearest of those that go together about as much as any.
        let most = wrong.iter().map(|e| e.actual.abs()).fold(0.0, f64::max);
        let distance = DISTANCES[wrong.iter().find(|e| e.actual.abs() >= most / 2.0)?.index];
        let what = "covariances of draws (those of elements 1, 2, 4, 8, 16, 32 and 64 apart)";
        let mut violation = Violation::new(wrong, DISTANCES.len(), 0, Kind::F64).of_what(what);
        violation.symptoms.push(Symptom::SharedWords { distance });
        Some(Box::new(violation))
    }
}
