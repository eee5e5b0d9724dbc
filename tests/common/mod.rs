//! What the tests share: the formats as types, sources, policies, and messages that diagnose.
#![allow(dead_code, unused_macros, unused_imports)] // each test binary uses a part

pub mod bodies;
pub mod exact;
pub mod gemm;
pub mod golden;
pub mod matrices;
pub mod naive;
pub mod npy;
#[cfg(feature = "std")]
pub mod planted;
pub mod products;
pub mod readme;
pub mod replay;
pub mod scaling;
pub mod units;

use exact::{Exact, Number};
use half::{bf16, f16};
use quarter::slice::{CodeSlice, CodesMut, EncodeOptions, Random, Values, encode};
use quarter::{Format, FormatId, FormatSpec, Isa, Overflow, Policy, RandomStream, Rounding};
use quarter::{NanPolicy, Unpacked};
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something to do with the type of a format.
pub trait Visit {
    type Out;
    fn visit<T: Format<Bits: CodeSlice>>(self) -> Self::Out;
}

macro_rules! define_with_type {
    (
        numbers { $($(#[$nd:meta])* $nid:ident $nspec:ident $nname:literal $naliases:tt
            exp $nexp:literal man $nman:literal bias $nbias:literal $nkind:ident $nsource:literal;)* }
        scales { $($(#[$sd:meta])* $sid:ident $sspec:ident $sname:literal $saliases:tt
            exp $sexp:literal man $sman:literal bias $sbias:literal $skind:ident $ssource:literal;)* }
        wide { $($(#[$wd:meta])* $wid:ident $wspec:ident ($wtype:ty) $wbits:ident $wname:literal
            $waliases:tt exp $wexp:literal man $wman:literal bias $wbias:literal $wsource:literal;)* }
    ) => {
        /// Visits the type of a format.
        pub fn with_type<V: Visit>(id: FormatId, visitor: V) -> V::Out {
            match id {
                $(FormatId::$nid => visitor.visit::<quarter::$nid>(),)*
                $(FormatId::$sid => visitor.visit::<quarter::$sid>(),)*
                $(FormatId::$wid => visitor.visit::<$wtype>(),)*
                _ => unreachable!("the table has every format"),
            }
        }
    };
}
quarter::for_each_format!(define_with_type);

/// The formats of up to 16 bits: those that are targets, and that the oracle knows.
pub fn formats() -> impl Iterator<Item = FormatId> {
    FormatId::ALL.iter().copied().filter(|id| id.spec().bits() <= 16)
}

/// The formats of up to 8 bits.
pub fn narrow_formats() -> impl Iterator<Item = FormatId> {
    formats().filter(|id| id.spec().bits() <= 8)
}

/// Every rounding, the stochastic ones with few, odd and all bits.
pub const ROUNDINGS: [Rounding; 13] = [
    Rounding::NearestEven,
    Rounding::NearestAway,
    Rounding::TowardZero,
    Rounding::Up,
    Rounding::Down,
    Rounding::Stochastic { bits: 8 },
    Rounding::Stochastic { bits: 32 },
    Rounding::StochasticEven { bits: 8 },
    Rounding::StochasticEven { bits: 23 },
    Rounding::StochasticOdd { bits: 8 },
    Rounding::StochasticOdd { bits: 32 },
    Rounding::StochasticFast { bits: 9 },
    Rounding::StochasticFast { bits: 32 },
];

pub const OVERFLOWS: [Overflow; 2] = [Overflow::NonFinite, Overflow::Saturate];

/// Those roundings under both overflow policies.
pub fn policies(roundings: &[Rounding]) -> impl Iterator<Item = Policy> + Clone {
    let each = |r: &Rounding| OVERFLOWS.map(|o| Policy::NONFINITE.rounding(*r).overflow(o));
    roundings.iter().flat_map(each).collect::<Vec<_>>().into_iter()
}

/// The stream that stochastic cases draw from.
pub const STREAM: RandomStream = RandomStream { seed: 0x0123_4567_89ab_cdef, tensor: 5, step: 9 };

/// Options on one thread with the words of [`STREAM`].
pub fn options<'a>(policy: Policy, isa: Isa) -> EncodeOptions<'a> {
    let random = Random::Stream { stream: STREAM, start: 0 };
    EncodeOptions::new(policy).isa(isa).threads(1).random(random)
}

/// An element type that slices are encoded from.
pub trait Source: Copy + Debug + Sync {
    const NAME: &'static str;
    fn values(values: &[Self]) -> Values<'_>;
    fn unpacked(self) -> Unpacked;
    fn to_f64(self) -> f64;
    fn from_word(word: u64) -> Self;
    fn hex(self) -> String;
}

macro_rules! sources {
    ($($type:ty: $bits:ty, $width:literal, $from:ident, |$x:ident| $to_f64:expr;)*) => { $(
        impl Source for $type {
            const NAME: &'static str = stringify!($type);
            fn values(values: &[Self]) -> Values<'_> {
                values.into()
            }
            fn unpacked(self) -> Unpacked {
                Unpacked::$from(self)
            }
            fn to_f64(self) -> f64 {
                let $x = self;
                $to_f64
            }
            fn from_word(word: u64) -> Self {
                Self::from_bits(word as $bits)
            }
            fn hex(self) -> String {
                format!("{:0w$x}", self.to_bits(), w = $width)
            }
        }
    )* };
}
sources! {
    f64: u64, 16, from_f64, |x| x;
    f32: u32, 8, from_f32, |x| x.into();
    f16: u16, 4, from_f16, |x| x.into();
    bf16: u16, 4, from_bf16, |x| x.into();
}

/// The codes that a slice conversion gives.
pub fn encode_slice<S: Source>(spec: &FormatSpec, src: &[S], options: &EncodeOptions) -> Vec<u64> {
    fn run<C: CodeSlice>(spec: &FormatSpec, src: Values, options: &EncodeOptions) -> Vec<u64> {
        let mut codes = vec![C::from_u64(0xa5); src.len()];
        encode(spec, src, C::codes_mut(&mut codes), options).expect("lengths and widths fit");
        codes.into_iter().map(Into::into).collect()
    }
    let src = S::values(src);
    match spec.storage_bits() {
        8 => run::<u8>(spec, src, options),
        16 => run::<u16>(spec, src, options),
        32 => run::<u32>(spec, src, options),
        _ => run::<u64>(spec, src, options),
    }
}

/// The codes that the integer encoder gives, with the words of [`STREAM`].
pub fn encode_scalars<S: Source>(spec: &FormatSpec, src: &[S], policy: Policy) -> Vec<u64> {
    let code = |(i, x): (usize, &S)| x.unpacked().encode(spec, policy, STREAM.word(i as u64));
    src.iter().enumerate().map(|item| code(item).expect("the policy is no error")).collect()
}

/// The codes that the oracle gives, with the words of [`STREAM`].
pub fn encode_exact<S: Source>(oracle: &Exact, src: &[S], policy: Policy) -> Vec<u64> {
    let code = |(i, x): (usize, &S)| {
        oracle.encode(Number::Float(x.to_f64()), policy, STREAM.word(i as u64))
    };
    src.iter().enumerate().map(|item| code(item).expect("the policy is no error")).collect()
}

/// A code with everything a reader wants to know of it.
pub fn describe(spec: &FormatSpec, code: u64) -> String {
    let (width, value) = (spec.bits() as usize, spec.decode_f64(code));
    format!("{code:#04x} = {code:0width$b} ({value:e})")
}

/// Fails with a diagnosis at the first of `src` whose code is not the one wanted.
#[track_caller]
pub fn assert_codes<S: Source>(
    spec: &FormatSpec,
    policy: Policy,
    path: impl Display,
    src: &[S],
    got: &[u64],
    want: &[u64],
) {
    assert_eq!((got.len(), want.len()), (src.len(), src.len()), "{} {path}", spec.name());
    if got == want {
        return;
    }
    let wrong = (0..src.len()).filter(|i| got[*i] != want[*i]).count();
    let i = (0..src.len()).find(|i| got[*i] != want[*i]).expect("the slices differ");
    panic!(
        "{}, {path}, {policy:?}: {wrong} of {} differ, first\n  \
         {}[{i}] = {} ({:e}), word {:08x}\n  got  {}\n  want {}",
        spec.name(),
        src.len(),
        S::NAME,
        src[i].hex(),
        src[i].to_f64(),
        STREAM.word(i as u64),
        describe(spec, got[i]),
        describe(spec, want[i]),
    );
}

/// Fails unless a scalar's code is the one wanted.
#[track_caller]
pub fn assert_code(spec: &FormatSpec, x: impl Debug, got: u64, want: u64, note: impl Debug) {
    assert!(
        got == want,
        "{} of {x:?}, {note:?}\n  got  {}\n  want {}",
        spec.name(),
        describe(spec, got),
        describe(spec, want)
    );
}

/// Two random words, as a normal number.
pub fn normal(stream: &RandomStream, i: u64) -> f64 {
    let unit = |n| (f64::from(stream.word(2 * i + n)) + 0.5) * 2f64.powi(-32);
    (-2.0 * unit(0).ln()).sqrt() * (std::f64::consts::TAU * unit(1)).cos()
}

/// How much of the f32 line, and of every random set, a run covers: `QUARTER_SWEEP`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// `thin`: for emulators.
    Thin,
    /// Not set: plain `cargo test`.
    Sample,
    /// `16`: one block of 2^24 in 16.
    Sixteenth,
    /// `full`: all 2^32.
    Full,
}

pub fn sweep() -> Sweep {
    match std::env::var("QUARTER_SWEEP").as_deref() {
        Err(_) | Ok("") => Sweep::Sample,
        Ok("thin") => Sweep::Thin,
        Ok("16") => Sweep::Sixteenth,
        Ok("full") => Sweep::Full,
        Ok(other) => panic!("QUARTER_SWEEP is thin, 16 or full, not {other:?}"),
    }
}

/// `n`, or a sixteenth of it in a thin run.
pub fn share(n: usize) -> usize {
    if sweep() == Sweep::Thin { n.div_ceil(16) } else { n }
}

/// Runs `job` for 0..n on every core.
pub fn parallel(n: usize, job: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        i if i < n => job(i),
                        _ => break,
                    }
                }
            });
        }
    });
}

/// f32 bit patterns where formats decide: around every multiple of 2^11 of the low 24 bits under
/// `top`, and one at random in between.
pub fn structured_f32(top: u8) -> Vec<f32> {
    let step = if sweep() == Sweep::Thin { 16 } else { 1 };
    let words = RandomStream { seed: 1, tensor: u32::from(top), step: 0 };
    let around = |i: u32| {
        let at = u32::from(top) << 24 | i << 11;
        let within = at | words.word(u64::from(i)) & 0x7ff;
        [at.wrapping_sub(1), at, at + 1, within].map(f32::from_bits)
    };
    (0..1 << 13).step_by(step).flat_map(around).collect()
}

/// f64 where a format decides: its values, midpoints and overflow boundary, each with its
/// neighbours and with `nudges` of relative size 2^-k, both signs; and the specials.
pub fn structured_f64(oracle: &Exact, nudges: &[i32]) -> Vec<f64> {
    let grid = oracle.grid();
    let middles = grid.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let thin = (grid.len() / 2048).max(1) * if sweep() == Sweep::Thin { 4 } else { 1 };
    let kept = |i: usize| i.is_multiple_of(thin) || i < 300 || i + 300 > grid.len();
    let points = grid.iter().copied().zip(middles.chain([grid[grid.len() - 1]])).enumerate();
    let points = points.filter(|(i, _)| kept(*i)).flat_map(|(_, (value, middle))| [value, middle]);
    let mut x = vec![0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::INFINITY, f64::NAN];
    x.extend([f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE), 2f64.powi(-149), 2f64.powi(-150)]);
    for point in points {
        let (mut up, mut down) = (point, point);
        x.push(point);
        for _ in 0..3 {
            (up, down) = (up.next_up(), down.next_down());
            x.extend([up, down]);
        }
        for k in nudges {
            x.extend([point * (1.0 + 2f64.powi(-k)), point * (1.0 - 2f64.powi(-k))]);
        }
    }
    let negative: Vec<f64> = x.iter().map(|x| -x).collect();
    x.extend(negative);
    x
}
