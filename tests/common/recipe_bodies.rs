//! Bodies of the fuzz targets of recipes: any bytes in, a panic out if a law does not hold.

use quarter::recipe::{Delayed, GemmRecipe, Operand, Recipe, RecipeState, Role, presets};
use quarter::scale::{AmaxAlgo, HistoryConfig, NonFinite, Roll};
use quarter::tensor::Cast;
use quarter::{FormatId, Granularity, Rounding, Rule};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// Bytes read from the front; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.byte()) % list.len()]
    }

    fn operand(&mut self) -> Operand {
        let granularity = match self.byte() % 6 {
            0 => Granularity::Tensor,
            1 => Granularity::Row,
            2 => Granularity::Col,
            3 => Granularity::Block { rows: 1, cols: self.byte().into() },
            4 => Granularity::Block { rows: self.byte().into(), cols: self.word() as usize },
            _ => Granularity::BLOCK_128X128,
        };
        let rounding = match self.byte() % 4 {
            0 => Rounding::Stochastic { bits: self.byte() % 40 },
            1 => Rounding::TowardZero,
            _ => Rounding::NearestEven,
        };
        let cast = Cast::new(self.pick(FormatId::ALL), granularity, self.pick(Rule::ALL));
        self.pick(&[Operand::F32, Operand::Bf16, Operand::Cast(cast.rounding(rounding))])
    }

    fn gemm(&mut self) -> GemmRecipe {
        let mut gemm = GemmRecipe::new(self.operand(), self.operand());
        gemm.sums.promote = self.byte().is_multiple_of(2).then(|| self.word());
        gemm.sums.fast = self.byte().is_multiple_of(2);
        gemm
    }

    fn history(&mut self) -> HistoryConfig {
        HistoryConfig {
            len: self.pick(&[0, 1, 2, 16, 1024, 65536, 65537, usize::MAX]),
            algo: self.pick(AmaxAlgo::ALL),
            roll: self.pick(Roll::ALL),
            non_finite: self.pick(NonFinite::ALL),
            margin: self.pick(&[0, 1, -1, 126, -126, i32::MAX]),
            warm_up: self.pick(&[0, 1, 16, u32::MAX]),
        }
    }

    fn recipe(&mut self) -> Recipe {
        if self.byte().is_multiple_of(4) {
            return self.pick(presets::ALL).1();
        }
        let delayed = Delayed {
            input: self.history(),
            weight: self.history(),
            grad_output: self.history(),
            reduce_amax: self.byte().is_multiple_of(2),
        };
        let delayed = self.pick(&[None, Some(delayed), Some(Delayed::uniform(delayed.input))]);
        let [fprop, dgrad, wgrad] = [(); 3].map(|()| self.gemm());
        Recipe { name: self.pick(&["a", "", "a;b", "9.-_Z"]).into(), fprop, dgrad, wgrad, delayed }
    }
}

/// A text that parses prints as one that parses to the same.
fn round_trip<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    let printed = value.to_string();
    let again =
        printed.parse::<T>().unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e:?}"));
    assert_eq!(again, value, "{text:?} prints {printed:?}");
    assert_eq!(again.to_string(), printed);
    true
}

/// Any text as a recipe and as each of its parts, and any recipe as text: nothing panics, what
/// parses prints and parses to the same, and what is valid prints and parses.
pub fn recipe_grammar(data: &[u8]) {
    const WORDS: &[&str] = &[
        "name=",
        "a",
        ";",
        "fprop=",
        "dgrad=",
        "wgrad=",
        "delayed=",
        "reduce-amax=off",
        "*",
        "+",
        ":",
        "=",
        "e4m3",
        "e5m2",
        "e2m1",
        "tensor",
        "row",
        "col",
        "1x128",
        "128x128",
        "1x16",
        "x",
        "te-delayed",
        "te-block",
        "te-mx",
        "nvfp4",
        "msamp",
        "deepseek",
        "torchao",
        "stochastic",
        "bf16",
        "f32",
        "fast",
        "promote=",
        "sum=",
        "te",
        "16",
        "0",
        "-1",
        "99999999999999999999",
        "max",
        "most_recent",
        "bulk",
        "kernel",
        "safe",
        "reset",
        "margin=",
        "warm-up=",
        "always",
        "e4m3:tensor:te-delayed",
        "e4m3:1x128:te-block",
        "bf16*bf16",
        "1024:max:bulk:te",
        "blockwise",
        ";fprop=bf16*bf16",
        ";dgrad=bf16*bf16",
        ";wgrad=f32*f32",
        "é",
        " ",
    ];
    let mut bytes = Bytes(data);
    let kind = bytes.byte();
    let text: String = match kind % 4 {
        0 => String::from_utf8_lossy(bytes.0).into_owned(),
        1 => bytes.0.iter().map(|byte| WORDS[usize::from(*byte) % WORDS.len()]).collect(),
        _ => {
            let recipe = bytes.recipe();
            let mut text = recipe.to_string();
            if recipe.validate().is_ok() {
                assert_eq!(text.parse().as_ref(), Ok(&recipe), "{text}");
            }
            if kind % 4 == 3 && !text.is_empty() {
                let at = bytes.word() as usize % text.len();
                text.replace_range(at..at + 1, bytes.pick(WORDS)); // it is ASCII throughout
            }
            text
        }
    };
    if round_trip::<Recipe>(&text) {
        let recipe: Recipe = text.parse().expect("it parsed");
        assert_eq!(recipe.validate(), Ok(()), "{text:?}");
    }
    round_trip::<GemmRecipe>(&text);
    round_trip::<Operand>(&text);
    round_trip::<HistoryConfig>(&text);
    round_trip::<Cast>(&text);
    round_trip::<Granularity>(&text);
}

/// The bytes and the checksum that fits them, so that what is behind it is reached.
fn seal(mut body: Vec<u8>) -> Vec<u8> {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    body.extend_from_slice(&hash.to_le_bytes());
    body
}

/// Any bytes as a saved state: an error, or a state that saves to what loads as the same, runs
/// on, and loads under another history length.
pub fn state_loader(data: &[u8]) {
    let mut bytes = Bytes(data);
    let saved = match bytes.byte() % 4 {
        0 => bytes.0.to_vec(),
        1 => seal(bytes.0.to_vec()),
        kind => {
            let history =
                bytes.pick(&["1:max:bulk:te", "3:max:msamp:reset:warm-up=2", "2:max:kernel:safe"]);
            let line = presets::delayed().to_string().replace("1024:max:bulk:te", history);
            let recipe = line.parse().expect("a preset with another history");
            let mut state = RecipeState::new(recipe, 1, 0).expect("it is valid");
            for layer in ["a", "layers.1"] {
                state.add_layer(layer).expect("a good name");
                let amax = f32::from_bits(bytes.word());
                state.record_amax(layer, Role::Weight, amax).expect("a layer of the state");
            }
            state.end_step(None).expect("it trains");
            let mut saved = state.to_bytes();
            assert_eq!(RecipeState::from_bytes(&saved).as_ref(), Ok(&state));
            saved.truncate(saved.len() - 8);
            while !bytes.0.is_empty() {
                let at = bytes.word() as usize % saved.len();
                if kind == 2 {
                    saved[at] = bytes.byte();
                } else {
                    saved.truncate(at.max(1));
                    saved.extend((0..bytes.byte()).map(|_| bytes.byte()));
                }
            }
            seal(saved)
        }
    };
    let Ok(mut state) = RecipeState::from_bytes(&saved) else { return };
    assert_eq!(RecipeState::from_bytes(&state.to_bytes()).as_ref(), Ok(&state));
    let mut under = presets::delayed();
    if let Some(delayed) = &mut under.delayed {
        delayed.input.len = 2;
    }
    let mut under = RecipeState::new(under, 0, 0).expect("a preset");
    if under.restore(&state.snapshot()).is_ok() {
        assert_eq!((under.step(), under.layers().count()), (state.step(), state.layers().count()));
    }
    let layers: Vec<String> = state.layers().map(str::to_owned).collect();
    for amax in [0.0, 3.5, f32::INFINITY, f32::NAN] {
        for layer in &layers {
            for role in Role::ALL {
                state.record_amax(layer, *role, amax).expect("a layer of the state");
                if let Ok(scale) = state.scale_for(layer, *role, amax) {
                    assert!(scale >= 0.0, "{layer}, {role}: scale {scale}");
                }
            }
        }
        state.end_step(None).expect("it trains");
    }
    assert_eq!(RecipeState::from_bytes(&state.to_bytes()).as_ref(), Ok(&state));
}
