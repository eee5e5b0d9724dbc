//! The random words of stochastic rounding are Philox4x32-10 and stand where the book says.
#![cfg(feature = "std")]

use quarter::accuracy::bounds::hoeffding;
use quarter::format::random::philox4x32_10;
use quarter::slice::{CodesMut, EncodeOptions, Random, encode};
use quarter::{FormatId, Isa, Policy, RandomStream, Rounding, Unpacked};

/// The three lines "philox4x32 10" of Random123's tests/kat_vectors.
#[test]
fn known_answers_of_random123() {
    let ones = u32::MAX;
    let digits_of_pi =
        ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
    for ((counter, key), want) in [
        (([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        (([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (digits_of_pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
    ] {
        let got = philox4x32_10(counter, key);
        assert_eq!(got, want, "counter {counter:08x?} key {key:08x?}: got {got:08x?}");
    }
}

/// The counter is (element, tensor, step), the key the seed, low words first; word 0 is used.
#[test]
fn a_word_is_addressed_by_seed_element_tensor_and_step() {
    let pi = RandomStream { seed: 0x299f_31d0_a409_3822, tensor: 0x1319_8a2e, step: 0x0370_7344 };
    assert_eq!(pi.word(0x85a3_08d3_243f_6a88), 0xd16c_fe09);
    assert_eq!(RandomStream::default().word(0), 0x6627_e8d5);
    let base = pi.word(1);
    for other in [
        RandomStream { seed: pi.seed ^ 1 << 63, ..pi }.word(1),
        RandomStream { tensor: pi.tensor ^ 1, ..pi }.word(1),
        RandomStream { step: pi.step ^ 1, ..pi }.word(1),
        pi.word(1 + (1 << 32)),
    ] {
        assert_ne!(base, other);
    }
}

/// A slice that starts anywhere draws the words of its elements: at the 2^32 and 2^64 carries too.
#[test]
fn slices_draw_the_words_of_their_elements() {
    let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
    let stream = RandomStream { seed: 3, tensor: 4, step: 5 };
    let spec = FormatId::F8E4M3.spec();
    let x: Vec<f32> = (0..5000).map(|i| 1.0 + i as f32 / 5000.0 / 8.0).collect();
    for start in [0, 1, 63, (1 << 32) - 70, u64::MAX - 2100] {
        let want: Vec<u8> = (0u64..)
            .zip(&x)
            .map(|(i, x)| {
                let word = stream.word(start.wrapping_add(i));
                Unpacked::from_f32(*x).encode(spec, policy, word).unwrap() as u8
            })
            .collect();
        for isa in Isa::available() {
            for cut in [0, 1, 64, 2048, 2049] {
                let mut got = vec![0; x.len()];
                for (at, part) in [(0, 0..cut), (cut as u64, cut..x.len())] {
                    let random = Random::Stream { stream, start: start.wrapping_add(at) };
                    let options = EncodeOptions::new(policy).isa(isa).threads(1).random(random);
                    let codes = CodesMut::U8(&mut got[part.clone()]);
                    encode(spec, &x[part], codes, &options).unwrap();
                }
                assert!(got == want, "{isa:?}, start {start:#x}, cut at {cut}");
            }
        }
    }
}

/// The share of roundings away from zero is the fraction: exactly t of 2^8 words, and within
/// Hoeffding's bound at 1e-9 for words of the stream.
#[test]
fn stochastic_rounding_is_fair() {
    let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
    let spec = FormatId::F8E5M2.spec();
    let n = 1u64 << 18;
    for fraction in [1.0 / 64.0, 0.25, 0.3, 0.5, 0.9] {
        let x = Unpacked::from_f64(1.0 + 0.25 * fraction);
        let stream = RandomStream { seed: 11, tensor: 0, step: 1 };
        let away = (0..n).filter(|i| x.encode(spec, policy, stream.word(*i)).unwrap() == 0x3d);
        let share = away.count() as f64 / n as f64;
        let bound = hoeffding(n, 1e-9);
        assert!((share - fraction).abs() <= bound, "{share} of {n} words, not {fraction}");
    }
}
