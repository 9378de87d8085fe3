//! What GitHub shows of a run beside its log: errors at their lines, and results on the page of the run.

/// The commands by which GitHub shows an error: one for each message of a compiler in it, or else one for all of it.
pub fn annotations(error: &str) -> String {
    let places: Vec<String> = error.lines().filter_map(place).collect();
    match places.is_empty() {
        true => format!("::error title={}::{}\n", crate::NAME, escape(error)),
        false => places.concat(),
    }
}

/// Of `bpf/a.bpf.c:3:5: error: …`.
fn place(line: &str) -> Option<String> {
    let (place, message) =
        [": error: ", ": fatal error: "].iter().find_map(|word| line.trim_start().split_once(word))?;
    let mut parts = place.rsplitn(3, ':');
    let (column, row, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (row, column): (u32, u32) = (row.parse().ok()?, column.parse().ok()?);
    let file = escape(file).replace(':', "%3A").replace(',', "%2C");
    Some(format!("::error file={file},line={row},col={column}::{}\n", escape(message)))
}

/// Lines as a paragraph of its page, as they are.
pub fn summary(lines: &[String]) -> String {
    format!("```text\n{}\n```\n", lines.join("\n"))
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_at_its_line_or_one_command_for_all_its_lines() {
        assert_eq!(annotations("50 % is\nnot enough"), "::error title=bpfship::50 %25 is%0Anot enough\n");
        let clang =
            "3 of 4 compiled\n  bpf/a,b.bpf.c:3:5: error: no such map\n  bpf/c.h:1:10: fatal error: 'x.h' not found\n";
        assert_eq!(
            annotations(clang),
            "::error file=bpf/a%2Cb.bpf.c,line=3,col=5::no such map\n\
             ::error file=bpf/c.h,line=1,col=10::'x.h' not found\n"
        );
    }
}
