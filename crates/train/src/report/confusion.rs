//! Which class was taken for which.

use super::html::Html;
use super::words::{count, counted, percent};
use crate::confusion::ConfusionMatrix;

/// Up to so many classes are shown as a matrix; of more, the pairs that are confused most.
const MATRIX: usize = 20;

/// How many pairs are shown.
const PAIRS: usize = 20;

pub(super) fn section(html: &mut Html, matrix: &ConfusionMatrix, name: &dyn Fn(u32) -> String) {
    html.leaf("h2", &[], "Confusion");
    if matrix.classes() <= MATRIX {
        table(html, matrix, name);
    } else {
        pairs(html, matrix, name);
    }
}

/// The samples of each class.
fn support(matrix: &ConfusionMatrix) -> Vec<u64> {
    let classes = matrix.classes();
    (0..classes).map(|label| (0..classes).map(|predicted| matrix.count(label, predicted)).sum()).collect()
}

fn table(html: &mut Html, matrix: &ConfusionMatrix, name: &dyn Fn(u32) -> String) {
    let names: Vec<String> = (0..matrix.classes() as u32).map(name).collect();
    let support = support(matrix);
    let key = "Rows are the true classes, columns the predicted ones. Correct predictions are blue, mistakes orange; the darker \
               a cell, the larger its share of the row.";
    html.leaf("p", &[("class", "faint")], key);
    html.open("div", &[("class", "wide")]);
    html.open("table", &[("class", "matrix")]);
    html.markup("<thead><tr><td></td>");
    for predicted in &names {
        html.tag("th", &[("scope", "col"), ("title", predicted)], |html| {
            html.tag("span", &[], |html| html.name(predicted));
        });
    }
    html.markup("</tr></thead><tbody>");
    for (row, label) in names.iter().enumerate() {
        html.open("tr", &[]);
        html.tag("th", &[("scope", "row"), ("title", label)], |html| html.name(label));
        for (column, predicted) in names.iter().enumerate() {
            let number = matrix.count(row, column);
            let part = number as f64 / support[row].max(1) as f64;
            let title = format!("{number} of {} {label}: taken for {predicted} ({})", support[row], percent(part));
            if number == 0 {
                html.leaf("td", &[("class", "none"), ("title", &title)], "·");
                continue;
            }
            let right = row == column;
            // A root, so that the few mistakes of a good classifier are seen beside its many hits.
            let strength = if right { part } else { part.sqrt() };
            let style =
                format!("background:rgb(var(--{})/{:.2})", if right { "right" } else { "wrong" }, 0.9 * strength);
            let class = if strength > 0.75 { "deep" } else { "" };
            html.leaf("td", &[("class", class), ("style", &style), ("title", &title)], &number.to_string());
        }
        html.markup("</tr>");
    }
    html.markup("</tbody></table></div>");
}

fn pairs(html: &mut Html, matrix: &ConfusionMatrix, name: &dyn Fn(u32) -> String) {
    let classes = matrix.classes();
    let support = support(matrix);
    let mut pairs: Vec<(u64, usize, usize)> = (0..classes)
        .flat_map(|label| (0..classes).map(move |predicted| (label, predicted)))
        .filter(|(label, predicted)| label != predicted)
        .map(|(label, predicted)| (matrix.count(label, predicted), label, predicted))
        .filter(|pair| pair.0 > 0)
        .collect();
    // Most first; the classes' order breaks ties.
    pairs.sort_by_key(|&(number, label, predicted)| (std::cmp::Reverse(number), label, predicted));
    if pairs.is_empty() {
        html.leaf("p", &[], "No sample was taken for another class.");
        return;
    }
    let words = format!("The pairs that are confused most, of {} in all.", counted(classes as u64, "class"));
    html.leaf("p", &[("class", "faint")], &words);
    html.open("div", &[("class", "wide")]);
    html.open("table", &[("class", "list")]);
    html.markup("<thead><tr><th>Class</th><th>taken for</th><th class=\"number\">Samples</th>");
    html.markup("<th class=\"number\">Share of the class</th></tr></thead><tbody>");
    for &(number, label, predicted) in pairs.iter().take(PAIRS) {
        html.open("tr", &[]);
        html.tag("td", &[], |html| html.name(&name(label as u32)));
        html.tag("td", &[], |html| html.name(&name(predicted as u32)));
        html.leaf("td", &[("class", "number")], &count(number));
        html.leaf("td", &[("class", "number")], &percent(number as f64 / support[label].max(1) as f64));
        html.markup("</tr>");
    }
    html.markup("</tbody></table></div>");
}
