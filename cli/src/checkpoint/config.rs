//! `config.json`: what it says of quantization, and what it is to say.

use quarter::tensor::Cast;
use quarter::{FormatId, Granularity};
use serde_json::{Map, Value, json};

/// Where the settings of quantization stand.
const KEYS: [&str; 2] = ["quantization_config", "compression_config"];
/// Parts of the config of a model with several parts that may have settings of their own.
const PARTS: [&str; 3] = ["text_config", "llm_config", "language_config"];
/// The element type of what is not quantized: the old name, and the new.
const DTYPES: [&str; 2] = ["torch_dtype", "dtype"];

/// The settings of quantization in a config.
#[must_use]
pub fn quantization(config: &Value) -> Option<&Value> {
    let parts = PARTS.iter().filter_map(|part| config.get(part));
    let mut places = std::iter::once(config).chain(parts);
    places.find_map(|place| KEYS.iter().find_map(|key| place.get(key)))
}

/// The config of a model without codes, its values of type `dtype`.
#[must_use]
pub fn without_quantization(config: &Value, dtype: &str) -> Value {
    let mut config = config.clone();
    let clean = |place: &mut Map<String, Value>| {
        let had = KEYS.iter().filter(|key| place.remove(**key).is_some()).count();
        for key in DTYPES {
            if let Some(old) = place.get_mut(key).filter(|_| had > 0) {
                *old = dtype.into();
            }
        }
    };
    if let Some(config) = config.as_object_mut() {
        clean(config);
        for part in PARTS {
            if let Some(part) = config.get_mut(part).and_then(Value::as_object_mut) {
                clean(part);
            }
        }
    }
    config
}

/// The config of a model whose weights are quantized, but for those of the modules `skipped`.
#[must_use]
pub fn with_quantization(config: &Value, cast: &Cast, skipped: &[String]) -> Value {
    let mut config = config.clone();
    if let Some(config) = config.as_object_mut() {
        config.insert(KEYS[0].to_owned(), settings(cast, skipped));
    }
    config
}

/// Whether scales have DeepSeek's name and shape.
#[must_use]
pub fn is_deepseek(cast: &Cast) -> bool {
    use quarter::scale::ScaleFormat;
    let eight = matches!(cast.format, FormatId::F8E4M3 | FormatId::F8E5M2);
    let single = cast.rule.scale_format() == ScaleFormat::F32;
    eight && single && cast.granularity == Granularity::BLOCK_128X128
}

fn settings(cast: &Cast, skipped: &[String]) -> Value {
    if is_deepseek(cast) {
        let mut settings = json!({
            "activation_scheme": "dynamic",
            "fmt": cast.format.to_string(),
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
        });
        if cast.rule.name().ends_with("ue8m0") {
            settings["scale_fmt"] = "ue8m0".into();
        }
        if !skipped.is_empty() {
            settings["modules_to_not_convert"] = skipped.into();
        }
        return settings;
    }
    let strategy = match cast.granularity {
        Granularity::Tensor => Some("tensor"),
        Granularity::Row => Some("channel"),
        Granularity::Col | Granularity::Block { .. } => None,
    };
    match strategy.filter(|_| cast.format == FormatId::F8E4M3) {
        Some(strategy) => json!({
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "quantization_status": "compressed",
            "config_groups": { "group_0": {
                "targets": ["Linear"],
                "weights": {
                    "num_bits": 8, "type": "float", "strategy": strategy,
                    "symmetric": true, "dynamic": false,
                },
            } },
            "ignore": skipped,
        }),
        // No loader takes these codes for values.
        None => json!({ "quant_method": "quarter", "cast": cast.to_string(), "ignore": skipped }),
    }
}
