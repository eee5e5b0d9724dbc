//! Slice conversions against the speed of memory: every instruction set, in cache and out of it.
//!
//! ```text
//! cargo bench --bench convert                     # tables, some minutes
//! cargo bench --bench convert -- --json           # one JSON object a line
//! cargo bench --bench convert -- scaled --sizes 64K --threads 1
//! ```
//!
//! In cache and on one thread every instruction set runs, elsewhere the best (`--all`: all of
//! them). The yardsticks of a group move the same bytes and compute nothing. Other libraries are
//! in `benches/peers`.

#[allow(dead_code)] // some of it is for matrix products
mod harness;

use harness::data::{Data, SCALE};
use harness::limits::{Moves, contestant, yardsticks};
use harness::{Group, Suite};
use quarter::slice::{
    CodesMut, DecodeOptions, EncodeOptions, FormatSliceExt, Random, ValuesMut, decode, encode,
    encode_stats,
};
use quarter::{FormatId, Isa, Policy, RandomStream, Rounding};

/// One job: how quarter does it, and the loop that only moves its bytes.
struct Case {
    name: &'static str,
    ours: fn(&mut Data, Isa, usize),
    moves: Moves,
}

const SATURATE: Policy = Policy::SATURATE;
const SEEDED: Random =
    Random::Stream { stream: RandomStream { seed: 7, tensor: 1, step: 1 }, start: 0 };

/// f32 → 8-bit codes under `policy`.
fn to_u8(d: &mut Data, id: FormatId, options: EncodeOptions) {
    let done = encode(id.spec(), &d.f32[..], &mut d.to_u8[..], &options);
    done.expect("equal lengths");
}

fn with_stats(src: &[f32], dst: &mut [u8], id: FormatId, options: EncodeOptions) {
    let stats = encode_stats(id.spec(), src, dst, &options).expect("equal lengths");
    std::hint::black_box(stats);
}

fn to_values<'a>(
    codes: &[u8],
    dst: impl Into<ValuesMut<'a>>,
    id: FormatId,
    options: DecodeOptions,
) {
    decode(id.spec(), codes, dst, &options).expect("equal lengths");
}

fn options(policy: Policy, isa: Isa, threads: usize) -> EncodeOptions<'static> {
    EncodeOptions::new(policy).isa(isa).threads(threads)
}

fn scaled(isa: Isa, threads: usize) -> EncodeOptions<'static> {
    options(SATURATE, isa, threads).scale(SCALE)
}

fn decoding(isa: Isa, threads: usize) -> DecodeOptions {
    DecodeOptions::new().isa(isa).threads(threads)
}

use FormatId::{F4E2M1, F8E4M3, F8E5M2};

const CASES: &[Case] = &[
    Case {
        name: "f32 → e4m3 scaled",
        ours: |d, isa, threads| to_u8(d, F8E4M3, scaled(isa, threads)),
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e5m2 scaled",
        ours: |d, isa, threads| to_u8(d, F8E5M2, scaled(isa, threads)),
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3 scaled, statistics",
        ours: |d, isa, threads| {
            with_stats(&d.f32, &mut d.to_u8, F8E4M3, scaled(isa, threads));
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e5m2 scaled, statistics",
        ours: |d, isa, threads| {
            with_stats(&d.f32, &mut d.to_u8, F8E5M2, scaled(isa, threads));
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3 scaled, statistics, half of the values zero",
        ours: |d, isa, threads| {
            with_stats(&d.relu, &mut d.to_u8, F8E4M3, scaled(isa, threads));
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3 scaled, statistics, one in a hundred saturating",
        ours: |d, isa, threads| {
            let options = scaled(isa, threads).scale(SCALE * 2.17);
            with_stats(&d.f32, &mut d.to_u8, F8E4M3, options);
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3",
        ours: |d, isa, threads| to_u8(d, F8E4M3, options(Policy::NONFINITE, isa, threads)),
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3 scaled, toward zero",
        ours: |d, isa, threads| {
            let options = options(SATURATE.rounding(Rounding::TowardZero), isa, threads);
            to_u8(d, F8E4M3, options.scale(SCALE));
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e4m3 scaled, stochastic",
        ours: |d, isa, threads| {
            let options = options(SATURATE.rounding(Rounding::STOCHASTIC), isa, threads);
            to_u8(d, F8E4M3, options.scale(SCALE).random(SEEDED));
        },
        moves: Moves::F32ToU8,
    },
    Case {
        name: "f32 → e2m1 scaled, packed",
        ours: |d, isa, threads| {
            let packed = CodesMut::Packed(&mut d.to_u8[..d.f32.len() / 2]);
            let options = scaled(isa, threads).scale(1.0);
            encode(F4E2M1.spec(), &d.f32[..], packed, &options).expect("half the bytes");
        },
        moves: Moves::F32ToU4,
    },
    Case {
        name: "f32 → bf16",
        ours: |d, isa, threads| {
            let options = options(Policy::NONFINITE, isa, threads);
            let bits = d.to_bf16.reinterpret_cast_mut();
            encode(FormatId::Bf16.spec(), &d.f32[..], bits, &options).expect("equal lengths");
        },
        moves: Moves::F32ToU16,
    },
    Case {
        name: "f64 → e4m3 scaled",
        ours: |d, isa, threads| {
            let options = scaled(isa, threads);
            encode(F8E4M3.spec(), &d.f64[..], &mut d.to_u8[..], &options).expect("equal lengths");
        },
        moves: Moves::F64ToU8,
    },
    Case {
        name: "bf16 → e4m3 scaled",
        ours: |d, isa, threads| {
            let options = scaled(isa, threads);
            encode(F8E4M3.spec(), &d.bf16[..], &mut d.to_u8[..], &options).expect("equal lengths");
        },
        moves: Moves::U16ToU8,
    },
    Case {
        name: "e4m3 → f32",
        ours: |d, isa, threads| {
            to_values(&d.codes, &mut d.to_f32[..], F8E4M3, decoding(isa, threads));
        },
        moves: Moves::U8ToF32,
    },
    Case {
        name: "e4m3 → f32 scaled",
        ours: |d, isa, threads| {
            let options = decoding(isa, threads).scale_inv(1.0 / SCALE);
            to_values(&d.codes, &mut d.to_f32[..], F8E4M3, options);
        },
        moves: Moves::U8ToF32,
    },
    Case {
        name: "e5m2 → f32",
        ours: |d, isa, threads| {
            to_values(&d.codes, &mut d.to_f32[..], F8E5M2, decoding(isa, threads));
        },
        moves: Moves::U8ToF32,
    },
    Case {
        name: "e4m3 → bf16",
        ours: |d, isa, threads| {
            to_values(&d.codes, &mut d.to_bf16[..], F8E4M3, decoding(isa, threads));
        },
        moves: Moves::U8ToU16,
    },
    Case {
        name: "bf16 → f32",
        ours: |d, isa, threads| {
            let codes = d.bf16.reinterpret_cast();
            let options = decoding(isa, threads);
            decode(FormatId::Bf16.spec(), codes, &mut d.to_f32[..], &options)
                .expect("equal lengths");
        },
        moves: Moves::U16ToF32,
    },
];

fn main() {
    let suite = Suite::new("quarter: slice conversions", &[64 << 10, 16 << 20, 64 << 20]);
    for &n in &suite.options.sizes {
        let mut data = Data::new(n);
        for &threads in &suite.options.threads {
            // Short slices run on one thread whatever is asked for.
            if threads > 1 && n < quarter::slice::PARALLEL {
                continue;
            }
            for case in CASES {
                let isas = if suite.options.all || threads == 1 && n <= 1 << 18 { 8 } else { 1 };
                suite.group(&mut data, &group(case, n, threads, isas));
            }
        }
    }
}

fn group(case: &'static Case, elements: usize, threads: usize, isas: usize) -> Group<Data> {
    let best = Isa::best();
    let others = Isa::available().filter(|isa| *isa != best);
    let ours = std::iter::once(best).chain(others).take(isas).map(|isa| {
        let run = move |d: &mut Data| (case.ours)(d, isa, threads);
        contestant(format!("quarter {}", isa.name()), case.moves, run)
    });
    let entries = ours.chain(yardsticks(case.moves, threads)).collect();
    Group { case: case.name.into(), elements, threads, entries }
}
