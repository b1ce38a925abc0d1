//! Curves of a run as SVG, by plotters: as a file for people and papers, and inside of the report. The viewer has the font.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle};

use crate::error::{Error, Result};

/// The colours of Okabe and Ito's palette, which people with any colour vision tell apart: blue and vermilion.
pub(crate) const TRAIN: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(crate) const TEST: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Words, and lines that are neither training nor test.
pub(crate) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
pub(crate) const FAINT: RGBColor = RGBColor(0x76, 0x76, 0x76);
pub(crate) const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// A panel's size in CSS pixels.
const PANEL: (i32, i32) = (360, 250);

/// The font families, as CSS lists them.
const FONT: &str = "system-ui, sans-serif";

/// A line: its name, its colour, and points by ascending x.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) color: RGBColor,
    pub(crate) points: Vec<(f64, f64)>,
}

/// How an axis' numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// From 0 on.
    Plain,
    /// Parts of 1 as percent, within 0 to 100.
    Percent,
}

/// A small plot: lines over epochs or steps.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line>,
}

/// Ticks of an axis: where, and how many decimals they need.
#[derive(Debug, Clone, PartialEq)]
struct Ticks {
    at: Vec<f64>,
    step: f64,
}

impl Ticks {
    /// About `count` round numbers that enclose `low..high`. `whole`: no fractions.
    fn around(low: f64, high: f64, count: f64, whole: bool) -> Ticks {
        let span = if high > low { high - low } else { high.abs().max(1.0) * 0.5 };
        let power = 10f64.powf((span / count).log10().floor());
        let wanted = span / count / power;
        let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|&step| step >= wanted * 0.999).unwrap_or(10.0);
        let step = if whole { (round * power).max(1.0) } else { round * power };
        let first = (low / step + 1e-9).floor() as i64;
        let last = ((high / step - 1e-9).ceil() as i64).max(first + 1);
        Ticks { at: (first..=last).map(|index| index as f64 * step).collect(), step }
    }

    fn low(&self) -> f64 {
        self.at.first().copied().unwrap_or(0.0)
    }

    fn high(&self) -> f64 {
        self.at.last().copied().unwrap_or(1.0)
    }

    fn label(&self, value: f64, unit: Unit) -> String {
        let scale = if unit == Unit::Percent { 100.0 } else { 1.0 };
        let decimals = (-(self.step * scale).log10() - 1e-9).ceil().max(0.0) as usize;
        match unit {
            Unit::Percent => format!("{:.decimals$} %", value * scale),
            Unit::Plain if value == 0.0 => "0".to_string(),
            // Learning rates: 2.5e-5 is shorter than 0.000025.
            Unit::Plain if decimals > 4 => {
                let written = format!("{value:.2e}");
                let (digits, power) = written.split_once('e').unwrap_or((&written, "0"));
                format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
            }
            Unit::Plain => format!("{value:.decimals$}"),
        }
    }
}

type Sheet<DB> = DrawingArea<DB, Shift>;

fn broken<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Error {
    Error::drawing("the curves", error)
}

impl Panel {
    /// Draws it on a sheet, beginning at this x.
    fn draw<DB: DrawingBackend>(&self, sheet: &Sheet<DB>, start: i32) -> Result<()> {
        let text = |size: i32, color: &RGBColor, h, v| -> TextStyle<'static> {
            (FONT, size).into_font().color(color).pos(Pos::new(h, v))
        };
        let words = |words: String, at: (i32, i32), style: TextStyle<'static>| {
            sheet.draw(&Text::new(words, at, style)).map_err(broken)
        };
        let stroke = |color: &RGBColor, width: i32| ShapeStyle {
            color: color.to_rgba(),
            filled: false,
            stroke_width: width as u32,
        };
        words(self.title.to_string(), (start + 8, 8), text(18, &INK, HPos::Left, VPos::Top))?;

        let finite = |line: &Line| -> Vec<(f64, f64)> {
            line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
        };
        let lines: Vec<(&Line, Vec<(f64, f64)>)> =
            self.lines.iter().map(|line| (line, finite(line))).filter(|(_, points)| !points.is_empty()).collect();
        let all = || lines.iter().flat_map(|(_, points)| points);
        let (left, right) = (start + 58, start + PANEL.0 - 48);
        let (top, bottom) = (40, PANEL.1 - 50);
        if lines.is_empty() {
            let middle = ((left + right) / 2, (top + bottom) / 2);
            return words("no values".to_string(), middle, text(15, &FAINT, HPos::Center, VPos::Center));
        }
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let first = least(&mut all().map(|point| point.0));
        let last = most(&mut all().map(|point| point.0)).max(first + 1e-9);
        let low = if self.unit == Unit::Percent { least(&mut all().map(|point| point.1)) } else { 0.0 };
        let y = Ticks::around(low, most(&mut all().map(|point| point.1)), 4.0, false);
        let across = |x: f64| left + ((x - first) / (last - first).max(1e-9) * f64::from(right - left)).round() as i32;
        let up =
            |value: f64| bottom - ((value - y.low()) / (y.high() - y.low()) * f64::from(bottom - top)).round() as i32;

        for &tick in &y.at {
            let height = up(tick);
            sheet.draw(&PathElement::new([(left, height), (right, height)], stroke(&GRID, 1))).map_err(broken)?;
            words(y.label(tick, self.unit), (left - 8, height), text(14, &FAINT, HPos::Right, VPos::Center))?;
        }
        let x = Ticks::around(first, last, 5.0, true);
        for &tick in x.at.iter().filter(|&&tick| (first - 1e-6..=last + 1e-6).contains(&tick)) {
            words(x.label(tick, Unit::Plain), (across(tick), bottom + 7), text(14, &FAINT, HPos::Center, VPos::Top))?;
        }
        words(self.x.to_string(), ((left + right) / 2, bottom + 26), text(14, &FAINT, HPos::Center, VPos::Top))?;

        let mut labels: Vec<(i32, &Line)> = Vec::new();
        for (line, points) in &lines {
            let path: Vec<(i32, i32)> = points.iter().map(|&(x, value)| (across(x), up(value))).collect();
            // Few points are shown, many are a line.
            if path.len() <= 30 {
                let dot = ShapeStyle { filled: true, ..stroke(&line.color, 0) };
                for &at in &path {
                    sheet.draw(&Circle::new(at, 3, dot)).map_err(broken)?;
                }
            }
            labels.push((path.last().map_or(bottom, |point| point.1), line));
            sheet.draw(&PathElement::new(path, stroke(&line.color, 2))).map_err(broken)?;
        }
        // Names stand at the ends of their lines, a line of text apart.
        labels.sort_by_key(|label| label.0);
        let mut above = i32::MIN / 2;
        for (height, line) in labels {
            above = height.max(above + 16);
            words(line.name.to_string(), (right + 8, above), text(16, &line.color, HPos::Left, VPos::Center))?;
        }
        Ok(())
    }

    /// Alone, without a background, for a page that has its own.
    pub(crate) fn svg(&self) -> Result<String> {
        sheet_svg(std::slice::from_ref(self), false)
    }
}

fn sheet_svg(panels: &[Panel], background: bool) -> Result<String> {
    // There are a handful of panels.
    let size = (PANEL.0 as u32 * panels.len() as u32, PANEL.1 as u32);
    let mut svg = String::new();
    {
        let sheet = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        if background {
            sheet.fill(&plotters::style::WHITE).map_err(broken)?;
        }
        for (place, panel) in (0..).zip(panels) {
            panel.draw(&sheet, place * PANEL.0)?;
        }
        sheet.present().map_err(broken)?;
    }
    Ok(svg)
}

/// Panels side by side as the text of an SVG file, on white.
pub(crate) fn panels_svg(panels: &[Panel]) -> Result<String> {
    sheet_svg(panels, true)
}

#[cfg(test)]
mod tests {
    use super::{Ticks, Unit};

    fn labels(low: f64, high: f64, whole: bool, unit: Unit) -> Vec<String> {
        let ticks = Ticks::around(low, high, 4.0, whole);
        ticks.at.iter().map(|&tick| ticks.label(tick, unit)).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose() {
        assert_eq!(labels(0.0, 2.31, false, Unit::Plain), ["0", "1", "2", "3"]);
        assert_eq!(labels(0.0, 0.42, false, Unit::Plain), ["0", "0.2", "0.4", "0.6"]);
        assert_eq!(labels(0.514, 0.93, false, Unit::Percent), ["40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(labels(0.985, 0.991, false, Unit::Percent), ["98.4 %", "98.6 %", "98.8 %", "99.0 %", "99.2 %"]);
        assert_eq!(labels(1.0, 3.0, true, Unit::Plain), ["1", "2", "3"]);
        assert_eq!(labels(0.0, 3e-5, false, Unit::Plain), ["0", "1e-5", "2e-5", "3e-5"]);
        assert_eq!(labels(0.0, 0.0, false, Unit::Plain).len(), 2);
        // A curve that stands still has a scale all the same.
        let still = Ticks::around(0.7, 0.7, 4.0, false);
        assert!(still.low() <= 0.7 && still.high() > still.low(), "{still:?}");
    }
}
