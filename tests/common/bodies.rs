//! The bodies of the fuzz targets: any bytes in, a panic out if a law does not hold. They are
//! here so that plain `cargo test` runs them too (tests/fuzz_bodies.rs).

use super::exact::{Exact, Number};
use half::{bf16, f16};
use quarter::Unpacked;
use quarter::slice::{CodeSlice, EncodeOptions, Random, Values, encode};
use quarter::{Error, FormatId, FormatSpec, Isa, NanPolicy, Overflow, Policy, Rounding, Specials};

/// Bytes read from the front; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.byte()) % list.len()]
    }

    /// A row of the table, or a format that nobody has yet.
    fn spec(&mut self) -> FormatSpec {
        let table: Vec<FormatId> =
            FormatId::ALL.iter().copied().filter(|id| id.spec().bits() <= 16).collect();
        if !self.byte().is_multiple_of(4) {
            return *self.pick(&table).spec();
        }
        let specials = [Specials::Ieee, Specials::NanAllOnes, Specials::NanNegZero, Specials::None];
        let specials = self.pick(&specials);
        let exp = (1 + u32::from(self.byte() % 8)).max(1 + u32::from(specials == Specials::Ieee));
        // With no mantissa bit "the even code" is not the even significand: not fuzzed.
        let man = 1 + u32::from(self.byte()) % (15 - exp).min(10);
        let bias = i32::from(self.byte()) - 127 + i32::from(self.byte() % 2) * 127;
        FormatSpec::custom("custom", exp, man, bias, specials).expect("the fields are in range")
    }

    fn policy(&mut self, stochastic: bool) -> Policy {
        let bits = 8 + self.byte() % 25;
        let roundings = [
            Rounding::NearestEven,
            Rounding::NearestAway,
            Rounding::TowardZero,
            Rounding::Up,
            Rounding::Down,
            Rounding::Stochastic { bits },
            Rounding::StochasticEven { bits },
            Rounding::StochasticOdd { bits },
            Rounding::StochasticFast { bits },
        ];
        Policy {
            rounding: self.pick(&roundings[..if stochastic { 9 } else { 5 }]),
            overflow: self.pick(&[Overflow::NonFinite, Overflow::Saturate]),
            nan: self.pick(&[NanPolicy::Zero, NanPolicy::Max, NanPolicy::Error]),
        }
    }

    /// An f64 of any bits, of few, or beside a value or midpoint of the format.
    fn number(&mut self, oracle: &Exact) -> f64 {
        let bits = self.long();
        match self.byte() % 4 {
            0 => f64::from_bits(bits),
            1 => f64::from(f32::from_bits(bits as u32)),
            kind => {
                let grid = oracle.grid();
                let at = bits as usize % (grid.len() - 1);
                let point = if kind == 2 { grid[at] } else { (grid[at] + grid[at + 1]) / 2.0 };
                let steps = [0, 0, 1, -1, 2, 1 << 20, 1 << 28, 1 << 29, -(1 << 29), -(1 << 30)];
                let moved = point.to_bits().wrapping_add_signed(self.pick(&steps));
                f64::from_bits(moved ^ bits & 1 << 63)
            }
        }
    }
}

/// Values of any source into any format under any policy: encoder and every kernel give the
/// oracle's codes, or nothing is written where the policy asks for an error.
pub fn encode_oracle(data: &[u8]) {
    let mut data = Bytes(data);
    let spec = data.spec();
    let oracle = Exact::new(&spec);
    let policy = data.policy(true);
    let source = data.byte() % 4;
    let (mut x, mut words) = (Vec::new(), Vec::new());
    while !data.0.is_empty() && x.len() < 200 {
        let value = data.number(&oracle);
        x.push(match source {
            0 => value,
            1 => f64::from(value as f32),
            2 => f16::from_f64(value).to_f64(),
            _ => bf16::from_f64(value).to_f64(),
        });
        words.push(data.word());
    }
    let want: Vec<Option<u64>> =
        x.iter().zip(&words).map(|(x, w)| oracle.encode(Number::Float(*x), policy, *w)).collect();
    for i in 0..x.len() {
        let got = Unpacked::from_f64(x[i]).encode(&spec, policy, words[i]).ok();
        assert!(
            got == want[i],
            "{}",
            diagnosis(&spec, policy, "Unpacked", x[i], words[i], got, want[i])
        );
    }
    let f32s: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    let f16s: Vec<f16> = x.iter().map(|x| f16::from_f64(*x)).collect();
    let bf16s: Vec<bf16> = x.iter().map(|x| bf16::from_f64(*x)).collect();
    let values = match source {
        0 => Values::F64(&x),
        1 => Values::F32(&f32s),
        2 => Values::F16(&f16s),
        _ => Values::Bf16(&bf16s),
    };
    for isa in Isa::available() {
        let options = EncodeOptions::new(policy).isa(isa).random(Random::Words(&words));
        let result = match spec.storage_bits() {
            8 => codes::<u8>(&spec, values, &options),
            _ => codes::<u16>(&spec, values, &options),
        };
        match result {
            Ok(got) => {
                for i in 0..x.len() {
                    let got = Some(got[i]);
                    assert!(
                        got == want[i],
                        "{}",
                        diagnosis(&spec, policy, isa.name(), x[i], words[i], got, want[i])
                    );
                }
            }
            Err(error) => {
                let first = want.iter().position(Option::is_none);
                let index = first.unwrap_or_else(|| panic!("{spec:?} {policy:?}: {error}"));
                assert_eq!(error, Error::Nan { format: spec.name(), index });
            }
        }
    }
}

fn codes<C: CodeSlice>(
    spec: &FormatSpec,
    x: Values,
    options: &EncodeOptions,
) -> Result<Vec<u64>, Error> {
    let untouched = C::from_u64(0xa5);
    let mut codes = vec![untouched; x.len()];
    let done = encode(spec, x, C::codes_mut(&mut codes), options);
    assert!(done.is_ok() || codes.iter().all(|c| *c == untouched), "half-written: {done:?}");
    done.map(|()| codes.into_iter().map(Into::into).collect())
}

fn diagnosis(
    spec: &FormatSpec,
    policy: Policy,
    path: &str,
    x: f64,
    word: u32,
    got: Option<u64>,
    want: Option<u64>,
) -> String {
    let show = |code: Option<u64>| {
        code.map_or("an error".into(), |c| format!("{c:#06x} = {c:b} ({:e})", spec.decode_f64(c)))
    };
    format!(
        "{path}: {x:e} ({:#018x}), word {word:08x}, to {spec:?} under {policy:?}\n  got  {}\n  want {}",
        x.to_bits(),
        show(got),
        show(want),
    )
}

/// Any text: parsing never panics, reads exactly what `f64` reads, and gives the code of the
/// nearest f64 wherever that f64's neighbours have the same code, so that no second rounding
/// could show.
pub fn from_str(data: &[u8]) {
    const ALPHABET: &[u8] = b"00123456789999.5..eE+-infaN_ ";
    let mut data = Bytes(data);
    let spec = data.spec();
    let policy = data.policy(false);
    let mapped: Vec<u8> = match data.byte() % 4 {
        0 => data.0.to_vec(),
        _ => data.0.iter().map(|b| ALPHABET[usize::from(*b) % ALPHABET.len()]).collect(),
    };
    let text = String::from_utf8_lossy(&mapped);
    let got = spec.parse_code(&text, policy);
    let Ok(y) = text.parse::<f64>() else {
        assert!(matches!(got, Err(Error::Parse { .. })), "{text:?} gives {got:?}");
        return;
    };
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let y = if digits && y.is_infinite() { f64::MAX.copysign(y) } else { y };
    let bits = y.to_bits();
    let near = |to: u64| if y.is_finite() { f64::from_bits(to) } else { y };
    let below = if y == 0.0 { y } else { near(bits - 1) };
    let above = if y.abs() == f64::MAX { y } else { near(bits + 1) };
    let oracle = Exact::new(&spec);
    // E8M0's text is really to the nearest next to its smallest number; elsewhere as numbers.
    if !spec.has_zero() && y.abs() < 2f64.powi(-125) {
        return;
    }
    let want = oracle.encode(Number::Float(y), policy, 0);
    let same = [below, above].iter().all(|y| oracle.encode(Number::Float(*y), policy, 0) == want);
    if same || !y.is_finite() {
        assert!(
            got.ok() == want,
            "{text:?} ({y:e}) to {spec:?} under {policy:?} gives {got:?}, not {want:?}"
        );
    }
}
