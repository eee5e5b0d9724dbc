//! Models of several shards: there, back, and again after a kill.

use crate::checkpoint::*;
use crate::common::Scene;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

pub const INDEX: &str = "model.safetensors.index.json";

pub fn shard(i: usize) -> String {
    format!("model-{i:05}-of-00003.safetensors")
}

/// Rows and columns of a quantized weight, and its name.
const LINEAR: [(&str, usize, usize); 4] = [
    ("model.layers.0.self_attn.kv_a_proj_with_mqa", 144, 256),
    ("model.layers.0.mlp.gate_proj", 130, 300),
    ("model.layers.0.mlp.experts.0.down_proj", 256, 128),
    ("model.layers.0.mlp.experts.1.down_proj", 1, 7),
];

fn grid(rows: usize, cols: usize) -> [usize; 2] {
    [rows.div_ceil(128), cols.div_ceil(128)]
}

/// What is in high precision.
fn plain() -> Vec<Tensor> {
    vec![
        tensor("model.embed_tokens.weight", Dtype::BF16, &[64, 256], numbers(1, 64 * 256)),
        tensor("model.layers.0.input_layernorm.weight", Dtype::BF16, &[256], numbers(2, 256)),
        tensor("model.layers.0.mlp.gate.weight", Dtype::BF16, &[8, 256], numbers(3, 8 * 256)),
        tensor("model.layers.0.mlp.gate.e_score_correction_bias", Dtype::F32, &[8], vec![1; 32]),
        tensor("lm_head.weight", Dtype::BF16, &[64, 256], numbers(4, 64 * 256)),
        tensor("positions", Dtype::I64, &[2], vec![7; 16]),
    ]
}

/// Writes a model of three shards; tensor number i is in shard i modulo 3, so a scale is apart
/// from its codes.
fn put(scene: &Scene, tensors: &[Tensor], config: &Value) {
    let root = scene.path("in");
    fs::create_dir(&root).unwrap();
    let mut map = BTreeMap::new();
    for i in 0..3 {
        let held: Vec<_> = tensors.iter().skip(i).step_by(3).cloned().collect();
        fs::write(root.join(shard(i + 1)), file(&held, &[("format", "pt")])).unwrap();
        map.extend(held.into_iter().map(|tensor| (tensor.name, shard(i + 1))));
    }
    let total: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let index = json!({ "metadata": { "total_size": total, "by": "me" }, "weight_map": map });
    fs::write(root.join(INDEX), index.to_string()).unwrap();
    fs::write(root.join("config.json"), config.to_string()).unwrap();
    fs::write(root.join("tokenizer.json"), "{}").unwrap();
    fs::write(root.join("notes.bin"), "not copied").unwrap();
}

pub fn deepseek(scene: &Scene) -> Vec<Tensor> {
    let mut tensors = plain();
    for (i, (name, rows, cols)) in LINEAR.into_iter().enumerate() {
        let (weight, scale) = (format!("{name}.weight"), format!("{name}.weight_scale_inv"));
        let [high, wide] = grid(rows, cols);
        let s = scales(i as u64, high * wide);
        let codes = codes(i as u64, rows * cols);
        tensors.push(tensor(&weight, Dtype::F8_E4M3, &[rows, cols], codes));
        tensors.push(tensor(&scale, Dtype::F32, &[high, wide], singles(&s)));
    }
    put(
        scene,
        &tensors,
        &json!({
            "model_type": "deepseek_v3", "torch_dtype": "float8_e4m3fn",
            "quantization_config": {
                "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                "weight_block_size": [128, 128],
            },
        }),
    );
    tensors
}

/// All tensors of a directory, by its index, and that nothing else is there.
#[track_caller]
pub fn load(scene: &Scene, directory: &str) -> BTreeMap<String, Tensor> {
    let root = scene.path(directory);
    let index: Value = serde_json::from_slice(&fs::read(root.join(INDEX)).unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for i in 1..=3 {
        for (name, tensor) in tensors(&fs::read(root.join(shard(i))).unwrap()) {
            assert_eq!(index["weight_map"][&name], shard(i), "{name}");
            all.insert(name, tensor);
        }
    }
    assert_eq!(index["weight_map"].as_object().unwrap().len(), all.len());
    let total: usize = all.values().map(|tensor| tensor.data.len()).sum();
    let made = index["metadata"]["quarter"].as_str().expect("what made it");
    assert_eq!(index["metadata"], json!({ "total_size": total, "by": "me", "quarter": made }));
    assert_eq!(
        listing(scene, directory),
        ["config.json", &shard(1), &shard(2), &shard(3), INDEX, "tokenizer.json",]
    );
    all
}

pub fn listing(scene: &Scene, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(scene.path(directory)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn config(scene: &Scene, directory: &str) -> Value {
    let text = fs::read(scene.path(directory).join("config.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// What the model's values are.
#[track_caller]
pub fn check_values(all: &BTreeMap<String, Tensor>, source: &[Tensor]) {
    let find = |name: &str| source.iter().find(|tensor| tensor.name == name).unwrap();
    for (name, rows, cols) in LINEAR {
        let got = &all[&format!("{name}.weight")];
        assert_eq!((got.dtype, &got.shape[..]), (Dtype::BF16, &[rows, cols][..]));
        let codes = &find(&format!("{name}.weight")).data;
        let scales = floats(&find(&format!("{name}.weight_scale_inv")).data);
        let wide = grid(rows, cols)[1];
        let scale = |i: usize| scales[i / cols / 128 * wide + i % cols / 128];
        let want = (0..rows * cols).map(|i| value(codes[i], scale(i)));
        assert!(words(&got.data).into_iter().eq(want), "{name}");
    }
    for tensor in plain() {
        assert_eq!(all[&tensor.name].data, tensor.data, "{}", tensor.name);
        assert_eq!(all[&tensor.name].dtype, tensor.dtype);
    }
    assert_eq!(all.len(), LINEAR.len() + plain().len(), "scales are gone");
}

#[test]
fn deepseek_to_bf16() {
    let scene = scene();
    let source = deepseek(&scene);
    for input in ["in", "in/model.safetensors.index.json"] {
        let line = done(&scene, &["dequantize", input, "out"]);
        assert!(line.starts_with("bf16 tensors=4 files=3 kept=0 "), "{line}");
        check_values(&load(&scene, "out"), &source);
        let expected = json!({ "model_type": "deepseek_v3", "torch_dtype": "bfloat16" });
        assert_eq!(config(&scene, "out"), expected);
        let texts = metadata(&fs::read(scene.path("out").join(shard(1))).unwrap());
        assert_eq!(texts["format"], "pt", "what transformers looks for");
        fs::remove_dir_all(scene.path("out")).unwrap();
    }
    // One thread: the same bytes.
    done(&scene, &["dequantize", "in", "one", "--threads", "1"]);
    done(&scene, &["dequantize", "in", "two", "--threads", "2"]);
    for i in 1..=3 {
        let read = |directory: &str| fs::read(scene.path(directory).join(shard(i))).unwrap();
        assert!(read("one") == read("two"), "shard {i}");
    }
}

#[test]
fn there_and_back() {
    let scene = scene();
    let source = deepseek(&scene);
    done(&scene, &["dequantize", "in", "bf16"]);
    // These scales are what the rule of their codes' largest would be, or not: the values of the
    // second way are those of the first to within a step.
    done(&scene, &["quantize", "bf16", "fp8", "--cast", "e4m3:128x128:deepseek"]);
    let all = load(&scene, "fp8");
    for (name, rows, cols) in LINEAR {
        assert_eq!(all[&format!("{name}.weight")].dtype, Dtype::F8_E4M3);
        let scale = &all[&format!("{name}.weight_scale_inv")];
        assert_eq!((scale.dtype, &scale.shape[..]), (Dtype::F32, &grid(rows, cols)[..]));
    }
    assert_eq!(all.len(), source.len(), "embeddings, norms, head and gate stay as they are");
    for tensor in plain() {
        assert_eq!(all[&tensor.name].data, tensor.data, "{}", tensor.name);
    }
    assert_eq!(
        config(&scene, "fp8")["quantization_config"],
        json!({
            "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
            "weight_block_size": [128, 128],
            "modules_to_not_convert": ["lm_head", "model.embed_tokens", "model.layers.0.mlp.gate"],
        })
    );
    done(&scene, &["dequantize", "fp8", "again"]);
    let (first, second) = (load(&scene, "bf16"), load(&scene, "again"));
    for (name, tensor) in &first {
        let pairs = words(&tensor.data).into_iter().zip(words(&second[name].data));
        for (a, b) in pairs.filter(|_| tensor.dtype == Dtype::BF16) {
            let [a, b] = [a, b].map(|bits| half::bf16::from_bits(bits).to_f32());
            assert!((a - b).abs() <= a.abs() / 14.0 + 1e-4, "{name}: {a} and {b}");
        }
    }
    // What is quantized is not quantized again.
    let message = refused(&scene, &["quantize", "fp8", "x", "--cast", "e4m3:row:torchao"]);
    assert_eq!(message, "fp8 is quantized (quant_method \"fp8\"): dequantize it first");
}

/// Every kind of cast, to a model and back: the values are the library's, whatever the bands.
#[test]
fn every_layout_that_is_written() {
    use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, quantize};
    let scene = scene();
    deepseek(&scene);
    done(&scene, &["dequantize", "in", "bf16"]);
    let source = load(&scene, "bf16");
    let casts = [
        "e4m3:128x128:deepseek",
        "e4m3:tensor:te-current",
        "e4m3:row:torchao-pow2",
        "e4m3:col:torchao",
        "e5m2:128x128:te-block-f32",
        "e4m3:1x32:te-mx",
        "e4m3:1x128:te-block",
        "e2m3:1x32:ocp-even",
        "e2m1:1x16:nvfp4",
        "e2m1:16x16:nvfp4",
        "e3m4:32x32:ocp-rceil",
        "e4m3fnuz:128x128:te-block",
    ];
    for (cast, more) in casts
        .into_iter()
        .map(|cast| (cast, "--threads=0"))
        .chain([("e2m1:1x16:nvfp4", "--packed"), ("e2m1:1x32:ocp-floor", "--packed")])
    {
        let exclude = ["--exclude", "*experts.1*"]; // an odd number of columns cannot be packed
        let args = ["quantize", "bf16", "q", "--cast", cast, more];
        done(&scene, &[&args[..], &exclude].concat());
        let back = ["dequantize", "q", "f32", "--to", "f32"];
        done(&scene, &back);
        let all = load(&scene, "f32");
        assert_eq!(all.len(), source.len(), "{cast}");
        let parsed: Cast = cast.parse().unwrap();
        for (name, rows, cols) in &LINEAR[..3] {
            let name = format!("{name}.weight");
            let values: Vec<_> =
                words(&source[&name].data).into_iter().map(half::bf16::from_bits).collect();
            let matrix = MatRef::new(&values[..], *rows, *cols).unwrap();
            let q = quantize(matrix, &parsed, &QuantizeOptions::new()).unwrap();
            let mut want = vec![0f32; rows * cols];
            q.dequantize_into(MatMut::new(&mut want, *rows, *cols).unwrap()).unwrap();
            assert!(floats(&all[&name].data) == want, "{cast} {name}");
        }
        fs::remove_dir_all(scene.path("q")).unwrap();
        fs::remove_dir_all(scene.path("f32")).unwrap();
    }
}

#[test]
fn patterns() {
    let scene = scene();
    let source = deepseek(&scene);
    done(&scene, &["dequantize", "in", "some", "--exclude", "*experts*"]);
    let all = load(&scene, "some");
    assert_eq!(all["model.layers.0.mlp.gate_proj.weight"].dtype, Dtype::BF16);
    assert_eq!(all["model.layers.0.mlp.experts.0.down_proj.weight"].dtype, Dtype::F8_E4M3);
    assert!(all.contains_key("model.layers.0.mlp.experts.0.down_proj.weight_scale_inv"));
    assert_eq!(config(&scene, "some"), config(&scene, "in"), "some codes are left");
    // The rest, from there.
    done(&scene, &["dequantize", "some", "rest"]);
    check_values(&load(&scene, "rest"), &source);
    // What is asked for is done, the defaults notwithstanding; what is excluded is not.
    let cast = ["--cast", "e4m3:row:torchao"];
    let include = ["--include", "*embed*", "--include", "*experts.?.*", "--exclude", "*experts.1*"];
    done(&scene, &[&["quantize", "rest", "q"], &cast[..], &include].concat());
    let all = load(&scene, "q");
    let quantized: Vec<_> =
        all.values().filter(|t| t.dtype == Dtype::F8_E4M3).map(|t| t.name.as_str()).collect();
    let expected = ["model.embed_tokens.weight", "model.layers.0.mlp.experts.0.down_proj.weight"];
    assert_eq!(quantized, expected);
    let settings = &config(&scene, "q")["quantization_config"];
    assert_eq!(settings["quant_method"], "compressed-tensors");
    assert_eq!(settings["config_groups"]["group_0"]["weights"]["strategy"], "channel");
    assert_eq!(all["model.embed_tokens.weight_scale"].shape, [64, 1]);
    let message =
        refused(&scene, &[&["quantize", "rest", "x"], &cast[..], &["--include", "x"]].concat());
    assert_eq!(message, "rest: no tensor is to be quantized; --include GLOB chooses some");
    let message = refused(&scene, &["dequantize", "rest", "x"]);
    assert_eq!(message, "rest: no tensor holds codes that are to be dequantized");
    let message = refused(&scene, &["dequantize", "in", "x", "--include", "[z"]);
    assert!(message.starts_with("pattern \"[z\": "), "{message}");
}

/// A directory without an index, and a single file.
#[test]
fn without_an_index() {
    let scene = scene();
    let weight = tensor("a.weight", Dtype::F8_E4M3, &[2, 2], vec![0x38; 4]);
    let scale = tensor("a.weight_scale", Dtype::F32, &[1], singles(&[0.5]));
    fs::create_dir(scene.path("in")).unwrap();
    fs::write(scene.path("in/model.safetensors"), file(&[weight, scale], &[])).unwrap();
    done(&scene, &["dequantize", "in", "out"]);
    assert_eq!(listing(&scene, "out"), ["model.safetensors"]);
    done(&scene, &["dequantize", "in/model.safetensors", "one.safetensors"]);
    assert_eq!(scene.get("one.safetensors"), scene.get("out/model.safetensors"));
    // In place.
    done(&scene, &["dequantize", "in/model.safetensors", "in/model.safetensors"]);
    assert_eq!(scene.get("in/model.safetensors"), scene.get("one.safetensors"));
    fs::create_dir(scene.path("empty")).unwrap();
    let message = refused(&scene, &["dequantize", "empty", "x"]);
    assert_eq!(message, "empty holds no .safetensors file");
}

#[test]
fn recipes() {
    let scene = scene();
    deepseek(&scene);
    done(&scene, &["dequantize", "in", "bf16"]);
    done(&scene, &["quantize", "bf16", "q", "--recipe", "blockwise"]);
    let texts = metadata(&fs::read(scene.path("q").join(shard(1))).unwrap());
    assert_eq!(texts["cast"], "e4m3:128x128:te-block");
    let message = refused(&scene, &["quantize", "bf16", "x", "--recipe", "bf16"]);
    assert_eq!(message, "recipe bf16 leaves weights in bf16");
}

/// What a shard says of its codes, and what is said if there is nothing to do.
#[test]
fn metadata_of_models() {
    let scene = scene();
    let matrix =
        |name: &str, dtype: Dtype| tensor(name, dtype, &[2, 4], vec![0; 8 * dtype.bitsize() / 8]);
    let norm = tensor("b.norm.weight", Dtype::F32, &[4], vec![0; 16]);
    let one = [matrix("a.weight", Dtype::BF16), matrix("c.weight", Dtype::BF16), norm.clone()];
    let two = [matrix("a.weight", Dtype::BF16), matrix("c.weight", Dtype::F32), norm.clone()];
    let args = ["quantize", "in.safetensors", "q.safetensors", "--cast", "e4m3:row:torchao"];
    let made = |tensors: &[Tensor], texts: &[(&str, &str)]| {
        scene.put("in.safetensors", &file(tensors, texts));
        done(&scene, &args);
        let mut texts = metadata(&scene.get("q.safetensors"));
        assert_eq!(texts.remove("cast").as_deref(), Some("e4m3:row:torchao"));
        assert!(texts.remove("quarter").is_some());
        let mut texts: Vec<_> =
            texts.into_iter().map(|(key, text)| format!("{key}={text}")).collect();
        texts.sort();
        texts.join(" ")
    };
    assert_eq!(made(&one, &[]), "format=e4m3 source=bf16");
    assert_eq!(made(&one, &[("format", "pt")]), "format=pt source=bf16", "engines look for it");
    assert_eq!(made(&two, &[("by", "me")]), "by=me format=e4m3", "no one type");
    assert_eq!(made(&two, &[("source", "me")]), "format=e4m3");
    done(&scene, &["dequantize", "q.safetensors", "y.safetensors"]);
    assert_eq!(metadata(&scene.get("y.safetensors")).keys().collect::<Vec<_>>(), ["quarter"]);

    let all = [&args[..], &["--include", "*"]].concat();
    let none = "in.safetensors: no tensor is to be quantized";
    let deep = tensor("experts.up", Dtype::BF16, &[2, 2, 4], vec![0; 32]);
    for (tensors, expected) in [
        (vec![norm.clone(), deep], ": only matrices are, and \"experts.up\" has shape [2, 2, 4]"),
        (vec![norm], ": only matrices are, and \"b.norm.weight\" has shape [4]"),
        (vec![matrix("n", Dtype::I64)], ": only F64, F32, F16 and BF16 are, and \"n\" is of I64"),
    ] {
        let scene = crate::checkpoint::scene();
        scene.put("in.safetensors", &file(&tensors, &[]));
        assert_eq!(refused(&scene, &all), format!("{none}{expected}"));
    }
}
