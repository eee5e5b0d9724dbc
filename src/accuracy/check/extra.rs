//! What a violation says beside its elements.

use super::{Element, Violation};
use core::fmt;
use std::string::String;
use std::vec::Vec;

/// What some checks add to a [`Violation`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extra {
    /// What its elements are, where that is not "elements".
    what: Option<&'static str>,
    /// Why nothing was held to anything.
    refused: Option<String>,
    /// Lines after the symptoms.
    lines: Vec<String>,
    /// Lines of elements that are shown, by index.
    notes: Vec<(usize, String)>,
}

impl Extra {
    pub(super) const EMPTY: Self =
        Self { what: None, refused: None, lines: Vec::new(), notes: Vec::new() };

    /// "elements", or what they are.
    pub(super) fn what(&self) -> &'static str {
        self.what.unwrap_or("elements")
    }

    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The lines after the symptoms.
    pub(super) fn write_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }

    /// The line of an element.
    pub(super) fn write_note(&self, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
        let note = self.notes.iter().find(|(at, _)| *at == index);
        note.map_or(Ok(()), |(_, note)| write!(f, "\n    {note}"))
    }
}

impl Violation {
    /// Of what could not be held to anything.
    pub(super) fn of_refusal(why: String) -> Self {
        let mut violation = Self::of_lengths(0, 0);
        violation.extra.refused = Some(why);
        violation
    }

    /// With another name for its elements.
    pub(super) fn of_what(mut self, what: &'static str) -> Self {
        self.extra.what = Some(what);
        self
    }

    /// With a line after the symptoms.
    pub(super) fn line(&mut self, line: String) {
        self.extra.lines.push(line);
    }

    /// With a line of each element that is shown.
    pub(super) fn annotate(&mut self, note: impl Fn(&Element) -> String) {
        let shown = self.shown();
        let notes = shown.into_iter().flatten().map(|(_, e)| (e.index, note(e))).collect();
        self.extra.notes = notes;
    }
}
