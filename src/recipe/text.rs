//! A recipe as one line of text.

use super::{Delayed, GemmRecipe, Pass, Recipe, Role, presets};
use crate::error::{Error, Name};
use crate::scale::HistoryConfig;
use core::fmt;
use core::str::FromStr;

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name={}", self.name)?;
        for pass in Pass::ALL {
            write!(f, ";{pass}={}", self.gemm(*pass))?;
        }
        let Some(delayed) = &self.delayed else { return Ok(()) };
        let [x, w, dy] = [Role::Input, Role::Weight, Role::GradOutput].map(|role| delayed.of(role));
        write!(f, ";delayed={x}")?;
        if (w, dy) != (x, x) {
            write!(f, "*{w}*{dy}")?;
        }
        if delayed.reduce_amax { Ok(()) } else { f.write_str(";reduce-amax=off") }
    }
}

impl FromStr for Recipe {
    type Err = Error;

    /// A preset's name, or `name=NAME;fprop=A*B;dgrad=A*B;wgrad=A*B` and, where casts keep
    /// histories, `;delayed=HISTORY` or `;delayed=X*W*DY`, and `;reduce-amax=off`; in any order,
    /// each once. The recipe is [validated](Recipe::validate).
    fn from_str(text: &str) -> Result<Self, Error> {
        if !text.contains('=') {
            return Self::preset(text);
        }
        let unknown = |text| Error::Name { what: presets::WHAT, got: Name::new(text) };
        let mut fields = Fields::default();
        for part in text.split(';') {
            let (key, value) = part.split_once('=').ok_or(unknown(part))?;
            match key {
                "name" => set(&mut fields.name, value).ok_or(unknown(part))?,
                "delayed" => set(&mut fields.delayed, histories(value)?).ok_or(unknown(part))?,
                "reduce-amax" => {
                    let on = match value {
                        "on" => true,
                        "off" => false,
                        _ => return Err(unknown(part)),
                    };
                    set(&mut fields.reduce_amax, on).ok_or(unknown(part))?;
                }
                _ => {
                    let pass: Pass = key.parse().map_err(|_| unknown(part))?;
                    let slot = &mut fields.gemms[pass as usize];
                    set(slot, value.parse()?).ok_or(unknown(part))?;
                }
            }
        }
        let missing = |what| Error::Recipe { field: what, why: "it is missing: add it as KEY=A*B" };
        let [fprop, dgrad, wgrad] = fields.gemms;
        let delayed = match (fields.delayed, fields.reduce_amax) {
            (Some([input, weight, grad_output]), on) => {
                let reduce_amax = on.unwrap_or(true);
                Some(Delayed { input, weight, grad_output, reduce_amax })
            }
            (None, None) => None,
            (None, Some(_)) => {
                let why = "it says how histories are joined, but there are none: leave it out";
                return Err(Error::Recipe { field: "reduce-amax", why });
            }
        };
        let recipe = Self {
            name: fields.name.unwrap_or("custom").into(),
            fprop: fprop.ok_or(missing("fprop"))?,
            dgrad: dgrad.ok_or(missing("dgrad"))?,
            wgrad: wgrad.ok_or(missing("wgrad"))?,
            delayed,
        };
        recipe.validate()?;
        Ok(recipe)
    }
}

/// What a text has named so far.
#[derive(Default)]
struct Fields<'a> {
    name: Option<&'a str>,
    gemms: [Option<GemmRecipe>; 3],
    delayed: Option<[HistoryConfig; 3]>,
    reduce_amax: Option<bool>,
}

/// Fills an empty slot; none if it is full.
fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    if slot.is_some() {
        return None;
    }
    *slot = Some(value);
    Some(())
}

/// One history for all, or three for x, w and dy.
fn histories(text: &str) -> Result<[HistoryConfig; 3], Error> {
    let Some((x, rest)) = text.split_once('*') else {
        return text.parse().map(|config| [config; 3]);
    };
    let what = "delayed=HISTORY or delayed=X*W*DY";
    let (w, dy) = rest.split_once('*').ok_or(Error::Name { what, got: Name::new(text) })?;
    Ok([x.parse()?, w.parse()?, dy.parse()?])
}
