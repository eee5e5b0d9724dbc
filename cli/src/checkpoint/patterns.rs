//! Which tensors a command touches.
//!
//! The defaults leave in high precision what published FP8 checkpoints leave: embeddings, norms,
//! the output head, the routers of experts, biases. DeepSeek-V3's report (3.3) names them.

use anyhow::Context as _;
use glob::Pattern;

/// What is quantized if nothing is said.
const INCLUDE: &[&str] = &["*.weight", "weight"];

/// What of it is not.
const EXCLUDE: &[&str] = &[
    "*embed*",     // token and position embeddings
    "*wte.weight", // theirs in GPT-2
    "*wpe.weight",
    "*norm*", // layer norms
    "*ln_*",
    "*head.weight",  // lm_head, shared_head.head
    "output.weight", // the head of Meta's Llama
    "*.gate.weight", // the routers of experts (gate_proj is none)
    "*router*",
    "*shared_expert_gate*",
    "*eh_proj*", // DeepSeek's multi-token prediction
];

/// Arguments that choose tensors.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PatternArgs {
    /// Only tensors whose names match (* any text, ? any letter); may be given again
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave tensors whose names match as they are; may be given again
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

/// Patterns that are understood.
#[derive(Clone, Debug)]
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    text: String,
}

impl PatternArgs {
    /// For dequantization: all tensors unless something is said.
    ///
    /// # Errors
    /// For a pattern that is none.
    pub fn all(&self) -> anyhow::Result<Patterns> {
        let include = if self.include.is_empty() { parse(&["*"])? } else { parse(&self.include)? };
        Ok(self.patterns(include, parse(&self.exclude)?))
    }

    /// For quantization: what published checkpoints quantize, unless it is said what; then the
    /// default exclusions do not hold.
    ///
    /// # Errors
    /// For a pattern that is none.
    pub fn weights(&self) -> anyhow::Result<Patterns> {
        let mut exclude = parse(&self.exclude)?;
        if !self.include.is_empty() {
            return Ok(self.patterns(parse(&self.include)?, exclude));
        }
        exclude.extend(parse(EXCLUDE)?);
        Ok(self.patterns(parse(INCLUDE)?, exclude))
    }

    /// Whether something was said.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty()
    }

    fn patterns(&self, include: Vec<Pattern>, exclude: Vec<Pattern>) -> Patterns {
        let names = |patterns: &[Pattern]| {
            let names: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
            names.join(",")
        };
        let text = format!("include={} exclude={}", names(&include), names(&exclude));
        Patterns { include, exclude, text }
    }
}

impl Patterns {
    /// Whether a name is chosen.
    #[must_use]
    pub fn choose(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }

    /// The patterns in one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn parse<S: AsRef<str>>(texts: &[S]) -> anyhow::Result<Vec<Pattern>> {
    let pattern = |text: &S| {
        let text = text.as_ref();
        Pattern::new(text).with_context(|| format!("pattern {text:?}"))
    };
    texts.iter().map(pattern).collect()
}
