//! The report: tables in Markdown, and their place in a file.

use super::line::Line;
use super::peers::Missing;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use time::OffsetDateTime;

const BEGIN: &str = "<!-- compare: begin, written by cargo xtask compare -->";
const END: &str = "<!-- compare: end -->";

/// Relative difference of losses up to which two programs are taken to train the same network. Well below what a step changes.
const SAME: f64 = 2e-5;

/// Puts the report between the markers of a text.
pub(crate) fn replace(text: &str, report: &str) -> Result<String> {
    let marker = "needs the lines that start and end the comparison; take them from the file's history";
    let (before, rest) = text.split_once(BEGIN).context(marker)?;
    let (_, after) = rest.split_once(END).context(marker)?;
    Ok(format!("{before}{BEGIN}\n{report}{END}{after}"))
}

/// All tables, with what they were measured on.
pub(crate) fn report(lines: &[Line], missing: &[Missing], rounds: u32, steps: u32) -> Result<String> {
    let kiln = lines.iter().find(|line| line.program == "kiln").context("Kiln measured nothing")?;
    let programs = programs(lines);
    let peers: Vec<String> = programs[1..]
        .iter()
        .filter_map(|name| lines.iter().find(|line| line.program == *name))
        .map(|line| format!("{} {} ({})", line.program, line.version, line.adapter))
        .collect();
    let mut text = String::new();
    let date = OffsetDateTime::now_utc().date();
    writeln!(text, "## Against other frameworks, {date}\n")?;
    writeln!(
        text,
        "Adapter: {}, {}. Kiln {}; {}. {rounds} rounds in turns, {steps} steps of a network in each; times are the best \
         of all, and in brackets the median of the rounds' medians. `cargo xtask compare` measures this; ratios are by the \
         best times, above 1 where Kiln is faster.\n",
        kiln.adapter,
        kiln.driver,
        env!("CARGO_PKG_VERSION"),
        peers.join("; ")
    )?;
    products(&mut text, lines, &programs)?;
    steps_table(&mut text, lines, &programs)?;
    memory(&mut text, lines, &programs)?;
    notes(&mut text, lines, missing)?;
    Ok(text)
}

/// Kiln, and the others in the order of their first line.
fn programs(lines: &[Line]) -> Vec<&str> {
    let mut names = vec!["kiln"];
    for line in lines {
        if !names.contains(&line.program.as_str()) {
            names.push(&line.program);
        }
    }
    names
}

/// What programs measured of one benchmark; Kiln's line comes with those of the others that have it.
struct Row<'a> {
    name: String,
    kiln: &'a Line,
    cells: Vec<Option<&'a Line>>,
}

fn rows<'a>(lines: &'a [Line], programs: &[&str], steps: bool) -> Vec<Row<'a>> {
    let of_kiln = lines.iter().filter(|line| line.program == "kiln" && line.net.is_empty() != steps);
    of_kiln
        .map(|kiln| {
            let same = |line: &&Line| (&line.net, &line.problem, &line.pass) == (&kiln.net, &kiln.problem, &kiln.pass);
            let cell = |name: &&str| lines.iter().filter(same).find(|line| line.program == *name);
            let name = if steps {
                format!("{}, batch {}", kiln.net, kiln.batch)
            } else {
                format!("{}, {}", kiln.problem, kiln.pass)
            };
            Row { name, kiln, cells: programs.iter().map(cell).collect() }
        })
        // A product that only Kiln has is for `kiln bench`.
        .filter(|row| steps || row.cells[1..].iter().any(Option::is_some))
        .collect()
}

fn table(
    text: &mut String,
    rows: &[Row<'_>],
    first: &str,
    programs: &[&str],
    cell: impl Fn(&Row<'_>, &Line) -> String,
) -> Result<()> {
    writeln!(text, "| {first} | {} |\n|---|{}", programs.join(" | "), "---|".repeat(programs.len()))?;
    for row in rows {
        let cells: Vec<String> =
            row.cells.iter().map(|line| line.map_or_else(|| "-".into(), |l| cell(row, l))).collect();
        writeln!(text, "| {} | {} |", row.name, cells.join(" | "))?;
    }
    writeln!(text)?;
    Ok(())
}

/// How much faster Kiln is, beside the others' own figures.
fn ratio(row: &Row<'_>, line: &Line) -> String {
    if line.program == "kiln" { String::new() } else { format!(", {:.2}x", line.best_ms / row.kiln.best_ms) }
}

fn products(text: &mut String, lines: &[Line], programs: &[&str]) -> Result<()> {
    let rows = rows(lines, programs, false);
    if rows.is_empty() {
        return Ok(());
    }
    // Those that have products at all.
    let used: Vec<usize> = (0..programs.len()).filter(|&i| rows.iter().any(|row| row.cells[i].is_some())).collect();
    let names: Vec<&str> = used.iter().map(|&i| programs[i]).collect();
    let rows: Vec<Row<'_>> =
        rows.into_iter().map(|row| Row { cells: used.iter().map(|&i| row.cells[i]).collect(), ..row }).collect();
    writeln!(text, "### Products, f32, GFLOP/s\n")?;
    table(text, &rows, "problem", &names, |row, line| format!("{:.1}{}", line.gflops, ratio(row, line)))
}

fn steps_table(text: &mut String, lines: &[Line], programs: &[&str]) -> Result<()> {
    let rows = rows(lines, programs, true);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Training steps, milliseconds\n")?;
    table(text, &rows, "network", programs, |row, line| {
        format!("{:.2} ({:.2}){}", line.best_ms, line.median_ms, ratio(row, line))
    })
}

fn memory(text: &mut String, lines: &[Line], programs: &[&str]) -> Result<()> {
    let rows = rows(lines, programs, true);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Peak resident memory of the process, MB\n")?;
    table(text, &rows, "network", programs, |_, line| mb(line.resident_bytes_peak))?;
    writeln!(text, "### Kiln's launches, device memory and first step\n")?;
    writeln!(text, "| network | launches a step | device memory, peak, MB | first step, ms |\n|---|---|---|---|")?;
    for row in &rows {
        let launches = row.kiln.launches_per_step.map_or_else(|| "-".to_owned(), |launches| launches.to_string());
        let first = row.kiln.first_step_ms.map_or_else(|| "-".to_owned(), |first| format!("{first:.0}"));
        writeln!(text, "| {} | {launches} | {} | {first} |", row.name, mb(row.kiln.device_bytes_peak))?;
    }
    writeln!(text)?;
    Ok(())
}

fn mb(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not told".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6))
}

/// Who is missing, and whose losses are others than Kiln's.
fn notes(text: &mut String, lines: &[Line], missing: &[Missing]) -> Result<()> {
    for Missing { program, reason } in missing {
        writeln!(text, "- Missing: {program}. {}", reason.replace('\n', " "))?;
    }
    for kiln in lines.iter().filter(|line| line.program == "kiln" && !line.losses.is_empty()) {
        for other in lines.iter().filter(|line| line.program != "kiln" && line.net == kiln.net) {
            if !agree(&kiln.losses, &other.losses) {
                let (net, ours, name, theirs) = (&kiln.net, &kiln.losses, &other.program, &other.losses);
                writeln!(
                    text,
                    "- Not the same training: {net} has the losses {ours:?} in kiln and {theirs:?} in {name}."
                )?;
            }
        }
    }
    let compared = lines.iter().any(|line| line.program != "kiln" && !line.losses.is_empty());
    if compared {
        writeln!(
            text,
            "- All start from the same weights; the losses of the first three steps agree within {SAME} unless said."
        )?;
    }
    Ok(())
}

fn agree(ours: &[f64], theirs: &[f64]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= SAME * a.abs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::compare::line::tests::STEP;

    fn step(program: &str, best_ms: f64, losses: &[f64]) -> Line {
        let line: Line = serde_json::from_str(STEP).unwrap();
        Line {
            program: program.to_owned(),
            best_ms,
            median_ms: best_ms + 1.0,
            losses: losses.to_vec(),
            launches_per_step: line.launches_per_step.filter(|_| program == "kiln"),
            ..line
        }
    }

    fn product(program: &str, problem: &str, best_ms: f64) -> Line {
        Line {
            program: program.to_owned(),
            problem: problem.to_owned(),
            pass: "forward".to_owned(),
            adapter: "somewhere".to_owned(),
            best_ms,
            gflops: 100.0 / best_ms,
            ..Line::default()
        }
    }

    #[test]
    fn tables_have_times_and_ratios() {
        let lines = [
            product("kiln", "512x512x512", 4.0),
            product("kiln", "7x7x7", 4.0),
            product("pytorch cpu", "512x512x512", 1.0),
            step("kiln", 6.0, &[2.3, 2.2, 2.1]),
            step("burn flex", 9.0, &[2.3, 2.2, 2.100_01]),
            step("pytorch cpu", 3.0, &[2.3, 2.2, 2.101]),
        ];
        let missing = [Missing { program: "ferrotensor".to_owned(), reason: "it\nfailed".to_owned() }];
        let text = report(&lines, &missing, 3, 20).unwrap();
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        has("| problem | kiln | pytorch cpu |");
        has("| 512x512x512, forward | 25.0 | 100.0, 0.25x |");
        has("| network | kiln | pytorch cpu | burn flex |");
        has("| lenet5, batch 64 | 6.00 (7.00) | 3.00 (4.00), 0.50x | 9.00 (10.00), 1.50x |");
        has("| lenet5, batch 64 | 300 | 300 | 300 |");
        has("| lenet5, batch 64 | 30 | 0 | 900 |");
        has("- Missing: ferrotensor. it failed");
        has(
            "- Not the same training: lenet5 has the losses [2.3, 2.2, 2.1] in kiln and [2.3, 2.2, 2.101] in pytorch cpu.",
        );
        assert!(!text.contains("7x7x7") && !text.contains("in burn flex"), "{text}");
    }

    #[test]
    fn the_report_replaces_what_was_between_the_markers() {
        let text = format!("# Benchmarks\n\n{BEGIN}\nold\n{END}\n\n## More\n");
        let once = replace(&text, "new\n").unwrap();
        assert_eq!(once, format!("# Benchmarks\n\n{BEGIN}\nnew\n{END}\n\n## More\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert!(replace("# Benchmarks\n", "new\n").unwrap_err().to_string().contains("start and end the comparison"));
    }

    #[test]
    fn the_documentation_has_the_markers() {
        let path = crate::cargo::root().join(crate::compare::REPORT);
        assert!(replace(&std::fs::read_to_string(path).unwrap(), "").is_ok());
    }
}
