//! `quarter train`: a small byte-level GPT, trained under several recipes side by side.

pub mod show;
