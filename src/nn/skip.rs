//! Layers that a recipe leaves out.

use crate::recipe::{Recipe, presets};
use std::string::String;
use std::vec::Vec;

/// Names of layers that are computed in bf16 whatever the recipe is: published recipes leave out the
/// first and the last ones.
///
/// ```
/// use quarter::nn::Skip;
/// use quarter::recipe::presets;
/// let skip = Skip::new(["head", "blocks.0.*"]);
/// assert!(skip.has("head") && skip.has("blocks.0.qkv") && !skip.has("blocks.1.qkv"));
/// let recipe = skip.recipe("head", &presets::blockwise());
/// assert_eq!(recipe, presets::bf16());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skip {
    names: Vec<String>,
}

impl Skip {
    /// These names; one that ends in `*` is any that begins so.
    #[must_use]
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }

    /// Whether a layer is left out.
    #[must_use]
    pub fn has(&self, layer: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => layer.starts_with(start),
            None => name == layer,
        })
    }

    /// The recipe of a layer: `bf16` where it is left out and the recipe has casts.
    #[must_use]
    pub fn recipe(&self, layer: &str, recipe: &Recipe) -> Recipe {
        if recipe.has_casts() && self.has(layer) { presets::bf16() } else { recipe.clone() }
    }

    /// The names, as they were given.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}
