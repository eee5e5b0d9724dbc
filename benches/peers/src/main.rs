//! quarter against the other Rust libraries, on the same data in the same rounds.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! RUSTFLAGS="-C target-cpu=native" cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! The first command builds for x86-64's baseline, as a published program is; quarter finds the
//! instruction set when it runs, the others cannot. The second builds everyone for this processor,
//! which lets the compiler vectorise those that are written for it.
//!
//! Each library does the job the fastest way it documents: `half` by its slice method, the others
//! by a loop, for none has slices. Where a library does not saturate, its values are clamped first.

#[allow(dead_code)] // some of it is for matrix products
#[path = "../../harness/mod.rs"]
mod harness;

use half::bf16;
use half::slice::HalfFloatSliceExt;
use harness::data::{Data, SCALE};
use harness::limits::{Moves, contestant, split, yardsticks};
use harness::{Group, Suite};
use quarter::slice::{
    CodesMut, DecodeOptions, EncodeOptions, FormatSliceExt, decode, encode, encode_stats,
};
use quarter::{FormatId, Policy};

/// A job, what it moves, and who does it; quarter first.
type Case = (&'static str, Moves, &'static [(&'static str, fn(&mut Data, usize))]);

fn encoding(threads: usize) -> EncodeOptions<'static> {
    EncodeOptions::new(Policy::SATURATE).threads(threads)
}

fn scaled(d: &mut Data, id: FormatId, threads: usize) {
    let options = encoding(threads).scale(SCALE);
    encode(id.spec(), &d.f32[..], &mut d.to_u8[..], &options).expect("equal lengths");
}

fn decoding(threads: usize) -> DecodeOptions {
    DecodeOptions::new().threads(threads)
}

fn to_f32(d: &mut Data, id: FormatId, threads: usize) {
    decode(id.spec(), &d.codes[..], &mut d.to_f32[..], &decoding(threads)).expect("equal lengths");
}

/// A loop over elements, on so many threads.
macro_rules! each {
    ($src:ident => $dst:ident, |$x:ident| $value:expr) => {
        |d, threads| {
            split(threads, &d.$src, &mut d.$dst, &|src, dst| {
                for (y, x) in dst.iter_mut().zip(src) {
                    let $x = *x;
                    *y = $value;
                }
            });
        }
    };
}

/// A loop over pairs of values that become one byte of two 4-bit codes.
macro_rules! pairs {
    (|$x:ident| $code:expr) => {
        |d, threads| {
            let half = d.f32.len() / 2;
            split(threads, &d.f32, &mut d.to_u8[..half], &|src, dst| {
                let code = |$x: f32| $code;
                for (y, x) in dst.iter_mut().zip(src.as_chunks::<2>().0) {
                    *y = code(x[0]) | code(x[1]) << 4;
                }
            });
        }
    };
}

/// The f32 of every code, as anyone may write it down.
static TABLE: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = float8::F8E4M3::from_bits(code as u8).to_f32();
        code += 1;
    }
    table
};

const CASES: &[Case] = &[
    (
        "f32 → e4m3",
        Moves::F32ToU8,
        &[
            ("quarter", |d, threads| {
                let (src, dst) = (&d.f32[..], &mut d.to_u8[..]);
                encode(FormatId::F8E4M3.spec(), src, dst, &encoding(threads)).expect("equal");
            }),
            ("minifloat", each!(f32 => to_u8, |x| minifloat::F8E4M3FN::from_f32(x).to_bits())),
            (
                "microfloat (NaN on overflow)",
                each!(f32 => to_u8, |x| microfloat::f8e4m3fn::from_f32(x).to_bits()),
            ),
            ("float8", each!(f32 => to_u8, |x| float8::F8E4M3::from_f32(x).to_bits())),
        ],
    ),
    (
        "f32 → e4m3 scaled, saturating",
        Moves::F32ToU8,
        &[
            ("quarter", |d, threads| scaled(d, FormatId::F8E4M3, threads)),
            ("quarter with statistics", |d, threads| {
                let (src, dst, options) = (&d.f32[..], &mut d.to_u8[..], encoding(threads));
                let spec = FormatId::F8E4M3.spec();
                let stats = encode_stats(spec, src, dst, &options.scale(SCALE));
                std::hint::black_box(stats.expect("equal lengths"));
            }),
            (
                "minifloat",
                each!(f32 => to_u8, |x| minifloat::F8E4M3FN::from_f32(x * SCALE).to_bits()),
            ),
            (
                "microfloat, clamped",
                each!(f32 => to_u8, |x| {
                    microfloat::f8e4m3fn::from_f32((x * SCALE).clamp(-448.0, 448.0)).to_bits()
                }),
            ),
            ("float8", each!(f32 => to_u8, |x| float8::F8E4M3::from_f32(x * SCALE).to_bits())),
        ],
    ),
    (
        "f32 → e4m3 scaled, saturating, half of the values zero",
        Moves::F32ToU8,
        &[
            ("quarter with statistics", |d, threads| {
                let (src, dst, options) = (&d.relu[..], &mut d.to_u8[..], encoding(threads));
                let spec = FormatId::F8E4M3.spec();
                let stats = encode_stats(spec, src, dst, &options.scale(SCALE));
                std::hint::black_box(stats.expect("equal lengths"));
            }),
            (
                "minifloat",
                each!(relu => to_u8, |x| minifloat::F8E4M3FN::from_f32(x * SCALE).to_bits()),
            ),
            ("float8", each!(relu => to_u8, |x| float8::F8E4M3::from_f32(x * SCALE).to_bits())),
        ],
    ),
    (
        "f32 → e5m2 scaled, saturating",
        Moves::F32ToU8,
        &[
            ("quarter", |d, threads| scaled(d, FormatId::F8E5M2, threads)),
            (
                "minifloat, clamped",
                each!(f32 => to_u8, |x| {
                    minifloat::F8E5M2::from_f32((x * SCALE).clamp(-57344.0, 57344.0)).to_bits()
                }),
            ),
            (
                "microfloat, clamped",
                each!(f32 => to_u8, |x| {
                    microfloat::f8e5m2::from_f32((x * SCALE).clamp(-57344.0, 57344.0)).to_bits()
                }),
            ),
            ("float8", each!(f32 => to_u8, |x| float8::F8E5M2::from_f32(x * SCALE).to_bits())),
        ],
    ),
    (
        "f32 → e2m1, packed",
        Moves::F32ToU4,
        &[
            ("quarter", |d, threads| {
                let packed = CodesMut::Packed(&mut d.to_u8[..d.f32.len() / 2]);
                let spec = FormatId::F4E2M1.spec();
                encode(spec, &d.f32[..], packed, &encoding(threads)).expect("half the bytes");
            }),
            ("minifloat", pairs!(|x| minifloat::F4E2M1FN::from_f32(x).to_bits())),
            ("microfloat", pairs!(|x| microfloat::f4e2m1fn::from_f32(x).to_bits())),
        ],
    ),
    (
        "f32 → bf16",
        Moves::F32ToU16,
        &[
            ("quarter", |d, threads| {
                let codes = FormatSliceExt::reinterpret_cast_mut(&mut d.to_bf16[..]);
                let options = EncodeOptions::new(Policy::NONFINITE).threads(threads);
                encode(FormatId::Bf16.spec(), &d.f32[..], codes, &options).expect("equal lengths");
            }),
            ("half, slice", |d, threads| {
                split(threads, &d.f32, &mut d.to_bf16, &|src, dst| {
                    HalfFloatSliceExt::convert_from_f32_slice(dst, src);
                });
            }),
            ("half, loop", each!(f32 => to_bf16, |x| bf16::from_f32(x))),
            (
                "minifloat",
                each!(f32 => to_bf16, |x| bf16::from_bits(minifloat::BF16::from_f32(x).to_bits())),
            ),
        ],
    ),
    (
        "f64 → e4m3",
        Moves::F64ToU8,
        &[
            ("quarter", |d, threads| {
                let (src, dst) = (&d.f64[..], &mut d.to_u8[..]);
                encode(FormatId::F8E4M3.spec(), src, dst, &encoding(threads)).expect("equal");
            }),
            ("minifloat", each!(f64 => to_u8, |x| minifloat::F8E4M3FN::from_f64(x).to_bits())),
            (
                "microfloat (rounds twice)",
                each!(f64 => to_u8, |x| microfloat::f8e4m3fn::from_f64(x).to_bits()),
            ),
            ("float8", each!(f64 => to_u8, |x| float8::F8E4M3::from_f64(x).to_bits())),
        ],
    ),
    (
        "bf16 → e4m3 scaled",
        Moves::U16ToU8,
        &[
            ("quarter", |d, threads| {
                let options = encoding(threads).scale(SCALE);
                let (src, dst) = (&d.bf16[..], &mut d.to_u8[..]);
                encode(FormatId::F8E4M3.spec(), src, dst, &options).expect("equal lengths");
            }),
            (
                "minifloat",
                each!(bf16 => to_u8, |x| {
                    minifloat::F8E4M3FN::from_f32(x.to_f32() * SCALE).to_bits()
                }),
            ),
            (
                "float8",
                each!(bf16 => to_u8, |x| float8::F8E4M3::from_f32(x.to_f32() * SCALE).to_bits()),
            ),
        ],
    ),
    (
        "e4m3 → f32",
        Moves::U8ToF32,
        &[
            ("quarter", |d, threads| to_f32(d, FormatId::F8E4M3, threads)),
            ("table of 256", each!(codes => to_f32, |c| TABLE[usize::from(c)])),
            ("minifloat", each!(codes => to_f32, |c| minifloat::F8E4M3FN::from_bits(c).to_f32())),
            ("microfloat", each!(codes => to_f32, |c| microfloat::f8e4m3fn::from_bits(c).to_f32())),
            ("float8", each!(codes => to_f32, |c| float8::F8E4M3::from_bits(c).to_f32())),
        ],
    ),
    (
        "e5m2 → f32",
        Moves::U8ToF32,
        &[
            ("quarter", |d, threads| to_f32(d, FormatId::F8E5M2, threads)),
            ("minifloat", each!(codes => to_f32, |c| minifloat::F8E5M2::from_bits(c).to_f32())),
            ("microfloat", each!(codes => to_f32, |c| microfloat::f8e5m2::from_bits(c).to_f32())),
            ("float8", each!(codes => to_f32, |c| float8::F8E5M2::from_bits(c).to_f32())),
        ],
    ),
    (
        "e4m3 → bf16",
        Moves::U8ToU16,
        &[
            ("quarter", |d, threads| {
                let (src, dst) = (&d.codes[..], &mut d.to_bf16[..]);
                decode(FormatId::F8E4M3.spec(), src, dst, &decoding(threads)).expect("equal");
            }),
            (
                "minifloat",
                each!(codes => to_bf16, |c| {
                    bf16::from_f32(minifloat::F8E4M3FN::from_bits(c).to_f32())
                }),
            ),
            (
                "microfloat",
                each!(codes => to_bf16, |c| {
                    bf16::from_f32(microfloat::f8e4m3fn::from_bits(c).to_f32())
                }),
            ),
            (
                "float8",
                each!(codes => to_bf16, |c| bf16::from_f32(float8::F8E4M3::from_bits(c).to_f32())),
            ),
        ],
    ),
    (
        "bf16 → f32",
        Moves::U16ToF32,
        &[
            ("quarter", |d, threads| {
                let codes = FormatSliceExt::reinterpret_cast(&d.bf16[..]);
                let dst = &mut d.to_f32[..];
                decode(FormatId::Bf16.spec(), codes, dst, &decoding(threads)).expect("equal");
            }),
            ("half, slice", |d, threads| {
                split(threads, &d.bf16, &mut d.to_f32, &|src, dst| {
                    HalfFloatSliceExt::convert_to_f32_slice(src, dst);
                });
            }),
            (
                "minifloat",
                each!(bf16 => to_f32, |c| minifloat::BF16::from_bits(c.to_bits()).to_f32()),
            ),
        ],
    ),
];

fn main() {
    let suite = Suite::new("quarter and its peers: slice conversions", &[64 << 10, 16 << 20]);
    for &n in &suite.options.sizes {
        let mut data = Data::new(n);
        for &threads in &suite.options.threads {
            if threads > 1 && n < quarter::slice::PARALLEL {
                continue;
            }
            for (case, moves, ways) in CASES {
                let ways = ways
                    .iter()
                    .map(|(name, run)| contestant(*name, *moves, move |d| run(d, threads)));
                let entries = ways.chain(yardsticks(*moves, threads)).collect();
                let case = (*case).into();
                suite.group(&mut data, &Group { case, elements: n, threads, entries });
            }
        }
    }
}
