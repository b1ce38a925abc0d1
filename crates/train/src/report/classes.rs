//! Precision, recall and F1 of each class.

use super::html::Html;
use super::words::count;
use crate::confusion::{ClassMetrics, ConfusionMatrix};

/// Of more classes, so many of the worst are shown and the others folded away.
const SHOWN: usize = 20;

pub(super) fn section(html: &mut Html, matrix: &ConfusionMatrix, name: &dyn Fn(u32) -> String) {
    let mut classes: Vec<(u32, ClassMetrics)> = (0..).zip(matrix.per_class()).collect();
    html.leaf("h2", &[], "Classes");
    let means = [("All classes alike", matrix.macro_average()), ("By their samples", matrix.weighted_average())];
    if classes.len() <= SHOWN {
        table(html, &classes, &means, name);
        return;
    }
    // A class without samples is not told apart badly.
    let empty = |metrics: &ClassMetrics| metrics.support == 0;
    classes.sort_by(|a, b| empty(&a.1).cmp(&empty(&b.1)).then(a.1.f1.total_cmp(&b.1.f1)).then(a.0.cmp(&b.0)));
    let words = format!("The {SHOWN} classes that are told apart worst.");
    html.leaf("p", &[("class", "faint")], &words);
    table(html, &classes[..SHOWN], &means, name);
    html.tag("details", &[], |html| {
        html.leaf("summary", &[], &format!("The other {}", classes.len() - SHOWN));
        table(html, &classes[SHOWN..], &[], name);
    });
}

fn table(
    html: &mut Html,
    classes: &[(u32, ClassMetrics)],
    means: &[(&str, ClassMetrics)],
    name: &dyn Fn(u32) -> String,
) {
    html.open("div", &[("class", "wide")]);
    html.open("table", &[("class", "list")]);
    html.markup("<thead><tr><th>Class</th><th class=\"number\">Precision</th><th class=\"number\">Recall</th>");
    html.markup("<th class=\"number\">F1</th><th class=\"number\">Samples</th></tr></thead><tbody>");
    for (class, metrics) in classes {
        html.open("tr", &[]);
        html.tag("td", &[], |html| html.name(&name(*class)));
        measures(html, metrics);
        html.markup("</tr>");
    }
    html.markup("</tbody>");
    if !means.is_empty() {
        html.markup("<tfoot>");
        for (what, metrics) in means {
            html.open("tr", &[]);
            html.leaf("th", &[], what);
            measures(html, metrics);
            html.markup("</tr>");
        }
        html.markup("</tfoot>");
    }
    html.markup("</table></div>");
}

fn measures(html: &mut Html, metrics: &ClassMetrics) {
    if metrics.support == 0 {
        // Nothing was measured.
        (0..3).for_each(|_| html.leaf("td", &[("class", "number")], "–"));
        html.leaf("td", &[("class", "number")], "0");
        return;
    }
    for part in [metrics.precision, metrics.recall] {
        html.leaf("td", &[("class", "number")], &format!("{part:.3}"));
    }
    html.tag("td", &[("class", "number")], |html| {
        html.tag("span", &[("class", "bar")], |html| {
            let width = format!("width:{:.0}%", 100.0 * metrics.f1);
            html.tag("i", &[("style", &width)], |_| {});
        });
        html.text(&format!("{:.3}", metrics.f1));
    });
    html.leaf("td", &[("class", "number")], &count(metrics.support));
}
