//! What the configuration says of packages for systems, of container images, and of the script that installs a release.

use std::fmt;

use anyhow::Result;
use serde::Deserialize;

use crate::ui::error::bad_request;
use crate::workspace::keys::key;

/// `[workspace.metadata.bpfship.packages]`, `image` and `install`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packaging {
    /// Who maintains the packages, as `NAME <ADDRESS>`. Without it, the first author of a package does.
    pub maintainer: Option<String>,
    /// Whom a container runs as: root, unless something else is written.
    pub user: User,
    pub install: Install,
}

/// `[workspace.metadata.bpfship.install]`: what install.sh demands of a release, unless who runs it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// Public keys of minisign or ssh, one of which must have signed it.
    pub signers: Vec<String>,
    /// So many of them must have built it again.
    pub rebuilders: Option<u8>,
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
    pub fn parse(packages: WrittenPackages, image: WrittenImage, install: Install) -> Result<Packaging> {
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
        if let Some(signer) = install.signers.iter().find(|signer| !is_signer(signer)) {
            bad_request!(
                "{} has `{signer}`; a public key is expected, as minisign (RW…) or ssh (ssh-ed25519 …) writes it",
                key("install.signers")
            );
        }
        if install.rebuilders.is_some_and(|number| number == 0 || usize::from(number) > install.signers.len()) {
            bad_request!(
                "{} is {}; a number from 1 to that of {} is expected, {}",
                key("install.rebuilders"),
                install.rebuilders.unwrap_or_default(),
                key("install.signers"),
                install.signers.len()
            );
        }
        Ok(Packaging { maintainer: packages.maintainer, user, install })
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

/// Whether it is an Ed25519 key as minisign or ssh writes it, and nothing else.
fn is_signer(text: &str) -> bool {
    let (key, length) = match text.strip_prefix("ssh-ed25519 ") {
        Some(key) => (key, 68),
        None if text.starts_with("RW") => (text, 56),
        None => return false,
    };
    key.len() == length && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
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
    fn what_the_script_demands_can_be_had() {
        let ssh = format!("ssh-ed25519 AAAA{}", "B".repeat(64));
        let parse = |signers: &[&str], rebuilders| {
            let install = Install { signers: signers.iter().map(|it| (*it).into()).collect(), rebuilders };
            Packaging::parse(WrittenPackages::default(), WrittenImage::default(), install).map_err(|it| it.to_string())
        };
        let minisign = format!("RW{}", "S".repeat(54));
        assert_eq!(parse(&[&ssh, &minisign], Some(2)).unwrap().install.signers, [ssh.clone(), minisign.clone()]);
        assert!(parse(&[&ssh], Some(2)).unwrap_err().contains("is 2; a number from 1 to that of"));
        for wrong in [&minisign[1..], &format!("{ssh} ann"), &minisign.replacen('S', "'", 1), "release.pub"] {
            assert!(parse(&[wrong], None).unwrap_err().contains("a public key is expected"), "{wrong}");
        }
    }

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
