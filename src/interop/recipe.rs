//! `serde` of recipes and their state: policies as the text that they print, f32 as their bits.

use crate::recipe::{GemmRecipe, LayerSnapshot, Operand, Recipe, RecipeState, StateSnapshot};
use crate::scale::{Granularity, HistoryConfig, HistorySnapshot, Rule};
use crate::tensor::Cast;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::string::String;
use std::vec::Vec;

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = crate::Error>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recipe or a part of one as text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! text {
    ($($type:ty)*) => { $(
        impl Serialize for $type {
            /// What `Display` writes.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            /// What `FromStr` reads.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )* };
}
text!(Rule Granularity Cast HistoryConfig Operand GemmRecipe Recipe);

/// scale, counter and window; f32 as bits.
type History = (u32, u32, Vec<u32>);

#[derive(Serialize, Deserialize)]
struct Layer {
    name: String,
    histories: [Option<History>; 3],
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "RecipeState")]
struct State {
    version: u32,
    recipe: Recipe,
    seed: u64,
    step: u32,
    rank: u32,
    layers: Vec<Layer>,
}

const VERSION: u32 = 1;

impl Serialize for StateSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let history = |h: &HistorySnapshot| {
            (h.scale.to_bits(), h.counter, h.window.iter().map(|x| x.to_bits()).collect())
        };
        let layer = |layer: &LayerSnapshot| Layer {
            name: layer.name.clone(),
            histories: layer.histories.each_ref().map(|h| h.as_ref().map(history)),
        };
        State {
            version: VERSION,
            recipe: self.recipe.clone(),
            seed: self.seed,
            step: self.step,
            rank: self.rank,
            layers: self.layers.iter().map(layer).collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StateSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = State::deserialize(deserializer)?;
        if state.version != VERSION {
            let (expected, got) = (VERSION.into(), state.version.into());
            return Err(D::Error::custom(crate::Error::State { what: "version", expected, got }));
        }
        let history = |(scale, counter, window): History| HistorySnapshot {
            scale: f32::from_bits(scale),
            counter,
            window: window.into_iter().map(f32::from_bits).collect(),
        };
        let layer = |layer: Layer| LayerSnapshot {
            name: layer.name,
            histories: layer.histories.map(|h| h.map(history)),
        };
        Ok(Self {
            recipe: state.recipe,
            seed: state.seed,
            step: state.step,
            rank: state.rank,
            layers: state.layers.into_iter().map(layer).collect(),
        })
    }
}

impl Serialize for RecipeState {
    /// Its [`snapshot`](Self::snapshot).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.snapshot().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RecipeState {
    /// What [`from_snapshot`](Self::from_snapshot) makes of one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = StateSnapshot::deserialize(deserializer)?;
        Self::from_snapshot(&saved).map_err(D::Error::custom)
    }
}
