//! Numbers in sentences.

/// A number of things, of which `one` names one: `1 class`, `2 classes`, `0 images`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    let ending = match number {
        1 => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_several() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "image")), ["0 images", "1 image", "2 images"]);
        assert_eq!([1, 10].map(|number| counted(number, "class")), ["1 class", "10 classes"]);
    }
}
