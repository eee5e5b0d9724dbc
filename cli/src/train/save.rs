//! A training on disk: `train.json`, what it is, and `train.safetensors`, how far it has come.
//!
//! ```text
//!  RECIPE/weight/PARAMETER   F32           RECIPE/m/PARAMETER, RECIPE/v/PARAMETER   F32 or BF16
//!  RECIPE/state              U8: histories, seed and step, as `RecipeState::to_bytes` writes them
//!  RECIPE/state/RANK         the same of ranks above 0, where the recipe does not join their amaxes
//!  metadata: step, a checksum of all tensors, and for each recipe the optimizer's steps and those it
//!  left out
//! ```
//!
//! What a step reads follows from seed and step, so no place in the text and no random state is saved.
//! Ranks hold the same weights, and the same histories unless the recipe says otherwise: what they
//! have in common is saved once.

use super::replica::Replica;
use super::run::Run;
use super::settings::Settings;
use crate::output::Output;
use anyhow::{Context as _, bail, ensure};
use half::bf16;
use quarter::nn::Moments;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::Path;

const SETTINGS: &str = "train.json";
const TENSORS: &str = "train.safetensors";
const KEY: &str = "quarter";

/// How far a training has come.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    step: u64,
    settings: u32,
    data: u32,
    optimizers: BTreeMap<String, [u64; 2]>,
}

/// Writes what a training is.
///
/// # Errors
/// If it cannot be written.
pub fn save_settings(folder: &Path, settings: &Settings) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut file = Output::create(&folder.join(SETTINGS))?;
    file.write_all(text(settings)?.as_bytes())?;
    file.finish_durably()
}

fn text(settings: &Settings) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(settings)? + "\n")
}

/// Whether a folder holds a training.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(TENSORS).exists()
}

/// Reads what a training is.
///
/// # Errors
/// If it is not there, or is none.
pub fn load_settings(folder: &Path) -> anyhow::Result<Settings> {
    let path = folder.join(SETTINGS);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings: Settings =
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    settings.check().with_context(|| path.display().to_string())?;
    Ok(settings)
}

struct Tensor {
    name: String,
    dtype: Dtype,
    bytes: Vec<u8>,
}

/// A checksum of names and bytes, in the order of the names.
fn checksum<'a>(mut tensors: Vec<(&'a str, &'a [u8])>) -> u32 {
    tensors.sort_unstable();
    let mut hash = crc32fast::Hasher::new();
    for (name, bytes) in tensors {
        hash.update(name.as_bytes());
        hash.update(bytes);
    }
    hash.finalize()
}

/// Whether each rank has histories of its own.
fn own_histories(replica: &Replica) -> bool {
    replica.state.recipe().delayed.is_some_and(|delayed| !delayed.reduce_amax)
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn bf16s(values: &[bf16]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Writes how far a training has come after `step` steps.
///
/// # Errors
/// If it cannot be written, or the folder's settings are of another training by now; then what was
/// there before is there still.
pub fn save(folder: &Path, settings: &Settings, runs: &mut [Run], step: u64) -> anyhow::Result<()> {
    let there = fs::read(folder.join(SETTINGS)).ok();
    if let Some(there) = there.and_then(|bytes| serde_json::from_slice::<Settings>(&bytes).ok()) {
        ensure!(
            text(&there)? == text(settings)?,
            "{} tells of another training by now: nothing is saved",
            folder.join(SETTINGS).display()
        );
    }
    let mut tensors = Vec::new();
    let mut optimizers = BTreeMap::new();
    for run in runs {
        let replica = &mut run.replicas[0];
        let mut put = |name: String, dtype, bytes| tensors.push(Tensor { name, dtype, bytes });
        replica.model.visit(|_, param| {
            put(format!("{}/weight/{}", run.name, param.name), Dtype::F32, f32s(param.value));
        });
        for (name, moments) in replica.optimizer.moments() {
            let (dtype, m, v) = match moments {
                Moments::F32(m, v) => (Dtype::F32, f32s(m), f32s(v)),
                Moments::Bf16(m, v) => (Dtype::BF16, bf16s(m), bf16s(v)),
            };
            put(format!("{}/m/{name}", run.name), dtype, m);
            put(format!("{}/v/{name}", run.name), dtype, v);
        }
        put(format!("{}/state", run.name), Dtype::U8, replica.state.to_bytes());
        let optimizer = [replica.optimizer.steps(), replica.optimizer.skipped()];
        for (rank, replica) in run.replicas.iter().enumerate().skip(1) {
            if own_histories(replica) {
                let name = format!("{}/state/{rank}", run.name);
                tensors.push(Tensor { name, dtype: Dtype::U8, bytes: replica.state.to_bytes() });
            }
        }
        optimizers.insert(run.name.clone(), optimizer);
    }
    let settings = crc32fast::hash(text(settings)?.as_bytes());
    let data = checksum(tensors.iter().map(|t| (t.name.as_str(), &t.bytes[..])).collect());
    let progress = serde_json::to_string(&Progress { step, settings, data, optimizers })?;
    let views = tensors.iter().map(|tensor| {
        let size = tensor.dtype.bitsize() / 8;
        let view = TensorView::new(tensor.dtype, vec![tensor.bytes.len() / size], &tensor.bytes)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<anyhow::Result<Vec<_>>>()?;
    let metadata = HashMap::from([(KEY.to_owned(), progress)]);
    let bytes = safetensors::serialize(views, Some(metadata))?;
    let mut file = Output::create(&folder.join(TENSORS))?;
    file.write_all(&bytes)?;
    file.finish_durably()
}

/// Puts runs at their first step where they were saved, and gives the steps done.
///
/// # Errors
/// If it cannot be read, is of another training, or a tensor is missing or of another size.
pub fn load(folder: &Path, settings: &Settings, runs: &mut [Run]) -> anyhow::Result<u64> {
    let path = folder.join(TENSORS);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    restore(&bytes, settings, runs).with_context(|| path.display().to_string())
}

/// [`load`] from the bytes of the file.
///
/// # Errors
/// As [`load`].
pub fn restore(bytes: &[u8], settings: &Settings, runs: &mut [Run]) -> anyhow::Result<u64> {
    let (_, header) = SafeTensors::read_metadata(bytes).context("no safetensors file")?;
    let file = SafeTensors::deserialize(bytes).context("no safetensors file")?;
    let texts = header.metadata().as_ref();
    let progress = texts.and_then(|texts| texts.get(KEY)).context("it tells of no training")?;
    let progress: Progress = serde_json::from_str(progress).context("its metadata")?;
    let expected = crc32fast::hash(text(settings)?.as_bytes());
    ensure!(
        progress.settings == expected,
        "it is of a training with other settings (checksum {:08x}) than {SETTINGS} tells \
         ({expected:08x})",
        progress.settings
    );
    let (step, steps) = (progress.step, settings.steps);
    ensure!(step <= steps, "it has {step} steps, more than the {steps} of the training");
    let data = file.iter().map(|(name, view)| (name, view.data())).collect();
    let data = checksum(data);
    ensure!(
        progress.data == data,
        "its tensors have the checksum {data:08x}, {:08x} were saved: it is damaged",
        progress.data
    );
    for run in runs {
        let [steps, skipped] = *progress
            .optimizers
            .get(&run.name)
            .with_context(|| format!("it has no optimizer of recipe {}", run.name))?;
        ensure!(
            steps.checked_add(skipped) == Some(step),
            "the optimizer of recipe {} made {steps} steps and left out {skipped}, of {step}",
            run.name
        );
        let tensor = |kind: &str, name: &str| -> anyhow::Result<(Dtype, Cow<'_, [u8]>)> {
            let name =
                format!("{}/{kind}{}{name}", run.name, if name.is_empty() { "" } else { "/" });
            let view = file.tensor(&name).with_context(|| format!("tensor {name}"))?;
            Ok((view.dtype(), Cow::Borrowed(view.data())))
        };
        let mut moments = Vec::new();
        for (i, replica) in run.replicas.iter_mut().enumerate() {
            for param in replica.model.params() {
                let (dtype, bytes) = tensor("weight", param.name)?;
                let Read::F32(values) = read(dtype, &bytes, param.value.len(), param.name)? else {
                    bail!("weight {} is {dtype}, not F32", param.name);
                };
                param.value.copy_from_slice(&values);
                if i > 0 || steps == 0 {
                    continue;
                }
                let [m, v] = ["m", "v"].map(|kind| {
                    let (dtype, bytes) = tensor(kind, param.name)?;
                    read(dtype, &bytes, param.value.len(), param.name)
                });
                moments.push((
                    param.name.to_owned(),
                    match (m?, v?) {
                        (Read::F32(m), Read::F32(v)) => Moments::F32(m, v),
                        (Read::Bf16(m), Read::Bf16(v)) => Moments::Bf16(m, v),
                        _ => bail!("the moments of {} are of two types", param.name),
                    },
                ));
            }
        }
        for (rank, replica) in run.replicas.iter_mut().enumerate() {
            let own = rank > 0 && own_histories(replica);
            let (_, state) = tensor("state", &if own { rank.to_string() } else { String::new() })?;
            replica.optimizer.restore(steps, skipped, moments.clone())?;
            replica.state.restore_bytes(&state).with_context(|| format!("{}/state", run.name))?;
            let got = u64::from(replica.state.step());
            ensure!(got == step, "{}/state is of step {got}, the file of step {step}", run.name);
        }
    }
    Ok(step)
}

enum Read {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

fn read(dtype: Dtype, bytes: &[u8], elements: usize, name: &str) -> anyhow::Result<Read> {
    let read = match dtype {
        Dtype::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            Read::F32(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        }
        Dtype::BF16 => {
            let (words, _) = bytes.as_chunks::<2>();
            Read::Bf16(words.iter().map(|word| bf16::from_le_bytes(*word)).collect())
        }
        _ => bail!("{name} is {dtype}, neither F32 nor BF16"),
    };
    let got = match &read {
        Read::F32(values) => values.len(),
        Read::Bf16(values) => values.len(),
    };
    ensure!(got == elements, "{name} has {got} elements, the model's has {elements}");
    Ok(read)
}
