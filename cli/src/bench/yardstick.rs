//! What the machine can do at most: multiply-adds, reading, copying.

use super::report::Unit;
use crate::checkpoint::buffer::reserve;
use quarter::Isa;
use std::hint::black_box;
use std::iter::zip;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that kernels are compared with.
pub struct Yardstick {
    pub name: &'static str,
    pub unit: Unit,
    /// One go, and how many operations or bytes that was.
    pub work: Box<dyn FnMut() -> f64 + Send>,
}

impl Yardstick {
    /// Multiply-adds of f32.
    pub fn fma(threads: usize) -> Option<Self> {
        Self::unit("peak f32", false, threads)
    }

    /// Multiply-adds of pairs of bf16, where there is a unit for them.
    pub fn pairs(threads: usize) -> Option<Self> {
        Self::unit("peak bf16 pairs", true, threads)
    }

    fn unit(name: &'static str, pairs: bool, threads: usize) -> Option<Self> {
        // Some 50 us each, 2 ms in all.
        const ROUNDS: usize = 1 << 13;
        const PIECES: usize = 32;
        let isa = Isa::best();
        if isa.peak(pairs, 1) == 0 {
            return None;
        }
        let piece = isa.peak(pairs, 1) as f64 * ROUNDS as f64;
        let work = move || {
            let pieces = PIECES * threads;
            share_out(threads, pieces, &|_| {
                black_box(isa.peak(pairs, ROUNDS));
            });
            piece * pieces as f64
        };
        Some(Self { name, unit: Unit::Operations, work: Box::new(work) })
    }

    /// Copies so many bytes in all: half of them are read, half written.
    pub fn copy(threads: usize, bytes: usize) -> anyhow::Result<Option<Self>> {
        let half = (bytes / 2).max(1);
        let (from, mut to) = (filled(half, 1)?, filled(half, 0)?);
        let share = half.div_ceil(threads);
        let work = move || {
            let pieces = zip(to.chunks_mut(share), from.chunks(share));
            if threads == 1 {
                pieces.for_each(|(to, from)| to.copy_from_slice(from));
            } else {
                rayon::scope(|scope| {
                    for (to, from) in pieces {
                        scope.spawn(|_| to.copy_from_slice(from));
                    }
                });
            }
            black_box(&mut to);
            2.0 * half as f64
        };
        Ok(Some(Self { name: "copy", unit: Unit::Bytes, work: Box::new(work) }))
    }

    /// Reads so many bytes.
    pub fn read(threads: usize, bytes: usize) -> anyhow::Result<Option<Self>> {
        const PIECE: usize = 1 << 20;
        let from = filled(bytes.max(1), 1)?;
        let work = move || {
            let pieces: Vec<_> = from.chunks(PIECE.min(from.len().div_ceil(threads))).collect();
            share_out(threads, pieces.len(), &|i| {
                black_box(any_bits(pieces[i]));
            });
            from.len() as f64
        };
        Ok(Some(Self { name: "read", unit: Unit::Bytes, work: Box::new(work) }))
    }
}

/// Does each of so many pieces of work once, on so many threads: whoever is free takes the next.
fn share_out(threads: usize, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    if threads == 1 {
        return (0..pieces).for_each(work);
    }
    let next = AtomicUsize::new(0);
    rayon::broadcast(|_| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= pieces {
                return;
            }
            work(i);
        }
    });
}

fn filled(bytes: usize, byte: u8) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    reserve(&mut all, bytes)?;
    all.resize(bytes, byte);
    Ok(all)
}

const LINE: usize = 64;

/// The bits that are set anywhere, two halves at a time: two streams keep more of the memory's
/// channels busy than one.
fn any_bits(bytes: &[u8]) -> u64 {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let (one, two) = lines.split_at(lines.len() / 2);
    let mut seen = [[0; 8]; 2];
    let mut look = |half: usize, line: &[u8; LINE]| {
        for (seen, word) in seen[half].iter_mut().zip(line.as_chunks().0) {
            *seen |= u64::from_ne_bytes(*word);
        }
    };
    for (one, two) in zip(one, two) {
        look(0, one);
        look(1, two);
    }
    two[one.len()..].iter().for_each(|line| look(1, line));
    let rest = rest.iter().fold(0, |all, byte| all | u64::from(*byte));
    seen.as_flattened().iter().fold(rest, |all, word| all | word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        for len in [1, 63, 64, 65, 128, 200, 320, 1000] {
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at] = 0x40;
                assert_ne!(any_bits(&bytes), 0, "{at} of {len}");
            }
        }
    }

    #[test]
    fn as_much_as_there_is() {
        for threads in [1, 3] {
            let mut copy = Yardstick::copy(threads, 1000).unwrap().unwrap();
            assert_eq!((copy.work)(), 1000.0);
            let mut read = Yardstick::read(threads, (16 << 20) + 5).unwrap().unwrap();
            assert_eq!((read.work)(), 16_777_221.0);
            let done: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            share_out(threads, done.len(), &|i| {
                done[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        }
    }
}
