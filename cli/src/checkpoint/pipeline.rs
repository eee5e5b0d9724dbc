//! A file in, a file out: reading, computing and writing at the same time, a piece at a time.
//!
//! ```text
//!  reader thread ──pieces──► this thread and its pool ──pieces──► writer thread ──128 MiB──► flusher
//! ```
//!
//! A [`Budget`] limits the bytes that are between the reader and the disk, so memory does not grow
//! with the tensors. Places in the output are known beforehand: pieces are written where they
//! belong, and summed as they are written.

use super::buffer::{Budget, Buffer, Bytes};
use super::header::{Dtype, Header, Texts};
use super::source::{At, Source};
use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

/// Bytes between the reader and the disk, if no single piece needs more: at least enough for two
/// pieces, else those of the largest tensor, at most this.
const BUDGET: usize = 64 << 20;
/// Input bytes of a piece.
pub const PIECE: usize = 4 << 20;
/// Written bytes after which the disk is set to work, while we go on.
const FLUSH: usize = 128 << 20;

/// A tensor of the output.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What becomes of a tensor of the input.
#[derive(Debug)]
pub struct Task {
    /// The tensor.
    pub input: At,
    /// What is written.
    pub targets: Vec<Target>,
    /// How.
    pub work: Box<dyn Work>,
}

/// How a tensor becomes others.
pub trait Work: std::fmt::Debug + Send + Sync {
    /// Input bytes of a piece; the last may be shorter.
    fn piece(&self) -> usize;
    /// Output bytes of a piece of so many input bytes, at most.
    fn output(&self, input: usize) -> usize;
    /// Reads what is needed beside the pieces, once.
    ///
    /// # Errors
    /// What reading gives.
    fn start(&self, source: &Source) -> anyhow::Result<Arc<dyn Run>>;
}

/// Work that has started.
pub trait Run: Send + Sync {
    /// Makes the piece that starts at byte `at` of the input; what it writes goes to `out`.
    ///
    /// # Errors
    /// If the input is not what it should be.
    fn run(&self, at: usize, input: Buffer, out: &mut Sink<'_>) -> anyhow::Result<()>;
}

/// Where a piece's results go.
#[derive(Debug)]
pub struct Sink<'a> {
    /// Where buffers come from, and go when they are not needed.
    pub budget: &'a Budget,
    results: Vec<(usize, usize, Bytes)>,
}

impl<'a> Sink<'a> {
    /// Nothing yet.
    #[must_use]
    pub const fn new(budget: &'a Budget) -> Self {
        Self { budget, results: Vec::new() }
    }

    /// What was put: numbers of targets, places in them, bytes.
    #[must_use]
    pub fn into_results(self) -> Vec<(usize, usize, Bytes)> {
        self.results
    }

    /// A buffer of so many bytes, with anything in it.
    ///
    /// # Errors
    /// If there is not the memory.
    pub fn buffer(&self, bytes: usize) -> anyhow::Result<Buffer> {
        self.budget.buffer(bytes)
    }

    /// Bytes for target number `target`, from byte `at` of it on. They come in order.
    pub fn put(&mut self, target: usize, at: usize, bytes: Bytes) {
        self.results.push((target, at, bytes));
    }
}

/// The bytes as they are.
#[derive(Clone, Copy, Debug)]
pub struct Copy;

impl Work for Copy {
    fn piece(&self) -> usize {
        PIECE
    }

    fn output(&self, _: usize) -> usize {
        0 // it is the input
    }

    fn start(&self, _: &Source) -> anyhow::Result<Arc<dyn Run>> {
        Ok(Arc::new(Self))
    }
}

impl Run for Copy {
    fn run(&self, at: usize, input: Buffer, out: &mut Sink<'_>) -> anyhow::Result<()> {
        out.put(0, at, Bytes::Buffer(input));
        Ok(())
    }
}

/// One output file: what it will hold, and how it comes about.
#[derive(Debug)]
pub struct Plan {
    /// The name of the file.
    pub name: String,
    /// Its header.
    pub header: Header,
    /// The shards that it depends on.
    pub inputs: BTreeSet<usize>,
    tasks: Vec<Task>,
    /// The output's number of each target of each task.
    places: Vec<Vec<usize>>,
}

impl Plan {
    /// Places the targets of all tasks.
    ///
    /// # Errors
    /// If two have one name, or a size overflows.
    pub fn new(
        name: String,
        metadata: Texts,
        inputs: BTreeSet<usize>,
        tasks: Vec<Task>,
    ) -> anyhow::Result<Self> {
        let targets = || tasks.iter().flat_map(|task| &task.targets);
        let tensors = targets().map(|t| (t.name.clone(), t.dtype, t.shape.clone()));
        let header = Header::place(metadata, tensors)?;
        let names: HashMap<_, _> =
            header.tensors.iter().enumerate().map(|(i, (name, _))| (name.as_str(), i)).collect();
        let distinct = names.len() == header.tensors.len();
        ensure!(distinct, "{name} would hold two tensors of the same name");
        let numbers = |task: &Task| task.targets.iter().map(|t| names[t.name.as_str()]).collect();
        let places = tasks.iter().map(numbers).collect();
        Ok(Self { name, header, inputs, tasks, places })
    }

    /// The input bytes, and so the length of the progress bar.
    #[must_use]
    pub fn input_bytes(&self, source: &Source) -> u64 {
        self.lengths(source).sum::<usize>() as u64
    }

    /// Bytes of each tensor of the input.
    fn lengths(&self, source: &Source) -> impl Iterator<Item = usize> {
        let offsets = self.tasks.iter().map(|task| source.tensor(task.input).1.data_offsets);
        offsets.map(|(begin, end)| end - begin)
    }

    /// Writes the file: the header, then every tensor, in the order of the input. Gives the
    /// checksum of each.
    ///
    /// # Errors
    /// What reading, computing and writing gives.
    pub fn write(
        &self,
        source: &Source,
        file: &File,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<u32>> {
        let failed = || format!("cannot write {}", self.name);
        write_at(file, &self.header.bytes()?, 0).with_context(failed)?;
        file.set_len(self.header.file_len()).with_context(failed)?;
        let largest = self.lengths(source).max().unwrap_or(0);
        let budget = &Budget::new(largest.clamp(6 * PIECE, BUDGET));
        let (to_compute, read) = channel::<anyhow::Result<Piece>>();
        let (to_write, made) = channel::<Made>();
        thread::scope(|scope| {
            scope.spawn(move || {
                if let Err(error) = self.read(source, budget, &to_compute) {
                    let _ = to_compute.send(Err(error)); // the other side has failed, and says so
                }
            });
            let writer = scope.spawn(move || {
                let sums = self.receive(&made, file, budget, bar);
                if sums.is_err() {
                    budget.close();
                }
                sums
            });
            let computed = self.compute(&read, budget, &to_write);
            if computed.is_err() {
                budget.close();
            }
            drop(to_write);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A writer that failed is why the others stopped.
            let sums = written.with_context(failed)?;
            computed?;
            Ok(sums)
        })
    }

    fn read(
        &self,
        source: &Source,
        budget: &Budget,
        pieces: &Sender<anyhow::Result<Piece>>,
    ) -> anyhow::Result<()> {
        for (task, Task { input, work, .. }) in self.tasks.iter().enumerate() {
            let (begin, end) = source.tensor(*input).1.data_offsets;
            let (len, step) = (end - begin, work.piece().max(1));
            if len == 0 {
                continue;
            }
            let run = work.start(source)?;
            for at in (0..len).step_by(step) {
                let n = step.min(len - at);
                let cost = n + work.output(n);
                if !budget.take(cost) {
                    return Ok(());
                }
                let mut input_bytes = budget.buffer(n)?;
                let shard = &source.shards[input.shard];
                shard.read(input.tensor, at, input_bytes.as_mut_slice())?;
                let piece = Piece { task, at, cost, run: Arc::clone(&run), input: input_bytes };
                if pieces.send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn compute(
        &self,
        pieces: &Receiver<anyhow::Result<Piece>>,
        budget: &Budget,
        made: &Sender<Made>,
    ) -> anyhow::Result<()> {
        for piece in pieces {
            let Piece { task, at, cost, run, input } = piece?;
            let bytes = input.len() as u64;
            let mut sink = Sink::new(budget);
            run.run(at, input, &mut sink)?;
            if made.send(Made { task, cost, bytes, results: sink.into_results() }).is_err() {
                break; // the writer says why
            }
        }
        Ok(())
    }

    fn receive(
        &self,
        made: &Receiver<Made>,
        file: &File,
        budget: &Budget,
        bar: &ProgressBar,
    ) -> io::Result<Vec<u32>> {
        let mut sums = vec![crc32fast::Hasher::new(); self.header.tensors.len()];
        let flushed = file.try_clone()?;
        // The disk works while the rest goes on. What it says is asked again at the end.
        let (flush, asked) = sync_channel::<()>(1);
        thread::scope(|scope| {
            scope.spawn(move || asked.iter().for_each(|()| drop(flushed.sync_data())));
            let mut waiting = 0;
            for Made { task, cost, bytes, results } in made {
                for (target, at, buffer) in results {
                    let tensor = self.places[task][target];
                    let start = self.header.tensors[tensor].1.data_offsets.0 + at;
                    let bytes = buffer.as_slice();
                    write_at(file, bytes, self.header.start + start as u64)?;
                    sums[tensor].update(bytes);
                    waiting += bytes.len();
                    budget.discard(buffer);
                }
                budget.free(cost);
                bar.inc(bytes);
                if waiting >= FLUSH && flush.try_send(()).is_ok() {
                    waiting = 0;
                }
            }
            drop(flush);
            Ok(sums.into_iter().map(crc32fast::Hasher::finalize).collect())
        })
    }
}

/// Reads a file back: its header is the plan's, and every tensor has the checksum that it was
/// written with.
///
/// # Errors
/// If it is not so.
pub fn verify(file: &File, header: &Header, sums: &[u32]) -> anyhow::Result<()> {
    let want = header.bytes()?;
    let mut start = vec![0; want.len()];
    super::source::read_at(file, &mut start, 0).context("verification: cannot read the header")?;
    ensure!(start == want, "verification: the header is not what was written");
    let len = file.metadata()?.len();
    let expected = header.file_len();
    ensure!(len == expected, "verification: the file has {len} bytes, and {expected} were written");
    let mut buffer = vec![0; 1 << 20];
    for ((name, info), sum) in header.tensors.iter().zip(sums) {
        let mut crc = crc32fast::Hasher::new();
        let (mut at, end) = info.data_offsets;
        while at < end {
            let n = buffer.len().min(end - at);
            super::source::read_at(file, &mut buffer[..n], header.start + at as u64)
                .with_context(|| format!("verification: cannot read {name:?}"))?;
            crc.update(&buffer[..n]);
            at += n;
        }
        let got = crc.finalize();
        ensure!(got == *sum, "verification: {name:?} has checksum {got:08x}, not {sum:08x}");
    }
    Ok(())
}

fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, at);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            match std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], place)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// Input that has been read.
struct Piece {
    task: usize,
    at: usize,
    cost: usize,
    run: Arc<dyn Run>,
    input: Buffer,
}

/// Output that is to be written.
struct Made {
    task: usize,
    cost: usize,
    /// Of the input.
    bytes: u64,
    results: Vec<(usize, usize, Bytes)>,
}
