//! Numbers as the report writes them.

use crate::error::plural;

/// A part of 1.
pub(super) fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.1}\u{a0}%", 100.0 * part) } else { "–".to_string() }
}

/// A loss.
pub(super) fn decimals(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { value.to_string() }
}

/// With a thin space after every third digit.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things, of which `one` names one.
pub(super) fn counted(number: u64, one: &str) -> String {
    format!("{} {}", count(number), plural(number == 1, one))
}

/// Seconds, in the two largest units.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// In the unit that leaves one to four digits.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2} GiB")
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, counted, duration};

    #[test]
    fn numbers_are_short_and_grouped() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1\u{202f}234", "1\u{202f}234\u{202f}567"]);
        assert_eq!([0, 1, 2].map(|number| counted(number, "step")), ["0 steps", "1 step", "2 steps"]);
        assert_eq!([duration(5.04), duration(61.0), duration(7260.0)], ["5.0 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!(
            [bytes(12), bytes(2048), bytes(3 << 20), bytes(5 << 30)],
            ["12 B", "2.0 KiB", "3.0 MiB", "5.00 GiB"]
        );
    }
}
