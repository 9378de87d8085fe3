//! The configuration of the first process: a file that it removes before it runs any command.

/// Where it is in the guest.
pub const PATH: &str = "/guest-config";

/// What one guest is booted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestConfig {
    /// Known to the first process and the host only.
    pub nonce: String,
    /// The file that the kernel's BTF is moved to, so that programs do not find it in its own place. `None` leaves it
    /// there.
    pub hide_btf: Option<String>,
    /// What lines hold with which commands say that they are at work and go on until they are interrupted. None may be empty, or
    /// contain a NUL or a line break.
    pub interrupt_after: Vec<String>,
    /// The environment of commands besides what each has: `NAME=VALUE`, under the same rule.
    pub environment: Vec<String>,
    /// What to run, one after the other: each a program and its arguments. No word may contain a NUL or a line break.
    pub commands: Vec<Vec<String>>,
}

impl GuestConfig {
    /// One line each, words separated by NULs.
    pub fn to_text(&self) -> String {
        let [interrupt_after, environment] = [&self.interrupt_after, &self.environment].map(|list| list.join("\0"));
        let first = [self.nonce.clone(), self.hide_btf.clone().unwrap_or_default(), interrupt_after, environment];
        let commands = self.commands.iter().map(|command| command.join("\0"));
        first.into_iter().chain(commands).map(|line| line + "\n").collect()
    }

    /// Reads what [`GuestConfig::to_text`] wrote.
    pub fn parse(text: &str) -> Option<GuestConfig> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let nonce = lines.next().filter(|nonce| !nonce.is_empty())?.into();
        let hide_btf = Some(lines.next()?.into()).filter(|file: &String| !file.is_empty());
        let mut list = || -> Option<Vec<String>> {
            Some(lines.next()?.split('\0').filter(|text| !text.is_empty()).map(String::from).collect())
        };
        let (interrupt_after, environment) = (list()?, list()?);
        let commands = lines.map(|line| line.split('\0').map(String::from).collect()).collect();
        Some(GuestConfig { nonce, hide_btf, interrupt_after, environment, commands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let commands = vec![vec!["/bin/tool".to_owned(), "--name".into(), String::new(), "two words".into()]];
        for (hide_btf, interrupt_after) in
            [(None, vec![]), (Some("/tmp/btf".to_owned()), vec!["Waiting for".to_owned(), "ready".into()])]
        {
            let environment = interrupt_after.iter().map(|text| format!("NAME={text}")).collect();
            let (nonce, commands) = ("12ab".into(), commands.clone());
            let config = GuestConfig { nonce, hide_btf, interrupt_after, environment, commands };
            assert_eq!(GuestConfig::parse(&config.to_text()), Some(config));
        }
        assert_eq!(GuestConfig::parse("12ab"), None);
        assert_eq!(GuestConfig::parse("12ab\n"), None);
        assert_eq!(GuestConfig::parse("12ab\n\n"), None);
        assert_eq!(GuestConfig::parse("12ab\n\n\n"), None);
        assert_eq!(GuestConfig::parse("\n"), None);
    }
}
