//! The nearest right word for a misspelt one.

/// The candidate most like `word`, if any is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().min(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `…`?" or nothing, to end an error with.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// What is shown of a word of the user's: not all of what may be a whole file.
pub fn cut(word: &str) -> String {
    const LONGEST: usize = 100;
    match word.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_cut() {
        assert_eq!(cut(&"ä".repeat(100)), "ä".repeat(100));
        assert_eq!(cut(&"ä".repeat(101)), "ä".repeat(100) + "…");
    }

    #[test]
    fn only_what_was_probably_meant_is_suggested() {
        let known = ["package", "include", "arches"];
        assert_eq!(nearest("packge", known), Some("package"));
        assert_eq!(nearest("inculde", known), Some("include"));
        assert_eq!(nearest("docker", known), None);
        assert_eq!(hint("arhces", known), "; did you mean `arches`?");
        assert_eq!(hint("x", known), "");
    }
}
