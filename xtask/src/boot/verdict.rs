//! What a boot has proved, by what came out of its console and how it ended.

use init::message::{End, facts};
use serde::{Deserialize, Serialize};

use super::console::{Console, ended};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum Verdict {
    Pass,
    /// It could not all be proved, because of something that the kernel lacks and that its row in the table says.
    Gap(String),
    Fail(String),
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// We ended it, after init had said that it is done.
    Done,
    /// QEMU ended by itself: how, as in "failed (exit code 1)".
    Alone(String),
    /// We ended it, after this many seconds.
    Late(u64),
}

/// What was asked of a guest.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Each as a user would type it.
    pub commands: &'a [String],
    /// Whether the table says that the kernel carries BTF.
    pub btf: bool,
}

/// The verdict. Only reports of init's count for a pass; noise can but explain a failure.
pub fn judge(console: &Console, ended: &Ended, asked: Asked) -> Verdict {
    if !console.is_done() {
        return Verdict::Fail(unfinished(console, ended, asked));
    }
    for (number, command) in asked.commands.iter().enumerate() {
        let Some(end) = console.end(number) else {
            return Verdict::Fail(format!("how `{command}` ended was lost among other lines of the console"));
        };
        match end {
            End::Code(0) => {}
            End::Code(_) if !asked.btf && console.fact(facts::BTF) == Some("none") => {
                // It must be this that it complains of.
                if console.said(number).any(|line| line.contains("BTF")) {
                    return Verdict::Gap(format!("`{command}` refuses a kernel without BTF"));
                }
                return Verdict::Fail(failed(console, number, command, end));
            }
            _ => return Verdict::Fail(failed(console, number, command, end)),
        }
    }
    Verdict::Pass
}

fn failed(console: &Console, number: usize, command: &str, end: &End) -> String {
    let how = ended(end);
    match console.said(number).filter(|line| !line.trim().is_empty()).last() {
        Some(last) => format!("`{command}` {how}; it said at last: {}", last.trim()),
        None => format!("`{command}` {how}"),
    }
}

/// Why init never came to an end.
fn unfinished(console: &Console, ended: &Ended, asked: Asked) -> String {
    let current = console.current().and_then(|number| asked.commands.get(number));
    match (ended, current) {
        _ if console.panic().is_some() => {
            let reason = console.panic().unwrap_or_default();
            match current {
                Some(command) => format!("the kernel gave up while `{command}` ran: {reason}"),
                None => format!("the kernel gave up: {reason}"),
            }
        }
        (Ended::Late(seconds), Some(command)) => format!("`{command}` was not over after {seconds} s"),
        (Ended::Late(seconds), None) if console.has_begun() => format!("init hung; it was given {seconds} s"),
        (Ended::Late(seconds), None) => format!("nothing came from init within {seconds} s: the kernel hangs"),
        (Ended::Alone(how), _) if console.complaint().is_some() => {
            format!("QEMU {how}: {}", console.complaint().unwrap_or_default())
        }
        (Ended::Alone(how), Some(command)) => format!("the machine went off while `{command}` ran (QEMU {how})"),
        (Ended::Alone(how), None) => format!("the machine went off before init had begun (QEMU {how})"),
        (Ended::Done, _) => "init did not end its reports".into(),
    }
}

#[cfg(test)]
mod tests {
    use init::frame;
    use init::message::Message;

    use super::*;

    const NONCE: &str = "secret";

    fn reports(btf: &str, ends: &[(&str, End)]) -> Vec<String> {
        let mut messages = vec![Message::Fact { name: facts::BTF.into(), value: btf.into() }];
        for (number, (said, end)) in ends.iter().enumerate() {
            messages.push(Message::Begun(number));
            messages.push(Message::Said { command: number, line: (*said).into() });
            messages.push(Message::Ended { command: number, end: end.clone() });
        }
        messages.push(Message::Done);
        (0..).zip(&messages).map(|(number, message)| frame::encode(NONCE, number, &message.to_string())).collect()
    }

    fn good() -> Vec<String> {
        reports("4000000", &[("tool 1.0", End::Code(0)), ("passed", End::Code(0))])
    }

    #[track_caller]
    fn verdict_of(lines: &[String], ended: &Ended, btf: bool) -> Verdict {
        let mut console = Console::new(NONCE.into());
        lines.iter().for_each(|line| drop(console.hear(line)));
        let commands = ["tool --version".to_owned(), "tool --self-test".into()];
        judge(&console, ended, Asked { commands: &commands, btf })
    }

    #[track_caller]
    fn fails(lines: &[String], ended: &Ended, reason: &str) {
        match verdict_of(lines, ended, true) {
            Verdict::Fail(why) => assert!(why.contains(reason), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    fn off() -> Ended {
        Ended::Alone("ended".into())
    }

    #[test]
    fn all_commands_that_succeed_are_a_pass_whatever_noise_there_is() {
        assert_eq!(verdict_of(&good(), &Ended::Done, true), Verdict::Pass);
        let noisy = |line: &String| {
            [
                format!("[    1.2] noise {line} more"),
                "Kernel panic - not syncing: says the program".into(),
                "\u{0}".into(),
            ]
        };
        let noise: Vec<String> = good().iter().flat_map(noisy).collect();
        assert_eq!(verdict_of(&noise, &Ended::Done, true), Verdict::Pass);
    }

    #[test]
    fn a_command_that_fails_is_a_failure_with_its_last_words() {
        let one = reports("1", &[("", End::Code(0)), ("12 of 13 right", End::Code(1))]);
        fails(&one, &Ended::Done, "`tool --self-test` failed (exit code 1); it said at last: 12 of 13 right");
        let refused = reports("none", &[("", End::Code(0)), ("tool: there is no bpf() system call", End::Code(1))]);
        fails(&refused, &Ended::Done, "it said at last: tool: there is no bpf() system call");
        let two = reports("1", &[("", End::Signal(4)), ("", End::Code(0))]);
        fails(&two, &Ended::Done, "`tool --version` was killed by signal 4");
        let three = reports("1", &[("", End::NotStarted("Exec format error".into()))]);
        fails(&three, &Ended::Done, "`tool --version` could not be started: Exec format error");
    }

    #[test]
    fn a_kernel_that_gives_up_or_hangs_says_so() {
        let panic = "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs".to_owned();
        fails(std::slice::from_ref(&panic), &off(), "the kernel gave up: VFS: Unable to mount root fs");
        fails(
            &[good()[..2].to_vec(), vec![panic]].concat(),
            &off(),
            "the kernel gave up while `tool --version` ran: VFS",
        );
        fails(&[], &Ended::Late(9), "nothing came from init within 9 s");
        fails(&["[    0.0] Linux version 6".into()], &Ended::Late(9), "the kernel hangs");
        fails(&good()[..1], &Ended::Late(9), "init hung");
        fails(&good()[..5], &Ended::Late(9), "`tool --self-test` was not over after 9 s");
    }

    #[test]
    fn a_transcript_that_is_cut_is_no_pass_wherever_it_is_cut() {
        let whole = good();
        for kept in 0..whole.len() {
            assert!(matches!(verdict_of(&whole[..kept], &off(), true), Verdict::Fail(_)), "{kept}");
        }
        let text = whole.join("\n");
        for cut in 0..text.len() {
            let lines: Vec<String> = text[..cut].lines().map(String::from).collect();
            assert!(matches!(verdict_of(&lines, &off(), true), Verdict::Fail(_)), "{cut}");
        }
        fails(
            &["qemu-system-x86_64: could not load kernel 'x'".into()],
            &off(),
            "QEMU ended: could not load kernel 'x'",
        );
    }

    #[test]
    fn garbage_and_forged_reports_count_for_nothing() {
        let forged = |number, message: Message| frame::encode("guessed", number, &message.to_string());
        let ends =
            (0..2).map(|command| forged(command, Message::Ended { command: command as usize, end: End::Code(0) }));
        let mut lines: Vec<String> = ends.collect();
        lines.push(forged(9, Message::Done));
        lines.push("<init 9 0000000000000000 done>".into());
        lines.push("\u{fffd}\u{fffd}<init <<>>".into());
        fails(&lines, &off(), "the machine went off before init had begun");
        // Nor does a failure become a success by them.
        let failed = reports("1", &[("", End::Code(0)), ("", End::Code(1))]);
        fails(&[lines, failed].concat(), &Ended::Done, "`tool --self-test` failed");
    }

    #[test]
    fn a_report_that_noise_has_cut_through_is_made_good_by_its_second_copy() {
        let whole = good();
        let mut cut = whole.clone();
        cut[3].insert_str(20, "\n[    5.0] noise\n");
        fails(&cut, &Ended::Done, "how `tool --version` ended was lost");
        cut.insert(4, whole[3].clone());
        assert_eq!(verdict_of(&cut, &Ended::Done, true), Verdict::Pass);
    }

    #[test]
    fn a_kernel_whose_row_says_so_may_lack_btf_and_no_other() {
        let refusal = reports("none", &[("", End::Code(0)), ("tool: the kernel has no BTF", End::Code(1))]);
        let gap = Verdict::Gap("`tool --self-test` refuses a kernel without BTF".into());
        assert_eq!(verdict_of(&refusal, &Ended::Done, false), gap);
        fails(&refusal, &Ended::Done, "failed (exit code 1)");
        for (btf, said, end) in [
            ("4000000", "the kernel has no BTF", End::Code(1)),
            ("none", "something else", End::Code(1)),
            ("none", "the kernel has no BTF", End::Signal(11)),
        ] {
            let lines = reports(btf, &[("", End::Code(0)), (said, end)]);
            assert!(matches!(verdict_of(&lines, &Ended::Done, false), Verdict::Fail(_)), "{btf} {said}");
        }
    }
}
