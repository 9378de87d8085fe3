//! What the configuration says of packages for systems and of container images.

use std::fmt;

use anyhow::Result;
use serde::Deserialize;

use crate::ui::error::bad_request;
use crate::workspace::keys::key;

/// `[workspace.metadata.bpfship.packages]` and `[workspace.metadata.bpfship.image]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packaging {
    /// Who maintains the packages, as `NAME <ADDRESS>`. Without it, the first author of a package does.
    pub maintainer: Option<String>,
    /// Whom a container runs as: root, unless something else is written.
    pub user: User,
}

/// A user, and perhaps a group, by number: in an image of nothing but a binary, there is no file of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct User {
    user: u32,
    group: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WrittenPackages {
    /// Who maintains the packages, as `NAME <ADDRESS>`. Default: the first author with an address.
    maintainer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WrittenImage {
    /// Whom a container runs as, by number: USER or USER:GROUP. Default: 0, which is root.
    user: Option<String>,
}

impl Packaging {
    pub fn parse(packages: WrittenPackages, image: WrittenImage) -> Result<Packaging> {
        if let Some(text) = packages.maintainer.as_deref().filter(|text| !is_maintainer(text)) {
            bad_request!("{} is `{text}`; NAME <ADDRESS> is expected", key("packages.maintainer"));
        }
        let user = match image.user {
            None => User::default(),
            Some(text) => match User::parse(&text) {
                Some(user) => user,
                None => bad_request!(
                    "{} is `{text}`; a number is expected, as in \"65532\", or two, as in \"65532:65532\", for an image has \
                     no names of users",
                    key("image.user")
                ),
            },
        };
        Ok(Packaging { maintainer: packages.maintainer, user })
    }
}

/// Whether it is `NAME <ADDRESS>`, which every package manager takes.
pub fn is_maintainer(text: &str) -> bool {
    let parts = text.strip_suffix('>').and_then(|text| text.split_once(" <"));
    let is_address = |address: &str| {
        address.split_once('@').is_some_and(|(one, other)| !one.is_empty() && !other.is_empty())
            && !address.contains(|char: char| char.is_whitespace() || "<>".contains(char))
    };
    !text.contains(char::is_control) && parts.is_some_and(|(name, address)| !name.is_empty() && is_address(address))
}

impl User {
    fn parse(text: &str) -> Option<User> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        match text.split_once(':') {
            None => Some(User { user: number(text)?, group: None }),
            Some((user, group)) => Some(User { user: number(user)?, group: Some(number(group)?) }),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            None => write!(f, "{}", self.user),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_and_a_maintainer_has_an_address() {
        for (text, user) in [("0", Some("0")), ("65532:7", Some("65532:7")), ("nobody", None), ("1:", None), ("", None)]
        {
            assert_eq!(User::parse(text).map(|user| user.to_string()).as_deref(), user, "{text}");
        }
        assert!(is_maintainer("Ann Other <ann@example.org>"));
        for wrong in ["Ann", "<ann@example.org>", "Ann <ann>", "Ann <a@b> x", "Ann\nX <a@b>"] {
            assert!(!is_maintainer(wrong), "{wrong}");
        }
    }
}
