//! Bytes that are read and written as numbers, and a limit on how many there are at a time.

use anyhow::Context as _;
use bytemuck::Pod;
use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes aligned for every element type. In a file they are little-endian.
#[derive(Debug, Default)]
pub struct Buffer {
    words: Vec<u64>,
    len: usize,
}

impl Buffer {
    /// A buffer of so many bytes.
    ///
    /// # Errors
    /// If there is not the memory: a file may say anything.
    pub fn new(len: usize) -> anyhow::Result<Self> {
        let mut buffer = Self::default();
        buffer.resize(len)?;
        Ok(buffer)
    }

    /// Makes it as long; what is in it then is unspecified.
    ///
    /// # Errors
    /// If there is not the memory.
    pub fn resize(&mut self, len: usize) -> anyhow::Result<()> {
        let words = len.div_ceil(size_of::<u64>());
        if words > self.words.len() {
            self.words = Vec::new(); // before the new ones are there
            reserve(&mut self.words, words)?;
            self.words.resize(words, 0);
        }
        self.len = len;
        Ok(())
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes as elements; those that are no whole element are left out.
    #[must_use]
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        bytemuck::cast_slice(&bytes[..whole])
    }

    /// The same to write.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        bytemuck::cast_slice_mut(&mut bytes[..whole])
    }

    /// From the order of a file to that of the machine, or back: elements of so many bytes.
    pub fn swap(&mut self, size: usize) {
        if cfg!(target_endian = "big") && size > 1 {
            for element in self.as_mut_slice::<u8>().chunks_exact_mut(size) {
                element.reverse();
            }
        }
    }
}

/// Room for so many elements in an empty vector.
///
/// # Errors
/// If there is not the memory.
pub fn reserve<T>(elements: &mut Vec<T>, n: usize) -> anyhow::Result<()> {
    let bytes = n.saturating_mul(size_of::<T>());
    elements.try_reserve_exact(n).with_context(|| format!("no memory for {bytes} bytes"))
}

/// Bytes to be written.
#[derive(Debug)]
pub enum Bytes {
    /// In a buffer.
    Buffer(Buffer),
    /// In a vector.
    Vec(Vec<u8>),
}

impl Bytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer.as_slice(),
            Self::Vec(bytes) => bytes,
        }
    }
}

/// Buffers that are not in use, and the limit on those that are.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    closed: bool,
    spare: Vec<Buffer>,
}

/// Buffers of more bytes are not kept.
const KEEP: usize = 32 << 20;

impl Budget {
    /// At most so many bytes at a time.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until so many bytes are free, or nothing is in use. False when it is closed.
    pub fn take(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && state.used > 0 && state.used.saturating_add(bytes) > self.most {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.used = state.used.saturating_add(bytes);
        !state.closed
    }

    /// Gives bytes back.
    pub fn free(&self, bytes: usize) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Ends the waiting: something went wrong, or all is done.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A buffer of so many bytes, with anything in it.
    ///
    /// # Errors
    /// If there is not the memory.
    pub fn buffer(&self, bytes: usize) -> anyhow::Result<Buffer> {
        let mut buffer = self.lock().spare.pop().unwrap_or_default();
        buffer.resize(bytes)?;
        Ok(buffer)
    }

    /// A buffer that is not needed any more.
    pub fn recycle(&self, buffer: Buffer) {
        if buffer.words.len() <= KEEP / size_of::<u64>() {
            let mut state = self.lock();
            if state.spare.len() < 8 {
                state.spare.push(buffer);
            }
        }
    }

    /// What was written.
    pub fn discard(&self, bytes: Bytes) {
        if let Bytes::Buffer(buffer) = bytes {
            self.recycle(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
