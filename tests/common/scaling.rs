//! The cases of other engines' scaling, and which rule and cast each of them stands for.

use super::golden;
use super::naive::transpose;
use super::npy::Array;
use half::{bf16, f16};
use quarter::scale::{Context, Rule, ScaleFormat, SourceType};
use quarter::slice::Values;
use quarter::tensor::Cast;
use quarter::{FormatId, Granularity};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One entry of an index.json.
pub struct Case {
    root: PathBuf,
    json: Value,
}

/// Which direction or form a stored scale has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// `scale`.
    Encode,
    /// `scale_inv`.
    Decode,
    /// `scale_inv` as one byte.
    Byte,
}

/// What a case asks for.
pub enum Job {
    /// Scales of a list of amaxes; each rule must give them.
    Table { rules: Vec<Rule>, format: FormatId, context: Context, stored: Stored },
    /// Codes and scales of a matrix.
    Quantize { cast: Cast, stored: Stored },
    /// Values of given codes and scales.
    Dequantize,
    /// An input of other cases, with no output of an engine.
    Input,
    /// Tested in another place.
    Elsewhere(&'static str),
    /// Not among what is reproduced.
    Out(&'static str),
}

/// The elements of a matrix in the type that they are given in.
#[derive(Clone, Debug)]
pub enum Source {
    F64(Vec<f64>),
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Source {
    pub fn values(&self) -> Values<'_> {
        match self {
            Self::F64(x) => x[..].into(),
            Self::F32(x) => x[..].into(),
            Self::Bf16(x) => x[..].into(),
            Self::F16(x) => x[..].into(),
        }
    }

    pub fn kind(&self) -> SourceType {
        match self {
            Self::F64(_) | Self::F32(_) => SourceType::F32,
            Self::Bf16(_) => SourceType::Bf16,
            Self::F16(_) => SourceType::F16,
        }
    }

    /// A range of it: one of several matrices.
    pub fn part(&self, from: usize, len: usize) -> Self {
        match self {
            Self::F64(x) => Self::F64(x[from..from + len].to_vec()),
            Self::F32(x) => Self::F32(x[from..from + len].to_vec()),
            Self::Bf16(x) => Self::Bf16(x[from..from + len].to_vec()),
            Self::F16(x) => Self::F16(x[from..from + len].to_vec()),
        }
    }

    /// The transpose of a matrix.
    pub fn transposed(&self, rows: usize, cols: usize) -> Self {
        match self {
            Self::F64(x) => Self::F64(transpose(x, rows, cols)),
            Self::F32(x) => Self::F32(transpose(x, rows, cols)),
            Self::Bf16(x) => Self::Bf16(transpose(x, rows, cols)),
            Self::F16(x) => Self::F16(transpose(x, rows, cols)),
        }
    }

    /// Every element as f32: f64 is rounded, the others are exact.
    pub fn widened(&self) -> Vec<f32> {
        match self {
            Self::F64(x) => x.iter().map(|x| *x as f32).collect(),
            Self::F32(x) => x.clone(),
            Self::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Self::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }
}

/// The cases of the index.json of a folder.
pub fn cases(root: &Path) -> Vec<Case> {
    let path = root.join("index.json");
    let index: Value = serde_json::from_slice(&golden::read(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases = index["cases"].as_array().expect("a list of cases");
    cases.iter().map(|json| Case { root: root.to_owned(), json: json.clone() }).collect()
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or("")
    }

    fn param(&self, key: &str) -> &Value {
        &self.json["params"][key]
    }

    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn engine(&self) -> &str {
        match self.text("engine") {
            text if text.starts_with("operands") => "operands for GEMM",
            text if text.starts_with("own transcription") => "own transcription of DeepSeek-V3",
            text => text,
        }
    }

    /// Whether its scales may be off by one exponent, as the engine takes them from a f32 log2.
    pub fn through_log2(&self) -> bool {
        self.text("notes").contains("f32 log2")
    }

    /// TE's python reference, which says something else of groups with Inf or NaN.
    pub fn finite_only(&self) -> bool {
        self.text("engine") == "TransformerEngine python reference"
    }

    pub fn array(&self, kind: &str) -> Option<Array> {
        self.json["files"][kind].as_str().map(|path| Array::read(&self.root.join(path)))
    }

    /// An array that the case must have.
    pub fn need(&self, kind: &str) -> Array {
        self.array(kind).unwrap_or_else(|| panic!("{} has no {kind}", self.name()))
    }

    /// The shape and elements of the input, in the type that the engine was given.
    pub fn source(&self) -> (Vec<usize>, Source) {
        let array = self.need("input");
        let x = array.f32();
        let exact = |back: Vec<f32>| {
            let same = x.iter().zip(&back).all(|(x, b)| x.to_bits() == b.to_bits() || x.is_nan());
            assert!(same, "{}: not of {}", self.name(), self.text("input_dtype"));
        };
        let source = match self.text("input_dtype") {
            "f32" => Source::F32(x.to_vec()),
            "bf16" => Source::Bf16(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            "f16" => Source::F16(x.iter().map(|x| f16::from_f32(*x)).collect()),
            other => panic!("{}: elements of {other}", self.name()),
        };
        exact(source.widened());
        (array.shape, source)
    }

    fn format(&self) -> FormatId {
        let name = self.param("format").as_str().or(self.param("elem_format").as_str());
        let name = name.unwrap_or("e4m3"); // DeepSeek and DeepGEMM know no other
        let name = name.trim_start_matches("fp8_").trim_start_matches("fp6_");
        match name.trim_start_matches("fp4_") {
            "fp16" => FormatId::F16,
            name => golden::format(name),
        }
    }

    fn granularity(&self) -> Granularity {
        let block = &self.json["block"];
        if let Some(block) = block.as_array() {
            let [rows, cols] = [0, 1].map(|i| block[i].as_u64().expect("an extent") as usize);
            return Granularity::Block { rows, cols };
        }
        match block.as_str().expect("a block") {
            "1 scale per row" => Granularity::Row,
            "1 scale per column" => Granularity::Col,
            text if text.starts_with("per tensor") => Granularity::Tensor,
            other => panic!("{}: block {other}", self.name()),
        }
    }

    fn stored(&self) -> Stored {
        let dtype = self.text("scale_dtype");
        match self.text("scale_direction") {
            _ if dtype.contains("e8m0") || dtype.starts_with("e4m3") => Stored::Byte,
            text if text.starts_with("encode") => Stored::Encode,
            _ => Stored::Decode,
        }
    }

    fn is(&self, key: &str) -> bool {
        self.param(key).as_bool().unwrap_or(false)
    }

    /// What it asks for. Every case that there may be has an answer here.
    pub fn job(&self) -> Job {
        let quantize = |rule| {
            let cast = Cast::new(self.format(), self.granularity(), rule);
            // DeepGEMM packs f32 scales that are powers of two into bytes.
            let packed = rule.scale_format() == ScaleFormat::F32 && self.stored() == Stored::Byte;
            let stored = if packed { Stored::Decode } else { self.stored() };
            Job::Quantize { cast, stored }
        };
        let name = self.name();
        let pow2 = self.is("pow_2_scales") || self.is("round_scales_to_power_of_2");
        match self.text("recipe") {
            "input" => Job::Input,
            "scale_table" => self.table(pow2),
            "te_delayed_scaling" => Job::Elsewhere("the history of delayed scaling"),
            recipe if recipe.starts_with("gemm_") => Job::Elsewhere("matrix products"),
            "te_current_scaling" if pow2 => quantize(Rule::TeCurrentPow2),
            "te_current_scaling" => quantize(Rule::TeCurrent),
            "te_float8_blockwise" if pow2 => quantize(Rule::TeBlock),
            "te_float8_blockwise" => quantize(Rule::TeBlockF32),
            "te_mxfp8" => quantize(Rule::TeMx),
            "te_nvfp4" => quantize(Rule::Nvfp4),
            "torchao_float8_tensorwise" | "torchao_float8_rowwise" if pow2 => {
                quantize(Rule::TorchAoPow2)
            }
            "torchao_float8_tensorwise" | "torchao_float8_rowwise" => quantize(Rule::TorchAo),
            "torchao_blockwise" => quantize(Rule::TorchAoBlock),
            "torchao_mx" if !name.starts_with("torchaogit_") => Job::Out("released MX of 0.18.0"),
            "torchao_mx" => quantize(match self.param("scaling_mode").as_str().expect("a mode") {
                "FLOOR" => Rule::OcpFloor,
                "CEIL" => Rule::OcpCeil,
                "RCEIL" => Rule::OcpRceil,
                "EVEN" => Rule::OcpEven,
                other => panic!("{name}: mode {other}"),
            }),
            "deepgemm" if self.format() == FormatId::F4E2M1 => Job::Out("FP4 with ties to zero"),
            "deepgemm" if self.is("use_ue8m0") => quantize(Rule::DeepGemmUe8m0),
            "deepgemm" => quantize(Rule::DeepGemm),
            "dsv3_act" if self.param("scale_fmt").is_null() => quantize(Rule::DeepSeek),
            "dsv3_act" => quantize(Rule::DeepSeekUe8m0),
            "dsv3_weight_dequant" => Job::Dequantize,
            "microxcaling" if self.param("elem_format") == "int8" => Job::Out("int8 elements"),
            "microxcaling" => match self.param("round").as_str().expect("a rounding") {
                "even" => quantize(Rule::Microxcaling),
                "nearest" => Job::Out("round='nearest', ties away"),
                "floor" => Job::Out("round='floor'"),
                other => panic!("{name}: round {other}"),
            },
            other => panic!("{name}: recipe {other}"),
        }
    }

    fn table(&self, pow2: bool) -> Job {
        let name = self.name();
        let mut context = Context::default();
        let rules = if self.param("eps").as_f64().unwrap_or(0.0) != 0.0 {
            return Job::Out("an eps other than TE's default of 0");
        } else if name.contains("_scale_from_amax_") {
            context.source = match self.param("input_dtype").as_str().expect("a type") {
                "f32" => SourceType::F32,
                "bf16" => SourceType::Bf16,
                "f16" => SourceType::F16,
                other => panic!("{name}: input {other}"),
            };
            let (current, block) = if pow2 {
                (Rule::TeCurrentPow2, Rule::TeBlock)
            } else {
                (Rule::TeCurrent, Rule::TeBlockF32)
            };
            if context.source == SourceType::F32 { vec![current, block] } else { vec![block] }
        } else if name.starts_with("te_kernel_e8m0") {
            vec![Rule::TeMx]
        } else if name.starts_with("torchao_amax_to_scale") {
            if pow2 { vec![Rule::TorchAoPow2] } else { vec![Rule::TorchAo, Rule::TorchAoBlock] }
        } else if name.starts_with("dsv3_scale_table") {
            vec![if self.param("scale_fmt").is_null() {
                Rule::DeepSeek
            } else {
                Rule::DeepSeekUe8m0
            }]
        } else if name.starts_with("deepgemm_ceil_to_ue8m0") {
            // `raw` is the second half of the rule: see where tables are tested.
            vec![Rule::DeepGemmUe8m0]
        } else if name.starts_with("msamp") {
            context.margin = self.param("margin").as_i64().expect("a margin") as i32;
            context.previous = self.param("previous_scale").as_f64().expect("a scale") as f32;
            vec![Rule::MsAmp]
        } else {
            panic!("{name}: a table of which rule?");
        };
        Job::Table { rules, format: self.format(), context, stored: self.stored() }
    }
}
