//! Products of groups: the experts of a mixture.

use super::input::{Elements, GemmInput, Operand};
use super::options::{Addend, GemmOptions};
use super::output::GemmOutput;
use super::problem::{Problem, unpack};
use super::workspace::Workspace;
use super::{GemmStats, blocked};
use crate::error::Error;
use crate::slice::parallel::{join, parts};
use std::vec::Vec;

/// Groups along M: rows `ends[g − 1]..ends[g]` of the output are those rows of a times `b[g]`, as a
/// loop of [`gemm_nt`](super::gemm_nt) computes them, bit for bit. Tokens sorted by expert, and a
/// weight \[N, K\] for each expert; a group may have no rows.
///
/// C, bias and activation of `options` are those of the whole output; bias is shared by the groups.
///
/// # Errors
/// As [`gemm_nt`](super::gemm_nt); [`Error::Length`] unless there is an operand for each end,
/// [`Error::Range`] for ends that do not ascend to a's rows. Nothing is written then, but for
/// [`Error::Memory`]: groups before it may have been.
///
/// ```
/// use quarter::gemm::{GemmInput, GemmOptions, Workspace, gemm_nt_grouped};
/// use quarter::tensor::{MatMut, MatRef};
/// let (tokens, experts) = ([1.0_f32, 2.0, 3.0], [[10.0_f32], [100.0]]);
/// let experts = [MatRef::new(&experts[0], 1, 1)?.into(), MatRef::new(&experts[1], 1, 1)?.into()];
/// let mut d = [0.0_f32; 3];
/// let out = MatMut::new(&mut d, 3, 1)?;
/// let (tokens, options) = (MatRef::new(&tokens, 3, 1)?, GemmOptions::new());
/// gemm_nt_grouped(&mut Workspace::new(), tokens, &experts, &[1, 3], out, &options)?;
/// assert_eq!(d, [10.0, 200.0, 300.0]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn gemm_nt_grouped<'a>(
    workspace: &mut Workspace,
    a: impl Into<GemmInput<'a>>,
    b: &[GemmInput<'_>],
    ends: &[usize],
    out: impl Into<GemmOutput<'a>>,
    options: &GemmOptions<'_>,
) -> Result<GemmStats, Error> {
    let (a, mut out) = (a.into(), out.into());
    let (rows, _) = a.shape();
    check_ends(ends, rows, b.len())?;
    let (m, n) = out.shape();
    if m != rows {
        return Err(Error::Shape { what: "output", expected: (rows, n), got: (m, n) });
    }
    if let Addend::Matrix(_, c) = &options.c
        && c.shape() != (m, n)
    {
        return Err(Error::Shape { what: "C", expected: (m, n), got: c.shape() });
    }
    let mut unpacked = Vec::new();
    let mut experts: Vec<Vec<u8>> = Vec::new();
    experts.resize_with(b.len(), Vec::new);
    let a = Operand::new(a, unpack(&a, &mut unpacked)?)?;
    let starts = || core::iter::once(&0).chain(ends);
    let mut groups = Vec::with_capacity(ends.len());
    for (((b, codes), from), to) in b.iter().zip(&mut experts).zip(starts()).zip(ends) {
        let b = Operand::new(*b, unpack(b, codes)?)?;
        let rest = out.rows_from(to - from);
        let here = core::mem::replace(&mut out, rest);
        let c = match options.c {
            Addend::Matrix(beta, c) => Addend::Matrix(beta, c.part((*from, *to), (0, n))),
            other @ (Addend::None | Addend::Output(_)) => other,
        };
        let options = GemmOptions { c, ..*options };
        groups.push(Group { operands: [a.part((*from, *to), (0, a.k)), b], out: here, options });
    }
    run(groups, workspace)
}

/// Groups along K: output g is a times b over k from `ends[g − 1]` to `ends[g]`, as a loop of
/// [`gemm_nt`](super::gemm_nt) over these parts computes it, bit for bit: the weight gradients of
/// experts, whose tokens are sorted. A group may have no k.
///
/// Segments are counted from a group's beginning. C, bias and activation are those of each output.
///
/// # Errors
/// As [`gemm_nt`](super::gemm_nt); [`Error::Length`] unless there is an output for each end;
/// [`Error::Range`] for ends that do not ascend to K; [`Error::Cast`] for a group that begins within
/// a block of scales, or a packed operand. Nothing is written then, but for [`Error::Memory`]:
/// groups before it may have been.
///
/// ```
/// use quarter::gemm::{GemmOptions, GemmOutput, Workspace, gemm_nt_grouped_k};
/// use quarter::tensor::{MatMut, MatRef};
/// let (dy, x) = ([1.0_f32, 2.0, 3.0], [10.0_f32, 100.0, 1000.0]);
/// let (mut first, mut second) = ([0.0_f32], [0.0_f32]);
/// let outs = [MatMut::new(&mut first, 1, 1)?.into(), MatMut::new(&mut second, 1, 1)?.into()];
/// let (dy, x) = (MatRef::new(&dy, 1, 3)?, MatRef::new(&x, 1, 3)?);
/// gemm_nt_grouped_k(&mut Workspace::new(), dy, x, &[1, 3], outs, &GemmOptions::new())?;
/// assert_eq!((first, second), ([10.0], [3200.0]));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn gemm_nt_grouped_k<'a>(
    workspace: &mut Workspace,
    a: impl Into<GemmInput<'a>>,
    b: impl Into<GemmInput<'a>>,
    ends: &[usize],
    outs: impl IntoIterator<Item = GemmOutput<'a>>,
    options: &GemmOptions<'_>,
) -> Result<GemmStats, Error> {
    let (a, b) = (a.into(), b.into());
    let outs: Vec<_> = outs.into_iter().collect();
    check_ends(ends, a.shape().1, outs.len())?;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let a = Operand::new(a, unpack(&a, &mut left)?)?;
    let b = Operand::new(b, unpack(&b, &mut right)?)?;
    if b.k != a.k {
        let (what, expected, got) = ("right operand (b)", (b.rows, a.k), (b.rows, b.k));
        return Err(Error::Shape { what, expected, got });
    }
    let mut groups = Vec::with_capacity(ends.len());
    let starts = core::iter::once(&0).chain(ends);
    for ((out, from), to) in outs.into_iter().zip(starts).zip(ends) {
        for operand in [&a, &b] {
            let block = operand.scaling.and_then(|scaling| scaling.block()).unwrap_or(1);
            if from % block != 0 && from != to {
                let why = "a group along K begins within a block of scales: cast groups apart, or \
                           let them end where blocks do";
                return Err(Error::Cast { why });
            }
            if matches!(operand.elements, Elements::Packed(_)) {
                let why = "a packed operand cannot be cut along K: give it unpacked";
                return Err(Error::Cast { why });
            }
        }
        let operands = [a, b].map(|operand| operand.part((0, operand.rows), (*from, *to)));
        groups.push(Group { operands, out, options: *options });
    }
    run(groups, workspace)
}

fn check_ends(ends: &[usize], last: usize, operands: usize) -> Result<(), Error> {
    if ends.len() != operands {
        let what = "ends of groups";
        return Err(Error::Length { what, expected: operands, got: ends.len() });
    }
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut from = 0;
    for (i, end) in ends.iter().enumerate() {
        let least = if i + 1 == ends.len() { last } else { from };
        if !(least..=last).contains(end) {
            let (what, got) = ("end of a group", number(*end));
            return Err(Error::Range { what, got, min: number(least), max: number(last) });
        }
        from = *end;
    }
    if from != last {
        let (what, got) = ("end of the last group", number(from));
        return Err(Error::Range { what, got, min: number(last), max: number(last) });
    }
    Ok(())
}

struct Group<'a> {
    operands: [Operand<'a>; 2],
    out: GemmOutput<'a>,
    options: GemmOptions<'a>,
}

impl Group<'_> {
    fn work(&self) -> usize {
        let [a, b] = &self.operands;
        a.rows.saturating_mul(b.rows).saturating_mul(a.k)
    }
}

/// All groups, once all of them are found to be right: many of them each on one thread, few of
/// them one after the other on all.
fn run(groups: Vec<Group<'_>>, workspace: &mut Workspace) -> Result<GemmStats, Error> {
    let mut cuts = core::mem::take(&mut workspace.cuts);
    let checked = groups.iter().try_for_each(|group| {
        Problem::new(group.operands, &group.out, &group.options, &mut cuts).map(drop)
    });
    workspace.cuts = cuts;
    checked?;
    let work = groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.work()));
    let Some(threads) = groups.first().map(|group| group.options.threads) else {
        return Ok(GemmStats::default());
    };
    let threads = parts(work / blocked::WORK, threads);
    if threads < 2 || groups.len() < 2 * threads {
        return in_order(groups, workspace);
    }
    let mut spaces = core::mem::take(&mut workspace.groups);
    spaces.resize_with(threads.max(spaces.len()), Workspace::new);
    let done = shared(groups, &mut spaces[..threads]);
    workspace.groups = spaces;
    done
}

fn in_order(groups: Vec<Group<'_>>, workspace: &mut Workspace) -> Result<GemmStats, Error> {
    let mut stats = GemmStats::default();
    let mut cuts = core::mem::take(&mut workspace.cuts);
    let done = groups.into_iter().try_for_each(|Group { operands, out, options }| {
        let problem = Problem::new(operands, &out, &options, &mut cuts)?;
        stats = larger(stats, blocked::gemm(&problem, out, workspace)?);
        Ok(())
    });
    workspace.cuts = cuts;
    done.map(|()| stats)
}

fn shared(mut groups: Vec<Group<'_>>, spaces: &mut [Workspace]) -> Result<GemmStats, Error> {
    let [space] = spaces else {
        let (mine, others) = spaces.split_at_mut(spaces.len() / 2);
        let all = groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.work()));
        let (mut done, share) = (0_usize, all / (mine.len() + others.len()) * mine.len());
        let before = groups.iter().take_while(|group| {
            done = done.saturating_add(group.work());
            done <= share
        });
        let rest = groups.split_off(before.count().max(1).min(groups.len()));
        let (x, y) = join(|| shared(groups, mine), || shared(rest, others));
        return Ok(larger(x?, y?));
    };
    for group in &mut groups {
        group.options.threads = 1;
    }
    in_order(groups, space)
}

fn larger(a: GemmStats, b: GemmStats) -> GemmStats {
    let amax = a.amax.into_iter().chain(b.amax).reduce(f32::max);
    GemmStats { amax, on_unit: a.on_unit + b.on_unit }
}
