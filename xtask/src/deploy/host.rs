//! A target as the user names it.

use std::fmt;
use std::str::FromStr;

/// `[user@]HOST[:PORT]`. An address of IPv6 with a port stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Host {
    pub user: Option<String>,
    pub name: String,
    pub port: Option<u16>,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let expected = "[user@]HOST[:PORT] is expected";
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (name, port) = match rest.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((name, "")) => (name, None),
                Some((name, after)) => (name, Some(after.strip_prefix(':').ok_or(expected)?)),
                None => return Err(format!("it has no `]`; {expected}")),
            },
            // More than one colon is an address of IPv6.
            None => match rest.split_once(':') {
                Some((name, port)) if !port.contains(':') => (name, Some(port)),
                _ => (rest, None),
            },
        };
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(format!("its port is not a number from 1 to 65535; {expected}")),
        };
        for (what, word) in [("host", Some(name)), ("user", user)] {
            match word {
                None => {}
                // ssh would take it for a flag.
                Some(word) if word.starts_with('-') => return Err(format!("the {what} begins with a dash")),
                Some(word) if word.is_empty() || !word.chars().all(is_usual) => {
                    return Err(format!("`{}` is no name of a {what}; {expected}", word.escape_debug()));
                }
                Some(_) => {}
            }
        }
        Ok(Host { user: user.map(String::from), name: name.into(), port })
    }
}

fn is_usual(char: char) -> bool {
    char.is_alphanumeric() || "._-:%+".contains(char)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.port, self.name.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.name),
            (Some(port), false) => write!(f, "{}:{port}", self.name),
            (None, _) => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_in_every_form_and_shown_as_it_was_written() {
        for (text, user, name, port) in [
            ("pi", None, "pi", None),
            ("pi@kitchen.local:2222", Some("pi"), "kitchen.local", Some(2222)),
            ("root@[fe80::1%eth0]:22", Some("root"), "fe80::1%eth0", Some(22)),
            ("fe80::1", None, "fe80::1", None),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.user.as_deref(), host.name.as_str(), host.port), (user, name, port), "{text}");
            assert_eq!(host.to_string(), text);
        }
        assert_eq!("[::1]".parse::<Host>().unwrap().name, "::1");
    }

    #[test]
    fn what_ssh_or_a_shell_could_take_for_something_else_is_refused() {
        for text in [
            "",
            "-oProxyCommand=x",
            "ann@-x",
            "-x@pi",
            "@pi",
            "pi:",
            "pi:0",
            "pi:99999",
            "pi:x",
            "a b",
            "pi;reboot",
            "[::1",
            "[::1]22",
            "a\nb",
            "$(x)",
            "pi/x",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        assert_eq!("-G".parse::<Host>().unwrap_err(), "the host begins with a dash");
    }
}
