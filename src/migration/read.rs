//! Reads the files of an export, whatever form each of them has.

use super::model::{EntraExport, ForeignFile, Place};
use super::report::{Outcome, Report};
use super::words::short;
use super::xml::{self, BOOKKEEPING, Fate, Walk};
use super::{json, read_connector, read_rule, read_schema, script};
use roxmltree::Node;

/// Reads all files. Whatever is in them is either in the result or in the report, most of it in both.
pub fn read(files: &[ForeignFile], report: &mut Report) -> EntraExport {
    let mut export = EntraExport::default();
    for file in files {
        let begins = file.text.trim_start();
        let extension = file.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "json" => json::read(file, &mut export, report),
            "xml" => read_xml(file, &mut export, report),
            _ if begins.starts_with("<?xml") || begins.starts_with("<synchronizationRule") || begins.starts_with("<ma-data") => {
                read_xml(file, &mut export, report);
            }
            _ if mentions_rules(&file.text) => script::read(file, &mut export, report),
            _ => {
                report.add(
                    Outcome::NotTaken,
                    &Place::of_file(&file.name),
                    "file",
                    "no part of a configuration: neither XML, JSON nor a script of rules",
                );
            }
        }
    }
    export
}

/// True for a script that makes rules.
fn mentions_rules(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("new-adsyncrule") || text.contains("add-adsyncrule")
}

fn read_xml(file: &ForeignFile, export: &mut EntraExport, report: &mut Report) {
    let Some(document) = xml::parse(file, report) else { return };
    let mut walk = Walk::new(file, report);
    element(&mut walk, document.root_element(), export, true);
}

fn element(walk: &mut Walk<'_>, node: Node<'_, '_>, export: &mut EntraExport, outer: bool) {
    match node.tag_name().name() {
        "synchronizationRule" => export.rules.extend(read_rule::read(walk, node)),
        "ma-data" => export.connectors.extend(read_connector::read(walk, node)),
        "mv-data" => {
            let found = read_schema::metaverse(walk, node);
            export.metaverse.attributes.extend(found.attributes);
            export.metaverse.classes.extend(found.classes);
            export.metaverse.parameters.extend(found.parameters);
        }
        "saved-ma-configuration" | "saved-mv-configuration" | "synchronizationRules" if outer => {
            walk.attributes(node, &["server", "export-date"]);
            let known =
                [("ma-data", Fate::Read), ("mv-data", Fate::Read), ("synchronizationRule", Fate::Read), ("export-date", BOOKKEEPING)];
            for child in walk.children(node, &known) {
                element(walk, child, export, false);
            }
        }
        other => {
            let place = walk.place(node);
            let note = format!("<{}> is neither a rule, a connector nor the metaverse", short(other));
            walk.report.add(Outcome::Failed, &place, "file", note);
        }
    }
}
