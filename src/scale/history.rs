//! Delayed scaling: the scale of a step follows from the amaxes of earlier steps.
//!
//! A step reads a scale that nothing changes before the step ends, so a second forward of the
//! same step (activation recomputation) sees the scale of the first, and recording an amax twice
//! is recording it once:
//!
//! ```text
//!  scale ──► quantize                        window[0] = max of the step's amaxes
//!              └─ amax ──► record ──► window ──update, at the end of the step──► scale
//!                                     [len]
//! ```
//!
//! TransformerEngine (`delayed_scaling.cu`: `kernel_bulk`, the fused default, and `kernel`) and
//! MS-AMP (`optim/optimizer.py`: `_update_scaling_factors`) differ in when the window rolls, where
//! the newest amax goes, and in what Inf and NaN do: [`Roll`] and [`NonFinite`].

use super::rule::{Context, Rule};
use super::words;
use crate::error::{Error, Name};
use crate::format::FormatId;
use crate::slice::QuantStats;
use core::fmt;
use core::str::FromStr;
use std::vec::Vec;

words! {
    /// Which amax of the window the scale follows from.
    AmaxAlgo "amax algorithm" {
        /// The largest of the window; NaN is passed over.
        Max "max",
        /// That of the last step.
        MostRecent "most_recent",
    }
}

words! {
    /// How the window moves at the end of a step. Slot 0 then is 0, for the next step's amax.
    Roll "roll" {
        /// Slot 1 is the oldest and the last the newest; an amax of 0 (the layer did not run)
        /// leaves window and scale as they are. TransformerEngine's `kernel_bulk`, its default.
        Bulk "bulk",
        /// The same order; an amax of 0 rolls too. TransformerEngine's `kernel`.
        Kernel "kernel",
        /// Slot 1 is the newest and the last the oldest; an amax of 0 rolls too. MS-AMP's.
        MsAmp "msamp",
    }
}

words! {
    /// What an amax of Inf or NaN does at the end of a step.
    NonFinite "non-finite rule" {
        /// It enters the window. With [`AmaxAlgo::Max`] one Inf keeps the scale frozen until it
        /// has left the window, up to 1,024 steps; NaN is passed over. TransformerEngine's.
        Te "te",
        /// It never enters the window: the step is as if the layer had not run, and the scale is
        /// kept for one step, not for a window.
        Safe "safe",
        /// It enters as 0, and the warm-up begins anew. MS-AMP's.
        Reset "reset",
    }
}

/// How a history is kept. Prints and parses as
/// `LEN:ALGO:ROLL:NONFINITE[:margin=M][:warm-up=N]`, with `warm-up=always` for
/// [`ALWAYS`](Self::ALWAYS).
///
/// ```
/// use quarter::scale::HistoryConfig;
/// assert_eq!(HistoryConfig::TE.to_string(), "1024:max:bulk:te");
/// assert_eq!("16:max:msamp:reset:warm-up=16".parse(), Ok(HistoryConfig::MSAMP));
/// assert!("0:max:bulk:te".parse::<HistoryConfig>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HistoryConfig {
    /// Steps in the window, with the one that runs: 1 to [`MAX_LEN`](Self::MAX_LEN).
    pub len: usize,
    /// Which amax of the window counts.
    pub algo: AmaxAlgo,
    /// How the window moves.
    pub roll: Roll,
    /// What Inf and NaN do.
    pub non_finite: NonFinite,
    /// Powers of two of headroom: scale = max / 2^margin / amax. −126 to 126.
    pub margin: i32,
    /// This many steps are scaled by their own amax instead (current scaling), counted from the
    /// first and from each [`NonFinite::Reset`].
    pub warm_up: u32,
}

impl HistoryConfig {
    /// The longest window.
    pub const MAX_LEN: usize = 1 << 16;

    /// The warm-up that never ends: current scaling.
    pub const ALWAYS: u32 = u32::MAX;

    /// TransformerEngine's `DelayedScaling`: 1,024 steps, max, no warm-up, so that the first step
    /// has a scale of 1. (Megatron-LM sets a length of 1 and `most_recent`.)
    pub const TE: Self = Self {
        len: 1024,
        algo: AmaxAlgo::Max,
        roll: Roll::Bulk,
        non_finite: NonFinite::Te,
        margin: 0,
        warm_up: 0,
    };

    /// MS-AMP's for inputs and gradients of outputs: 16 steps after 16 of current scaling.
    pub const MSAMP: Self = Self {
        len: 16,
        algo: AmaxAlgo::Max,
        roll: Roll::MsAmp,
        non_finite: NonFinite::Reset,
        margin: 0,
        warm_up: 16,
    };

    /// MS-AMP's for weights: a window of 1, which it always scales by the tensor's own amax.
    pub const MSAMP_WEIGHT: Self = Self { len: 1, warm_up: Self::ALWAYS, ..Self::MSAMP };

    /// # Errors
    /// [`Error::Range`] for a length or margin out of range.
    pub fn check(&self) -> Result<(), Error> {
        let range = |what, got: i64, min, max| {
            if got < min || got > max { Err(Error::Range { what, got, min, max }) } else { Ok(()) }
        };
        let len = i64::try_from(self.len).unwrap_or(i64::MAX);
        range("length of the amax history", len, 1, Self::MAX_LEN as i64)?;
        range("margin", self.margin.into(), -126, 126)
    }
}

impl fmt::Display for HistoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.len, self.algo, self.roll, self.non_finite)?;
        if self.margin != 0 {
            write!(f, ":margin={}", self.margin)?;
        }
        match self.warm_up {
            0 => Ok(()),
            Self::ALWAYS => f.write_str(":warm-up=always"),
            steps => write!(f, ":warm-up={steps}"),
        }
    }
}

impl FromStr for HistoryConfig {
    type Err = Error;

    /// `LEN:ALGO:ROLL:NONFINITE`, then `:margin=M` and `:warm-up=N` if not 0: `1024:max:bulk:te`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let what = "history (LEN:ALGO:ROLL:NONFINITE[:margin=M][:warm-up=N], as 1024:max:bulk:te)";
        let unknown = Error::Name { what, got: Name::new(text) };
        let mut parts = text.split(':');
        let (Some(len), Some(algo), Some(roll), Some(non_finite)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unknown);
        };
        let mut config = Self {
            len: len.parse().map_err(|_| unknown)?,
            algo: algo.parse()?,
            roll: roll.parse()?,
            non_finite: non_finite.parse()?,
            margin: 0,
            warm_up: 0,
        };
        let (mut margin, mut warm_up) = (None, None);
        for part in parts {
            match part.split_once('=') {
                Some(("margin", value)) if margin.is_none() => {
                    margin = Some(value.parse().map_err(|_| unknown)?);
                }
                Some(("warm-up", "always")) if warm_up.is_none() => warm_up = Some(Self::ALWAYS),
                Some(("warm-up", value)) if warm_up.is_none() => {
                    warm_up = Some(value.parse().map_err(|_| unknown)?);
                }
                _ => return Err(unknown),
            }
        }
        config.margin = margin.unwrap_or(0);
        config.warm_up = warm_up.unwrap_or(0);
        config.check()?;
        Ok(config)
    }
}

/// `max(a, b)`, NaN if either is: what amaxes are joined by, within a step and over ranks.
///
/// It does not depend on the order, and joining a value twice changes nothing.
#[must_use]
pub fn join_amax(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// What an [`AmaxHistory`] remembers: plain data, to be saved and restored bit for bit.
#[derive(Clone, Debug)]
pub struct HistorySnapshot {
    /// The scale of the step that runs.
    pub scale: f32,
    /// Steps since the warm-up began.
    pub counter: u32,
    /// The window; slot 0 is the step that runs.
    pub window: Vec<f32>,
}

impl PartialEq for HistorySnapshot {
    /// By bits, so that NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.scale.to_bits() == other.scale.to_bits()
            && self.counter == other.counter
            && self.window.len() == other.window.len()
            && self.window.iter().zip(&other.window).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// The amaxes of one tensor over the last steps, and its scale.
///
/// ```
/// use quarter::scale::{AmaxHistory, HistoryConfig, Rule};
/// use quarter::FormatId;
/// let mut history = AmaxHistory::new(HistoryConfig::TE, FormatId::F8E4M3, Rule::TeDelayed)?;
/// assert_eq!(history.scale(), 1.0); // nothing is known in the first step
/// history.record(3.5);
/// history.record(3.5); // a second forward
/// assert_eq!(history.scale(), 1.0); // the step keeps its scale
/// history.update();
/// assert_eq!(history.scale(), 448.0 / 3.5);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AmaxHistory {
    config: HistoryConfig,
    format: FormatId,
    rule: Rule,
    state: HistorySnapshot,
}

impl AmaxHistory {
    /// An empty window and a scale of 1.
    ///
    /// # Errors
    /// [`Error::Range`] as [`HistoryConfig::check`]; [`Error::Recipe`] for a rule without history.
    pub fn new(config: HistoryConfig, format: FormatId, rule: Rule) -> Result<Self, Error> {
        config.check()?;
        if !rule.keeps_history() {
            let why = "only the rules te-delayed and msamp keep a history";
            return Err(Error::Recipe { field: "history", why });
        }
        let window = std::vec![0.0; config.len];
        let state = HistorySnapshot { scale: 1.0, counter: 0, window };
        Ok(Self { config, format, rule, state })
    }

    /// How it is kept.
    #[must_use]
    pub const fn config(&self) -> &HistoryConfig {
        &self.config
    }

    /// The scale of this step, the same until [`update`](Self::update).
    ///
    /// In the warm-up it is only what the rule falls back to:
    /// [`scale_for`](Self::scale_for) the tensor's amax is the scale then.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.state.scale
    }

    /// Whether this step is scaled by the tensor's own amax.
    #[must_use]
    pub fn in_warm_up(&self) -> bool {
        let steps = self.config.warm_up;
        steps == HistoryConfig::ALWAYS || self.state.counter < steps
    }

    /// The scale of this step for a tensor with this amax: in the warm-up by the rule, else
    /// [`scale`](Self::scale) whatever the amax. A second forward gets it again.
    #[must_use]
    pub fn scale_for(&self, amax: f32) -> f32 {
        let kept = self.config.non_finite == NonFinite::Safe && !amax.is_finite();
        if kept || !self.in_warm_up() {
            self.state.scale
        } else {
            self.rule_scale(amax, self.state.scale)
        }
    }

    /// Notes a tensor's amax for the end of the step; of several, the largest, and NaN above all.
    /// The scale stays. (MS-AMP keeps the last of several during its warm-up.)
    ///
    /// It is the amax as the rule takes it: where the rule does not
    /// [drop NaN](Rule::drops_nan), that of a tensor with NaN is NaN.
    /// [`QuantStats::amax`] passes over NaN: give it to [`record_stats`](Self::record_stats).
    pub fn record(&mut self, amax: f32) {
        let slot = &mut self.state.window[0];
        *slot = join_amax(*slot, amax.abs());
    }

    /// Notes the amax of a tensor by its statistics, as the rule takes it: under `msamp` NaN if
    /// the tensor has one, under `te-delayed` that of the other values.
    ///
    /// ```
    /// use quarter::scale::{AmaxHistory, HistoryConfig, Rule};
    /// use quarter::FormatId;
    /// use quarter::slice::QuantStats;
    /// let stats = QuantStats { amax: 1.0, nan: 1, ..QuantStats::default() };
    /// let mut history = AmaxHistory::new(HistoryConfig::MSAMP, FormatId::F8E4M3, Rule::MsAmp)?;
    /// history.record_stats(&stats);
    /// assert!(history.recorded().is_nan());
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn record_stats(&mut self, stats: &QuantStats) {
        let nan = stats.nan > 0 && !self.rule.drops_nan();
        self.record(if nan { f32::NAN } else { stats.amax });
    }

    /// The amax noted in this step so far.
    #[must_use]
    pub fn recorded(&self) -> f32 {
        self.state.window[0]
    }

    /// Steps since the warm-up began.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.state.counter
    }

    /// The window; slot 0 is the step that runs.
    #[must_use]
    pub fn window(&self) -> &[f32] {
        &self.state.window
    }

    /// Ends the step: the window rolls, and the next step's scale is
    /// max / 2^margin / (the amax that [`AmaxAlgo`] picks), as the rule rounds it. 0, Inf and NaN
    /// keep the scale in use (MS-AMP: Inf in the warm-up leaves its reciprocal).
    pub fn update(&mut self) {
        let config = self.config;
        let recorded = self.state.window[0];
        let in_use = self.scale_for(recorded);
        self.state.window[0] = 0.0;
        let (last, reset) = match config.non_finite {
            _ if recorded.is_finite() => (recorded, false),
            NonFinite::Te => (recorded, false),
            NonFinite::Safe => return,
            NonFinite::Reset => (0.0, true),
        };
        let did_not_run = config.roll == Roll::Bulk && last == 0.0;
        if did_not_run {
            self.state.scale = in_use;
        } else {
            let window = &mut self.state.window;
            window[0] = last;
            let amax = match config.algo {
                AmaxAlgo::MostRecent => last,
                AmaxAlgo::Max => window.iter().fold(0.0, |amax: f32, x| amax.max(*x)),
            };
            match config.roll {
                Roll::Bulk | Roll::Kernel => window.rotate_left(1),
                Roll::MsAmp => window.rotate_right(1),
            }
            window[0] = 0.0;
            self.state.scale = self.rule_scale(amax, in_use);
            self.state.counter = self.state.counter.saturating_add(1);
        }
        if reset {
            self.state.counter = 0;
        }
    }

    /// What must be saved; all that a resumed run needs.
    #[must_use]
    pub fn snapshot(&self) -> HistorySnapshot {
        self.state.clone()
    }

    /// Takes a saved state. A window of another length is cut, or filled with zeros, at its end,
    /// as TransformerEngine does.
    ///
    /// # Errors
    /// [`Error::State`] for an empty or too long window, a negative number, or a scale of NaN;
    /// then nothing is changed.
    pub fn restore(&mut self, saved: &HistorySnapshot) -> Result<(), Error> {
        saved.check()?;
        self.state.scale = saved.scale;
        self.state.counter = saved.counter;
        self.state.window.clear();
        let kept = saved.window.len().min(self.config.len);
        self.state.window.extend_from_slice(&saved.window[..kept]);
        self.state.window.resize(self.config.len, 0.0);
        Ok(())
    }

    fn rule_scale(&self, amax: f32, previous: f32) -> f32 {
        let context = Context { previous, margin: self.config.margin, ..Context::default() };
        self.rule.scale(self.format.spec(), amax, &context).scale
    }
}

impl HistorySnapshot {
    /// # Errors
    /// [`Error::State`] for what no history can hold.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what, expected: usize, got: usize| {
            Err(Error::State { what, expected: expected as u64, got: got as u64 })
        };
        let len = self.window.len();
        if len == 0 {
            return wrong("length of a window", 1, 0);
        }
        if len > HistoryConfig::MAX_LEN {
            return wrong("length of a window", HistoryConfig::MAX_LEN, len);
        }
        let negative = self.window.iter().filter(|amax| amax.is_sign_negative()).count();
        if negative > 0 {
            return wrong("number of negative amaxes", 0, negative);
        }
        if self.scale.is_nan() || self.scale.is_sign_negative() {
            return wrong("number of scales that are NaN or negative", 0, 1);
        }
        Ok(())
    }
}
