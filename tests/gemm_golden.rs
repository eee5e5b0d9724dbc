//! Products of other engines' operands by each engine's rule for its block sums, replayed bit for
//! bit. tests/data/gemm holds a choice of them (NOTICE says where they are from); all need
//! `QUARTER_GOLDEN`.
#![cfg(feature = "std")]

mod common;

use common::gemm::{Call, Factor, SMALL, defined, product};
use common::golden;
use common::npy::{Array, Data};
use quarter::accuracy::bounds::{GemmBound, Operand, Term};
use quarter::accuracy::check::check_matrix;
use quarter::gemm::{Accumulation, BlockSum, Packed, Workspace};
use quarter::tensor::{Quantized, Scales};
use quarter::{FormatId, Granularity};
use serde_json::Value;
use std::path::Path;

/// How a stored result is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Bit for bit, with this block sum.
    Bits(Option<BlockSum>),
    /// Bit for bit, the sums before their scales.
    Unscaled,
    /// Within the bound A2, from the sum of real numbers.
    Exact,
    /// Within 10^−5 of the largest result: the engine does not say in which order it adds.
    Close,
    /// A rule that this library does not have.
    Out,
}

fn how(kind: &str) -> How {
    match kind {
        "c_dsv3_f32" => How::Bits(Some(BlockSum::DeepSeek)),
        "c_deepgemm_f32" => How::Bits(Some(BlockSum::DeepGemm)),
        "c_te_fma_f32" => How::Bits(Some(BlockSum::Te)),
        "c_seq_f32" | "c_block_seq_f32" => How::Bits(None),
        "acc_seq_f32" => How::Unscaled,
        "c_exact_f64" => How::Exact,
        "c_torchao_emulate_f32" | "c_torch_scaled_mm_f32" | "c_dsv3_interp_f32" => How::Close,
        // fma(fl(sa · sb), p, acc): DeepGEMM's sum if its compiler fuses the last two operations.
        "c_deepgemm_fma_f32" => How::Out,
        other => panic!("{other}: a result of which rule?"),
    }
}

/// One entry of an index.json.
struct Case<'a> {
    root: &'a Path,
    json: Value,
}

impl Case<'_> {
    fn name(&self) -> &str {
        self.json["name"].as_str().expect("a name")
    }

    fn array(&self, kind: &str) -> Array {
        let path = self.json["files"][kind].as_str();
        Array::read(
            &self.root.join(path.unwrap_or_else(|| panic!("{} has no {kind}", self.name()))),
        )
    }

    fn param(&self, key: &str) -> &Value {
        &self.json["params"][key]
    }

    fn granularity(&self, side: &str) -> Granularity {
        let extent = |value: &Value| value.as_u64().expect("an extent") as usize;
        if let Some(block) = self.param(&format!("{side}_block")).as_array() {
            return Granularity::Block { rows: extent(&block[0]), cols: extent(&block[1]) };
        }
        match (self.param("granularity").as_str(), self.param("block_size")) {
            (Some("tensor"), _) => Granularity::Tensor,
            (Some("row"), _) => Granularity::Row,
            (None, size) => Granularity::Block { rows: 1, cols: extent(size) },
            (Some(other), _) => panic!("{}: granularity {other}", self.name()),
        }
    }

    /// An operand with its scales, or with none but 1.
    fn factor(&self, side: &str, scaled: bool) -> Factor {
        let format = self.param(&format!("{side}_format")).as_str().expect("a format");
        let codes = self.array(&format!("{side}_codes"));
        let [rows, cols] = codes.shape[..] else { panic!("{}: no matrix", self.name()) };
        let one = || Scales::F32 { scale: None, scale_inv: vec![1.0] };
        let (granularity, scales) = if scaled {
            let scales = match self.array(&format!("{side}_scale")).data {
                Data::F32(scale_inv) => Scales::F32 { scale: None, scale_inv },
                Data::U8(bytes) => Scales::E8M0(bytes),
                other => panic!("{}: scales {other:?}", self.name()),
            };
            (self.granularity(side), scales)
        } else {
            (Granularity::Tensor, one())
        };
        let format: FormatId = golden::format(format);
        let codes = codes.u8().to_vec();
        let made = Quantized::from_parts(format, (rows, cols), granularity, codes, scales);
        made.unwrap_or_else(|error| panic!("{}: {side}: {error}", self.name())).into()
    }

    /// The results that have a kind, of the definition and of every path, which must be the same.
    fn results(&self, scaled: bool, block_sum: Option<BlockSum>) -> Result<Vec<f32>, String> {
        let [a, b] = ["a", "b"].map(|side| self.factor(side, scaled));
        let sums = Accumulation { block_sum, ..Accumulation::default() };
        let call = Call { sums, ..Call::new() };
        let want = defined(&a, &b, &call)?;
        let packed = Packed::new(b.input()).map_err(|error| error.to_string())?;
        let mut space = Workspace::new();
        for path in SMALL.iter() {
            let right = if path.packed { (&packed).into() } else { b.input() };
            let got = product(*path, &mut space, &a, right, &call);
            if got.as_ref() != Ok(&want) {
                return Err(format!("{path:?} differs from the definition, sum {block_sum:?}"));
            }
        }
        Ok(want.bits.iter().map(|bits| f32::from_bits(*bits as u32)).collect())
    }

    /// The number of elements compared, and the largest part of a bound that one took.
    fn compare(&self, kind: &str) -> Result<(usize, f64), String> {
        let stored = self.array(kind);
        let (m, n) = (stored.shape[0], stored.shape[1]);
        let at = |i: usize| format!("{kind}[{}, {}]", i / n, i % n);
        let sum = Some(BlockSum::DeepSeek);
        let got = match how(kind) {
            How::Bits(block_sum) => self.results(true, block_sum)?,
            How::Unscaled => self.results(false, None)?,
            How::Exact | How::Close => self.results(true, sum)?,
            How::Out => return Ok((0, 0.0)),
        };
        if got.len() != m * n {
            return Err(format!("{kind}: {} results for {m} x {n}", got.len()));
        }
        let mut largest = 0.0_f64;
        match how(kind) {
            How::Bits(_) | How::Unscaled => {
                for (i, (got, want)) in got.iter().zip(stored.f32()).enumerate() {
                    if got.to_bits() != want.to_bits() {
                        let bits = [got, want].map(|x| format!("{:08x} ({x:e})", x.to_bits()));
                        return Err(format!("{}: {}, not {}", at(i), bits[0], bits[1]));
                    }
                }
            }
            How::Exact => {
                let Data::F64(stored) = &stored.data else { return Err("not of f64".into()) };
                let [a, b] = ["a", "b"].map(|side| self.factor(side, true));
                let how = Accumulation { block_sum: sum, ..Accumulation::default() };
                let [left, right] =
                    [&a, &b].map(|of| Operand::exact(of.input()).expect("a factor"));
                let bounds = GemmBound::new(left, right, how).map_err(|e| e.to_string())?;
                let (sums, bounds) = bounds.all();
                // What is stored are the sums in real numbers.
                for (i, (sum, want)) in sums.iter().zip(stored).enumerate() {
                    if (sum - want).abs() > bounds[i].term(Term::Reference) {
                        return Err(format!("{}: the sum is {sum:e}, not {want:e}", at(i)));
                    }
                }
                let report = check_matrix(&got, stored, n, |row, col| bounds[row * n + col]);
                largest = report.map_err(|violation| format!("{kind}: {violation}"))?.most_of_bound;
            }
            How::Close => {
                let stored = stored.f32();
                let bound = 1e-5 * stored.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
                for (i, (got, want)) in got.iter().zip(stored).enumerate() {
                    let error = (got - want).abs();
                    if error > bound || error.is_nan() {
                        return Err(format!("{}: {got:e}, not {want:e} within {bound:e}", at(i)));
                    }
                    largest = largest.max(f64::from(error / bound));
                }
            }
            How::Out => {}
        }
        Ok((got.len(), largest))
    }
}

/// Replays every product of a folder, prints what came of them, and fails if one did. Returns the
/// number of cases, and of their results: bit for bit, within bounds, and of no rule here.
fn replay(root: &Path) -> (usize, [usize; 3]) {
    let path = root.join("index.json");
    let index: Value = serde_json::from_slice(&golden::read(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all = index["cases"].as_array().expect("a list of cases").iter();
    let is_product =
        |case: &&Value| case["recipe"].as_str().is_some_and(|r| r.starts_with("gemm_"));
    let (mut cases, mut counts, mut failures) = (0, [0; 3], Vec::new());
    for json in all.filter(is_product) {
        let case = Case { root, json: json.clone() };
        cases += 1;
        println!("{}", case.name());
        for kind in case.json["files"].as_object().expect("files").keys() {
            if !kind.starts_with("c_") && !kind.starts_with("acc_") {
                continue;
            }
            let (column, what) = match how(kind) {
                How::Bits(_) | How::Unscaled => (0, "bit for bit"),
                How::Exact => (1, "within A2"),
                How::Close => (1, "within 1e-5 max|C|"),
                How::Out => (2, "out of scope: the library has no such rule"),
            };
            counts[column] += 1;
            match case.compare(kind) {
                Ok((n, part)) if column == 1 => {
                    println!("  {kind}: {n} {what}, at most {part:.4} of it")
                }
                Ok((n, _)) => println!("  {kind}: {n} {what}"),
                Err(why) => failures.push(format!("{}: {why}", case.name())),
            }
        }
    }
    let [bits, bounds, out] = counts;
    println!(
        "{cases} cases; results: {bits} bit for bit, {bounds} within bounds, {out} out of scope"
    );
    assert!(failures.is_empty(), "{} results failed:\n{}", failures.len(), failures.join("\n"));
    (cases, counts)
}

/// The choice of cases that is in the repository.
#[test]
fn some_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gemm");
    assert_eq!(replay(&folder), (4, [9, 7, 2]));
}

#[test]
fn all_cases() {
    let Some(folder) = golden::folder("scaling", "12 products of other engines' operands") else {
        return;
    };
    let (cases, counts) = replay(&folder);
    assert!(cases >= 12, "{cases} cases in {}", folder.display());
    assert!(counts[0] >= 28, "{counts:?}");
}
