//! Codes and scales of other engines, replayed bit for bit through the rules, through the naive
//! definition and through the library. tests/data/scaling holds a choice of them (NOTICE says
//! where they are from); all need `QUARTER_GOLDEN`.

mod common;

use common::golden;
use common::naive::{self, Naive};
use common::replay::{Notes, Scale, Want, compare, compare_scales, same, stored_scales};
use common::scaling::{Case, Job, Source, Stored, cases};
use half::bf16;
use quarter::scale::{Context, Rule};
use quarter::tensor::{
    Cast, MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize, quantize_both,
    quantize_transposed,
};
use quarter::{FormatId, Granularity, Isa};
use std::collections::BTreeMap;
use std::path::Path;

/// The scales of a list of amaxes.
fn table(
    case: &Case,
    rule: Rule,
    format: FormatId,
    context: Context,
    stored: Stored,
) -> Result<Notes, String> {
    let spec = format.spec();
    let amaxes = case.need("amax");
    let mut notes = Notes::default();
    // The second half of the rule, applied to the table: what follows the division by the
    // format's largest number. Where an amax leads there.
    let raw = case.name() == "deepgemm_ceil_to_ue8m0_raw";
    let files = ["scale", "scale_inv", "reciprocal"].map(|kind| (kind, case.array(kind)));
    for (i, &entry) in amaxes.f32().iter().enumerate() {
        let amax = if raw { entry * spec.max() as f32 } else { entry };
        let beyond = raw && (amax < 1e-4 || !same(amax / spec.max() as f32, entry));
        if beyond || case.finite_only() && !amax.is_finite() {
            notes.edges += 1;
            continue;
        }
        let got = rule.scale(spec, amax, &context);
        for (kind, want) in &files {
            let Some(want) = want else { continue };
            let (got, want) = match (*kind, stored) {
                ("scale", Stored::Byte) => (Scale::Byte(got.byte), Scale::Byte(want.u8()[i])),
                ("scale", Stored::Encode) | ("reciprocal", _) => {
                    (Scale::F32(got.scale), Scale::F32(want.f32()[i]))
                }
                _ => (Scale::F32(got.scale_inv), Scale::F32(want.f32()[i])),
            };
            notes.scales += 1;
            let same = compare_scales(case, rule, spec, amax, got, want);
            if !same.map_err(|why| format!("{rule}, {kind}[{i}]: {why}"))? {
                notes.log2 += 1;
            }
        }
    }
    Ok(notes)
}

/// What the definition and each path of the library make of a matrix, or of its transpose, with
/// the values of that.
fn paths(
    case: &Case,
    source: &Source,
    shape: (usize, usize),
    cast: Cast,
    transposed: bool,
) -> Vec<(&'static str, Naive, Vec<f32>)> {
    let (rows, cols) = shape;
    let context = Context { source: source.kind(), ..Context::default() };
    let turned = source.transposed(rows, cols);
    let (direct, shape) = if transposed { (&turned, (cols, rows)) } else { (source, shape) };
    let naive = naive::quantize(&direct.widened(), shape, &cast, context, |_| 0);
    // torchao's values are codes divided by scales.
    let divides = matches!(cast.rule, Rule::TorchAo | Rule::TorchAoPow2);
    let mut all = Vec::new();
    let options = QuantizeOptions::new();
    let mut add = |path, q: Quantized| {
        let mut values = vec![0.0_f32; naive.codes.len()];
        if divides {
            q.dequantize_by_division(&mut values).unwrap();
        } else {
            q.dequantize_into(MatMut::new(&mut values, shape.0, shape.1).unwrap()).unwrap();
        }
        if let Some(want) = case.array("codes_packed") {
            let mut packed = q.clone();
            packed.pack().unwrap();
            assert!(packed.codes() == want.u8(), "{}: packed codes of {path}", case.name());
            packed.unpack();
            assert!(packed.codes() == q.codes(), "{}: unpacked codes of {path}", case.name());
        }
        all.push((path, of_quantized(&q, &naive.amax), values));
    };
    let [x, xt] = [(source, rows, cols), (&turned, cols, rows)]
        .map(|(x, rows, cols)| MatRef::new(x.values(), rows, cols).unwrap());
    let (x, xt) = if transposed { (xt, x) } else { (x, xt) };
    for isa in Isa::available() {
        let options = options.isa(isa);
        add("quantize", quantize(x, &cast, &options).unwrap());
        add("quantize_transposed", quantize_transposed(xt, &cast, &options).unwrap());
    }
    let other = cast.transposed();
    add("quantize_both, first", quantize_both(x, &cast, &cast, &options).unwrap().0);
    add("quantize_both, second", quantize_both(xt, &other, &cast, &options).unwrap().1);
    let mut values = naive::dequantize(&cast, shape, &naive);
    if divides {
        let code = |i: usize| cast.format.spec().decode_f32(u64::from(naive.codes[i]));
        let group = |i| naive::group(&cast, shape.0, shape.1, i / shape.1, i % shape.1);
        values = (0..values.len()).map(|i| code(i) / naive.scale[group(i)]).collect();
    }
    all.insert(0, ("the definition", naive, values));
    all
}

/// The parts of a result; its amaxes are not kept.
fn of_quantized(q: &Quantized, amax: &[f32]) -> Naive {
    let (scales, n) = (q.scales(), q.scales().len());
    let (scale, bytes) = match scales {
        Scales::F32 { scale: Some(scale), .. } => (scale.clone(), vec![0; n]),
        Scales::F32 { scale: None, .. } => (vec![f32::NAN; n], vec![0; n]),
        Scales::E8M0(bytes) | Scales::E4M3 { scale_inv: bytes, .. } => {
            (vec![f32::NAN; n], bytes.clone())
        }
    };
    Naive {
        codes: q.codes().to_vec(),
        amax: amax.to_vec(),
        scale,
        scale_inv: (0..n).map(|i| scales.scale_inv(i)).collect(),
        bytes,
        global_scale: 1.0 / scales.global_scale_inv(),
    }
}

/// The codes and scales of every matrix of a case, and of their transposes where it has them.
fn quantized(case: &Case, cast: Cast, stored: Stored) -> Result<Notes, String> {
    let (shape, source) = case.source();
    let (count, rows, cols) = match shape[..] {
        [rows, cols] => (1, rows, cols),
        [count, rows, cols] => (count, rows, cols),
        _ => return Err(format!("shape {shape:?}")),
    };
    let mut notes = Notes::default();
    let len = rows * cols;
    let slices = case.array("slices").map(|slices| slices.i32().to_vec());
    let slices = slices.unwrap_or_else(|| (0..count as i32).collect());
    for transposed in [false, true] {
        let [codes, scales] = if transposed { ["codes_t", "scale_t"] } else { ["codes", "scale"] };
        let (Some(codes), Some(scales)) = (case.array(codes), case.array(scales)) else {
            continue;
        };
        let values = case.array("dequant").filter(|_| !transposed);
        let shape = if transposed { (cols, rows) } else { (rows, cols) };
        let groups = cast.granularity.groups(shape.0, shape.1);
        let direct = case.array("scale_encode").filter(|_| !transposed);
        let direct = direct.map(|scales| stored_scales(&scales, &cast));
        let scales = stored_scales(&scales, &cast);
        if (scales.len(), codes.u8().len()) != (slices.len() * groups, slices.len() * len) {
            return Err(format!("{} scales, {} codes", scales.len(), codes.u8().len()));
        }
        for (n, slice) in slices.iter().enumerate() {
            let part = source.part(*slice as usize * len, len);
            let turned = part.transposed(rows, cols);
            let x = if transposed { turned.widened() } else { part.widened() };
            let of = |n: usize| n * groups..(n + 1) * groups;
            let want = |scales: &[Scale], stored| Want {
                cast,
                shape,
                x: &x,
                stored,
                scales: scales[of(n)].to_vec(),
                codes: &codes.u8()[n * len..][..len],
                values: values.as_ref().map(|values| &values.f32()[n * len..][..len]),
            };
            let mut compared = Notes::default();
            for (path, got, values) in paths(case, &part, (rows, cols), cast, transposed) {
                compared = compare(case, path, &got, &values, &want(&scales, stored))?;
                if let Some(direct) = &direct {
                    compare(case, path, &got, &values, &want(direct, Stored::Encode))?;
                }
            }
            notes.add(compared);
        }
    }
    Ok(notes)
}

/// The values of given codes and scales, as f32 and as bf16.
fn dequantized(case: &Case) -> Result<Notes, String> {
    let (codes, scales) = (case.need("codes"), case.need("scale"));
    let [rows, cols] = codes.shape[..] else { return Err("not a matrix".into()) };
    let scales = Scales::F32 { scale: None, scale_inv: scales.f32().to_vec() };
    let (format, granularity) = (FormatId::F8E4M3, Granularity::BLOCK_128X128);
    let q = Quantized::from_parts(format, (rows, cols), granularity, codes.u8().to_vec(), scales);
    let q = q.map_err(|error| error.to_string())?;
    let (mut wide, mut narrow) = (vec![0.0_f32; rows * cols], vec![bf16::ZERO; rows * cols]);
    q.dequantize_into(MatMut::new(&mut wide, rows, cols).unwrap()).unwrap();
    q.dequantize_into(MatMut::new(&mut narrow, rows, cols).unwrap()).unwrap();
    let (want, bits) = (case.need("dequant"), case.need("dequant_bf16_bits"));
    for (i, (&want, &bits)) in want.f32().iter().zip(bits.i16()).enumerate() {
        let at = format!("[{}, {}], code {:#04x}", i / cols, i % cols, codes.u8()[i]);
        let definition = q.view().value(i / cols, i % cols);
        if !same(wide[i], want) || !same(definition, want) {
            return Err(format!("{at}: {:e}, by definition {definition:e}, not {want:e}", wide[i]));
        }
        if narrow[i].to_bits() != bits as u16 && !narrow[i].is_nan() {
            return Err(format!("{at}: bf16 {:04x}, not {bits:04x}", narrow[i].to_bits()));
        }
    }
    Ok(Notes { values: wide.len(), ..Notes::default() })
}

fn run(case: &Case) -> Option<Result<Notes, String>> {
    Some(match case.job() {
        Job::Table { rules, format, context, stored } => {
            let each = rules.into_iter().map(|rule| table(case, rule, format, context, stored));
            let mut notes = Notes::default();
            each.into_iter().try_for_each(|n| n.map(|n| notes.add(n))).map(|()| notes)
        }
        Job::Quantize { cast, stored } => quantized(case, cast, stored),
        Job::Dequantize => dequantized(case),
        Job::Input | Job::Elsewhere(_) | Job::Out(_) => return None,
    })
}

/// Replays every case of a folder, prints what came of them, and fails if one did.
fn replay(root: &Path) -> usize {
    let cases = cases(root);
    // Per engine: passed, failed, out, elsewhere, inputs.
    let mut table: BTreeMap<&str, ([usize; 5], Notes)> = BTreeMap::new();
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let (counts, notes) = table.entry(case.engine()).or_default();
        let column = match (run(case), case.job()) {
            (Some(Ok(compared)), _) => {
                notes.add(compared);
                0
            }
            (Some(Err(why)), _) => {
                failures.push(format!("{}: {why}", case.name()));
                1
            }
            (None, Job::Out(why)) => {
                *reasons.entry((case.engine(), why)).or_default() += 1;
                2
            }
            (None, Job::Elsewhere(why)) => {
                *reasons.entry((case.engine(), why)).or_default() += 1;
                3
            }
            (None, _) => {
                case.source();
                4
            }
        };
        counts[column] += 1;
    }
    let mut all = ([0; 5], Notes::default());
    println!(
        "{:44} passed failed   out  else input |  scales    codes   values  log2 edges",
        root.display()
    );
    let line = |name: &str, counts: [usize; 5], n: Notes| {
        let [passed, failed, out, elsewhere, input] = counts;
        println!(
            "{name:44} {passed:6} {failed:6} {out:5} {elsewhere:5} {input:5} | {:7} {:8} {:8} {:5} {:5}",
            n.scales, n.codes, n.values, n.log2, n.edges
        );
    };
    for (engine, (counts, notes)) in &table {
        line(engine, *counts, *notes);
        (0..5).for_each(|i| all.0[i] += counts[i]);
        all.1.add(*notes);
    }
    line("all", all.0, all.1);
    for ((engine, why), count) in reasons {
        println!("  {engine}: {count} not compared here: {why}");
    }
    assert_eq!(all.0.iter().sum::<usize>(), cases.len());
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
    cases.len()
}

/// The choice of cases that is in the repository.
#[test]
fn some_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scaling");
    assert_eq!(replay(&folder), 30);
}

#[test]
fn all_cases() {
    let Some(folder) = golden::folder("scaling", "768 cases of scaling") else { return };
    let count = replay(&folder);
    assert!(count >= 768, "{count} cases in {}", folder.display());
}
