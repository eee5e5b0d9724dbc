//! What is found, and its JSON: the fields are the keys, in this order.
//!
//! Numbers that are not finite are the strings `"inf"` and `"nan"`; what is not defined is null.

use super::stats::Stats;
use quarter::FormatId;
use quarter::tensor::Cast;
use serde::{Serialize, Serializer};

/// The document.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file or directory.
    pub file: String,
    /// What is inspected, in the order of the files.
    pub tensors: Vec<TensorReport>,
    /// What is not.
    pub skipped: Vec<Skipped>,
}

/// A tensor that is not inspected.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: String,
    /// Why.
    pub reason: &'static str,
}

/// One tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorReport {
    /// Its name; that of the file for an array.
    pub name: String,
    /// What its elements are in the file.
    pub dtype: String,
    /// The granularity of the scales that its codes are multiplied by; null for plain values.
    pub scales: Option<String>,
    /// Its shape; of codes that share bytes that of the values.
    pub shape: Vec<usize>,
    /// Rows and columns that casts see: one row of a vector, all but the last dimension together.
    pub matrix: (usize, usize),
    /// Its elements.
    pub elements: u64,
    /// How many are zero.
    pub zeros: u64,
    /// How many are NaN.
    pub nan: u64,
    /// How many are infinite.
    pub inf: u64,
    /// The largest finite magnitude; null where there is none.
    #[serde(serialize_with = "number")]
    pub amax: Option<f64>,
    /// The smallest finite magnitude but zero.
    #[serde(serialize_with = "number")]
    pub smallest: Option<f64>,
    /// The mean magnitude of the finite elements.
    #[serde(serialize_with = "number")]
    pub mean_abs: Option<f64>,
    /// The root of the mean square of the finite elements.
    #[serde(serialize_with = "number")]
    pub rms: Option<f64>,
    /// log2(amax / smallest).
    #[serde(serialize_with = "number")]
    pub range_log2: Option<f64>,
    /// Finite non-zero elements by exponent, those exponents that occur.
    pub histogram: Vec<Bin>,
    /// What each cast does.
    pub casts: Vec<CastReport>,
    /// What to do with it.
    pub recommended: Recommendation,
}

/// Elements with 2^exponent ≤ |x| < 2^(exponent + 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The exponent.
    pub exponent: i32,
    /// How many.
    pub count: u64,
}

/// What one cast does to one tensor.
#[derive(Clone, Debug, Serialize)]
pub struct CastReport {
    /// The cast: format, granularity, rule.
    pub cast: String,
    /// Bits of an element, its share of the scales included.
    pub bits: f64,
    /// The scales.
    pub groups: usize,
    /// 10·log10(Σ x² / Σ (x − y)²) over the finite elements, y = dequantize(quantize(x)). `"inf"`
    /// if all are exact; null if all are zero or a y is not finite.
    #[serde(serialize_with = "number")]
    pub sqnr_db: Option<f64>,
    /// Elements beyond the largest number by more than half a step: with more exponents, the format
    /// would not round them to it.
    pub saturated: u64,
    /// The share of these among the elements that are neither zero nor NaN.
    pub saturated_share: f64,
    /// Finite non-zero elements that are 0 when turned back.
    pub flushed: u64,
    /// The share of these among the elements that are neither zero nor NaN.
    pub flushed_share: f64,
    /// Finite elements that became Inf or NaN: their scale is none.
    pub spoilt: u64,
    /// The format of the codes.
    #[serde(skip)]
    pub format: FormatId,
}

/// What to do with a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// A cast, `bf16` where none will do, null where there is nothing to cast.
    pub cast: Option<String>,
    /// Why.
    pub reason: String,
}

fn number<S: Serializer>(x: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match x {
        None => serializer.serialize_none(),
        Some(x) if x.is_finite() => serializer.serialize_f64(*x),
        Some(x) if x.is_nan() => serializer.serialize_str("nan"),
        Some(x) => serializer.serialize_str(if *x > 0.0 { "inf" } else { "-inf" }),
    }
}

/// What came of quantizing all elements and turning them back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Σ (x − y)² over finite x and y.
    pub noise: f64,
    /// As [`CastReport::saturated`].
    pub saturated: u64,
    /// As [`CastReport::flushed`].
    pub flushed: u64,
    /// As [`CastReport::spoilt`].
    pub spoilt: u64,
}

impl CastReport {
    /// What `cast` lost of a [rows, cols] matrix.
    #[must_use]
    pub fn new(cast: &Cast, (rows, cols): (usize, usize), stats: &Stats, loss: &Loss) -> Self {
        use quarter::scale::ScaleFormat;
        let groups = cast.granularity.groups(rows, cols);
        let (each, all) = match cast.rule.scale_format() {
            ScaleFormat::F32 => (32.0, 0.0),
            ScaleFormat::E8M0 => (8.0, 0.0),
            ScaleFormat::E4M3 => (8.0, 32.0),
        };
        let scales = each * groups as f64 + all;
        let sqnr_db = (stats.sum_squares > 0.0 && loss.spoilt == 0)
            .then(|| 10.0 * (stats.sum_squares / loss.noise).log10())
            .filter(|db| !db.is_nan());
        let share = |count: u64| count as f64 / stats.nonzero().max(1) as f64;
        Self {
            cast: cast.to_string(),
            bits: f64::from(cast.format.spec().bits()) + scales / stats.elements.max(1) as f64,
            groups,
            sqnr_db,
            saturated: loss.saturated,
            saturated_share: share(loss.saturated),
            flushed: loss.flushed,
            flushed_share: share(loss.flushed),
            spoilt: loss.spoilt,
            format: cast.format,
        }
    }
}
