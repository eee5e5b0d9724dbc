//! Histograms and backward errors against the loops that define them, on numbers of every size; what
//! else is compared.
#![cfg(feature = "std")]

use quarter::accuracy::{CompareOptions, Meter, Metrics, Numbers, exponent};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
use quarter::{Error, FormatId, FormatSpec, Granularity, Isa, RandomStream};

const CHUNK: usize = 4096;
const F32: &FormatSpec = FormatId::F32.spec();
const E4M3: &FormatSpec = FormatId::F8E4M3.spec();

/// The sum that `Metrics` defines, of terms by index.
fn sum(terms: impl Iterator<Item = (usize, f64)>) -> f64 {
    let (mut total, mut lanes, mut chunk) = (0.0, [0.0; 8], 0);
    let mut end = |lanes: &mut [f64; 8]| {
        for half in [4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        total += std::mem::take(lanes)[0];
    };
    for (i, term) in terms {
        if i / CHUNK != chunk {
            end(&mut lanes);
            chunk = i / CHUNK;
        }
        lanes[i % 8] += term;
    }
    end(&mut lanes);
    total
}

/// Numbers near 1, of f32's whole range, zeros, and now and then NaN, Inf or what f32 does not hold.
fn values(n: usize, seed: u64, odd: bool) -> Vec<f64> {
    let stream = RandomStream { seed, ..RandomStream::default() };
    let value = |i: u64| {
        let word = stream.word(2 * i + 1);
        match stream.word(2 * i) % 64 {
            0 if odd => [f64::NAN, f64::INFINITY, 1e300, -1e-300, 5e-324][word as usize % 5],
            1..8 => 0.0,
            8..16 if f32::from_bits(word).is_finite() => f32::from_bits(word).into(),
            _ => f64::from(word as i32) / f64::from(1 << 28),
        }
    };
    (0..n as u64).map(value).collect()
}

#[test]
fn histograms_are_their_definition() {
    let options = CompareOptions::new(FormatId::F8E4M3.spec()).histogram(true);
    for n in [0, 1, 7, 63, 64, 65, 1000, CHUNK, 2 * CHUNK] {
        let (x, y) = (values(n, 1, false), values(n, 2, false));
        let errors: Vec<(f64, f64)> = x.iter().zip(&y).map(|(x, y)| ((x - y).abs(), *y)).collect();
        let metrics = Metrics::of(&x, &y, &options).unwrap();
        let mut pairs = 0;
        for bin in metrics.histogram().unwrap().bins() {
            let here = errors.iter().enumerate().filter(|(_, (_, y))| {
                bin.exponent.map_or(*y == 0.0, |e| *y != 0.0 && exponent(*y) == e)
            });
            assert_eq!(bin.count, here.clone().count() as u64, "{bin:?} of {n}");
            let max = here.clone().fold(0.0_f64, |max, (_, (error, _))| max.max(*error));
            assert_eq!(bin.max, max, "{bin:?} of {n}");
            // Two chunks at most: rounded once, as an exact sum is.
            let squares = sum(here.map(|(i, (error, _))| (i, error * error)));
            assert_eq!(bin.sum_squares, squares, "{bin:?} of {n}");
            pairs += bin.count;
        }
        assert_eq!(pairs, n as u64);
    }
}

#[test]
fn backward_errors_are_their_definition() {
    let options = CompareOptions::new(FormatId::F32.spec());
    for n in [1, 8, 9, 1000, CHUNK, 2 * CHUNK] {
        let [x, y, m] = [3, 4, 5].map(|seed| values(n, seed, false));
        let metrics = Metrics::of_product(&x, &y, &m, &options).unwrap();
        let errors: Vec<f64> = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).collect();
        let (mut worst, mut at) = (0.0, None);
        for (i, (error, m)) in errors.iter().zip(&m).enumerate() {
            let ratio = if *error == 0.0 { 0.0 } else { error / m.abs() };
            if ratio > worst {
                (worst, at) = (ratio, Some(i as u64));
            }
        }
        let got = metrics.componentwise_backward().unwrap();
        assert_eq!((got.value, got.index), (worst, at), "{n}");
        let squares = |values: &[f64]| sum(values.iter().map(|x| x * x).enumerate()).sqrt();
        let normwise = squares(&errors) / squares(&m);
        assert!((metrics.normwise_backward().unwrap() / normwise - 1.0).abs() < 1e-15, "{n}");
    }
}

/// However a stream is cut: its places in lanes and blocks stay, with odd pairs and without.
#[test]
fn cuts_and_instruction_sets_do_not_count() {
    let n = 2 * CHUNK + 100;
    for (odd, seed) in [(false, 6), (true, 9)] {
        let [x, y, m] = [0, 1, 2].map(|i| values(n, seed + i, odd));
        let single = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<_>>();
        let [x32, y32, m32] = [single(&x), single(&y), single(&m)];
        for options in Isa::available()
            .map(|isa| CompareOptions::new(FormatId::F8E5M2.spec()).histogram(true).isa(isa))
        {
            let whole = Metrics::of_product(&x, &y, &m, &options).unwrap();
            let whole32 = Metrics::of_product(&x32, &y32, &m32, &options).unwrap();
            for step in [1, 3, 8, 63, 64, 65, 1001] {
                let mut meters = [(); 2].map(|()| Meter::new(&options));
                for at in (0..n).step_by(step) {
                    let range = at..n.min(at + step);
                    let [x, y, m] = [&x, &y, &m].map(|values| &values[range.clone()]);
                    meters[0].add_product(x, y, m).unwrap();
                    let [x, y, m] = [&x32, &y32, &m32].map(|values| &values[range.clone()]);
                    meters[1].add_product(x, y, m).unwrap();
                }
                assert_eq!(meters[0].take(), whole, "{odd} {step}");
                assert_eq!(meters[1].take(), whole32, "f32 {odd} {step}");
            }
        }
    }
}

/// What a quantized matrix stands for is what it is dequantized to, packed or not.
#[test]
fn quantized_matrices_are_numbers() {
    let x: Vec<f32> = values(7 * 96, 3, false).iter().map(|x| *x as f32).collect();
    let source = MatRef::new(&x, 7, 96).unwrap();
    for cast in ["e4m3:1x32:te-mx", "e5m2:tensor:te-current", "e2m1:1x16:nvfp4"] {
        let mut q = quantize(source, &cast.parse().unwrap(), &QuantizeOptions::new()).unwrap();
        let mut back = vec![0.0_f32; x.len()];
        q.dequantize_into(MatMut::new(&mut back, 7, 96).unwrap()).unwrap();
        let options = CompareOptions::new(FormatId::F32.spec());
        let want = Metrics::of(&back, source, &options).unwrap();
        assert_eq!(Metrics::of(&q, source, &options).unwrap(), want, "{cast}");
        assert!(want.sqnr_db() > 15.0);
        if q.pack().is_ok() {
            assert_eq!(Metrics::of(q.view(), source, &options).unwrap(), want, "{cast}, packed");
        }
    }
}

/// A scale that is none is refused.
#[test]
fn scales_must_be_positive_numbers() {
    for scale_inv in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let options = CompareOptions::new(FormatId::F8E4M3.spec()).scale_inv(scale_inv);
        let refused = Metrics::of(&[1.0_f32], &[1.0_f32], &options);
        assert!(matches!(refused, Err(Error::Cast { .. })), "{scale_inv}");
        let x = MatRef::new(&[1.0_f32], 1, 1).unwrap();
        let refused = Metrics::by_group(x, x, Granularity::Row, &options);
        assert!(matches!(refused, Err(Error::Cast { .. })), "{scale_inv}");
    }
}

/// Powers of two times a scale are in the binade that they begin, though 49 · fl(1 / 49) is below 1.
#[test]
fn ulps_of_scaled_codes_are_one() {
    let stream = RandomStream { seed: 5, ..RandomStream::default() };
    let random = |i| f32::from_bits(0x3000_0000 + (stream.word(i) & 0x1fff_ffff));
    for scale_inv in (1..=300_u16).map(f32::from).chain((0..2000).map(random)) {
        let options = CompareOptions::new(E4M3).scale_inv(scale_inv);
        for code in [1, 7, 8, 9, 15, 16, 55, 56, 57, 64, 112, 125] {
            let [y, x] = [code, code + 1].map(|code| E4M3.decode_f64(code) * f64::from(scale_inv));
            let ulps = Metrics::of(&[x], &[y], &options).unwrap().max_ulps.value;
            assert!((ulps - 1.0).abs() < 1e-15, "{scale_inv:e} {code} {ulps}");
        }
    }
}

#[test]
fn errors_name_both_numbers() {
    let options = CompareOptions::new(F32);
    let error = Metrics::of(&[0.0_f32; 3], &[0.0_f32; 4], &options).unwrap_err();
    assert_eq!(error, Error::Length { what: "actual", expected: 4, got: 3 });
    let error = Metrics::of_product(&[0.0; 4], &[0.0; 4], &[0.0; 5], &options).unwrap_err();
    assert_eq!(error, Error::Length { what: "magnitudes", expected: 4, got: 5 });
    let mut meter = Meter::new(&options);
    assert!(meter.add(&[1.0_f32], &[1.0_f32; 2]).is_err());
    assert_eq!(meter.take(), Metrics::default(), "nothing is added");
    let [a, b] =
        [(2, 3), (3, 2)].map(|(rows, cols)| MatRef::new(&[0.0_f32; 6], rows, cols).unwrap());
    let error = Metrics::by_group(a, b, Granularity::Row, &options).unwrap_err();
    assert_eq!(error, Error::Shape { what: "the actual matrix", expected: (3, 2), got: (2, 3) });
    let block = Granularity::Block { rows: 0, cols: 1 };
    assert!(matches!(Metrics::by_group(a, a, block, &options), Err(Error::Range { .. })));
    let error = Numbers::codes(F32, &[0]).unwrap_err();
    assert_eq!(error, Error::CodeWidth { format: "f32", expected: 32, got: 8 });
}
