//! The macros of checks: what they print, where, and beside which names.
#![cfg(feature = "std")]

use quarter::accuracy::bounds::{Bound, GemmBound, Operand, Quantization, Sums, Term};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
use quarter::{FormatId, Policy};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static LINE: Cell<u32> = const { Cell::new(0) };
}

/// The message of a panic, and its line in this file.
fn panics<T>(check: impl FnOnce() -> T) -> (String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let here = |at: &Location<'_>| at.file().ends_with("accuracy_macros.rs");
            LINE.set(info.location().filter(|at| here(at)).map_or(0, Location::line));
            usual(info);
        }));
    });
    let payload = catch_unwind(AssertUnwindSafe(check)).err().expect("a panic");
    (payload.downcast_ref::<String>().expect("a formatted message").clone(), LINE.get())
}

fn exact(_: usize) -> Bound {
    Bound::default()
}

#[test]
fn a_message_comes_before_the_diagnosis() {
    let (one, two) = (&[1.0_f32, 5.0], &[1.0_f32, 6.0]);
    let (format, policy, k) = (FormatId::F8E5M2.spec(), Policy::NONFINITE, 3);
    let starts = |(text, _): (String, u32), message: &str| {
        let rest = text.strip_prefix(message).unwrap_or_else(|| panic!("{text}"));
        assert!(rest.contains("of 2 elements"), "{rest}");
        assert!(rest.starts_with(if message.is_empty() { "1 of" } else { "\n1 of" }), "{rest}");
    };
    starts(panics(|| quarter::assert_within!(one, two, exact)), "");
    starts(panics(|| quarter::assert_within!(one, two, exact,)), "");
    starts(panics(|| quarter::assert_within!(one, two, exact, "case {}", 3)), "case 3");
    starts(panics(|| quarter::assert_within!(one, two, exact, "case {k}",)), "case 3");
    let bound = |_, _| Bound::default();
    let (text, _) = panics(|| quarter::assert_matrix_within!(one, two, 1, bound, "K = {k:>2}"));
    assert!(text.starts_with("K =  3\n1 of 2") && text.contains("[1] = (1, 0)"), "{text}");
    let codes = &[0x3c, 0x3c];
    starts(panics(|| quarter::assert_rounded!(codes, one, format, policy, "codes")), "codes");
    starts(panics(|| quarter::assert_rounded!(codes, one, format, policy,)), "");
    starts(panics(|| quarter::assert_same_bits!(one, two, "{} {k}", "bits")), "bits 3");
    starts(panics(|| quarter::assert_same_bits!(one, two)), "");
}

/// As with `assert!`.
#[test]
fn a_message_is_made_only_if_it_is_needed() {
    let never = || -> u32 { panic!("the message was made") };
    let x = &[1.0_f32];
    assert_eq!(quarter::assert_within!(x, x, exact, "case {}", never()).count, 1);
    assert_eq!(quarter::assert_same_bits!(x, x, "case {}", never()).count, 1);
}

#[test]
fn products_and_quantizations_are_held() -> Result<(), quarter::Error> {
    let x = [0.5_f32, 3.0, -1.0, 2.0, 2.0, 0.25];
    let x = MatRef::new(&x, 2, 3)?;
    let bounds = GemmBound::new(Operand::exact(x)?, Operand::exact(x)?, Sums::F32)?;
    let right = [10.25_f32, 6.75, 6.75, 8.0625];
    assert_eq!(quarter::assert_product!(bounds, &right).count, 4);
    let wrong = right.map(|y| y / 2.0);
    let (text, _) = panics(|| quarter::assert_product!(bounds, &wrong, "case {}", 1));
    assert!(text.starts_with("case 1\n") && text.contains("scale off by 2^-1"), "{text}");

    let codes = quantize(x, &"e4m3:tensor:te-current".parse()?, &QuantizeOptions::new())?;
    let mut values = [0.0_f32; 6];
    codes.dequantize_into(MatMut::new(&mut values, 2, 3)?)?;
    let bounds = Quantization::new(x, codes.view())?;
    assert_eq!(quarter::assert_product!(&bounds, &values).count, 6);
    let other = "e4m3:tensor:te-current-pow2".parse()?;
    let (text, _) = panics(|| quarter::assert_quantized!(x, &other, codes.view(), "case {}", 2));
    assert!(text.starts_with("case 2\n") && text.contains("the scales are those of"), "{text}");
    values[4] += 1.0;
    let (text, _) = panics(|| quarter::assert_product!(&bounds, &values));
    assert!(text.starts_with("1 of 6"), "{text}");
    Ok(())
}

#[track_caller]
fn mine(actual: &[f32]) {
    quarter::assert_within!(actual, &[1.0_f32], |_| Bound::of(Term::Rounding, 0.1));
}

#[track_caller]
fn mine_with_a_message(actual: &[f32]) {
    quarter::assert_same_bits!(actual, &[1.0_f32], "mine");
}

#[test]
fn the_place_is_the_callers() {
    let (_, line) = panics(|| quarter::assert_same_bits!(&[1.0_f32], &[2.0_f32]));
    assert_eq!(line, line!() - 1);
    let (_, line) = panics(|| mine(&[2.0]));
    assert_eq!(line, line!() - 1, "the caller of a function that tracks its caller");
    let (_, line) = panics(|| mine_with_a_message(&[2.0]));
    assert_eq!(line, line!() - 1);
}

/// `use anyhow::Ok`, and worse.
mod shadowed {
    #![allow(non_snake_case, dead_code, unused_macros)]

    use super::{Bound, FormatId, Policy, exact};

    pub fn Ok<T>(x: T) -> Result<T, std::fmt::Error> {
        Result::Ok(x)
    }

    pub fn Err(_: u8) {}

    pub fn Some(_: u8) {}

    mod core {}

    macro_rules! panic {
        ($($any:tt)*) => {
            compile_error!("not this one")
        };
    }

    macro_rules! format_args {
        ($($any:tt)*) => {
            compile_error!("not this one")
        };
    }

    #[test]
    fn names_in_scope_do_not_matter() -> Result<(), std::fmt::Error> {
        let x = &[1.0_f32];
        let format = FormatId::F8E5M2.spec();
        quarter::assert_within!(x, x, exact, "{x:?}");
        quarter::assert_matrix_within!(x, x, 1, |_, _| Bound::default(), "{x:?}");
        quarter::assert_rounded!(&[0x3c], x, format, Policy::NONFINITE, "{x:?}");
        quarter::assert_same_bits!(x, x, "{x:?}");
        quarter::assert_same_bits!(x, x);
        Ok(())
    }
}
