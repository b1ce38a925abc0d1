//! Which classes of one set are which of another's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_data::{Classes, Dataset, Error, Splits};

fn labels(given: &Classes, known: &Classes) -> (Vec<u32>, bool) {
    let matched = given.among(known).unwrap();
    (matched.labels, matched.by_name)
}

#[test]
fn names_decide_whatever_they_look_like() {
    // The order of numbers, and that of folders.
    let numbers = Classes::from((1..=12).map(|number| number.to_string()));
    let folders = Classes::from(["1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(labels(&folders, &numbers), (vec![0, 9, 10, 11, 1, 2, 3, 4, 5, 6, 7, 8], true));
    assert_eq!(labels(&Classes::from(["7"]), &numbers), (vec![6], true));
    // The same name in another normal form: one character, or a letter and a mark.
    assert_eq!(labels(&Classes::from(["A\u{308}pfel"]), &Classes::from(["Birnen", "\u{c4}pfel"])), (vec![1], true));
}

#[test]
fn places_decide_only_without_names_and_of_as_many() {
    let (none, named) = (Classes::numbered(3), Classes::from(["cat", "dog", "owl"]));
    assert_eq!(labels(&none, &named), (vec![0, 1, 2], false));
    assert_eq!(labels(&named, &none), (vec![0, 1, 2], false));
    // Numbers are the names of classes without names.
    assert_eq!(labels(&Classes::from(["2", "0"]), &none), (vec![2, 0], true));
    assert_eq!(labels(&Classes::numbered(2), &none), (vec![0, 1], true));

    let message = |given: &Classes, known: &Classes| given.among(known).unwrap_err().to_string();
    assert_eq!(
        message(&Classes::numbered(2), &named),
        "no class is named 0, 1; the known classes are cat, dog, owl; rename the others, or leave them out"
    );
    let many = Classes::from((0..8).map(|class| format!("c{class}")));
    assert_eq!(
        message(&Classes::from(["cat", "c3", "emu"]), &many),
        "no class is named cat, emu; the known classes are c0, c1, c2, c3, c4, ... (8); rename the others, or leave them out"
    );
    assert!(matches!(Classes::from(["x", "y", "z"]).among(&named), Err(Error::ClassesDiffer { .. })));
}

#[test]
fn samples_get_the_labels_of_the_known_classes() {
    let data = |classes: Classes| Dataset::from_memory(vec![7, 8, 9], [3, 1, 1, 1], vec![0, 1, 1], classes).unwrap();
    let known = Classes::from(["owl", "dog", "cat"]);
    let matched = data(Classes::from(["cat", "dog"])).match_classes(&known).unwrap();
    assert_eq!((matched.labels().collect::<Vec<_>>(), matched.classes()), (vec![2, 1, 1], &known));
    assert_eq!((matched.get(0).unwrap().label, matched.get(2).unwrap().image[0]), (2, 9));
    for batch in matched.loader(2).shuffle(3).epochs(1) {
        let batch = batch.unwrap();
        assert!(batch.samples.iter().zip(&batch.labels).all(|(&sample, &label)| label == [2, 1, 1][sample]));
    }
    // Again, class by class, and of a part.
    let again = matched.match_classes(&Classes::from(["cat", "dog", "emu", "owl"])).unwrap();
    assert_eq!(again.labels().collect::<Vec<_>>(), [0, 1, 1]);
    let (few, rest) = again.split_by_class(0.5, 1).unwrap();
    assert_eq!((few.labels().collect::<Vec<_>>(), rest.labels().collect::<Vec<_>>()), (vec![0, 1], vec![1]));

    let unnamed = data(Classes::numbered(2));
    let splits = Splits::new(unnamed.clone(), unnamed);
    assert!(splits.match_classes(&Classes::numbered(5)).unwrap().notes.is_empty());
    assert_eq!(
        splits.match_classes(&Classes::from(["cat", "dog"])).unwrap().notes,
        ["the data's classes have no names; they are taken to be the network's, in order"]
    );
}
