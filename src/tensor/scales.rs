//! The scales of a quantized matrix.

use super::Cast;
use crate::error::Error;
use crate::format::F8E4M3;
use crate::scale::{Context, GroupScale, Native, ScaleFormat, e8m0, nvfp4_group, power};
use std::vec;
use std::vec::Vec;

/// One scale for each group, row-major over the granularity's grid.
///
/// The value of an element is code × `scale_inv`, with `scale_inv` of an E8M0 byte E being
/// 2^(E − 127).
#[derive(Clone, Debug)]
pub enum Scales {
    /// f32.
    F32 {
        /// What values were multiplied by, where the rule computes that direction and derives
        /// `scale_inv` from it.
        scale: Option<Vec<f32>>,
        /// What codes are multiplied by.
        scale_inv: Vec<f32>,
    },
    /// E8M0 bytes.
    E8M0(Vec<u8>),
    /// E4M3 bytes, and what all elements are multiplied by after them.
    E4M3 {
        /// E4M3 bytes.
        scale_inv: Vec<u8>,
        /// The tensor's own factor.
        global_scale_inv: f32,
    },
}

impl PartialEq for Scales {
    /// Of the same bits: NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        fn same(a: &[f32], b: &[f32]) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        }
        match (self, other) {
            (
                Self::F32 { scale: a, scale_inv: a_inv },
                Self::F32 { scale: b, scale_inv: b_inv },
            ) => {
                let scales = match (a, b) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                scales && same(a_inv, b_inv)
            }
            (Self::E8M0(a), Self::E8M0(b)) => a == b,
            (
                Self::E4M3 { scale_inv: a, global_scale_inv: x },
                Self::E4M3 { scale_inv: b, global_scale_inv: y },
            ) => a == b && x.to_bits() == y.to_bits(),
            (Self::F32 { .. } | Self::E8M0(_) | Self::E4M3 { .. }, _) => false,
        }
    }
}

impl Eq for Scales {}

impl Default for Scales {
    /// None.
    fn default() -> Self {
        Self::F32 { scale: None, scale_inv: Vec::new() }
    }
}

impl Scales {
    /// One scale for a tensor, by what multiplies on the way in: `scale_inv` is fl(1/scale).
    #[must_use]
    pub fn from_scale(scale: f32) -> Self {
        Self::F32 { scale: Some(vec![scale]), scale_inv: vec![1.0 / scale] }
    }

    /// The scale that a cast of granularity `tensor` gives a tensor of f32 with this amax: of one that
    /// is spread over ranks, say, whose amaxes were joined.
    ///
    /// ```
    /// use quarter::tensor::Scales;
    /// let scales = Scales::from_amax(&"e4m3:tensor:te-current".parse()?, 3.5);
    /// assert_eq!(scales.scale(0), Some(128.0));
    /// # Ok::<(), quarter::Error>(())
    /// ```
    #[must_use]
    pub fn from_amax(cast: &Cast, amax: f32) -> Self {
        let spec = cast.format.spec();
        let global_scale = cast.rule.global_scale(spec, amax);
        let group = cast.rule.scale(spec, amax, &Context { global_scale, ..Context::default() });
        let mut scales = Self::default().room(cast, 1).unwrap_or_default();
        scales.set_global(global_scale);
        scales.set(0, group);
        scales
    }

    /// The bytes they take, both directions of those that have them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32 { scale, scale_inv } => {
                size_of_val(&scale_inv[..])
                    + scale.as_ref().map_or(0, |scale| size_of_val(&scale[..]))
            }
            Self::E8M0(bytes) | Self::E4M3 { scale_inv: bytes, .. } => bytes.len(),
        }
    }

    /// The number of scales.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32 { scale_inv, .. } => scale_inv.len(),
            Self::E8M0(bytes) | Self::E4M3 { scale_inv: bytes, .. } => bytes.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are stored as.
    #[must_use]
    pub const fn format(&self) -> ScaleFormat {
        match self {
            Self::F32 { .. } => ScaleFormat::F32,
            Self::E8M0(_) => ScaleFormat::E8M0,
            Self::E4M3 { .. } => ScaleFormat::E4M3,
        }
    }

    /// Which direction was computed; the other one is derived.
    #[must_use]
    pub const fn native(&self) -> Native {
        match self {
            Self::F32 { scale: Some(_), .. } => Native::Scale,
            Self::F32 { scale: None, .. } | Self::E8M0(_) | Self::E4M3 { .. } => Native::ScaleInv,
        }
    }

    /// `scale_inv` of group `i` as f32, without the tensor's own factor.
    ///
    /// # Panics
    /// Beyond the last group.
    #[must_use]
    pub fn scale_inv(&self, i: usize) -> f32 {
        match self {
            Self::F32 { scale_inv, .. } => scale_inv[i],
            Self::E8M0(bytes) => e8m0::value(bytes[i]),
            Self::E4M3 { scale_inv, .. } => F8E4M3::from_bits(scale_inv[i]).to_f32(),
        }
    }

    /// What values of group `i` were multiplied by, where the rule computed that.
    ///
    /// # Panics
    /// Beyond the last group.
    #[must_use]
    pub fn scale(&self, i: usize) -> Option<f32> {
        match self {
            Self::F32 { scale, .. } => scale.as_ref().map(|scale| scale[i]),
            Self::E8M0(_) | Self::E4M3 { .. } => None,
        }
    }

    /// # Errors
    /// [`Error::Length`] unless there are `expected` of each.
    pub(super) fn check(&self, expected: usize) -> Result<(), Error> {
        let others = match self {
            Self::F32 { scale: Some(scale), .. } => scale.len(),
            Self::F32 { scale: None, .. } | Self::E8M0(_) | Self::E4M3 { .. } => self.len(),
        };
        for got in [self.len(), others] {
            if got != expected {
                return Err(Error::Length { what: "slice of scales", expected, got });
            }
        }
        Ok(())
    }

    /// The tensor's own factor: 1 but for E4M3.
    #[must_use]
    pub const fn global_scale_inv(&self) -> f32 {
        match self {
            Self::F32 { .. } | Self::E8M0(_) => 1.0,
            Self::E4M3 { global_scale_inv, .. } => *global_scale_inv,
        }
    }

    /// What values of group `i` meet on the way in: a factor, or what divides them.
    pub(crate) fn group(&self, i: usize) -> GroupScale {
        let scale_inv = self.scale_inv(i);
        match self {
            Self::F32 { scale: Some(scale), .. } => {
                GroupScale { scale: scale[i], scale_inv, byte: 0 }
            }
            Self::F32 { scale: None, .. } => {
                GroupScale { scale: 1.0 / scale_inv, scale_inv, byte: 0 }
            }
            Self::E8M0(bytes) => power(bytes[i]),
            Self::E4M3 { scale_inv: bytes, global_scale_inv } => {
                nvfp4_group(bytes[i], *global_scale_inv)
            }
        }
    }

    /// Room for `n` scales of `cast`, in the memory of these.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn room(self, cast: &Cast, n: usize) -> Result<Self, Error> {
        let (scale, scale_inv, bytes) = match self {
            Self::F32 { scale, scale_inv } => (scale, scale_inv, Vec::new()),
            Self::E8M0(bytes) | Self::E4M3 { scale_inv: bytes, .. } => (None, Vec::new(), bytes),
        };
        Ok(match cast.rule.scale_format() {
            ScaleFormat::F32 => {
                let both = cast.rule.native() == Native::Scale;
                let scale = both.then(|| room(scale.unwrap_or_default(), n)).transpose()?;
                Self::F32 { scale, scale_inv: room(scale_inv, n)? }
            }
            ScaleFormat::E8M0 => Self::E8M0(room(bytes, n)?),
            ScaleFormat::E4M3 => Self::E4M3 { scale_inv: room(bytes, n)?, global_scale_inv: 1.0 },
        })
    }

    /// Sets the scale of group `i`.
    pub(super) fn set(&mut self, i: usize, group: GroupScale) {
        self.places().set(i, &[group.scale], &[group.scale_inv], &[group.byte]);
    }

    /// Sets the tensor's own factor to 1 / scale, where there is one.
    pub(super) fn set_global(&mut self, scale: f32) {
        if let Self::E4M3 { global_scale_inv, .. } = self {
            *global_scale_inv = 1.0 / scale;
        }
    }

    /// The places to write.
    pub(super) fn places(&mut self) -> Places<'_> {
        match self {
            Self::F32 { scale, scale_inv } => Places {
                start: 0,
                scale: scale.as_deref_mut().unwrap_or_default(),
                scale_inv,
                bytes: &mut [],
            },
            Self::E8M0(bytes) | Self::E4M3 { scale_inv: bytes, .. } => {
                Places { start: 0, scale: &mut [], scale_inv: &mut [], bytes }
            }
        }
    }

    /// The scales of the transposed matrix, of a grid with this many columns.
    pub(super) fn transposed(self, cols: usize) -> Self {
        match self {
            Self::F32 { scale, scale_inv } => Self::F32 {
                scale: scale.map(|scale| transposed(&scale, cols)),
                scale_inv: transposed(&scale_inv, cols),
            },
            Self::E8M0(bytes) => Self::E8M0(transposed(&bytes, cols)),
            Self::E4M3 { scale_inv, global_scale_inv } => {
                Self::E4M3 { scale_inv: transposed(&scale_inv, cols), global_scale_inv }
            }
        }
    }
}

/// The transpose of a row-major matrix with this many columns.
pub(super) fn transposed<T: Copy + Default>(values: &[T], cols: usize) -> Vec<T> {
    let mut turned = vec![T::default(); values.len()];
    let rows = values.len() / cols.max(1);
    // A band of rows at a time, so that what is written stays in the cache.
    for (band, values) in values.chunks(16 * cols.max(1)).enumerate() {
        for col in 0..cols {
            let column = values[col..].iter().step_by(cols);
            let places = &mut turned[col * rows + 16 * band..];
            for (place, value) in places.iter_mut().zip(column) {
                *place = *value;
            }
        }
    }
    turned
}

/// `n` elements in this memory, or an error where there is not enough.
///
/// # Errors
/// [`Error::Memory`].
pub(super) fn room<T: Clone + Default>(mut values: Vec<T>, n: usize) -> Result<Vec<T>, Error> {
    let failed = |_| Error::Memory { what: "scales", elements: n };
    values.try_reserve_exact(n.saturating_sub(values.len())).map_err(failed)?;
    values.resize(n, T::default());
    Ok(values)
}

/// Where the scales of some consecutive groups go; a slice that is not wanted is empty.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// The first group's index in the grid.
    start: usize,
    scale: &'a mut [f32],
    scale_inv: &'a mut [f32],
    bytes: &'a mut [u8],
}

impl<'a> Places<'a> {
    /// Before and from group `index` on.
    pub fn split_at(self, index: usize) -> (Self, Self) {
        let at = index - self.start;
        let cut = |slice: &'a mut [f32]| slice.split_at_mut(at.min(slice.len()));
        let (s0, s1) = cut(self.scale);
        let (i0, i1) = cut(self.scale_inv);
        let (b0, b1) = self.bytes.split_at_mut(at.min(self.bytes.len()));
        (
            Self { start: self.start, scale: s0, scale_inv: i0, bytes: b0 },
            Self { start: index, scale: s1, scale_inv: i1, bytes: b1 },
        )
    }

    /// Stores the scales of as many groups as `scale` has, from this index in the grid on.
    pub fn set(&mut self, index: usize, scale: &[f32], scale_inv: &[f32], bytes: &[u8]) {
        fn store<T: Copy>(places: &mut [T], at: usize, values: &[T]) {
            if !places.is_empty() {
                places[at..at + values.len()].copy_from_slice(values);
            }
        }
        let (at, n) = (index - self.start, scale.len());
        store(self.scale, at, scale);
        store(self.scale_inv, at, &scale_inv[..n]);
        store(self.bytes, at, &bytes[..n]);
    }
}
