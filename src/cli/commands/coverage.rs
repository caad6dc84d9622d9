//! `phs coverage`: for how many it worked, and the names behind each number.

use crate::cli::App;
use crate::cli::calls::completed;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, moment, table, thousands};
use crate::context::Context;
use crate::password::report::{Coverage, Uncovered};
use crate::service::Access;
use serde::Serialize;

/// How the accounts that lack a password are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Only their number.
    None,
    /// In a table.
    Table,
    /// As comma-separated values (RFC 4180).
    Values,
}

#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    coverage: Coverage,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<Uncovered>>,
}

/// The columns of the values, which scripts rely on.
const COLUMNS: [&str; 8] = ["object", "account", "signs_in_as", "reason", "detail", "code", "attempted", "next_attempt"];

pub(super) fn run(app: &App, cx: &Context, domain: Option<&str>, reason: Option<&str>, names: Names) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let coverage = service.password_coverage(cx, domain)?;
    let accounts = (names != Names::None).then(|| service.passwords_missing(cx, domain, reason)).transpose()?;
    let exit = if coverage.missing.is_empty() { Exit::Ok } else { Exit::Warnings };
    app.output.result(&Found { coverage, accounts }, |Found { coverage, accounts }| {
        let accounts = accounts.as_deref().unwrap_or_default();
        if names == Names::Values {
            app.output.line(values(COLUMNS.map(str::to_owned)));
            for one in accounts {
                app.output.line(values(row_of(one)));
            }
            return;
        }
        numbers(app, coverage);
        if names == Names::Table {
            table_of(app, coverage, accounts, reason);
        } else if !coverage.missing.is_empty() {
            app.output.line(completed("`syncline phs coverage --reason REASON` names them, `--list` names all."));
        }
    });
    Ok(exit)
}

fn numbers(app: &App, found: &Coverage) {
    let share = match found.in_scope {
        0 => "nobody is in scope".to_owned(),
        all => {
            let tenths = found.confirmed.saturating_mul(1_000) / all;
            let (confirmed, all) = (thousands(found.confirmed), thousands(all));
            format!("{confirmed} of {all} accounts in scope have a confirmed password ({}.{} %)", tenths / 10, tenths % 10)
        }
    };
    app.output.line(share);
    if let Some(oldest) = &found.oldest_confirmation {
        app.output.line(format!("The oldest confirmation is of {}.", moment(oldest)));
    }
    if !found.missing.is_empty() {
        let rows = found.missing.iter().map(|(reason, count)| [reason.clone(), thousands(*count)]);
        app.output.table(table(["missing", "accounts"], &["accounts"], rows));
    }
}

fn table_of(app: &App, coverage: &Coverage, accounts: &[Uncovered], reason: Option<&str>) {
    if accounts.is_empty() {
        if let Some(reason) = reason.filter(|_| !coverage.missing.is_empty()) {
            let known: Vec<&str> = coverage.missing.keys().map(String::as_str).collect();
            app.output.line(format!("Nobody is missing for the reason {reason}; there is: {}.", known.join(", ")));
        }
        return;
    }
    let rows = accounts.iter().map(|one| {
        let next = one.next_attempt.as_deref().map(moment).unwrap_or_default();
        let detail = one.detail.as_deref().map(completed).unwrap_or_default();
        [one.id.clone(), one.sign_in_name.clone().unwrap_or_else(|| one.dn.clone()), one.reason.to_owned(), next, detail]
    });
    app.output.table(table(["object", "account", "reason", "tried again", "detail"], &[], rows));
}

fn row_of(one: &Uncovered) -> [String; 8] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        one.id.clone(),
        one.dn.clone(),
        text(&one.sign_in_name),
        one.reason.to_owned(),
        text(&one.detail),
        one.code.map(|code| code.to_string()).unwrap_or_default(),
        text(&one.attempted),
        text(&one.next_attempt),
    ]
}

/// A line of values. Those that a spreadsheet would take for a formula get an apostrophe in front.
fn values(row: [String; 8]) -> String {
    let value = |value: String| {
        let formula = value.starts_with(['=', '+', '-', '@']) && value.parse::<i64>().is_err();
        let value = if formula { format!("'{value}") } else { value };
        let value = clean(value);
        if value.contains([',', '"', '\n', '\r']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
    };
    row.map(value).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_never_formulas() {
        let row = ["1", "CN=Doe\\, Ann,DC=x", "=cmd()", "due", "said \"no\"", "-1", "", ""].map(str::to_owned);
        assert_eq!(values(row), "1,\"CN=Doe\\, Ann,DC=x\",'=cmd(),due,\"said \"\"no\"\"\",-1,,");
    }
}
