//! Lists of a kernel's options, in the form of its own configuration.

/// The first option of a list that a configuration does not have as the list wants it.
pub fn unmet<'a>(list: &'a str, configuration: &str) -> Option<&'a str> {
    let set = |option: &str| configuration.lines().any(|line| line == option);
    wanted(list).find(|option| match name_of_unset(option) {
        // An option whose conditions are not met is not there at all.
        Some(name) => configuration.lines().any(|line| line.starts_with(&format!("{name}="))),
        None => !set(option),
    })
}

/// The options of a list, without its comments.
pub fn wanted(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| line.starts_with("CONFIG_") || name_of_unset(line).is_some())
}

fn name_of_unset(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set").filter(|name| name.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# Why.\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"-x\"\n\n# CONFIG_D matters.\n";

    #[test]
    fn comments_are_no_options() {
        assert_eq!(wanted(LIST).collect::<Vec<_>>(), ["CONFIG_A=y", "# CONFIG_B is not set", "CONFIG_C=\"-x\""]);
    }

    #[test]
    fn the_first_option_that_is_not_as_wanted_is_told() {
        assert_eq!(unmet(LIST, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"-x\"\n"), None);
        // One whose conditions are not met is left out.
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_C=\"-x\"\n"), None);
        assert_eq!(unmet(LIST, "CONFIG_A=m\nCONFIG_C=\"-x\"\n"), Some("CONFIG_A=y"));
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=\"-x\"\n"), Some("# CONFIG_B is not set"));
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_CC=\"-x\"\n"), Some("CONFIG_C=\"-x\""));
    }
}
