//! Outputs of other engines, replayed through the integer encoder, the kernels and the types.
//! tests/data holds what is small (NOTICE says where it is from); the rest needs `QUARTER_GOLDEN`.

mod common;

use common::exact::Exact;
use common::golden::{self, bytes, floats, json, words};
use common::{assert_code, assert_codes, encode_scalars, encode_slice, options};
use quarter::slice::{CodesMut, EncodeOptions, Random, encode};
use quarter::{F8E4M3, F8E5M2, Format, FormatId, Isa, Overflow, Policy, Rounding, Unpacked};

const FP8: [FormatId; 2] = [FormatId::F8E4M3, FormatId::F8E5M2];

fn ml_dtypes_name(id: FormatId) -> &'static str {
    id.spec().aliases()[0]
}

/// Fails unless encoder and kernels give the engine's codes; NaN is left out where the format
/// has none, as every engine does something else there.
fn replay(id: FormatId, policy: Policy, engine: &str, x: &[f32], want: &[u64]) {
    let spec = id.spec();
    let kept = |i: &usize| spec.has_nan() || !x[*i].is_nan();
    let (x, want): (Vec<f32>, Vec<u64>) =
        (0..x.len()).filter(kept).map(|i| (x[i], want[i])).unzip();
    let note = |path: &str| format!("{path}, held to {engine}");
    assert_codes(spec, policy, note("Unpacked"), &x, &encode_scalars(spec, &x, policy), &want);
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for isa in Isa::available() {
        let got = encode_slice(spec, &x, &options(policy, isa));
        assert_codes(spec, policy, note(isa.name()), &x, &got, &want);
        let got = encode_slice(spec, &wide, &options(policy, isa));
        assert_codes(spec, policy, note(isa.name()), &wide, &got, &want);
    }
}

fn codes(bytes: &[u8]) -> Vec<u64> {
    bytes.iter().map(|c| u64::from(*c)).collect()
}

#[test]
fn decode_tables() {
    let tables = json("decode.json");
    let tables = tables["formats"].as_object().unwrap();
    assert_eq!(tables.len(), common::narrow_formats().count());
    for (name, table) in tables {
        let spec = golden::format(name).spec();
        let oracle = Exact::new(spec);
        let table = table.as_array().unwrap();
        assert_eq!(table.len() as u64, spec.code_mask() + 1, "{name}");
        for (code, want) in table.iter().enumerate() {
            let (code, want) = (code as u64, f32::from_bits(golden::hex(want)));
            let paths = [
                ("f32", f64::from(spec.decode_f32(code))),
                ("f64", spec.decode_f64(code)),
                ("the oracle", oracle.decode(code)),
            ];
            for (path, got) in paths {
                let same = got.to_bits() == f64::from(want).to_bits();
                assert!(
                    same || got.is_nan() && want.is_nan(),
                    "{name} {code:#010b} to {path}: got {got:e}, ml_dtypes has {want:e}"
                );
            }
        }
    }
}

#[test]
fn specials() {
    let file = json("specials.ml_dtypes.json");
    let inputs = file["inputs_f32_bits"].as_object().unwrap();
    let formats = file["codes"].as_object().unwrap();
    assert_eq!(formats.len(), 12);
    for (format, row) in formats {
        let id = golden::format(format);
        for (input, bits) in inputs {
            let x = f32::from_bits(golden::hex(bits));
            if !x.is_nan() || id.spec().has_nan() {
                let want = u64::from(golden::hex(&row[input]));
                replay(id, Policy::NONFINITE, "ml_dtypes", &[x], &[want]);
            }
        }
    }
}

#[test]
fn every_pair_of_formats() {
    let order = json("cross8.order.json");
    let order: Vec<FormatId> =
        order.as_array().unwrap().iter().map(|n| golden::format(n.as_str().unwrap())).collect();
    let table = bytes("cross8.ml_dtypes.bin");
    assert_eq!((order.len(), table.len()), (11, 11 * 11 * 256));
    let pairs = order.iter().flat_map(|from| order.iter().map(move |to| (from, to)));
    for ((from, to), row) in pairs.zip(table.chunks_exact(256)) {
        let (from, to) = (from.spec(), to.spec());
        for (code, want) in row.iter().enumerate() {
            let x = Unpacked::decode(from, code as u64);
            if x.is_nan() && !to.has_nan() {
                continue;
            }
            let got = x.encode(to, Policy::NONFINITE, 0).unwrap();
            assert_code(to, (from.name(), code), got, u64::from(*want), "ml_dtypes");
        }
    }
}

/// All pairs under + − × ÷, and √, through the operators of a type and through the exact result.
macro_rules! arithmetic {
    ($type:ident) => {{
        let name = ml_dtypes_name($type::ID);
        let table = bytes(&format!("arith.{name}.ml_dtypes.bin"));
        let (operations, roots) = table.split_at(4 << 16);
        assert_eq!(roots.len(), 256);
        // Results that are NaN are the positive quiet NaN in the file; ours may have a sign.
        let check = |what: &str, got: u8, want: u8| {
            let (got, want) = ($type::from_bits(got), $type::from_bits(want));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{name}: {what} is {:#010b} ({got}), ml_dtypes has {:#010b} ({want})",
                got.to_bits(),
                want.to_bits()
            );
        };
        for (index, want) in operations.iter().enumerate() {
            let [a, b] = [(index >> 8) as u8, index as u8].map($type::from_bits);
            // Sums, differences and products are exact in f64; quotients of such few bits round
            // to the same code from f64 as from the real number.
            let [x, y] = [a.to_f64(), b.to_f64()];
            let (sign, got, wide) = [
                ('+', a + b, x + y),
                ('-', a - b, x - y),
                ('*', a * b, x * y),
                ('/', a / b, x / y),
            ][index >> 16];
            check(&format!("{a} {sign} {b}"), got.to_bits(), *want);
            check(&format!("{x} {sign} {y} from f64"), $type::from_f64(wide).to_bits(), *want);
        }
        for (code, want) in roots.iter().enumerate() {
            let x = Unpacked::decode(&$type::SPEC, code as u64);
            let root = x.sqrt().encode(&$type::SPEC, Policy::NONFINITE, 0).unwrap();
            check(&format!("sqrt of {code:#04x}"), root as u8, *want);
        }
    }};
}

#[test]
fn arithmetic_of_e4m3() {
    arithmetic!(F8E4M3);
}

#[test]
fn arithmetic_of_e5m2() {
    arithmetic!(F8E5M2);
}

#[test]
fn directed_and_ties_away() {
    let x = floats("hard_f32_inputs.first20040.u32le.bin");
    assert_eq!(x.len(), 20_040);
    for id in FP8 {
        let file = bytes(&format!("directed_f32.{}.gfloat.bin", ml_dtypes_name(id)));
        let mut segments = file.chunks_exact(x.len());
        assert_eq!(segments.len(), 8);
        for rounding in [Rounding::TowardZero, Rounding::Down, Rounding::Up, Rounding::NearestAway]
        {
            for overflow in common::OVERFLOWS {
                let policy = Policy::NONFINITE.rounding(rounding).overflow(overflow);
                replay(id, policy, "gfloat", &x, &codes(segments.next().unwrap()));
            }
        }
    }
}

#[test]
fn stochastic() {
    let x = floats("stoch_f32_inputs.u32le.bin");
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    assert_eq!(x.len(), 4096);
    for id in FP8 {
        let spec = id.spec();
        let file = bytes(&format!("stoch_f32.{}.gfloat.bin", ml_dtypes_name(id)));
        let mut segments = file.chunks_exact(x.len());
        assert_eq!(segments.len(), 8);
        for bits in [8, 23] {
            // The random bits are the top ones of a word; those below must not matter.
            let random = words(&format!("stoch_bits{bits}.u32le.bin"));
            let low = |i: usize| common::STREAM.word(i as u64) >> bits;
            let random: Vec<u32> =
                random.iter().enumerate().map(|(i, r)| r << (32 - bits) | low(i)).collect();
            for rounding in [
                Rounding::StochasticEven { bits },
                Rounding::StochasticOdd { bits },
                Rounding::StochasticFast { bits },
                Rounding::Stochastic { bits },
            ] {
                let policy = Policy::SATURATE.rounding(rounding);
                let want = segments.next().unwrap();
                for (i, want) in want.iter().enumerate() {
                    let got = Unpacked::from_f32(x[i]).encode(spec, policy, random[i]).unwrap();
                    let input = (i, x[i], random[i]);
                    assert_code(spec, input, got, u64::from(*want), (policy, "gfloat"));
                }
                for isa in Isa::available() {
                    let options =
                        EncodeOptions::new(policy).isa(isa).random(Random::Words(&random));
                    let mut got = vec![0; x.len()];
                    encode(spec, &x[..], CodesMut::U8(&mut got), &options).unwrap();
                    assert_codes(spec, policy, isa.name(), &x, &codes(&got), &codes(want));
                    encode(spec, &wide[..], CodesMut::U8(&mut got), &options).unwrap();
                    assert_codes(spec, policy, isa.name(), &wide, &codes(&got), &codes(want));
                }
            }
        }
    }
}

/// 200,000 f32 around every threshold and at random, in every format that there is a file of.
#[test]
fn hard_f32() {
    let Some(folder) = golden::all("200,000 hard f32 in each format") else { return };
    let x: Vec<f32> = golden::to_words(&golden::read(&folder.join("hard_f32_inputs.u32le.bin")))
        .into_iter()
        .map(f32::from_bits)
        .collect();
    let mut files = 0;
    for id in common::formats() {
        let engines = [("ml_dtypes", Overflow::NonFinite), ("sat.gfloat", Overflow::Saturate)];
        for (engine, overflow) in engines {
            let name = if id == FormatId::Bf16 { "bfloat16" } else { ml_dtypes_name(id) };
            let path = folder.join(format!("hard_f32.{name}.{engine}.bin"));
            if !path.exists() {
                continue;
            }
            let file = golden::read(&path);
            let want: Vec<u64> = match file.len() / x.len() {
                1 => codes(&file),
                _ => {
                    file.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()
                }
            };
            replay(id, Policy::NONFINITE.overflow(overflow), engine, &x, &want);
            files += 1;
        }
    }
    println!("{files} files of {} codes replayed", x.len());
    let names = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name());
    let there = names.filter(|f| f.to_string_lossy().starts_with("hard_f32.")).count();
    assert_eq!(files, there, "files of a format in {}", folder.display());
}
