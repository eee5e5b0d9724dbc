//! Every f32, f16, bf16 and code, through every format.
//!
//! ```text
//! cargo test --test exhaustive                                                a sample
//! QUARTER_SWEEP=16 cargo test --release --test exhaustive -- --nocapture      16 blocks of 2^24
//! QUARTER_SWEEP=full cargo test --release --test exhaustive -- --nocapture    all 2^32 f32
//! ```
//!
//! For each f32, format and overflow policy the slice kernels (every instruction set in a sample,
//! the best in a full sweep) and the types' `from_f32` are held to the integer encoder.
//! The codes of a whole block of 2^24 are then held against checksums of ml_dtypes and CUDA.

mod common;

use common::exact::{Exact, Number};
use common::golden;
use common::{ROUNDINGS, Source, Sweep, Visit, policies, structured_f32, sweep};
use crc32fast::Hasher;
use half::{bf16, f16};
use quarter::slice::{CodeSlice, EncodeOptions, encode};
use quarter::{Code, Format, FormatId, Isa, NanPolicy, Overflow, Policy, Rounding, Unpacked};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// f32 handled at a time: source and codes stay in the second-level cache.
const CHUNK: usize = 1 << 15;

/// The checksums of a block of f32 of one top byte, by engine and policy.
type Blocks = BTreeMap<String, Expected>;

struct Expected {
    blocks: Vec<u32>,
    /// Blocks 7f and ff up to and including Inf.
    without_nan: BTreeMap<u8, u32>,
}

/// `name` → checksums, for ml_dtypes by format name and for CUDA by format name and policy.
fn checksums() -> Blocks {
    let mut all = Blocks::new();
    for file in ["f32_exhaustive_crc.json", "f32_exhaustive_crc.cuda.json"] {
        let json = golden::json(file);
        for (name, row) in json["formats"].as_object().expect("formats by name") {
            let blocks = row["block_crc32"].as_array().expect("256 checksums");
            let first = &row["crc32_first_0x800001_codes_of_block"];
            let without_nan = [0x7f, 0xff].map(|b| (b, golden::hex(&first[format!("{b:02x}")])));
            let blocks: Vec<u32> = blocks.iter().map(golden::hex).collect();
            assert_eq!(blocks.len(), 256, "{name}");
            all.insert(name.clone(), Expected { blocks, without_nan: without_nan.into() });
        }
    }
    all
}

/// A stream of codes that some engine's checksums tell of.
struct Check {
    engine: String,
    policy: Policy,
    /// Whether the engine codes NaN as this library does.
    nan: bool,
}

/// The engines that know a format. CUDA takes NaN of either sign to +7f in E4M3 and E5M2, and to
/// +max in FP6 and FP4; its E8M0 is rounded toward zero and up.
fn checks(id: FormatId) -> Vec<Check> {
    let name = ml_dtypes_name(id);
    let (loose, sat) = (Policy::NONFINITE, Policy::SATURATE);
    let cuda =
        |kind: &str, policy, nan| Check { engine: format!("cuda.{name}{kind}"), policy, nan };
    let mut checks = vec![Check { engine: name.into(), policy: loose, nan: id.spec().has_nan() }];
    match id {
        FormatId::F8E4M3 | FormatId::F8E5M2 => {
            checks.extend([cuda(".nosat", loose, false), cuda(".satfinite", sat, false)]);
        }
        FormatId::F6E2M3 | FormatId::F6E3M2 | FormatId::F4E2M1 => {
            checks.push(cuda("", loose.nan(NanPolicy::Max), true));
        }
        FormatId::E8M0 => {
            for (mode, rounding) in [("rz", Rounding::TowardZero), ("rp", Rounding::Up)] {
                checks.push(cuda(&format!(".{mode}.nosat"), loose.rounding(rounding), true));
                checks.push(cuda(&format!(".{mode}.satfinite"), sat.rounding(rounding), true));
            }
        }
        _ => {}
    }
    checks
}

fn ml_dtypes_name(id: FormatId) -> &'static str {
    if id == FormatId::Bf16 { "bfloat16" } else { id.spec().aliases()[0] }
}

/// The formats that the checksums are of.
fn swept() -> Vec<FormatId> {
    common::formats().filter(|id| *id != FormatId::F16).collect()
}

/// The kernel's codes of `x`.
fn kernel<T: Format<Bits: CodeSlice>>(x: &[f32], policy: Policy, isa: Isa, codes: &mut [T::Bits]) {
    let options = EncodeOptions::new(policy).isa(isa).threads(1);
    encode(&T::SPEC, x, CodeSlice::codes_mut(codes), &options).expect("lengths fit");
}

/// The integer encoder's codes of `x`, compiled for the one format and policy.
fn reference<T: Format>(x: &[f32], overflow: Overflow, codes: &mut [T::Bits]) {
    const POLICIES: [Policy; 2] = [Policy::NONFINITE, Policy::SATURATE];
    let code = |x: f32, policy| {
        T::Bits::from_u64(Unpacked::from_f32(x).encode(&T::SPEC, policy, 0).unwrap_or(0))
    };
    // Two loops, so that each is compiled for its policy.
    match overflow {
        Overflow::NonFinite => {
            codes.iter_mut().zip(x).for_each(|(c, x)| *c = code(*x, POLICIES[0]));
        }
        Overflow::Saturate => {
            codes.iter_mut().zip(x).for_each(|(c, x)| *c = code(*x, POLICIES[1]));
        }
    }
}

macro_rules! define_from_f32 {
    (
        numbers { $($(#[$nd:meta])* $nid:ident $nspec:ident $nname:literal $naliases:tt
            exp $nexp:literal man $nman:literal bias $nbias:literal $nkind:ident $nsource:literal;)* }
        scales { $($(#[$sd:meta])* $sid:ident $sspec:ident $sname:literal $saliases:tt
            exp $sexp:literal man $sman:literal bias $sbias:literal $skind:ident $ssource:literal;)* }
        wide $wide:tt
    ) => {
        /// `from_f32` and `from_f32_sat` of a number type over a slice; `half`'s have their own.
        fn from_f32(id: FormatId, overflow: Overflow) -> Option<fn(&[f32], &mut [u8])> {
            macro_rules! fill {
                ($type:ident, $call:ident) => {
                    |x, codes| {
                        let code = |x: &f32| quarter::$type::$call(*x).to_bits();
                        codes.iter_mut().zip(x).for_each(|(c, x)| *c = code(x));
                    }
                };
            }
            match (id, overflow) {
                $((FormatId::$nid, Overflow::NonFinite) => Some(fill!($nid, from_f32)),)*
                $((FormatId::$nid, Overflow::Saturate) => Some(fill!($nid, from_f32_sat)),)*
                $((FormatId::$sid, Overflow::NonFinite) => Some(fill!($sid, from_f32)),)*
                $((FormatId::$sid, Overflow::Saturate) => Some(fill!($sid, from_f32_sat)),)*
                _ => None,
            }
        }
    };
}
quarter::for_each_format!(define_from_f32);

/// Compares the kernels and the types' `from_f32` with the encoder for both overflow policies.
struct Compare<'a> {
    x: &'a [f32],
    isas: &'a [Isa],
}

impl Visit for Compare<'_> {
    type Out = ();
    fn visit<T: Format<Bits: CodeSlice>>(self) {
        let wide = |codes: &[T::Bits]| codes.iter().map(|c| (*c).into()).collect::<Vec<u64>>();
        let mut want = vec![T::Bits::from_u64(0); self.x.len().min(CHUNK)];
        let (mut got, mut bytes) = (want.clone(), vec![0u8; want.len()]);
        for x in self.x.chunks(CHUNK) {
            let n = x.len();
            for policy in [Policy::NONFINITE, Policy::SATURATE] {
                reference::<T>(x, policy.overflow, &mut want[..n]);
                for isa in self.isas {
                    kernel::<T>(x, policy, *isa, &mut got[..n]);
                    if got[..n] != want[..n] {
                        let (got, want) = (wide(&got[..n]), wide(&want[..n]));
                        common::assert_codes(&T::SPEC, policy, isa.name(), x, &got, &want);
                    }
                }
                if let Some(fill) = from_f32(T::ID, policy.overflow) {
                    fill(x, &mut bytes[..n]);
                    let differs = |(c, byte): (&T::Bits, &u8)| (*c).into() != u64::from(*byte);
                    if want[..n].iter().zip(&bytes[..n]).any(differs) {
                        let got: Vec<u64> = bytes[..n].iter().map(|c| u64::from(*c)).collect();
                        common::assert_codes(
                            &T::SPEC,
                            policy,
                            "from_f32",
                            x,
                            &got,
                            &wide(&want[..n]),
                        );
                    }
                }
            }
        }
    }
}

/// The checksum of the kernel's codes of a whole block, and of those up to Inf.
struct Checksum {
    block: u8,
    policy: Policy,
}

impl Visit for Checksum {
    type Out = (u32, u32);
    fn visit<T: Format<Bits: CodeSlice>>(self) -> (u32, u32) {
        const TO_INF: usize = 0x80_0001;
        let (mut hash, mut to_inf) = (Hasher::new(), 0);
        let mut codes = vec![T::Bits::from_u64(0); CHUNK];
        let mut bytes = Vec::new();
        for chunk in 0..(1 << 24) / CHUNK {
            kernel::<T>(&patterns(self.block, chunk), self.policy, Isa::best(), &mut codes);
            let width = size_of::<T::Bits>();
            little_endian(&codes, &mut bytes);
            if chunk == TO_INF / CHUNK {
                let mut hash = hash.clone();
                hash.update(&bytes[..TO_INF % CHUNK * width]);
                to_inf = hash.finalize();
            }
            hash.update(&bytes);
        }
        (hash.finalize(), to_inf)
    }
}

/// The bytes of codes of 8 or 16 bits.
fn little_endian<C: Code>(codes: &[C], bytes: &mut Vec<u8>) {
    bytes.clear();
    let codes = codes.iter().map(|c| -> u64 { (*c).into() });
    match size_of::<C>() {
        1 => bytes.extend(codes.map(|c| c as u8)),
        _ => codes.for_each(|c| bytes.extend((c as u16).to_le_bytes())),
    }
}

/// One chunk of a block, in increasing order of the bits.
fn patterns(block: u8, chunk: usize) -> Vec<f32> {
    let start = u32::from(block) << 24 | (chunk * CHUNK) as u32;
    (start..=start + (CHUNK as u32 - 1)).map(f32::from_bits).collect()
}

/// Blocks that hold zeros, subnormals, thresholds of the formats, overflow, Inf and NaN.
const SIXTEEN: [u8; 16] = [
    0x00, 0x36, 0x37, 0x39, 0x3b, 0x3d, 0x3f, 0x40, 0x41, 0x43, 0x47, 0x7e, 0x7f, 0x80, 0xc3, 0xff,
];

#[test]
fn every_f32() {
    let began = Instant::now();
    let sweep = sweep();
    let isas: Vec<Isa> = match sweep {
        Sweep::Full => vec![Isa::best()],
        Sweep::Thin | Sweep::Sample | Sweep::Sixteenth => Isa::available().collect(),
    };
    let (blocks, whole): (Vec<u8>, bool) = match sweep {
        Sweep::Full => ((0..=255).collect(), true),
        Sweep::Sixteenth => (SIXTEEN.into(), true),
        Sweep::Thin | Sweep::Sample => ((0..=255).collect(), false),
    };
    let formats = swept();
    assert_eq!(formats.len(), 12, "the formats that ml_dtypes' checksums are of");
    common::readme::counted("conversions of every f32", (formats.len() * 2) << 32);
    let count = Mutex::new(0);
    common::parallel(blocks.len(), |i| {
        let mut done = 0;
        for chunk in 0..if whole { (1 << 24) / CHUNK } else { 1 } {
            let x = if whole { patterns(blocks[i], chunk) } else { structured_f32(blocks[i]) };
            for id in &formats {
                common::with_type(*id, Compare { x: &x, isas: &isas });
            }
            done += x.len();
        }
        *count.lock().unwrap() += done;
    });
    let count = count.into_inner().unwrap();
    assert!(sweep != Sweep::Full || count == 1 << 32, "{count} f32 in each format");
    println!(
        "{count} f32 x {} formats x 2 overflow policies = {} conversions, each by the encoder, \
         from_f32 and {isas:?}: 0 mismatches ({:.1} s)",
        formats.len(),
        count * formats.len() * 2,
        began.elapsed().as_secs_f64(),
    );
}

#[test]
fn checksums_of_ml_dtypes_and_cuda() {
    let began = Instant::now();
    let blocks: Vec<u8> = match sweep() {
        Sweep::Full => (0..=255).collect(),
        Sweep::Sixteenth => SIXTEEN.into(),
        Sweep::Sample => vec![0x37, 0x43, 0x7f, 0xff],
        Sweep::Thin => vec![0x43],
    };
    let expected = checksums();
    let mut jobs = Vec::new();
    for id in swept() {
        jobs.extend(checks(id).into_iter().map(|check| (id, check)));
    }
    assert_eq!(jobs.len(), expected.len(), "every row of checksums is used");
    let matched = Mutex::new(vec![0; jobs.len()]);
    common::parallel(blocks.len() * jobs.len(), |i| {
        let (block, job) = (blocks[i / jobs.len()], i % jobs.len());
        let (id, check) = &jobs[job];
        let row = &expected[&check.engine];
        let (whole, to_inf) = common::with_type(*id, Checksum { block, policy: check.policy });
        let (got, want) = match row.without_nan.get(&block) {
            Some(want) if !check.nan => (to_inf, *want),
            _ => (whole, row.blocks[usize::from(block)]),
        };
        assert!(
            got == want,
            "{} {:?}: the codes of f32 {block:02x}000000..={block:02x}ffffff have checksum \
             {got:08x}, but those of {} have {want:08x}",
            id.name(),
            check.policy,
            check.engine,
        );
        matched.lock().unwrap()[job] += 1;
    });
    for ((_, check), matched) in jobs.iter().zip(matched.into_inner().unwrap()) {
        println!("{:<36} {matched} of {} block checksums equal", check.engine, blocks.len());
    }
    println!("checksums: {:.1} s", began.elapsed().as_secs_f64());
}

/// All 65,536 values of a 16-bit source: oracle, integer encoder and kernels agree.
fn every_half<S: Source>() {
    let step = if sweep() == Sweep::Thin { 17 } else { 1 };
    let x: Vec<S> = (0..=0xffff).step_by(step).map(S::from_word).collect();
    let formats: Vec<FormatId> = common::formats().collect();
    common::parallel(formats.len(), |i| {
        let spec = formats[i].spec();
        let oracle = Exact::new(spec);
        for policy in policies(&ROUNDINGS) {
            let want = common::encode_exact(&oracle, &x, policy);
            let scalars = common::encode_scalars(spec, &x, policy);
            common::assert_codes(spec, policy, "Unpacked", &x, &scalars, &want);
            for isa in Isa::available() {
                let got = common::encode_slice(spec, &x, &common::options(policy, isa));
                common::assert_codes(spec, policy, isa.name(), &x, &got, &want);
            }
        }
    });
}

#[test]
fn every_f16() {
    every_half::<f16>();
}

#[test]
fn every_bf16() {
    every_half::<bf16>();
}

/// Every code of every format into every format, under every policy.
#[test]
fn every_code_to_every_format() {
    let oracles: Vec<(FormatId, Exact)> =
        common::formats().map(|id| (id, Exact::new(id.spec()))).collect();
    common::parallel(oracles.len(), |i| {
        let (id, source) = (oracles[i].0.spec(), &oracles[i].1);
        let step = if id.bits() > 8 { 3 } else { 1 };
        for (target, oracle) in &oracles {
            let spec = target.spec();
            for policy in policies(&ROUNDINGS) {
                for code in (0..=id.code_mask()).step_by(step) {
                    let word = common::STREAM.word(code);
                    let got = Unpacked::decode(id, code).encode(spec, policy, word).unwrap();
                    let x = source.decode(code);
                    // The table's NaN has no sign.
                    let negative = code & id.sign_mask() != 0;
                    let x = if x.is_nan() {
                        f64::NAN.copysign(f64::from(i8::from(!negative)) - 0.5)
                    } else {
                        x
                    };
                    let want = oracle.encode(Number::Float(x), policy, word).unwrap();
                    common::assert_code(spec, (id.name(), code, x), got, want, policy);
                }
            }
        }
    });
}
