//! What kinds and names of devices may look like.

/// `vendor.com/class`: both begin with a letter and end with a letter or digit.
pub(super) fn is_kind(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(vendor, class)| is_word(vendor, "_-.", true) && is_word(class, "_-", true))
}

/// The name of a device in its kind.
pub(super) fn is_device(text: &str) -> bool {
    is_word(text, "_-.:", false)
}

fn is_word(text: &str, between: &str, begins_with_letter: bool) -> bool {
    let begins = |first: char| match begins_with_letter {
        true => first.is_ascii_alphabetic(),
        false => first.is_ascii_alphanumeric(),
    };
    let ends = |last: char| last.is_ascii_alphanumeric();
    text.chars().next().is_some_and(begins)
        && text.chars().next_back().is_some_and(ends)
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || between.contains(character))
}
