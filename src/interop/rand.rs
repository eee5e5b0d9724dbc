//! `rand` and `rand_distr`: samples of f32 rounded so that they stay in the distribution's range.
//!
//! `half` rounds to nearest, so that its [0, 1) yields 1. Here half-open ranges are rounded toward
//! their closed end.

use crate::format::types::*;
use crate::{Policy, Rounding};
use rand::Rng;
use rand::distr::uniform::{
    Error, SampleBorrow, SampleUniform, UniformFloat, UniformSampler as Sampler,
};
use rand_distr::{Distribution, Exp1, Open01, OpenClosed01, StandardNormal, StandardUniform};

/// Uniform numbers of this crate's types between two bounds.
#[derive(Clone, Copy, Debug)]
pub struct UniformSampler<T> {
    values: UniformFloat<f32>,
    rounding: Rounding,
    number: core::marker::PhantomData<T>,
}

macro_rules! distributions {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl Distribution<$type> for StandardUniform {
            /// Uniform in [0, 1), rounded toward 0.
            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                $type::directed(rng.sample::<f32, _>(self), Rounding::TowardZero)
            }
        }

        impl Distribution<$type> for OpenClosed01 {
            /// Uniform in (0, 1], rounded toward 1.
            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                $type::directed(rng.sample::<f32, _>(self), Rounding::Up)
            }
        }

        impl Distribution<$type> for Open01 {
            /// Uniform in (0, 1), rounded toward 0, which is drawn again.
            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                loop {
                    let x = $type::directed(rng.sample::<f32, _>(self), Rounding::TowardZero);
                    if x > $type::ZERO {
                        return x;
                    }
                }
            }
        }

        impl Distribution<$type> for StandardNormal {
            /// Normal with mean 0 and variance 1, rounded to nearest.
            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                $type::from_f32_sat(rng.sample(self))
            }
        }

        impl Distribution<$type> for Exp1 {
            /// Exponential with rate 1, rounded to nearest.
            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                $type::from_f32_sat(rng.sample(self))
            }
        }

        impl $type {
            fn directed(x: f32, rounding: Rounding) -> Self {
                Self::round(x.into(), Policy::SATURATE.rounding(rounding), 0)
            }
        }

        impl SampleUniform for $type {
            type Sampler = UniformSampler<Self>;
        }

        impl Sampler for UniformSampler<$type> {
            type X = $type;

            /// [low, high): rounded down.
            fn new<B1, B2>(low: B1, high: B2) -> Result<Self, Error>
            where
                B1: SampleBorrow<$type> + Sized,
                B2: SampleBorrow<$type> + Sized,
            {
                let values = UniformFloat::new(low.borrow().to_f32(), high.borrow().to_f32())?;
                Ok(Self { values, rounding: Rounding::Down, number: core::marker::PhantomData })
            }

            /// [low, high]: rounded to nearest.
            fn new_inclusive<B1, B2>(low: B1, high: B2) -> Result<Self, Error>
            where
                B1: SampleBorrow<$type> + Sized,
                B2: SampleBorrow<$type> + Sized,
            {
                let (low, high) = (low.borrow().to_f32(), high.borrow().to_f32());
                let values = UniformFloat::new_inclusive(low, high)?;
                let rounding = Rounding::NearestEven;
                Ok(Self { values, rounding, number: core::marker::PhantomData })
            }

            fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> $type {
                $type::directed(self.values.sample(rng), self.rounding)
            }
        }
    };
}
crate::for_each_number!(distributions);
