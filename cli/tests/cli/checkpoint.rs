//! Checkpoints for tests, written and read by the `safetensors` crate, so that ours is not its own
//! judge.

use crate::common::{Run, Scene, command, run};
use quarter::{F8E4M3, RandomStream};
use safetensors::tensor::TensorView;
pub use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// A tensor of a test file.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

pub fn tensor(name: &str, dtype: Dtype, shape: &[usize], data: Vec<u8>) -> Tensor {
    Tensor { name: name.to_owned(), dtype, shape: shape.to_vec(), data }
}

/// A file of these tensors.
pub fn file(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|t| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.data);
        (t.name.clone(), view.expect("a tensor of its shape"))
    });
    let text = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
    let metadata: HashMap<_, _> = metadata.iter().map(text).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    safetensors::serialize(views, metadata).expect("a file")
}

/// The tensors of a file, by name.
#[track_caller]
pub fn tensors(bytes: &[u8]) -> HashMap<String, Tensor> {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let entry = |(name, view): (String, TensorView<'_>)| {
        (name.clone(), tensor(&name, view.dtype(), view.shape(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(entry).collect()
}

/// The texts of a file.
#[track_caller]
pub fn metadata(bytes: &[u8]) -> HashMap<String, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).expect("a safetensors file");
    metadata.metadata().clone().unwrap_or_default()
}

/// The file, its names in order: nothing else is there.
#[track_caller]
pub fn names(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<_> = tensors(bytes).into_keys().collect();
    names.sort();
    names
}

pub fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect()
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Random bytes that depend on `seed` alone.
pub fn noise(seed: u64, n: usize) -> Vec<u8> {
    let stream = RandomStream { seed, ..RandomStream::default() };
    (0..n as u64).map(|i| stream.word(i) as u8).collect()
}

/// Codes of E4M3 that are numbers.
pub fn codes(seed: u64, n: usize) -> Vec<u8> {
    let code = |code: u8| if code & 0x7f == 0x7f { code ^ 1 } else { code };
    noise(seed, n).into_iter().map(code).collect()
}

/// Scales around 1/1000, none a power of two.
pub fn scales(seed: u64, n: usize) -> Vec<f32> {
    noise(seed, n).iter().map(|x| (f32::from(*x) + 17.0) / 70_001.0).collect()
}

/// BF16 numbers.
pub fn numbers(seed: u64, n: usize) -> Vec<u8> {
    let bits = |x: u8| 0x3c00 | u16::from(x & 0x80) << 8 | u16::from(x & 0x7f) << 3;
    noise(seed, n).into_iter().flat_map(|x| bits(x).to_le_bytes()).collect()
}

/// The definition: code × scale in f32, then bf16 to nearest even.
pub fn value(code: u8, scale: f32) -> u16 {
    half::bf16::from_f32(F8E4M3::from_bits(code).to_f32() * scale).to_bits()
}

/// `quarter` with these arguments, in the directory of the scene.
pub fn quarter(scene: &Scene, args: &[&str]) -> Run {
    let mut command = command(args);
    command.current_dir(scene.dir.path());
    run(command)
}

/// The line of a run that must work.
#[track_caller]
pub fn done(scene: &Scene, args: &[&str]) -> String {
    let run = quarter(scene, args);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout
}

/// The message of a run that must fail and leave nothing behind.
#[track_caller]
pub fn refused(scene: &Scene, args: &[&str]) -> String {
    let before = scene.names();
    let run = quarter(scene, args);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{args:?} {}", run.stderr);
    assert_eq!(scene.names(), before, "{args:?} left something behind");
    let message = run.stderr.strip_prefix("quarter: ").expect("the message names the program");
    assert_eq!(message.matches('\n').count(), 1, "one line: {message}");
    message.trim_end().to_owned()
}

/// A scene without files.
pub fn scene() -> Scene {
    let scene = Scene::new(&[]);
    std::fs::remove_file(scene.path("in.npy")).expect("the file of other tests");
    scene
}
