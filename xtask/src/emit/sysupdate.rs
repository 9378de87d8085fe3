//! Files for systemd-sysupdate, by which machines pull releases: what is transferred, a unit that does it, and a timer.

use crate::arch::Arch;
use crate::emit::Program;
use crate::emit::plan::File;
use crate::release::manifest::Archive;

/// For each architecture a transfer, whose versions lie below /opt; and what looks for new ones once a day.
pub fn files(program: Program, archive: &Archive, arches: &[&'static Arch], url: &str) -> Vec<File> {
    let fill = |text: &str, triple: &str| {
        text.replace("@PROGRAM@", program.name)
            .replace("@FOLDER@", &program.folder.trim_end_matches('/').replace('%', "%%"))
            .replace("@ARCHIVE@", &archive.name)
            .replace("@TRIPLE@", triple)
            // What begins with % is systemd's.
            .replace("@URL@", &url.trim_end_matches('/').replace('%', "%%"))
            .replace("@PREFLIGHT@", &preflight(program))
    };
    let Program { name, .. } = program;
    let mut files: Vec<File> = arches
        .iter()
        .map(|arch| {
            let path = format!("{arch}/sysupdate.{name}.d/{name}.transfer");
            File::text(path, fill(include_str!("sysupdate.transfer"), arch.triple))
        })
        .collect();
    files.push(File::text(format!("{name}-update.service"), fill(include_str!("sysupdate.service"), "")));
    files.push(File::text(format!("{name}-update.timer"), fill(include_str!("sysupdate.timer"), "")));
    files
}

/// The preflight as a shell runs it, inside of single quotes of a unit.
fn preflight(program: Program) -> String {
    let word = |word: &String| crate::sys::command::word(word);
    let commands = program.config.preflight.iter().map(|words| words.iter().map(word).collect::<Vec<_>>().join(" "));
    let text: String = commands.map(|words| format!("\"$new\" {words}; ")).collect();
    text.replace('\\', "\\\\").replace('\'', "\\'").replace('$', "$$").replace('%', "%%")
}
