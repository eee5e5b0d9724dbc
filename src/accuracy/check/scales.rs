//! The scales of a quantizer held to a rule's, with what wrong quantizers make of groups.

use super::evidence::explains;
use super::violation::Kind;
use super::{Element, Symptom, Violation};
use crate::accuracy::bounds::Bound;
use crate::format::{FormatId, FormatSpec};
use crate::scale::{Context, Granularity, Rule, ScaleFormat};
use crate::tensor::{Cast, MatRef, Scales};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// A source whose groups have amaxes.
pub(super) struct Groups<'a> {
    pub source: MatRef<'a>,
    pub cast: Cast,
    pub context: Context,
}

/// Where an element lies in its group, and how large that is.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    col: usize,
    height: usize,
    width: usize,
}

impl Place {
    /// Its number in the group, row after row.
    const fn index(self) -> usize {
        self.row * self.width + self.col
    }
}

type Part = (&'static str, fn(Place) -> bool);

/// What kernels see of a group where they do not see all of it.
const PARTS: [Part; 9] = [
    ("the first half of its columns", |p| 2 * p.col < p.width),
    ("the second half of its columns", |p| 2 * p.col >= p.width),
    ("the first half of its rows", |p| 2 * p.row < p.height),
    ("the second half of its rows", |p| 2 * p.row >= p.height),
    ("its first row", |p| p.row == 0),
    ("its first column", |p| p.col == 0),
    ("every other element", |p| p.index() % 2 == 0),
    ("all but its last element", |p| p.index() + 1 < p.height * p.width),
    ("its first element", |p| p.index() == 0),
];

/// A symptom, and the scales that it would give.
type Trial = (Symptom, Vec<f32>);

impl Groups<'_> {
    /// The amax of each group over the magnitudes that are seen.
    fn amaxes(
        &self,
        granularity: Granularity,
        see: impl Fn(Place, f32) -> Option<f32>,
    ) -> Vec<f32> {
        let (rows, cols) = self.source.shape();
        let (height, width) = granularity.block(rows, cols);
        let grid = granularity.grid(rows, cols);
        let mut amaxes = vec![0.0_f32; granularity.groups(rows, cols)];
        for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
            let amax = &mut amaxes[row / height * grid.1 + col / width];
            let place = Place {
                row: row % height,
                col: col % width,
                height: height.min(rows - (row - row % height)),
                width: width.min(cols - (col - col % width)),
            };
            match see(place, self.source.get(row, col)) {
                Some(x) if x.is_nan() && self.cast.rule.drops_nan() => {}
                Some(x) if x.is_nan() || amax.is_nan() => *amax = f32::NAN,
                Some(x) => *amax = amax.max(x),
                None => {}
            }
        }
        amaxes
    }

    fn scales(&self, rule: Rule, format: &FormatSpec, amaxes: &[f32]) -> Vec<f32> {
        amaxes.iter().map(|amax| rule.scale(format, *amax, &self.context).scale_inv).collect()
    }

    /// The scales of the cast's rule for other amaxes.
    fn of(&self, amaxes: &[f32]) -> Vec<f32> {
        self.scales(self.cast.rule, self.cast.format.spec(), amaxes)
    }

    /// The index in another grid of the group in which each group begins.
    fn regrouped(&self, granularity: Granularity, of: &[f32]) -> Vec<f32> {
        let (rows, cols) = self.source.shape();
        let (own, other) = (self.cast.granularity.block(rows, cols), granularity.block(rows, cols));
        let (grid, others) = (self.cast.granularity.grid(rows, cols), granularity.grid(rows, cols));
        let at = |i: usize| {
            let (row, col) = (i / grid.1 * own.0, i % grid.1 * own.1);
            of.get(row / other.0 * others.1 + col / other.1).copied().unwrap_or(f32::NAN)
        };
        (0..grid.0 * grid.1).map(at).collect()
    }

    /// What wrong quantizers make of the groups, likely defects first.
    fn trials(&self, right: &Scales) -> Vec<Trial> {
        let (rows, cols) = self.source.shape();
        let Cast { format, granularity, rule, .. } = self.cast;
        let (spec, n) = (format.spec(), right.len());
        let all = self.amaxes(granularity, |_, x| Some(x.abs()));
        let scale_inv: Vec<f32> = (0..n).map(|i| right.scale_inv(i)).collect();
        let mut trials = Vec::new();
        // Rules that store scales otherwise make numbers that are compared all the same.
        let others = Rule::ALL.iter().copied().filter(|other| {
            let nvfp4 = |rule: Rule| rule.scale_format() == ScaleFormat::E4M3;
            *other != rule
                && nvfp4(*other) == nvfp4(rule)
                && Cast { rule: *other, ..self.cast }.check().is_ok()
        });
        for rule in others {
            trials.push((Symptom::ScaleRule { rule }, self.scales(rule, spec, &all)));
        }
        let relatives = FormatId::ALL.iter().map(|id| id.spec());
        for other in relatives.filter(|other| other.bits() == spec.bits() && other.signed()) {
            if other.max() != spec.max() {
                let symptom = Symptom::ScaleMax { max: other.max() };
                trials.push((symptom, self.scales(rule, other, &all)));
            }
        }
        let turned = |i: usize| {
            let grid = granularity.grid(rows, cols);
            scale_inv[i % grid.1 * grid.0 + i / grid.1]
        };
        let reciprocal = (0..n).map(|i| right.group(i).scale).collect();
        trials.push((Symptom::ScaleReciprocal, reciprocal));
        trials.push((Symptom::ScaleMissing { operand: "the tensor" }, vec![1.0; n]));
        for (part, sees) in PARTS {
            let amaxes = self.amaxes(granularity, |place, x| sees(place).then_some(x.abs()));
            trials.push((Symptom::AmaxOfPart { part }, self.of(&amaxes)));
        }
        let signed = self.amaxes(granularity, |_, x| Some(x.max(0.0)));
        trials.push((Symptom::AmaxSigned, self.of(&signed)));
        let swapped = Symptom::SwappedAxis { operand: "the tensor" };
        trials.push((swapped, (0..n).map(turned).collect()));
        let columns = granularity.grid(rows, cols).1 as isize;
        for offset in [1, -1, columns, -columns] {
            let other = |i: usize| scale_inv[(i as isize + offset).rem_euclid(n as isize) as usize];
            let symptom = Symptom::ScaleOfNeighbour { offset };
            trials.push((symptom, (0..n).map(other).collect()));
        }
        let block = |rows, cols| Granularity::Block { rows, cols };
        let others = [
            Granularity::Tensor,
            Granularity::Row,
            Granularity::Col,
            granularity.transposed(),
            block(1, 16),
            block(16, 16),
            block(1, 32),
            block(32, 32),
            block(1, 64),
            block(1, 128),
            block(128, 128),
        ];
        for other in others.into_iter().filter(|other| *other != granularity) {
            let scales = self.of(&self.amaxes(other, |_, x| Some(x.abs())));
            let symptom = Symptom::ScaleGranularity { granularity: other };
            trials.push((symptom, self.regrouped(other, &scales)));
        }
        trials
    }

    /// What is wrong with some scales, where right ones are known.
    pub(super) fn held(&self, got: &Scales, right: &Scales) -> Option<Box<Violation>> {
        let n = right.len();
        let cols = self.cast.granularity.grid(self.source.shape().0, self.source.shape().1).1;
        let values = |scales: &Scales| (0..n).map(|i| scales.scale_inv(i)).collect::<Vec<f32>>();
        let [found, wanted] = [values(got), values(right)];
        let kind = match (got, right) {
            (Scales::E8M0(_), Scales::E8M0(_)) => Kind::Codes(*FormatId::E8M0.spec()),
            (Scales::E4M3 { .. }, Scales::E4M3 { .. }) => Kind::Codes(*FormatId::F8E4M3.spec()),
            _ => Kind::F32,
        };
        let codes = |i: usize| match (got, right) {
            (Scales::E8M0(a), Scales::E8M0(b))
            | (Scales::E4M3 { scale_inv: a, .. }, Scales::E4M3 { scale_inv: b, .. }) => {
                Some([u64::from(a[i]), u64::from(b[i])])
            }
            _ => None,
        };
        if let Some(wrong) = wrong(&found, &wanted, codes) {
            let mut violation = Violation::new(wrong, n, cols, kind)
                .of_what("scales (scale_inv, by group: row and column of the grid)");
            violation.symptoms.extend(self.named(violation.elements(), &found, right));
            return Some(Box::new(violation));
        }
        // The other direction, where both keep it.
        let ways = |scales: &Scales| (0..n).map(|i| scales.scale(i)).collect::<Option<Vec<f32>>>();
        let [found, wanted] = [ways(got)?, ways(right)?];
        let wrong = wrong(&found, &wanted, |_| None)?;
        let mut violation = Violation::new(wrong, n, cols, Kind::F32)
            .of_what("scales (the factor on the way in, by group: row and column of the grid)");
        let stored =
            explains(violation.elements(), |e| same(found[e.index], right.scale_inv(e.index)));
        violation.symptoms = if stored {
            vec![Symptom::ScaleReciprocal]
        } else {
            by_ratio(violation.elements()).into_iter().collect()
        };
        Some(Box::new(violation))
    }

    fn named(&self, wrong: &[Element], found: &[f32], right: &Scales) -> Option<Symptom> {
        let amaxes = self.amaxes(self.cast.granularity, |_, x| Some(x.abs()));
        let specials = self.amaxes(self.cast.granularity, |_, x| {
            Some(if x.is_finite() { 0.0 } else { f32::INFINITY })
        });
        let mut is_wrong = vec![false; found.len()];
        wrong.iter().for_each(|e| is_wrong[e.index] = true);
        let score = |(symptom, scales): Trial| {
            let agrees = |i: &usize| same(found[*i], scales[*i]);
            let all = (0..found.len()).filter(agrees).count();
            let explained = (0..found.len()).filter(|i| is_wrong[*i] && agrees(i)).count();
            let enough = 10 * explained >= 9 * wrong.len() && 10 * all >= 9 * found.len();
            (enough && explained > 0).then_some((all, symptom))
        };
        let scored = self.trials(right).into_iter().filter_map(score);
        // The first of the best.
        let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
        if let Some((_, symptom)) = best {
            Some(symptom)
        } else if explains(wrong, |e| specials[e.index] > 0.0) {
            Some(Symptom::ScaleOfSpecials)
        } else if explains(wrong, |e| amaxes[e.index] == 0.0) {
            Some(Symptom::ScaleOfZeros)
        } else {
            by_ratio(wrong)
        }
    }

    /// What is wrong with the tensor's own factor.
    pub(super) fn held_global(&self, got: &Scales, right: &Scales) -> Option<Box<Violation>> {
        let [found, wanted] = [got, right].map(Scales::global_scale_inv);
        let wrong = wrong(&[found], &[wanted], |_| None)?;
        let mut violation = Violation::new(wrong, 1, 0, Kind::F32).of_what("factors of the tensor");
        let seen = |see: fn(f32) -> f32| {
            let amaxes = self.amaxes(Granularity::Tensor, |_, x| Some(see(x)));
            let amax = amaxes.first().copied().unwrap_or(0.0);
            1.0 / self.cast.rule.global_scale(self.cast.format.spec(), amax)
        };
        let blocks = FormatId::F8E4M3.spec().max() as f32;
        let codes = self.cast.format.spec().max() as f32;
        let operand = "the tensor's own factor";
        let trials = [
            (Symptom::ScaleReciprocal, 1.0 / wanted),
            (Symptom::AmaxSigned, seen(|x| x.max(0.0))),
            (Symptom::ScaleMissing { operand }, 1.0),
            // Either of the two largest numbers alone.
            (Symptom::ScaleMax { max: f64::from(codes) }, wanted * blocks),
            (Symptom::ScaleMax { max: f64::from(blocks) }, wanted * codes),
        ];
        let near = |trial: f32| (trial / found - 1.0).abs() < 1e-6;
        let named = trials.into_iter().find(|(_, trial)| near(*trial)).map(|(name, _)| name);
        violation.symptoms.extend(named.or_else(|| by_ratio(violation.elements())));
        Some(Box::new(violation))
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// The scales that differ.
fn wrong(
    found: &[f32],
    wanted: &[f32],
    codes: impl Fn(usize) -> Option<[u64; 2]>,
) -> Option<Vec<Element>> {
    let element = |i: usize| {
        let [actual, expected] = [found[i], wanted[i]].map(f64::from);
        Element { index: i, actual, expected, bound: Bound::ZERO, codes: codes(i) }
    };
    let differ = |i: &usize| !same(found[*i], wanted[*i]);
    let wrong: Vec<_> = (0..wanted.len()).filter(differ).map(element).collect();
    (!wrong.is_empty()).then_some(wrong)
}

/// One ratio of all.
fn by_ratio(wrong: &[Element]) -> Option<Symptom> {
    let ratio = |e: &Element| e.actual / e.expected;
    let factor = wrong.iter().map(ratio).find(|ratio| ratio.is_finite() && *ratio != 0.0)?;
    let all = |factor: f64| explains(wrong, |e| (ratio(e) / factor - 1.0).abs() < 1e-6);
    let power = factor.abs().log2().round();
    if all(1.0) {
        Some(Symptom::ScaleLastBits)
    } else if all(power.exp2()) {
        Some(Symptom::PowerOfTwo { power: power as i32 })
    } else {
        all(factor).then_some(Symptom::Factor { factor })
    }
}
