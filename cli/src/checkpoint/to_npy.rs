//! The values of one tensor as an array of NumPy.

use super::buffer::{Budget, Buffer};
use super::decode::{Dequantize, To};
use super::layout::Layout;
use super::pipeline::{Sink, Work as _};
use super::source::Source;
use crate::npy::{Dtype, Header};
use crate::output::Output;
use anyhow::Context as _;
use std::io::Write as _;
use std::path::Path;

/// Writes f32 values; gives their shape as text. For bf16, which NumPy lacks, they are rounded to
/// it first.
///
/// # Errors
/// What reading and writing gives. Then there is no file.
pub fn write(source: &Source, layout: &Layout, to: To, path: &Path) -> anyhow::Result<String> {
    let writing = || format!("cannot write {}", path.display());
    let shape = layout.shape.iter().map(|n| *n as u64).collect();
    let header = Header { dtype: Dtype::F32, big_endian: false, fortran_order: false, shape };
    let mut output = Output::create(path)?;
    header.write(&mut output).with_context(writing)?;
    let work = Dequantize { layout: layout.clone(), to };
    let run = work.start(source)?;
    let (begin, end) = source.tensor(layout.codes).1.data_offsets;
    let budget = Budget::new(0);
    let mut wide = Vec::new();
    for at in (0..end - begin).step_by(work.piece()) {
        let mut codes = Buffer::new(work.piece().min(end - begin - at))?;
        source.shards[layout.codes.shard].read(layout.codes.tensor, at, codes.as_mut_slice())?;
        let mut sink = Sink::new(&budget);
        run.run(at, codes, &mut sink)?;
        for (_, _, values) in sink.into_results() {
            let bytes = values.as_slice();
            if to == To::F32 {
                output.write_all(bytes).with_context(writing)?;
                continue;
            }
            wide.clear();
            wide.extend(
                bytes.as_chunks::<2>().0.iter().flat_map(|[low, high]| [0, 0, *low, *high]),
            );
            output.write_all(&wide).with_context(writing)?;
        }
    }
    output.finish_durably()?;
    Ok(header.shape_text())
}
