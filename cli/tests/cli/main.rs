//! The binary on real files, as a user runs it, and its `.npy` reader on bytes nobody would write.

#![forbid(unsafe_code)]

mod bench;
mod cast;
mod checkpoint;
mod common;
mod files;
mod formats;
mod gemm;
mod gemm_refused;
mod gemm_selftest;
mod hostile;
mod hostile_checkpoint;
mod inspect;
mod layouts;
mod model;
mod quantize;
mod report;
mod runs;
mod train_faults;
mod train_gap;
mod train_gradients;
mod train_hostile;
mod train_naive;
mod train_ranks;
mod train_resume;
mod train_show;
mod train_tools;
mod train_unit;
mod units;
