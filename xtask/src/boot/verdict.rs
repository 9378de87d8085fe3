//! What a boot has proved, by the output of its console and how QEMU ended.

use bpfship_guest::message::{End, GAP, facts};

use crate::boot::console::{Console, describe_end, printable};
use crate::release::boot_report::Verdict;

/// Limits of what is kept of a boot's gaps, since a program may print anything: their number, and the characters of
/// each.
const MAX_GAPS: usize = 16;
const MAX_GAP_LENGTH: usize = 200;

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// We ended it, after init had reported that it is done.
    Done,
    /// QEMU ended by itself: how, as in "failed (exit code 1)".
    Alone(String),
    /// We ended it, after this many seconds.
    Late(u64),
}

/// What a guest was booted for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Each as a user would type it.
    pub commands: &'a [String],
    /// Whether init was to hide the kernel's BTF.
    pub hides_btf: bool,
}

/// Judges a boot. Only init's reports count for a pass; noise can only explain a failure.
pub fn judge(console: &Console, ended: &Ended, request: Request) -> Verdict {
    if !console.is_done() {
        return Verdict::Fail(unfinished(console, ended, request));
    }
    if request.hides_btf && (console.fact(facts::HIDDEN_BTF).is_none() || console.fact(facts::BTF) != Some("none")) {
        return Verdict::Fail("init could not hide the kernel's BTF".into());
    }
    for (number, command) in request.commands.iter().enumerate() {
        match console.end(number) {
            Some(End::Code(0) | End::Interrupted) => {}
            Some(end) => return Verdict::Fail(failed(console, number, command, end)),
            None => {
                return Verdict::Fail(format!(
                    "the exit status of `{command}` was lost among other lines of the console"
                ));
            }
        }
    }
    let gaps = gaps(console, request);
    if gaps.is_empty() { Verdict::Pass } else { Verdict::Gaps(gaps) }
}

/// What the commands reported that they cannot do, each once.
fn gaps(console: &Console, request: Request) -> Vec<String> {
    let mut gaps: Vec<String> = Vec::new();
    for line in (0..request.commands.len()).flat_map(|number| console.output(number)) {
        let Some(gap) = line.strip_prefix(GAP) else { continue };
        let gap = printable(gap).trim().chars().take(MAX_GAP_LENGTH).collect();
        if gaps.len() < MAX_GAPS && !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }
    gaps
}

fn failed(console: &Console, number: usize, command: &str, end: &End) -> String {
    let how = describe_end(end);
    match console.output(number).filter(|line| !line.trim().is_empty()).last() {
        Some(last) => format!("`{command}` {how}; its last line is: {}", last.trim()),
        None => format!("`{command}` {how}"),
    }
}

/// Why init did not finish.
fn unfinished(console: &Console, ended: &Ended, request: Request) -> String {
    let current = console.current().and_then(|number| request.commands.get(number));
    match (ended, current) {
        _ if console.panic().is_some() => {
            let reason = console.panic().unwrap_or_default();
            match current {
                Some(command) => format!("the kernel panicked while `{command}` ran: {reason}"),
                None => format!("kernel panic: {reason}"),
            }
        }
        (Ended::Late(seconds), Some(command)) => format!("`{command}` did not exit within {seconds} s"),
        (Ended::Late(seconds), None) if console.has_started() => {
            format!("init hung: it did not finish within {seconds} s")
        }
        (Ended::Late(seconds), None) => format!("nothing came from init within {seconds} s: the kernel hangs"),
        (Ended::Alone(how), _) if console.complaint().is_some() => {
            format!("QEMU {how}: {}", console.complaint().unwrap_or_default())
        }
        (Ended::Alone(how), Some(command)) => format!("QEMU {how} while `{command}` ran"),
        (Ended::Alone(how), None) => format!("QEMU {how} before init started"),
        (Ended::Done, _) => "init did not finish its reports".into(),
    }
}

#[cfg(test)]
mod tests {
    use bpfship_guest::frame;
    use bpfship_guest::message::Message;

    use super::*;

    const NONCE: &str = "secret";

    fn reports(facts: &[(&str, &str)], ends: &[(&str, End)]) -> Vec<String> {
        let fact = |(name, value): &(&str, &str)| Message::Fact { name: (*name).into(), value: (*value).into() };
        let mut messages: Vec<Message> = facts.iter().map(fact).collect();
        for (number, (output, end)) in ends.iter().enumerate() {
            messages.push(Message::Started(number));
            messages.extend(output.lines().map(|line| Message::Output { command: number, line: line.into() }));
            messages.push(Message::Exited { command: number, end: end.clone() });
        }
        messages.push(Message::Done);
        (0..).zip(&messages).map(|(number, message)| frame::encode(NONCE, number, &message.to_string())).collect()
    }

    fn good() -> Vec<String> {
        reports(&[(facts::BTF, "4000000")], &[("tool 1.0", End::Code(0)), ("passed", End::Code(0))])
    }

    #[track_caller]
    fn verdict_of(lines: &[String], ended: &Ended, hides_btf: bool) -> Verdict {
        let mut console = Console::new(NONCE.into());
        lines.iter().for_each(|line| drop(console.push_line(line)));
        let commands = ["tool --version".to_owned(), "tool --self-test".into()];
        judge(&console, ended, Request { commands: &commands, hides_btf })
    }

    #[track_caller]
    fn fails(lines: &[String], ended: &Ended, reason: &str) {
        match verdict_of(lines, ended, false) {
            Verdict::Fail(why) => assert!(why.contains(reason), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    fn off() -> Ended {
        Ended::Alone("ended".into())
    }

    #[test]
    fn all_commands_that_succeed_are_a_pass_whatever_noise_there_is() {
        assert_eq!(verdict_of(&good(), &Ended::Done, false), Verdict::Pass);
        let noisy = |line: &String| {
            [
                format!("[    1.2] noise {line} more"),
                "Kernel panic - not syncing: printed by the program".into(),
                "\u{0}".into(),
            ]
        };
        let noise: Vec<String> = good().iter().flat_map(noisy).collect();
        assert_eq!(verdict_of(&noise, &Ended::Done, false), Verdict::Pass);
    }

    #[test]
    fn what_ends_by_the_interrupt_that_it_was_sent_is_a_pass_and_by_another_none() {
        let ended = |end| reports(&[], &[("", End::Code(0)), ("at work", end)]);
        assert_eq!(verdict_of(&ended(End::Interrupted), &Ended::Done, false), Verdict::Pass);
        fails(&ended(End::Signal(2)), &Ended::Done, "`tool --self-test` was killed by signal 2");
    }

    #[test]
    fn a_command_that_fails_is_a_failure_with_its_last_line() {
        let one = reports(&[], &[("", End::Code(0)), ("12 of 13 right", End::Code(1))]);
        fails(&one, &Ended::Done, "`tool --self-test` failed (exit code 1); its last line is: 12 of 13 right");
        let refused = reports(&[], &[("", End::Code(0)), ("tool: there is no bpf() system call", End::Code(1))]);
        fails(&refused, &Ended::Done, "its last line is: tool: there is no bpf() system call");
        let two = reports(&[], &[("", End::Signal(4)), ("", End::Code(0))]);
        fails(&two, &Ended::Done, "`tool --version` was killed by signal 4");
        let three = reports(&[], &[("", End::NotStarted("Exec format error".into()))]);
        fails(&three, &Ended::Done, "`tool --version` could not be started: Exec format error");
    }

    #[test]
    fn a_kernel_that_panics_or_hangs_is_named() {
        let panic = "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs".to_owned();
        fails(std::slice::from_ref(&panic), &off(), "kernel panic: VFS: Unable to mount root fs");
        fails(
            &[good()[..2].to_vec(), vec![panic]].concat(),
            &off(),
            "the kernel panicked while `tool --version` ran: VFS",
        );
        fails(&[], &Ended::Late(9), "nothing came from init within 9 s");
        fails(&["[    0.0] Linux version 6".into()], &Ended::Late(9), "the kernel hangs");
        fails(&good()[..1], &Ended::Late(9), "init hung");
        fails(&good()[..5], &Ended::Late(9), "`tool --self-test` did not exit within 9 s");
    }

    #[test]
    fn a_transcript_that_is_cut_is_no_pass_wherever_it_is_cut() {
        let whole = good();
        for kept in 0..whole.len() {
            assert!(matches!(verdict_of(&whole[..kept], &off(), false), Verdict::Fail(_)), "{kept}");
        }
        let text = whole.join("\n");
        for cut in 0..text.len() {
            let lines: Vec<String> = text[..cut].lines().map(String::from).collect();
            assert!(matches!(verdict_of(&lines, &off(), false), Verdict::Fail(_)), "{cut}");
        }
        fails(
            &["qemu-system-x86_64: could not load kernel 'x'".into()],
            &off(),
            "QEMU ended: could not load kernel 'x'",
        );
        let stopped = Ended::Alone("stopped the guest".into());
        fails(&["KVM internal error. Suberror: 1".into()], &stopped, "QEMU stopped the guest: KVM internal error");
    }

    #[test]
    fn garbage_and_forged_reports_count_for_nothing() {
        let forged = |number, message: Message| frame::encode("guessed", number, &message.to_string());
        let ends =
            (0..2).map(|command| forged(command, Message::Exited { command: command as usize, end: End::Code(0) }));
        let mut lines: Vec<String> = ends.collect();
        lines.push(forged(9, Message::Done));
        lines.push("<init 9 0000000000000000 done>".into());
        lines.push("\u{fffd}\u{fffd}<init <<>>".into());
        fails(&lines, &off(), "QEMU ended before init started");
        // Nor does a failure become a success by them.
        let failed = reports(&[], &[("", End::Code(0)), ("", End::Code(1))]);
        fails(&[lines, failed].concat(), &Ended::Done, "`tool --self-test` failed");
    }

    #[test]
    fn a_report_that_noise_has_cut_through_is_made_good_by_its_second_copy() {
        let whole = good();
        let mut cut = whole.clone();
        cut[3].insert_str(20, "\n[    5.0] noise\n");
        fails(&cut, &Ended::Done, "the exit status of `tool --version` was lost");
        cut.insert(4, whole[3].clone());
        assert_eq!(verdict_of(&cut, &Ended::Done, false), Verdict::Pass);
    }

    #[test]
    fn a_program_that_refuses_a_kernel_without_btf_has_failed() {
        let refusal = reports(&[], &[("", End::Code(0)), ("tool: the kernel has no BTF", End::Code(1))]);
        fails(&refusal, &Ended::Done, "failed (exit code 1); its last line is: tool: the kernel has no BTF");
    }

    #[test]
    fn the_gaps_of_a_program_that_passed_are_kept_once_and_in_order() {
        let verdict = |text: &str| {
            verdict_of(&reports(&[], &[("gap: the uid", End::Code(0)), (text, End::Code(0))]), &Ended::Done, false)
        };
        let gaps = |texts: &[&str]| Verdict::Gaps(texts.iter().map(|text| (*text).into()).collect());
        assert_eq!(
            verdict("12 of 12 right\ngap: core dumps\x1b[31m\ngap: the uid\n gap: indented\nno gap: all is well"),
            gaps(&["the uid", "core dumps"])
        );
        let many: String = (0..100).map(|number| format!("gap: {number} {}\n", "x".repeat(1000))).collect();
        let Verdict::Gaps(gaps) = verdict(&many) else { panic!("no gaps") };
        assert_eq!(gaps.len(), MAX_GAPS);
        assert!(gaps[1..].iter().all(|gap| gap.len() == MAX_GAP_LENGTH));
    }

    #[test]
    fn a_gap_that_init_did_not_report_is_none_and_one_of_a_failure_neither() {
        let noise =
            [vec!["gap: printed by the kernel".into(), frame::encode("guessed", 90, "output 0 gap: forged")], good()];
        assert_eq!(verdict_of(&noise.concat(), &Ended::Done, false), Verdict::Pass);
        let failed = reports(&[], &[("gap: the uid", End::Code(0)), ("", End::Code(1))]);
        fails(&failed, &Ended::Done, "`tool --self-test` failed");
    }

    #[test]
    fn btf_that_was_to_be_hidden_and_is_not_is_a_failure() {
        let judged = |facts: &[(&str, &str)]| {
            verdict_of(&reports(facts, &[("", End::Code(0)), ("", End::Code(0))]), &Ended::Done, true)
        };
        let fail = Verdict::Fail("init could not hide the kernel's BTF".into());
        assert_eq!(judged(&[(facts::HIDDEN_BTF, "4000000"), (facts::BTF, "none")]), Verdict::Pass);
        assert_eq!(judged(&[(facts::BTF, "none")]), fail);
        assert_eq!(judged(&[(facts::HIDDEN_BTF, "4000000"), (facts::BTF, "4000000")]), fail);
    }
}
