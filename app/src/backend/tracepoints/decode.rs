//! From the records of tracepoints to what they mean.

use exectrace_bpf::{FILE_MAX, tracepoints::Tracepoint as Id};

use super::{
    argv,
    processes::{Kind, Record, Who},
};
use crate::{
    perf_ring::{Sample, Stack},
    tracepoint_set::{FILENAME, Tracepoint, USER_CHANGED},
};

impl Tracepoint {
    /// What a record means; none if it makes no sense, or says nothing that matters.
    pub(super) fn decode<'s>(
        &self,
        sample: &Sample,
        stack: Option<&'s Stack>,
        who: Who,
        record: &'s [u8],
    ) -> Option<Record<'s>> {
        let number = |field| self.format.number(record, field);
        let word = |field| number(field).map(|number| number as u32);
        let text = |field| self.format.text(record, field);
        let what = match self.definition.number {
            Id::TASK_NEWTASK => {
                Kind::NewTask { tid: word("pid")?, flags: number("clone_flags")?, comm: text("comm")?.0 }
            }
            Id::SCHED_PROCESS_EXEC => {
                let (file, cut) = text(FILENAME)?;
                Kind::Exec {
                    file: &file[..file.len().min(FILE_MAX)],
                    file_truncated: cut || file.len() > FILE_MAX,
                    args: stack.and_then(|stack| argv::arguments(stack, exectrace_bpf::ARGS_MAX)),
                    is_compat: stack.map(|stack| stack.is_32_bit && cfg!(target_pointer_width = "64")),
                }
            }
            Id::SCHED_PROCESS_EXIT => Kind::Leaves,
            Id::SYS_ENTER_EXIT_GROUP => Kind::ExitGroup(word("error_code")? as u8),
            Id::SYS_ENTER_EXIT => Kind::ExitThread(word("error_code")? as u8),
            // TRACE_SIGNAL_DELIVERED or _LOSE_INFO: neither ignored nor there already.
            Id::SIGNAL_GENERATE if !matches!(word("result")?, 0 | 4) => return None,
            Id::SIGNAL_GENERATE => Kind::SignalSent { tid: word("pid")?, signal: word("sig")? as u8 },
            // SIG_DFL
            Id::SIGNAL_DELIVER => {
                Kind::SignalTaken { signal: word("sig")? as u8, has_handler: number("sa_handler")? != 0 }
            }
            // Which user it is now, /proc shows.
            USER_CHANGED if number("ret")? == 0 => Kind::UserChanged(None),
            _ => return None,
        };
        Some(Record { pid: sample.pid, tid: sample.tid, time_ns: sample.time_ns, who, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{perf_ring::Content, tracefs::Format, tracepoint_set::TRACEPOINTS};

    fn tracepoint(number: Id, fields: &str) -> Tracepoint {
        let definition = TRACEPOINTS.iter().find(|definition| definition.number == number).unwrap();
        let text = fields.split_whitespace().fold("ID: 7\n".to_owned(), |text, field| {
            let [name, offset, size] = field.split(':').collect::<Vec<_>>()[..] else { panic!("{field}") };
            format!("{text}\tfield:int {name};\toffset:{offset};\tsize:{size};\tsigned:1;\n")
        });
        let format = Format::parse(&text.replace("int filename", "__data_loc char[] filename")).unwrap();
        Tracepoint { definition, format }
    }

    /// A record of these words, after the eight bytes that all have in common.
    fn record(words: &[u32]) -> Vec<u8> {
        [0, 0].iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn sample() -> Sample {
        Sample {
            time_ns: 9,
            pid: 20,
            tid: 21,
            content: Content::Raw { bytes: Vec::new(), stack: None, cgroup_id: None },
        }
    }

    #[track_caller]
    fn assert_decoded(tracepoint: &Tracepoint, record: &[u8], expected: Option<Kind<'_>>) {
        let who = Who { uid: Some(1000), cgroup_id: None };
        let seen = tracepoint.decode(&sample(), None, who, record);
        let expected = expected.map(|what| Record { pid: 20, tid: 21, time_ns: 9, who, what });
        assert_eq!(seen, expected);
    }

    #[test]
    fn signals_that_nobody_will_notice_mean_nothing() {
        let tracepoint = tracepoint(Id::SIGNAL_GENERATE, "sig:8:4 pid:12:4 result:16:4");
        // enum in include/trace/events/signal.h: delivered, ignored, already pending, overflow, lost information.
        for (result, is_sent) in [(0, true), (1, false), (2, false), (3, false), (4, true)] {
            let sent = Kind::SignalSent { tid: 42, signal: 15 };
            assert_decoded(&tracepoint, &record(&[15, 42, result]), is_sent.then_some(sent));
        }
    }

    #[test]
    fn a_handler_is_anything_but_the_default() {
        let tracepoint = tracepoint(Id::SIGNAL_DELIVER, "sig:8:4 sa_handler:12:4");
        for (handler, has_handler) in [(0, false), (1, true), (0xffff_0000, true)] {
            let taken = Kind::SignalTaken { signal: 9, has_handler };
            assert_decoded(&tracepoint, &record(&[9, handler]), Some(taken));
        }
    }

    #[test]
    fn a_change_of_user_that_fails_is_none() {
        let tracepoint = tracepoint(USER_CHANGED, "ret:8:4");
        for (ret, changed) in [(0, true), (-1_i32 as u32, false)] {
            assert_decoded(&tracepoint, &record(&[ret]), changed.then_some(Kind::UserChanged(None)));
        }
    }

    #[test]
    fn of_a_code_the_lowest_byte_counts() {
        let tracepoint = tracepoint(Id::SYS_ENTER_EXIT_GROUP, "error_code:8:4");
        assert_decoded(&tracepoint, &record(&[0x1ff]), Some(Kind::ExitGroup(0xff)));
    }

    #[test]
    fn a_long_name_of_a_file_is_cut_and_a_stack_that_says_nothing_gives_no_arguments() {
        let tracepoint = tracepoint(Id::SCHED_PROCESS_EXEC, "filename:8:4");
        assert_eq!(tracepoint.file_word(), Some(8));
        for (length, file_truncated) in [(FILE_MAX, false), (FILE_MAX + 1, true)] {
            let mut record = record(&[((length as u32 + 1) << 16) | 12]);
            record.extend(vec![b'/'; length]);
            record.push(0);
            let file = vec![b'/'; FILE_MAX];
            assert_decoded(
                &tracepoint,
                &record,
                Some(Kind::Exec { file: &file, file_truncated, args: None, is_compat: None }),
            );
        }
        let stack = Stack { is_32_bit: false, pointer: 0, bytes: vec![1; 100] };
        let record = record(&[(2 << 16) | 12, 0]);
        let Kind::Exec { args, .. } = tracepoint.decode(&sample(), Some(&stack), Who::default(), &record).unwrap().what
        else {
            panic!("no exec")
        };
        assert_eq!(args, None);
    }

    #[test]
    fn a_record_that_is_cut_means_nothing() {
        let tracepoint = tracepoint(Id::SIGNAL_GENERATE, "sig:8:4 pid:12:4 result:16:4");
        let whole = record(&[15, 42, 0]);
        for length in 0..whole.len() {
            assert_decoded(&tracepoint, &whole[..length], None);
        }
    }
}
