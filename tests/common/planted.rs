//! Kernels that are wrong on purpose: each is caught, and the message names its symptom.

use quarter::accuracy::check::{Report, Symptom, Violation};

pub type Checked = Result<Report, Box<Violation>>;

/// The right kernel passes; the wrong one is caught with the symptom, and its message has the words.
#[track_caller]
pub fn planted(right: Checked, wrong: Checked, symptom: &Symptom, words: &[&str]) {
    let report = right.unwrap_or_else(|violation| panic!("the right kernel: {violation}"));
    assert!(report.count > 0);
    let violation = wrong.expect_err("the wrong kernel passes");
    println!("{symptom:?}\n{violation}\n");
    assert_eq!(violation.symptoms(), std::slice::from_ref(symptom), "{violation}");
    let text = violation.to_string();
    for word in words.iter().chain(&["first: ", "actual ", "expected ", "symptom: "]) {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}
