//! Recipes: presets, the one-line grammar, and what `validate` refuses.
#![cfg(feature = "std")]

use quarter::recipe::{BlockSum, Delayed, GemmRecipe, Operand, Pass, Recipe, Role, presets};
use quarter::scale::{HistoryConfig, ScaleFormat};
use quarter::tensor::Cast;
use quarter::{Error, FormatId, Granularity, Rounding, Rule};

fn cast(text: &str) -> Operand {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn operands(recipe: &Recipe) -> [(Operand, Operand); 3] {
    [&recipe.fprop, &recipe.dgrad, &recipe.wgrad].map(|gemm| (gemm.a, gemm.b))
}

#[test]
fn presets_are_valid_and_round_trip() {
    let names = "f32 bf16 delayed current tensorwise rowwise rowwise_with_gw_hp blockwise mxfp8 \
                 mxfp8_floor msamp nvfp4";
    let known: Vec<&str> = presets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, names.split_whitespace().collect::<Vec<_>>());
    for (name, make) in presets::ALL {
        let recipe = make();
        assert_eq!(recipe.name, *name);
        assert_eq!(recipe.validate(), Ok(()), "{name}");
        let line = recipe.to_string();
        assert!(!line.contains(['\n', ' ']), "{line}");
        assert_eq!(line.parse().as_ref(), Ok(&recipe), "{line}");
        assert_eq!(name.parse().as_ref(), Ok(&recipe));
        assert_eq!(Recipe::preset(name).as_ref(), Ok(&recipe));
        let stateful = Role::ALL.iter().any(|role| recipe.history_cast(*role).is_some());
        assert_eq!(stateful, recipe.delayed.is_some(), "{name}");
        println!("{line}");
    }
}

#[test]
fn presets_say_what_the_engines_do() {
    let all = |text| [(cast(text), cast(text)); 3];
    assert_eq!(operands(&presets::f32()), [(Operand::F32, Operand::F32); 3]);
    assert_eq!(operands(&presets::bf16()), [(Operand::Bf16, Operand::Bf16); 3]);
    for (recipe, rule) in [
        (presets::delayed(), "te-delayed"),
        (presets::current(), "te-current"),
        (presets::tensorwise(), "torchao"),
        (presets::msamp(), "msamp"),
    ] {
        let [x, dy] = ["e4m3", "e5m2"].map(|format| cast(&format!("{format}:tensor:{rule}")));
        assert_eq!(operands(&recipe), [(x, x), (dy, x), (dy, x)], "{rule}");
    }
    assert_eq!(operands(&presets::rowwise()), all("e4m3:row:torchao-pow2"));
    let [row, tensor] = ["row", "tensor"].map(|g| cast(&format!("e4m3:{g}:torchao-pow2")));
    let hp = (Operand::Bf16, Operand::Bf16);
    assert_eq!(operands(&presets::rowwise_with_gw_hp()), [(row, row), (row, tensor), hp]);
    let [x, w] = ["1x128", "128x128"].map(|g| cast(&format!("e4m3:{g}:te-block")));
    assert_eq!(operands(&presets::blockwise()), [(x, w), (x, w), (x, x)]);
    assert_eq!(presets::blockwise().wgrad.block_sum(), Ok(Some(BlockSum::Te)));
    assert_eq!(operands(&presets::mxfp8()), all("e4m3:1x32:te-mx"));
    assert_eq!(operands(&presets::mxfp8_floor()), all("e4m3:1x32:ocp-floor"));
    assert_eq!(operands(&presets::nvfp4()), all("e2m1:1x16:nvfp4"));
    for (name, recipe) in presets::ALL {
        let fast = matches!(
            *name,
            "delayed" | "current" | "tensorwise" | "rowwise" | "rowwise_with_gw_hp" | "msamp"
        );
        let recipe = recipe();
        let got = Pass::ALL.iter().map(|pass| recipe.gemm(*pass).sums.fast);
        assert_eq!(got.collect::<Vec<_>>(), [fast, false, false], "{name}");
    }
    assert_eq!(presets::delayed().delayed, Some(Delayed::uniform(HistoryConfig::TE)));
    let msamp = presets::msamp().delayed.unwrap();
    assert_eq!((msamp.input.len, msamp.weight.len, msamp.grad_output.warm_up), (16, 1, 16));
}

/// The table of the module's page says what the presets are.
#[test]
fn the_table_is_that_of_the_presets() {
    let source = include_str!("../src/recipe/mod.rs");
    let rows: Vec<Vec<&str>> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! |")?.trim_end().strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["preset", "x", "w", "dy", "scales", "wgrad", "state"]);
    assert!(rows[1].iter().all(|cell| *cell == "---"));
    assert_eq!(rows.len(), presets::ALL.len() + 2);
    for (row, (name, make)) in rows[2..].iter().zip(presets::ALL) {
        let recipe = make();
        let cell = |operand: &Operand| match operand.cast() {
            Some(cast) => format!("{} {}", cast.format, cast.granularity),
            None => operand.to_string(),
        };
        let [(x, w), (dy, dgrad_w), (wgrad_dy, wgrad_x)] = operands(&recipe);
        let mut weight = cell(&w);
        if dgrad_w != w {
            let (cast, fprop) = (dgrad_w.cast().unwrap(), w.cast().unwrap());
            assert_eq!((cast.format, cast.rule), (fprop.format, fprop.rule), "{name}");
            weight += &format!(", dgrad: {}", cast.granularity);
        }
        let wgrad = if (wgrad_dy, wgrad_x) == (dy, x) {
            "same".to_owned()
        } else {
            assert_eq!(wgrad_dy, wgrad_x, "{name}: the table has one cell for both");
            cell(&wgrad_x)
        };
        let mut scales = x.cast().map_or(String::new(), |cast| kind(cast.rule).to_owned());
        let rules = [x, w, dy, dgrad_w].map(|operand| operand.cast().map(|cast| cast.rule));
        assert!(rules.iter().all(|rule| *rule == rules[0]), "{name}: one kind of scales");
        if let Some(delayed) = &recipe.delayed {
            let steps = match delayed.input.len {
                len @ 0..1000 => len.to_string(),
                len => format!("{},{:03}", len / 1000, len % 1000),
            };
            scales += &format!(", from {steps} steps");
        }
        let state = if recipe.delayed.is_some() { "histories" } else { "" };
        let name = format!("`{name}`");
        assert_eq!(*row, [&*name, &cell(&x), &weight, &cell(&dy), &scales, &wgrad, state]);
    }
}

/// What the scales of a preset's rule are, as its table has it.
fn kind(rule: Rule) -> &'static str {
    match rule {
        Rule::TeDelayed | Rule::TeCurrent | Rule::TorchAo => "f32",
        Rule::TorchAoPow2 | Rule::TeBlock | Rule::MsAmp => "powers of two",
        Rule::TeMx => "E8M0, rounded up",
        Rule::OcpFloor => "E8M0, rounded down",
        Rule::Nvfp4 => "E4M3 and f32",
        other => panic!("say here what the scales of {other} are"),
    }
}

/// Each operand's K is that of the product, and w is the same tensor in fprop and dgrad.
#[test]
fn passes_contract_what_they_should() {
    let shape = |role: Role| match role {
        Role::Input => ("T", "I"),
        Role::Weight => ("O", "I"),
        Role::GradOutput => ("T", "O"),
    };
    for (pass, result, k) in [
        (Pass::Fprop, ("T", "O"), "I"),
        (Pass::Dgrad, ("T", "I"), "O"),
        (Pass::Wgrad, ("O", "I"), "T"),
    ] {
        let [(m, ka), (n, kb)] = pass.operands().map(|(role, transposed)| {
            let (rows, cols) = shape(role);
            if transposed { (cols, rows) } else { (rows, cols) }
        });
        assert_eq!(((m, n), ka, kb), (result, k, k), "{pass}");
    }
}

fn why(text: &str) -> String {
    match text.parse::<Recipe>() {
        Err(error) => error.to_string(),
        Ok(recipe) => panic!("{recipe} should be refused"),
    }
}

#[test]
fn errors_say_where_and_what_to_change() {
    let recipe = |fprop: &str| format!("name=a;fprop={fprop};dgrad=bf16*bf16;wgrad=bf16*bf16");
    for (fprop, parts) in [
        ("e4m3:col:torchao*e4m3:row:torchao", ["fprop, a (x)", "use row for col"]),
        ("e4m3:1x128:te-block*e4m3:128x1:te-block", ["fprop, b (w)", "1x128 for 128x1"]),
        ("e4m3:1x16:nvfp4*bf16", ["nvfp4", "e2m1"]),
        ("e2m1:tensor:nvfp4*bf16", ["nvfp4", "blocks"]),
        ("e2m1:1x16:nvfp4*e4m3:1x32:te-mx", ["fprop", "both operands by nvfp4"]),
        ("e4m3:1x32:te-mx*e4m3:1x128:te-block", ["fprop", "te-mx"]),
        ("e4m3:tensor:te-current*e4m3:1x32:te-mx", ["fprop", "E8M0"]),
        ("e4m3:1x128:deepseek*e4m3:128x128:deepgemm", ["fprop", "+sum=deepgemm"]),
        ("bf16*bf16+promote=0", ["fprop", "promote=0"]),
        ("e4m3:1x32:te-mx*e4m3:1x32:te-mx+sum=te", ["fprop", "drop +sum="]),
        ("e4m3:tensor:torchao*e4m3:tensor:torchao+sum=deepgemm", ["fprop", "drop +sum="]),
        ("e4m3:row:te-current*bf16+sum=te", ["fprop", "drop +sum="]),
        ("e2m1:1x16:nvfp4*e2m1:1x16:nvfp4+sum=deepseek", ["fprop", "drop +sum="]),
        ("bf16*f32+sum=te", ["fprop", "drop +sum="]),
        ("e4m3:tensor:te-delayed*bf16", ["input", "add delayed="]),
        ("e4m3:row:te-delayed*bf16", ["fprop, a (x)", "granularity tensor"]),
        ("e4m3:128x128:msamp*bf16", ["fprop, a (x)", "granularity tensor"]),
        ("e4m3:tensor:torchao:stochastic:7*bf16", ["random bits is 7", "8..=32"]),
        ("e8m0:tensor:torchao*bf16", ["number format", "e4m3"]),
        ("bf16:tensor:torchao*bf16", ["number format", "e4m3"]),
        ("e4m3:0x128:te-block*bf16", ["block rows is 0", "1"]),
        ("bf16", ["product", "A*B"]),
        ("bf16*half", ["half", "operand"]),
        ("bf16*bf16+promote", ["product", "promote=N"]),
        ("bf16*bf16+fast+fast", ["product", "+fast"]),
        ("bf16*bf16+sum=sum", ["block sum", "deepseek"]),
    ] {
        let error = why(&recipe(fprop));
        assert!(parts.iter().all(|part| error.contains(part)), "{fprop}: {error}");
    }
    for (text, parts) in [
        ("blokwise", ["blokwise", "blockwise"]),
        ("", ["\"\"", "blockwise"]),
        ("name=a;fprop=f32*f32;dgrad=f32*f32", ["wgrad", "missing"]),
        ("name=a b;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32", ["name", "letters"]),
        ("name=a;name=b;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32", ["name=b", "recipe"]),
        ("name=a;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32;", ["\"\"", "recipe"]),
        (
            "name=a;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32;reduce-amax=off",
            ["reduce-amax", "leave it out"],
        ),
        ("name=a;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32;speed=fast", ["speed=fast", "recipe"]),
        ("name=a;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32;delayed=0:max:bulk:te", ["length", "0"]),
        (
            "name=a;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32;delayed=1:max:bulk:te*1:max:bulk:te",
            ["delayed", "X*W*DY"],
        ),
    ] {
        let error = why(text);
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
    let two = "fprop=e4m3:tensor:te-delayed*f32;dgrad=f32*f32;wgrad=f32*e5m2:tensor:te-delayed;delayed=4:max:bulk:te";
    assert!(why(two).contains("input") && why(two).contains("same cast"), "{}", why(two));
}

#[test]
fn what_is_allowed() {
    for fprop in [
        "e4m3:1x128:deepseek*e4m3:128x128:deepgemm+sum=deepseek",
        "e4m3:1x128:te-block*bf16+promote=128",
        "e4m3:1x128:te-block*bf16+sum=deepgemm",
        "e4m3:tensor:torchao*e4m3:128x128:deepseek+sum=te",
        "e4m3:1x128:te-block*e4m3:tensor:te-current",
        "e4m3:row:ocp-floor*e4m3:1x128:te-block",
        "e4m3:1x32:te-mx*e4m3:1x32:ocp-rceil",
        "e4m3:32x32:te-mx*bf16",
        "e2m1:1x16:nvfp4:stochastic*e2m1:16x16:nvfp4",
        "e5m2:row:torchao*e5m2:row:torchao+fast",
        "e4m3:1x1:te-block*f32",
    ] {
        let text = format!("name=custom;fprop={fprop};dgrad=f32*bf16;wgrad=f32*f32");
        let recipe: Recipe = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(recipe.to_string(), text);
    }
    // Fields in any order, and no name.
    let recipe: Recipe = "wgrad=f32*f32;fprop=bf16*bf16;dgrad=f32*bf16".parse().unwrap();
    assert_eq!(recipe.name, "custom");
    assert_eq!(operands(&recipe)[0], (Operand::Bf16, Operand::Bf16));
    let off = "name=a;fprop=e4m3:tensor:msamp*f32;dgrad=f32*f32;wgrad=f32*f32;\
               delayed=4:max:msamp:safe*1:max:bulk:te*2:most_recent:kernel:reset:margin=-3;reduce-amax=off";
    let recipe: Recipe = off.parse().unwrap();
    assert_eq!(recipe.to_string(), off);
    assert_eq!(recipe.delayed.unwrap().of(Role::GradOutput).margin, -3);
}

/// Every product of every pair of casts is refused or has one way to sum its blocks.
#[test]
fn every_pair_of_casts_is_decided() {
    let shapes = [
        Granularity::Tensor,
        Granularity::Row,
        Granularity::Col,
        Granularity::BLOCK_1X32,
        Granularity::BLOCK_128X128,
        Granularity::Block { rows: 128, cols: 1 },
    ];
    let mut all = vec![Operand::F32, Operand::Bf16];
    for rule in Rule::ALL {
        let format = match rule.scale_format() {
            ScaleFormat::E4M3 => FormatId::F4E2M1,
            ScaleFormat::F32 | ScaleFormat::E8M0 => FormatId::F8E4M3,
        };
        let stochastic = Rounding::Stochastic { bits: 16 };
        all.extend(shapes.map(|g| Operand::Cast(Cast::new(format, g, *rule).rounding(stochastic))));
    }
    let (mut good, mut bad) = (0, 0);
    for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
        let delayed = Some(Delayed::uniform(HistoryConfig::TE));
        let recipe =
            Recipe { delayed, fprop: GemmRecipe::new(a, b), ..Recipe::uniform(Operand::F32) };
        match recipe.validate() {
            Ok(()) => {
                assert_eq!(recipe.to_string().parse().as_ref(), Ok(&recipe));
                let f32_blocks = [a, b].iter().filter_map(|o| o.cast()).any(|cast| {
                    matches!(cast.granularity, Granularity::Block { .. })
                        && cast.rule.scale_format() == ScaleFormat::F32
                });
                assert_eq!(recipe.fprop.block_sum().unwrap().is_some(), f32_blocks, "{recipe}");
                // A block sum that is given is used, or refused.
                for given in BlockSum::ALL {
                    let mut given_sum = recipe.clone();
                    given_sum.fprop.sums.block_sum = Some(*given);
                    let got = given_sum.fprop.block_sum();
                    assert_eq!(got, Ok(f32_blocks.then_some(*given)), "{given_sum}");
                    assert_eq!(given_sum.validate().is_ok(), f32_blocks, "{given_sum}");
                }
                good += 1;
            }
            Err(Error::Recipe { field, why }) => {
                assert!(!field.is_empty() && why.len() > 20);
                bad += 1;
            }
            Err(other) => panic!("{recipe}: {other}"),
        }
    }
    println!("{good} products are allowed, {bad} refused");
    assert!(good > 1000 && bad > 1000);
}
