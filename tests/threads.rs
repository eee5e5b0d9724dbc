//! Threads: the caller's rayon pool, never the global one built by this crate, and with one
//! thread no rayon at all; the bits are the same.
//!
//! This is one test in its own process: rayon's global pool can be built once, and that building
//! it succeeds at the end proves that nothing built it before.

mod common;

use common::STREAM;
use quarter::slice::{
    CodesMut, DecodeOptions, EncodeOptions, FormatSliceExt, PARALLEL, QuantStats, Random, decode,
    encode, encode_stats,
};
use quarter::{F8E4M3, FormatId, FormatSpec, Policy, Rounding};

/// Everything that a large slice can go through, with `threads` asked for.
fn convert(spec: &FormatSpec, x: &[f32], threads: usize) -> (Vec<u8>, QuantStats, Vec<u32>) {
    let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
    let random = Random::Stream { stream: STREAM, start: 5 };
    let options = EncodeOptions::new(policy).scale(0.75).random(random).threads(threads);
    let mut codes = vec![0; x.len()];
    let stats = encode_stats(spec, x, CodesMut::U8(&mut codes), &options).unwrap();
    let words: Vec<u32> = (0..x.len() as u64).map(|i| STREAM.word(i + 5)).collect();
    let mut again = vec![0; x.len()];
    let given = options.random(Random::Words(&words));
    encode(spec, x, CodesMut::U8(&mut again), &given).unwrap();
    assert!(codes == again, "{}: the stream's words, given", spec.name());
    let mut values = vec![0.0f32; x.len()];
    let options = DecodeOptions::new().scale_inv(3.0).threads(threads);
    if let Ok(bytes) = spec.packed_len(x.len()) {
        let mut packed = vec![0; bytes];
        encode(spec, x, CodesMut::Packed(&mut packed), &given).unwrap();
        let mut unpacked = vec![0; x.len()];
        spec.unpack(&packed, &mut unpacked).unwrap();
        assert!(codes == unpacked, "{}: packed", spec.name());
    }
    decode(spec, &codes[..], &mut values[..], &options).unwrap();
    (codes, stats, values.into_iter().map(f32::to_bits).collect())
}

#[test]
fn one_thread_is_no_rayon_and_more_are_the_callers_pool() {
    let n = 4 * PARALLEL + 4099;
    let x: Vec<f32> = (0..n as u64).map(|i| f32::from_bits(STREAM.word(i))).collect();
    let specs = [FormatId::F8E4M3, FormatId::F8E5M2FNUZ, FormatId::F6E3M2].map(FormatId::spec);
    let want: Vec<_> = specs.iter().map(|spec| convert(spec, &x, 1)).collect();

    // Short slices do not ask for a pool either, whatever the number of threads.
    let mut short = vec![F8E4M3::ZERO; PARALLEL - 1];
    short.convert_from_f32_slice(&x[..PARALLEL - 1]).unwrap();

    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for threads in [0, 2, 3, 8, 1000] {
        for (spec, want) in specs.iter().zip(&want) {
            let got = pool.install(|| convert(spec, &x, threads));
            assert!(got.0 == want.0, "{}: codes with {threads} threads", spec.name());
            assert_eq!(got.1, want.1, "{}: statistics with {threads} threads", spec.name());
            assert!(got.2 == want.2, "{}: values with {threads} threads", spec.name());
        }
    }
    drop(pool);

    // Outside a pool the calling thread does it all.
    for threads in [0, 2] {
        assert!(convert(specs[0], &x, threads) == want[0], "no pool, {threads} threads");
    }
    let global = rayon::ThreadPoolBuilder::new().num_threads(2).build_global();
    assert!(global.is_ok(), "something built the global pool before: {global:?}");
    let got = convert(specs[0], &x, 0);
    assert!(got == want[0], "in the global pool, which the caller built");
}
