//! What was measured, as a table for people and as one document for programs. All figures are medians of the runs.

use crate::child::{Cost, Outcome};
use serde::Serialize;
use std::fmt::Write as _;
use syncline::directory_generator::DirectoryRecipe;

/// One stage, measured several times.
#[derive(Debug, Default)]
struct Series {
    name: String,
    objects: u64,
    ours: Vec<Cost>,
    floors: Vec<Cost>,
    floor_name: &'static str,
    bound: Option<Bound>,
}

/// What the design allows a stage, as a multiple of its floor (storage and performance, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    /// Of processor time.
    Cpu(f64),
    /// Of time by the clock.
    Wall(f64),
}

/// Everything that was measured, in the order of the first run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The first stage is `ldapsearch`, and all others are told as multiples of it, too.
    beside_search: bool,
    series: Vec<Series>,
    numbers: Vec<(String, Vec<f64>)>,
}

/// A stage as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    stage: String,
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_octets: u64,
    objects_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ldapsearch_cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ldapsearch_wall: Option<f64>,
    floor: Option<FloorRow>,
}

#[derive(Debug, Serialize)]
struct FloorRow {
    name: &'static str,
    cpu_seconds: f64,
    wall_seconds: f64,
    ratio_cpu: f64,
    ratio_wall: f64,
    bound: Option<Bound>,
}

/// What was measured at what.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// People in the directory.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Contacts.
    pub contacts: u64,
    /// Runs.
    pub runs: u32,
    /// Processors of the machine.
    pub processors: usize,
    /// The machine's load when it began.
    pub load: String,
    /// The program measured.
    pub version: String,
}

impl Setting {
    /// The setting of a measurement that begins now.
    pub(crate) fn new(recipe: &DirectoryRecipe, runs: u32, version: &str) -> Outcome<Self> {
        Ok(Self {
            users: recipe.users,
            groups: recipe.groups,
            contacts: recipe.contacts,
            runs,
            processors: std::thread::available_parallelism()?.get(),
            load: std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
            version: version.trim().to_owned(),
        })
    }
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    setting: &'a Setting,
    stages: Vec<Row>,
    numbers: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// A report whose first stage is `ldapsearch`.
    pub(crate) fn beside_search() -> Self {
        Self { beside_search: true, ..Self::default() }
    }

    /// Adds a measurement of a stage.
    pub(crate) fn add(&mut self, name: &str, objects: u64, cost: Cost) {
        let series = self.series(name);
        series.objects = objects;
        series.ours.push(cost);
    }

    /// Adds the floor of a stage that was added.
    pub(crate) fn floor(&mut self, name: &str, floor: Cost, floor_name: &'static str, bound: Option<Bound>) {
        let series = self.series(name);
        (series.floor_name, series.bound) = (floor_name, bound);
        series.floors.push(floor);
    }

    /// Adds some other number.
    pub(crate) fn number(&mut self, name: &str, value: f64) {
        match self.numbers.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.numbers.push((name.to_owned(), vec![value])),
        }
    }

    /// The largest peak of all stages from the second on; the first is not ours.
    pub(crate) fn peak(&self) -> u64 {
        self.series.iter().skip(1).flat_map(|series| &series.ours).map(|cost| cost.peak).max().unwrap_or(0)
    }

    fn series(&mut self, name: &str) -> &mut Series {
        let index = self.series.iter().position(|series| series.name == name).unwrap_or_else(|| {
            self.series.push(Series { name: name.to_owned(), ..Series::default() });
            self.series.len() - 1
        });
        &mut self.series[index]
    }

    fn rows(&self) -> Vec<Row> {
        let ldapsearch = self.series.first().filter(|_| self.beside_search).map(|series| median(&series.ours));
        let row = |series: &Series| {
            let cost = median(&series.ours);
            let floor = median(&series.floors);
            Row {
                stage: series.name.clone(),
                cpu_seconds: cost.cpu,
                wall_seconds: cost.wall,
                peak_octets: cost.peak,
                objects_per_second: ratio(number(series.objects), cost.wall),
                ldapsearch_cpu: ldapsearch.map(|search| ratio(cost.cpu, search.cpu)),
                ldapsearch_wall: ldapsearch.map(|search| ratio(cost.wall, search.wall)),
                floor: (!series.floors.is_empty()).then(|| FloorRow {
                    name: series.floor_name,
                    cpu_seconds: floor.cpu,
                    wall_seconds: floor.wall,
                    ratio_cpu: ratio(cost.cpu, floor.cpu),
                    ratio_wall: ratio(cost.wall, floor.wall),
                    bound: series.bound,
                }),
            }
        };
        self.series.iter().map(row).collect()
    }

    /// One document.
    pub(crate) fn json(&self, setting: &Setting) -> Outcome<String> {
        let numbers = self.numbers.iter().map(|(name, values)| (name.clone(), middle(values.clone()).into())).collect();
        Ok(serde_json::to_string_pretty(&Document { setting, stages: self.rows(), numbers })?)
    }

    /// A table.
    pub(crate) fn text(&self, setting: &Setting) -> Outcome<String> {
        let Setting { users, groups, contacts, runs, processors, load, version } = setting;
        let mut text = String::new();
        writeln!(
            text,
            "{version}: {users} users, {groups} groups, {contacts} contacts; {runs} runs, medians; {processors} processors, load {load}"
        )?;
        if self.beside_search {
            writeln!(text, "× is a multiple of ldapsearch, which reads the same objects and attributes in the same run")?;
        }
        let beside = if self.beside_search { format!("{:>8}{:>8}", "× cpu", "× wall") } else { String::new() };
        writeln!(text, "\n{:<46}{:>8}{:>8}{:>9}{:>11}{beside}   floor", "stage", "cpu s", "wall s", "peak MB", "objects/s")?;
        for row in self.rows() {
            let peak = if row.peak_octets == 0 { "–".to_owned() } else { format!("{:.0}", number(row.peak_octets) / 1e6) };
            write!(text, "{:<46}{:>8.2}{:>8.2}{peak:>9}{:>11.0}", row.stage, row.cpu_seconds, row.wall_seconds, row.objects_per_second)?;
            if let (Some(cpu), Some(wall)) = (row.ldapsearch_cpu, row.ldapsearch_wall) {
                write!(text, "{cpu:>8.2}{wall:>8.2}")?;
            }
            if let Some(floor) = &row.floor {
                write!(
                    text,
                    "   {}: {:.3} s",
                    floor.name,
                    if matches!(floor.bound, Some(Bound::Wall(_))) { floor.wall_seconds } else { floor.cpu_seconds }
                )?;
                match floor.bound {
                    Some(Bound::Cpu(bound)) => write!(text, " cpu; {:.2} of at most {bound}", floor.ratio_cpu)?,
                    Some(Bound::Wall(bound)) => write!(text, " wall; {:.2} of at most {bound}", floor.ratio_wall)?,
                    None => write!(text, " cpu; {:.2}", floor.ratio_cpu)?,
                }
            }
            writeln!(text)?;
        }
        writeln!(text)?;
        for (name, values) in &self.numbers {
            writeln!(text, "{name:<84}{:>12.2}", middle(values.clone()))?;
        }
        Ok(text)
    }
}

fn median(costs: &[Cost]) -> Cost {
    if costs.is_empty() {
        return Cost::default();
    }
    let peak = costs.iter().map(|cost| cost.peak).max().unwrap_or(0);
    Cost { cpu: middle(costs.iter().map(|cost| cost.cpu).collect()), wall: middle(costs.iter().map(|cost| cost.wall).collect()), peak }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A quotient whose divisor is at least what the clocks can tell apart.
fn ratio(one: f64, other: f64) -> f64 {
    one / other.max(0.001)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting { users: 10, groups: 2, contacts: 1, runs: 3, processors: 2, load: "0.1".into(), version: "syncline".into() }
    }

    #[test]
    fn figures_are_medians_and_multiples() {
        let mut report = Report::beside_search();
        for (search, import, floor) in [(1.0, 4.0, 2.0), (2.0, 3.0, 1.5), (9.0, 90.0, 9.0)] {
            report.add("ldapsearch", 13, Cost { cpu: search, wall: search, peak: 5 });
            report.add("import", 13, Cost { cpu: import, wall: import * 2.0, peak: 7 });
            report.floor("import", Cost { cpu: floor, wall: floor, peak: 0 }, "least", Some(Bound::Cpu(3.0)));
            report.number("octets", search);
        }
        let document: serde_json::Value = serde_json::from_str(&report.json(&setting()).unwrap()).unwrap();
        let import = &document["stages"][1];
        assert_eq!((import["cpu_seconds"].as_f64(), import["ldapsearch_cpu"].as_f64()), (Some(4.0), Some(2.0)));
        assert_eq!((import["floor"]["ratio_cpu"].as_f64(), import["floor"]["bound"]["cpu"].as_f64()), (Some(2.0), Some(3.0)));
        assert_eq!(document["numbers"]["octets"].as_f64(), Some(2.0));
        let text = report.text(&setting()).unwrap();
        assert!(text.contains("least: 2.000 s cpu; 2.00 of at most 3") && text.contains("× cpu"), "{text}");
        report.beside_search = false;
        let text = report.text(&setting()).unwrap();
        assert!(text.contains("2.00 of at most 3") && !text.contains('×'), "{text}");
    }
}
