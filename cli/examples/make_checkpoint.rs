//! Makes a model of DeepSeek-V3's shapes, with an index and three shards, of random codes: for
//! tests of speed and of kills.
//!
//! ```text
//! cargo run --release -p quarter-cli --example make_checkpoint -- DIRECTORY [GIB] [SHRINK]
//! ```
//!
//! `GIB` (3 if not given) is the least size of all shards. `SHRINK` divides all dimensions, for a
//! small model of many tensors.

use anyhow::Context as _;
use quarter_cli::checkpoint::header::{Dtype, Header, byte_len};
use quarter_cli::checkpoint::index::Index;
use rayon::prelude::*;
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

const SHARDS: usize = 3;
const LAYER: &str = "model.layers.3";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().context("make_checkpoint DIRECTORY [GIB] [SHRINK]")?;
    let gib: f64 = args.next().map_or(Ok(3.0), |text| text.parse())?;
    let shrink: usize = args.next().map_or(Ok(1), |text| text.parse())?;
    make(Path::new(&directory), gib, shrink)
}

/// Makes the model.
///
/// # Errors
/// If it cannot be written.
pub fn make(directory: &Path, gib: f64, shrink: usize) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let tensors = model((gib * f64::from(1 << 30)) as usize, shrink);
    // Shards of consecutive tensors: a scale may be in another than its codes, as in the original.
    let total: usize = tensors.iter().map(|t| byte_len(t.1, &t.2).unwrap_or(0)).sum();
    let mut shards: [Vec<_>; SHARDS] = Default::default();
    let mut before = 0;
    for tensor in tensors {
        let bytes = byte_len(tensor.1, &tensor.2)?;
        shards[(before * SHARDS / total.max(1)).min(SHARDS - 1)].push(tensor);
        before += bytes;
    }
    let mut index = Index::default();
    index.metadata.insert("total_size".to_owned(), total.into());
    let mut seed = 0;
    for (i, tensors) in shards.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{SHARDS:05}.safetensors", i + 1);
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let header = Header::place(metadata, tensors)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(directory.join(&file))?);
        out.write_all(&header.bytes()?)?;
        for (name, info) in &header.tensors {
            index.weight_map.insert(name.clone(), file.clone());
            let (begin, end) = info.data_offsets;
            for at in (begin..end).step_by(32 << 20) {
                let mut words = vec![0; (end - at).min(32 << 20).div_ceil(8)];
                seed += 1;
                fill(&mut words, info.dtype, seed);
                let bytes: &[u8] = bytemuck::cast_slice(&words);
                out.write_all(&bytes[..(end - at).min(32 << 20)])?;
            }
        }
        out.flush()?;
    }
    let config = json!({
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "hidden_size": 7168 / shrink, "torch_dtype": "bfloat16",
        "quantization_config": {
            "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
            "weight_block_size": [128, 128],
        },
    });
    fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    fs::write(directory.join("tokenizer_config.json"), "{}\n")?;
    let index = serde_json::to_vec_pretty(&index)?;
    fs::write(directory.join("model.safetensors.index.json"), index)?;
    Ok(())
}

/// Names, types and shapes: one layer, with as many experts as it takes.
fn model(bytes: usize, shrink: usize) -> Vec<(String, Dtype, Vec<usize>)> {
    let mut tensors = vec![];
    let mut size = 0;
    let mut put = |name: String, dtype: Dtype, shape: Vec<usize>| {
        size += byte_len(dtype, &shape).unwrap_or(0);
        tensors.push((name, dtype, shape));
        size
    };
    let dim = |n: usize| (n / shrink).max(1);
    put("model.embed_tokens.weight".to_owned(), Dtype::BF16, vec![dim(32320), dim(7168)]);
    put(format!("{LAYER}.input_layernorm.weight"), Dtype::BF16, vec![dim(7168)]);
    let gate = format!("{LAYER}.mlp.gate");
    put(format!("{gate}.weight"), Dtype::BF16, vec![dim(256), dim(7168)]);
    put(format!("{gate}.e_score_correction_bias"), Dtype::F32, vec![dim(256)]);
    let mut linear = |name: String, rows: usize, cols: usize| {
        let (rows, cols) = (dim(rows), dim(cols));
        put(format!("{name}.weight"), Dtype::F8_E4M3, vec![rows, cols]);
        let grid = vec![rows.div_ceil(128), cols.div_ceil(128)];
        put(format!("{name}.weight_scale_inv"), Dtype::F32, grid)
    };
    let attention = [
        ("q_a_proj", 1536, 7168),
        ("q_b_proj", 24576, 1536),
        ("kv_a_proj_with_mqa", 576, 7168), // 4.5 blocks of rows
        ("kv_b_proj", 32768, 512),
        ("o_proj", 7168, 16384),
    ];
    for (name, rows, cols) in attention {
        linear(format!("{LAYER}.self_attn.{name}"), rows, cols);
    }
    for expert in 0.. {
        let name = format!("{LAYER}.mlp.experts.{expert}");
        linear(format!("{name}.gate_proj"), 2048, 7168);
        linear(format!("{name}.up_proj"), 2048, 7168);
        if linear(format!("{name}.down_proj"), 7168, 2048) >= bytes {
            break;
        }
    }
    tensors
}

/// Words of a counter: codes without NaN; f32 and bf16 of magnitudes that weights and scales have.
fn fill(words: &mut [u64], dtype: Dtype, seed: u64) {
    words.par_iter_mut().enumerate().for_each(|(i, word)| {
        let bits = random(seed << 32 | i as u64);
        *word = match dtype {
            Dtype::F8_E4M3 => {
                // 0x7f in a byte is NaN: its lowest bit goes.
                let ones = (bits & 0x7f7f_7f7f_7f7f_7f7f) + 0x0101_0101_0101_0101;
                bits & !((ones & 0x8080_8080_8080_8080) >> 7)
            }
            Dtype::F32 => bits & 0x007f_ffff_007f_ffff | 0x3900_0000_3900_0000,
            _ => bits & 0x83ff_83ff_83ff_83ff | 0x3c00_3c00_3c00_3c00,
        };
    });
}

/// SplitMix64 (Steele, Lea, Flood 2014).
const fn random(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
