//! The file that tells init what to do. It is gone before anything is run.

/// Where it is in the guest.
pub const PATH: &str = "/orders";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// What only init and the host know.
    pub nonce: String,
    /// The file to put the kernel's BTF into, which programs then do not find in its own place. None leaves it there.
    pub hide_btf: Option<String>,
    /// What to run, one after the other: each a program and its arguments. No word may hold a NUL or a line break.
    pub commands: Vec<Vec<String>>,
}

impl Orders {
    /// One line each, words separated by NULs.
    pub fn to_text(&self) -> String {
        let first = [self.nonce.clone(), self.hide_btf.clone().unwrap_or_default()];
        let commands = self.commands.iter().map(|command| command.join("\0"));
        first.into_iter().chain(commands).map(|line| line + "\n").collect()
    }

    pub fn parse(text: &str) -> Option<Orders> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let nonce = lines.next().filter(|nonce| !nonce.is_empty())?.into();
        let hide_btf = Some(lines.next()?.into()).filter(|file: &String| !file.is_empty());
        let commands = lines.map(|line| line.split('\0').map(String::from).collect()).collect();
        Some(Orders { nonce, hide_btf, commands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_given() {
        let commands = vec![vec!["/bin/tool".to_owned(), "--name".into(), String::new(), "two words".into()]];
        for hide_btf in [None, Some("/tmp/btf".to_owned())] {
            let orders = Orders { nonce: "12ab".into(), hide_btf, commands: commands.clone() };
            assert_eq!(Orders::parse(&orders.to_text()), Some(orders));
        }
        assert_eq!(Orders::parse("12ab"), None);
        assert_eq!(Orders::parse("12ab\n"), None);
        assert_eq!(Orders::parse("\n"), None);
    }
}
