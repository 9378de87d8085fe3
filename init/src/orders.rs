//! The file that tells init what to do. It is gone before anything is run.

/// Where it is in the guest.
pub const PATH: &str = "/orders";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// What only init and the host know.
    pub nonce: String,
    /// What to run, one after the other: each a program and its arguments. No word may hold a NUL or a line break.
    pub commands: Vec<Vec<String>>,
}

impl Orders {
    /// One line each, words separated by NULs.
    pub fn to_text(&self) -> String {
        let lines = self.commands.iter().map(|command| command.join("\0"));
        std::iter::once(self.nonce.clone()).chain(lines).map(|line| line + "\n").collect()
    }

    pub fn parse(text: &str) -> Option<Orders> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let nonce = lines.next().filter(|nonce| !nonce.is_empty())?.into();
        let commands = lines.map(|line| line.split('\0').map(String::from).collect()).collect();
        Some(Orders { nonce, commands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_given() {
        let commands = vec![vec!["/bin/tool".to_owned(), "--name".into(), String::new(), "two words".into()]];
        let orders = Orders { nonce: "12ab".into(), commands };
        assert_eq!(Orders::parse(&orders.to_text()), Some(orders));
        assert_eq!(Orders::parse("12ab"), None);
        assert_eq!(Orders::parse("\n"), None);
    }
}
