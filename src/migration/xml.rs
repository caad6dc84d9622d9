//! Walks an XML text and keeps account of what nobody asked for.

use super::model::{FILE_MAX, ForeignFile, Place};
use super::report::{Outcome, Report};
use super::words::short;
use roxmltree::{Document, Node, ParsingOptions};
use std::sync::Arc;

/// The most nodes of one file; the largest known file has less than a tenth of them.
const NODES_MAX: u32 = 2_000_000;

/// Longer lines get a column besides, in octets.
const LONG_LINE: usize = 400;

/// What becomes of an element.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// The caller reads it.
    Read,
    /// It is not taken, for this reason; an empty one is not worth a word.
    Because(&'static str),
}

/// The reason for what a server keeps for itself.
pub(super) const BOOKKEEPING: Fate = Fate::Because("bookkeeping of the server that exported it");

/// A parsed file that reports what is left over.
pub(super) struct Walk<'r> {
    file: Arc<str>,
    /// Where lines begin, in octets.
    lines: Vec<usize>,
    /// The length of the text, in octets.
    length: usize,
    /// Where everything is told.
    pub(super) report: &'r mut Report,
}

/// Parses a file. `None` when it cannot be read; the report then says why.
pub(super) fn parse<'i>(file: &'i ForeignFile, report: &mut Report) -> Option<Document<'i>> {
    let mut place = Place::of_file(&file.name);
    if file.text.len() > FILE_MAX {
        report.add(Outcome::Failed, &place, "file", format!("longer than {} MiB", FILE_MAX >> 20));
        return None;
    }
    match Document::parse_with_options(&file.text, ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() }) {
        Ok(document) => Some(document),
        Err(error) => {
            let at = error.pos();
            (place.line, place.column) = (at.row as usize, at.col as usize);
            let message = short(&error.to_string());
            report.add(Outcome::Failed, &place, "file", format!("not well-formed XML: {message}; export it once more"));
            None
        }
    }
}

impl<'r> Walk<'r> {
    pub(super) fn new(file: &ForeignFile, report: &'r mut Report) -> Self {
        let lines = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: Arc::from(file.name.as_str()), lines, length: file.text.len(), report }
    }

    /// Where a node stands.
    pub(super) fn place(&self, node: Node<'_, '_>) -> Place {
        let at = node.range().start;
        let line = self.lines.partition_point(|begin| *begin <= at);
        let begin = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0);
        let end = self.lines.get(line).copied().unwrap_or(self.length);
        // Some files have everything on one line: there the line alone says nothing.
        let column = if end - begin > LONG_LINE { at - begin + 1 } else { 0 };
        Place { file: Arc::clone(&self.file), line, column }
    }

    /// The child elements that the caller reads; the others are reported.
    pub(super) fn children<'a, 'i>(&mut self, node: Node<'a, 'i>, known: &[(&str, Fate)]) -> Vec<Node<'a, 'i>> {
        let mut read = Vec::new();
        for child in node.children().filter(Node::is_element) {
            let name = child.tag_name().name();
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, Fate::Read)) => read.push(child),
                Some((_, Fate::Because(reason))) => {
                    if !is_empty(child) {
                        let place = self.place(child);
                        self.report.counted(Outcome::NotTaken, &place, format!("<{name}> in <{}>", name_of(node)), *reason);
                    }
                }
                None => {
                    let place = self.place(child);
                    self.report.unknown_part(&place, format!("<{}> in <{}>", short(name), name_of(node)));
                }
            }
        }
        read
    }

    /// Reports attributes beyond those that are known.
    pub(super) fn attributes(&mut self, node: Node<'_, '_>, known: &[&str]) {
        for attribute in node.attributes().filter(|attribute| !known.contains(&attribute.name())) {
            let place = self.place(node);
            self.report.unknown_part(&place, format!("attribute {} of <{}>", short(attribute.name()), name_of(node)));
        }
    }

    /// The one child of a name. A second one is a failure: nobody could say which of them counts.
    pub(super) fn one<'a, 'i>(&mut self, among: &[Node<'a, 'i>], name: &str) -> Option<Node<'a, 'i>> {
        let mut found = among.iter().filter(|node| node.tag_name().name() == name);
        let first = found.next().copied();
        if let Some(second) = found.next() {
            let place = self.place(*second);
            self.report.add(Outcome::Failed, &place, format!("<{name}>"), "stands twice; the first one counts");
        }
        first
    }

    /// The text of the one child of a name, with its place; blanks around it are kept.
    pub(super) fn text(&mut self, among: &[Node<'_, '_>], name: &str) -> Option<(String, Place)> {
        let node = self.one(among, name)?;
        let place = self.place(node);
        for inner in node.children().filter(Node::is_element) {
            let at = self.place(inner);
            self.report.unknown_part(&at, format!("<{}> in <{name}>", short(inner.tag_name().name())));
        }
        Some((text_of(node), place))
    }
}

/// All text of an element itself, whatever comments stand between.
pub(super) fn text_of(node: Node<'_, '_>) -> String {
    node.children().filter(Node::is_text).filter_map(|child| child.text()).collect()
}

/// The name of an element, for messages.
pub(super) fn name_of(node: Node<'_, '_>) -> String {
    short(node.tag_name().name())
}

/// True for an element that says nothing: no text, no element.
fn is_empty(node: Node<'_, '_>) -> bool {
    node.children().all(|child| !child.is_element() && child.text().is_none_or(|text| text.trim().is_empty() || child.is_comment()))
}
