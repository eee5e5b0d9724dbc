//! What wrong casters do, tried on what they were given.

use super::{Element, Symptom};
use crate::format::{
    FormatId, FormatSpec, Overflow, Policy, Rounding, Unpacked, bf16_from_f64, f16_from_f64,
};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// The codes that are right: one, or the two neighbours of a stochastic rounding; none where a NaN is
/// refused.
pub(super) type Both = [Option<u64>; 2];

/// What a wrong caster makes of element `i`.
pub(super) type Trial<'t> = (Symptom, Box<dyn Fn(usize) -> Both + 't>);

/// Whether two codes are the same, or both NaN.
pub(super) fn same(format: &FormatSpec, a: u64, b: u64) -> bool {
    a == b || (is_nan(format, a) && is_nan(format, b))
}

fn is_nan(format: &FormatSpec, code: u64) -> bool {
    code & !format.code_mask() == 0 && format.is_nan_code(code)
}

/// Whether a code is one of these.
pub(super) fn is_one(format: &FormatSpec, both: Both, code: u64) -> bool {
    both.into_iter().flatten().any(|right| same(format, right, code))
}

fn encode(format: &FormatSpec, policy: Policy, x: f64) -> Option<u64> {
    Unpacked::from_f64(x).encode(format, policy, 0).ok()
}

/// The codes that are right.
pub(super) fn rightly(format: &FormatSpec, policy: Policy, x: f64) -> Both {
    if !policy.rounding.is_stochastic() {
        return [encode(format, policy, x), None];
    }
    // Word 0 never goes away from zero, and overflows where both neighbours are beyond the largest.
    let toward = policy.rounding(Rounding::STOCHASTIC);
    let away = if x < 0.0 && format.signed() { Rounding::Down } else { Rounding::Up };
    [encode(format, toward, x), encode(format, policy.rounding(away), x)]
}

/// A caster and what it was given.
pub(super) struct Caster<'t> {
    pub format: &'t FormatSpec,
    pub policy: Policy,
    /// What is rounded, after scaling.
    pub x: &'t [f64],
    pub codes: &'t [u64],
    /// Whether a source of negative zero becomes positive.
    pub drops_neg_zero: bool,
}

impl<'t> Caster<'t> {
    fn right(&self) -> impl Fn(Policy, f64) -> Both + Copy + 't {
        let (format, drops) = (self.format, self.drops_neg_zero);
        move |policy, x| rightly(format, policy, if drops && x == 0.0 { 0.0 } else { x })
    }

    /// With another policy.
    fn with(&self, symptom: Symptom, policy: Policy) -> Trial<'t> {
        let (x, right) = (self.x, self.right());
        (symptom, Box::new(move |i| right(policy, x[i])))
    }

    /// With another source.
    pub fn source(&self, symptom: Symptom, f: impl Fn(usize, f64) -> f64 + 't) -> Trial<'t> {
        let (x, policy, right) = (self.x, self.policy, self.right());
        (symptom, Box::new(move |i| right(policy, f(i, x[i]))))
    }

    /// With what is made of right codes.
    fn code(&self, symptom: Symptom, f: impl Fn(f64, u64) -> u64 + 't) -> Trial<'t> {
        let (x, policy, right) = (self.x, self.policy, self.right());
        (symptom, Box::new(move |i| right(policy, x[i]).map(|code| code.map(|code| f(x[i], code)))))
    }

    /// What wrong casters do.
    pub fn trials(&self) -> Vec<Trial<'t>> {
        let (format, policy) = (self.format, self.policy);
        let signed_zero = move |x: f64| {
            if x.is_sign_negative() && format.has_neg_zero() { format.sign_mask() } else { 0 }
        };
        let magnitude = move |code: u64| code & format.magnitude_mask();
        let through = |through, narrow: fn(f64) -> f64| {
            self.source(Symptom::DoubleRounding { through }, move |_, x| narrow(x))
        };
        let beyond = |x: f64| x.is_finite() && x.abs() > format.max();
        let other = match policy.overflow {
            Overflow::NonFinite => {
                self.with(Symptom::Saturates, policy.overflow(Overflow::Saturate))
            }
            Overflow::Saturate => {
                self.with(Symptom::NotSaturated, policy.overflow(Overflow::NonFinite))
            }
        };
        let mut trials = vec![
            through("f32", |x| f64::from(x as f32)),
            through("f16", |x| f16_from_f64(x).to_f64()),
            through("bf16", |x| bf16_from_f64(x).to_f64()),
            self.source(Symptom::OverflowBeforeRounding, move |_, x| {
                if beyond(x) { f64::INFINITY.copysign(x) } else { x }
            }),
            self.code(Symptom::UnderflowBeforeRounding, move |x, code| {
                if x.abs() < format.min_positive() { signed_zero(x) } else { code }
            }),
            self.code(Symptom::Flushed, move |x, code| {
                let small = magnitude(code) < format.min_normal_code();
                if small { signed_zero(x) } else { code }
            }),
            self.code(
                Symptom::NegativeZero,
                move |_, code| if magnitude(code) == 0 { 0 } else { code },
            ),
            self.code(Symptom::InfForNan, move |x, code| {
                match (x.is_infinite(), format.nan_code(), format.inf_code()) {
                    (true, Some(nan), _) => nan,
                    (false, _, Some(inf)) if x.is_nan() => inf,
                    _ => code,
                }
            }),
            self.code(
                Symptom::SignLost,
                move |x, code| if x.is_nan() { code } else { magnitude(code) },
            ),
            self.source(Symptom::SignFlipped, |_, x| -x),
            other,
        ];
        trials.extend(self.roundings());
        trials.extend(self.largest());
        trials.extend(self.formats());
        trials
    }

    /// Other roundings; a stochastic policy has them all.
    fn roundings(&self) -> Vec<Trial<'t>> {
        let (format, policy) = (self.format, self.policy);
        if policy.rounding.is_stochastic() {
            return Vec::new();
        }
        let nearest = policy.rounding == Rounding::NearestEven;
        let others = Rounding::DETERMINISTIC.into_iter().filter(|other| *other != policy.rounding);
        let named = |rounding| match rounding {
            Rounding::TowardZero if nearest => Symptom::Truncation,
            Rounding::NearestAway if nearest => Symptom::TiesAway,
            rounding => Symptom::RoundedAs { rounding },
        };
        let mut trials: Vec<_> =
            others.map(|other| self.with(named(other), policy.rounding(other))).collect();
        if nearest {
            // A little to one side breaks a tie, and nothing else.
            let nudged = |x: f64, by: fn(f64) -> f64| {
                if x == 0.0 || !x.is_finite() { x } else { by(x) }
            };
            let inward = |x: f64| x.abs().next_down().copysign(x);
            trials.push(self.source(Symptom::TiesToZero, move |_, x| nudged(x, inward)));
            trials.push(self.source(Symptom::TiesUp, move |_, x| nudged(x, f64::next_up)));
            trials.push(self.source(Symptom::StickyLost, move |_, x| half_places(format, x)));
            let (x, right) = (self.x, self.right());
            let away = move |i: usize| {
                let rounding = if x[i] < 0.0 { Rounding::Down } else { Rounding::Up };
                right(policy.rounding(rounding), x[i])
            };
            trials.push((Symptom::AwayFromZero, Box::new(away)));
        }
        trials
    }

    /// A largest number that is not the format's: the largest code that there is.
    fn largest(&self) -> Vec<Trial<'t>> {
        let format = self.format;
        let codes = self.codes.iter().filter(|code| **code & !format.code_mask() == 0);
        let numbers = codes.map(|code| format.decode_f64(*code).abs());
        let max = numbers.filter(|x| x.is_finite()).fold(0.0, f64::max);
        if max == 0.0 || max >= format.max() {
            return Vec::new();
        }
        // Beyond it numbers saturate, or become what is beyond the format's own.
        let saturate = move |_, x: f64| if x.is_nan() { x } else { x.clamp(-max, max) };
        let pass = move |_, x: f64| if x.abs() > max { f64::INFINITY.copysign(x) } else { x };
        let symptom = Symptom::OtherMax { max };
        vec![self.source(symptom.clone(), saturate), self.source(symptom, pass)]
    }

    /// Other formats of as many bits.
    fn formats(&self) -> impl Iterator<Item = Trial<'t>> + use<'t> {
        let (x, own, policy) = (self.x, self.format, self.policy);
        let others = FormatId::ALL.iter().map(|id| id.spec());
        let others = others.filter(move |other| other.bits() == own.bits() && *other != own);
        others.map(move |other| {
            let symptom = Symptom::OtherFormat { format: other.name() };
            (symptom, Box::new(move |i: usize| rightly(other, policy, x[i])) as Box<_>)
        })
    }
}

/// x, cut off at half of a format's last place.
fn half_places(format: &FormatSpec, x: f64) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let least = format.emin();
    let e = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
    let half = 2f64.powi((e - format.man_bits() as i32 - 1).max(-1000));
    ((x.abs() / half).floor() * half).copysign(x)
}

/// The symptoms that explain most of the wrong elements, at least nine in ten of them, and that are
/// also right where the caster is.
pub(super) fn best(
    format: &FormatSpec,
    wrong: &[Element],
    codes: &[u64],
    trials: Vec<Trial<'_>>,
) -> Vec<Symptom> {
    let mut is_wrong = vec![false; codes.len()];
    wrong.iter().for_each(|e| is_wrong[e.index] = true);
    let right = codes.len() - wrong.len();
    let scored = trials.into_iter().filter_map(|(symptom, trial)| {
        let agrees = |i: usize| is_one(format, trial(i), codes[i]);
        let explained = wrong.iter().filter(|e| agrees(e.index)).count();
        if explained == 0 || 10 * explained < 9 * wrong.len() {
            return None;
        }
        // What is refused has no code to agree with.
        let agrees = |i: usize| trial(i) == [None, None] || agrees(i);
        let agreed = (0..codes.len()).filter(|i| !is_wrong[*i] && agrees(*i)).count();
        (100 * agreed >= 99 * right).then_some((symptom, (explained, agreed)))
    });
    let scored: Vec<_> = scored.collect();
    let most = scored.iter().map(|(_, score)| *score).max();
    let best = scored.into_iter().filter(|(_, score)| Some(*score) == most);
    let mut best: Vec<_> = best.map(|(symptom, _)| symptom).collect();
    best.dedup();
    // Of positive numbers, these are as others that are likelier.
    let likelier = |symptom: &Symptom| {
        !matches!(symptom, Symptom::RoundedAs { .. } | Symptom::TiesUp | Symptom::AwayFromZero)
    };
    if best.iter().any(likelier) {
        best.retain(likelier);
    } else {
        best.truncate(1);
    }
    best
}

/// What errors show where no trial does.
pub(super) fn by_kind(caster: &Caster<'_>, wrong: &[Element]) -> Option<Symptom> {
    let Caster { format, policy, x, .. } = caster;
    let code = |e: &Element| e.codes.map_or(0, |[code, _]| code);
    let exact = |e: &Element| x[e.index].is_finite() && e.expected == x[e.index];
    let neighbours = |e: &Element| {
        let both = rightly(format, policy.rounding(Rounding::STOCHASTIC), x[e.index]);
        is_one(format, both, code(e))
    };
    let negative = |e: &Element| e.actual == 0.0 && e.expected == 0.0 && code(e) != 0;
    let next = |e: &Element| {
        let magnitude = |code: u64| code & format.magnitude_mask();
        e.codes.is_some_and(|[a, b]| magnitude(a).abs_diff(magnitude(b)) == 1)
    };
    let found = |holds: &dyn Fn(&Element) -> bool| super::evidence::explains(wrong, holds);
    if found(&|e| x[e.index].is_nan() && e.expected.is_nan() && !e.actual.is_nan()) {
        Some(Symptom::NanLost)
    } else if found(&|e| {
        x[e.index].is_infinite() && e.actual.is_finite() && e.actual.abs() != format.max()
    }) {
        Some(Symptom::InfLost)
    } else if caster.drops_neg_zero && found(&negative) {
        Some(Symptom::KeepsNegativeZero)
    } else if found(&|e| exact(e) && next(e)) {
        Some(Symptom::ExactMoved)
    } else if !policy.rounding.is_stochastic() && wrong.len() >= 8 && found(&neighbours) {
        Some(Symptom::FartherNeighbour)
    } else {
        None
    }
}
