//! `cargo xtask completions`: what a shell loads to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::flags::{Completions, Flags};
use crate::ui::screen;

/// Runs the verb.
pub fn run(request: &Completions) -> Result<()> {
    let mut text = Vec::new();
    // `cargo xtask`, or a program of its own.
    let command = screen::command();
    let name = command.strip_prefix("cargo ").unwrap_or(command);
    clap_complete::generate(request.shell, &mut Flags::command().bin_name(name), name, &mut text);
    let mut text = String::from_utf8(text)?;
    if name != command {
        text += &behind_cargo(request.shell).replace("NAME", name);
    }
    screen::print(&text)
}

/// What completes the words behind `cargo NAME` by the completions for `NAME`, and leaves every other command of cargo to what
/// completed it before.
fn behind_cargo(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
# Those of cargo itself are loaded when they are first wanted.
complete -p cargo &>/dev/null || { declare -F _completion_loader >/dev/null && _completion_loader cargo; }
[[ $(complete -p cargo 2>/dev/null) == *_NAME_behind_cargo* ]] ||
    _NAME_cargo_before=$(complete -p cargo 2>/dev/null | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
_NAME_behind_cargo() {
    if [[ ${COMP_WORDS[1]} == NAME && $COMP_CWORD -gt 1 ]]; then
        local COMP_WORDS=("${COMP_WORDS[@]:1}") COMP_CWORD=$((COMP_CWORD - 1))
        _NAME NAME "$2" "$3"
    elif [[ -n $_NAME_cargo_before ]]; then
        "$_NAME_cargo_before" "$@"
    fi
}
complete -F _NAME_behind_cargo -o bashdefault -o default cargo
"#
        }
        Shell::Zsh => {
            r#"
if [ "$funcstack[1]" != "_NAME" ]; then
    [[ ${_comps[cargo]} == _NAME_behind_cargo ]] || _NAME_cargo_before=${_comps[cargo]:-_default}
    _NAME_behind_cargo() {
        if [[ $words[2] == NAME ]] && (( CURRENT > 2 )); then
            shift words
            (( CURRENT-- ))
            _NAME
        else
            $_NAME_cargo_before "$@"
        fi
    }
    compdef _NAME_behind_cargo cargo
fi
"#
        }
        Shell::Fish => {
            r#"
function __fish_NAME_behind_cargo
    set -l words (commandline -opc) (commandline -ct)
    complete --do-complete (string join ' ' -- NAME (string escape -- $words[3..-2]) $words[-1])
end
complete -c cargo -n 'set -l words (commandline -opc); test "$words[2]" = NAME' -f -a '(__fish_NAME_behind_cargo)'
"#
        }
        // They are for an alias.
        _ => "",
    }
}
