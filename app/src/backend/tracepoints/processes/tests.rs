//! The table of processes, given what tracepoints record.

use super::*;
use crate::event::End;

/// Time 100, when the table was filled, is the beginning.
const BEGIN: u64 = 100;

fn process(pid: u32, ppid: u32, threads: &[u32]) -> procfs::Process {
    let comm = format!("p{pid}").into_bytes();
    procfs::Process {
        pid,
        ppid,
        threads: threads.to_vec(),
        workers: Vec::new(),
        comm,
        uid: Some(500),
        is_32_bit: false,
        is_kernel: pid == 2,
        start_ns: 50,
        as_of_ns: BEGIN - 10,
    }
}

/// init, the kernel's first thread, a shell, and a process of the shell's with two threads.
fn table() -> Processes {
    let mut table = Processes::new(Inputs::default());
    let processes = vec![process(1, 0, &[1]), process(2, 0, &[2]), process(10, 1, &[10]), process(20, 10, &[20, 21])];
    table.fill(processes, BEGIN);
    table
}

fn seen(pid: u32, tid: u32, time_ns: u64, what: Kind<'_>) -> Record<'_> {
    Record { pid, tid, time_ns, who: Who { uid: Some(1000), cgroup_id: None }, what }
}

fn fork(child: u32) -> Kind<'static> {
    Kind::NewTask { tid: child, flags: 0, comm: b"fork" }
}

fn end(ppid: u32) -> Kind<'static> {
    Kind::End { ppid: Some(ppid), report: None }
}

const EXEC: Kind<'static> =
    Kind::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(false) };
const EXEC_32: Kind<'static> =
    Kind::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(true) };

/// An event in short: of an exec the file, of an exit the end.
fn shown(table: &mut Processes, seen: Record<'_>) -> Option<String> {
    let event = table.see(&seen)?;
    let process = event.process();
    let ppid = process.ppid.map_or("-".into(), |ppid| ppid.to_string());
    let who = format!("{} of {ppid} {}", process.pid, String::from_utf8_lossy(process.comm.unwrap_or(b"-")));
    Some(match &event {
        Event::Exec(exec) => format!("{who} runs {}", String::from_utf8_lossy(exec.file)),
        Event::Exit(exit) => format!("{who} ends {:?} {:?}", exit.end, exit.exec_ns),
        Event::Failed(_) => panic!("{event:?}"),
    })
}

#[track_caller]
fn assert_shown(table: &mut Processes, seen: Record<'_>, expected: &str) {
    assert_eq!(shown(table, seen).as_deref(), Some(expected));
}

#[track_caller]
fn assert_silent(table: &mut Processes, seen: Record<'_>) {
    assert_eq!(shown(table, seen), None);
}

#[test]
fn a_child_that_executes_and_ends_is_shown_with_its_parent_name_and_code() {
    let mut table = table();
    assert_silent(&mut table, seen(10, 10, 110, fork(30)));
    assert_silent(&mut table, seen(30, 30, 120, Kind::Renamed { comm: b"x", by_exec: false }));
    assert_shown(&mut table, seen(30, 30, 121, EXEC), "30 of 10 x runs /bin/x");
    assert_silent(&mut table, seen(30, 30, 130, Kind::ExitGroup(3)));
    assert_shown(&mut table, seen(30, 30, 131, end(10)), "30 of 10 x ends Some(Code(3)) Some(121)");
    assert_silent(&mut table, seen(30, 30, 140, end(10)));
}

#[test]
fn a_child_that_only_forked_has_the_name_of_the_thread_that_made_it() {
    let mut table = table();
    assert_silent(&mut table, seen(20, 21, 110, Kind::NewTask { tid: 30, flags: 0, comm: b"worker" }));
    assert_shown(&mut table, seen(30, 30, 120, end(20)), "30 of 20 worker ends None None");
}

#[test]
fn a_process_ends_with_its_last_thread_and_has_the_name_of_its_first() {
    let mut table = table();
    assert_silent(&mut table, seen(20, 20, 110, Kind::NewTask { tid: 22, flags: CLONE_THREAD, comm: b"t" }));
    assert_silent(&mut table, seen(20, 21, 111, Kind::Renamed { comm: b"other", by_exec: false }));
    assert_silent(&mut table, seen(20, 20, 112, Kind::ExitGroup(4)));
    assert_silent(&mut table, seen(20, 20, 113, end(10)));
    assert_silent(&mut table, seen(20, 22, 114, end(10)));
    assert_shown(&mut table, seen(20, 21, 115, end(10)), "20 of 10 p20 ends Some(Code(4)) None");
}

#[test]
fn an_exec_leaves_one_thread_with_the_number_of_the_first() {
    let mut table = table();
    // The other thread executes: the first one ends, and leaves it its number.
    assert_silent(&mut table, seen(20, 20, 110, end(10)));
    assert_shown(&mut table, seen(20, 20, 111, EXEC), "20 of 10 p20 runs /bin/x");
    assert_silent(&mut table, seen(20, 20, 112, Kind::ExitThread(5)));
    assert_shown(&mut table, seen(20, 20, 113, end(10)), "20 of 10 p20 ends Some(Code(5)) Some(111)");
}

#[test]
fn the_code_of_a_thread_is_not_that_of_a_process_with_several() {
    let mut table = table();
    assert_silent(&mut table, seen(20, 20, 110, Kind::ExitThread(5)));
    assert_silent(&mut table, seen(20, 20, 111, end(10)));
    assert_silent(&mut table, seen(20, 21, 112, Kind::ExitThread(6)));
    assert_shown(&mut table, seen(20, 21, 113, end(10)), "20 of 10 p20 ends None None");
}

#[test]
fn a_signal_finds_its_process_by_any_thread() {
    let mut table = table();
    assert_silent(&mut table, seen(10, 10, 110, Kind::SignalSent { tid: 21, signal: libc::SIGTERM as u8 }));
    for tid in [20, 21] {
        let taken = Kind::SignalTaken { signal: libc::SIGKILL as u8, has_handler: false };
        assert_silent(&mut table, seen(20, tid, 111, taken));
    }
    assert_silent(&mut table, seen(20, 20, 112, end(10)));
    let killed = End::Signal { number: libc::SIGTERM as u8, core_dumped: Some(false) };
    assert_shown(&mut table, seen(20, 21, 113, end(10)), &format!("20 of 10 p20 ends {:?} None", Some(killed)));
}

#[test]
fn after_the_end_of_a_parent_the_new_one_is_known_only_from_when_it_was_looked_up() {
    let mut table = table();
    assert_silent(&mut table, seen(10, 10, 110, fork(30)));
    assert_shown(&mut table, seen(10, 10, 120, end(1)), "10 of 1 p10 ends None None");
    // The kernel is not done with it: /proc still shows the one that has ended.
    table.resolve(|pid| (pid == 30).then_some((10, 125)), |_| None);
    assert_shown(&mut table, seen(30, 30, 130, EXEC), "30 of - fork runs /bin/x");
    table.resolve(|pid| (pid == 30).then_some((1, 140)), |_| None);
    assert_shown(&mut table, seen(30, 30, 135, EXEC), "30 of - fork runs /bin/x");
    assert_shown(&mut table, seen(30, 30, 145, EXEC), "30 of 1 fork runs /bin/x");
    table.resolve(|pid| panic!("the parent of {pid} is known"), |_| None);
}

#[test]
fn a_child_made_for_the_own_parent_is_its_sibling() {
    let mut table = table();
    assert_silent(&mut table, seen(20, 20, 110, Kind::NewTask { tid: 30, flags: CLONE_PARENT, comm: b"c" }));
    assert_shown(&mut table, seen(30, 30, 120, EXEC), "30 of 10 c runs /bin/x");
}

#[test]
fn threads_of_the_kernel_are_not_shown_but_what_they_run_is() {
    let mut table = table();
    assert_silent(&mut table, seen(2, 2, 110, fork(30)));
    assert_silent(&mut table, seen(30, 30, 120, end(10)));
    assert_silent(&mut table, seen(2, 2, 130, fork(31)));
    assert_shown(&mut table, seen(31, 31, 140, EXEC), "31 of 2 fork runs /bin/x");
}

#[test]
fn what_is_older_than_what_proc_has_shown_changes_nothing_and_is_not_shown() {
    let mut table = table();
    // From before 20 was looked at, and so about another one of that number.
    assert_silent(&mut table, seen(20, 20, 50, end(10)));
    assert_silent(&mut table, seen(20, 20, 51, Kind::Renamed { comm: b"old", by_exec: false }));
    assert_silent(&mut table, seen(10, 10, 52, fork(20)));
    // From after that, but before all had been looked at.
    assert_silent(&mut table, seen(20, 20, 95, EXEC));
    assert_shown(&mut table, seen(20, 20, 110, end(10)), "20 of 10 p20 ends None Some(95)");
}

#[test]
fn only_a_process_and_its_descendants_are_shown_if_asked_for() {
    let mut table = table();
    table.inputs.only_tracked = true;
    table.track(&[10]);
    assert_silent(&mut table, seen(1, 1, 110, fork(30)));
    assert_silent(&mut table, seen(30, 30, 111, EXEC));
    assert_silent(&mut table, seen(20, 20, 112, fork(31)));
    assert_shown(&mut table, seen(31, 31, 113, EXEC), "31 of 20 fork runs /bin/x");
    // After a loss too, and those that they have begun meanwhile; but not who has the number of one that ended.
    table.forget(200);
    table.relearn(
        vec![],
        |pid| (pid != 31).then_some(if pid == 10 { 9_000_000_000 } else { 50 }),
        &[(32, 20), (33, 10)],
        205,
    );
    table.doubt_ns = 0;
    // One that has ended meanwhile may have done something before.
    assert_shown(&mut table, seen(31, 31, 204, EXEC), "31 of - - runs /bin/x");
    assert_shown(&mut table, seen(20, 20, 210, EXEC), "20 of - - runs /bin/x");
    assert_shown(&mut table, seen(32, 32, 211, EXEC), "32 of - - runs /bin/x");
    for pid in [1, 10, 31, 33] {
        assert_silent(&mut table, seen(pid, pid, 212, EXEC));
    }
}

/// How a thread is reported to have ended.
fn reported(ppid: u32, status: u32, is_last: bool) -> Kind<'static> {
    let report = Report {
        status,
        was_struck: false,
        is_last: Some(is_last),
        only_forked: false,
        uid: 700,
        ppid,
        comm: b"reported".to_vec(),
    };
    Kind::End { ppid: Some(ppid), report: Some(report) }
}

/// The same of one that was struck.
fn struck(status: u32, is_last: bool) -> Kind<'static> {
    let Kind::End { ppid, report } = reported(10, status, is_last) else { panic!() };
    Kind::End { ppid, report: report.map(|report| Report { was_struck: true, ..report }) }
}

#[test]
fn workers_of_the_kernel_are_known_from_proc_and_from_their_begin() {
    let mut table = Processes::new(Inputs { reports: true, ..Inputs::default() });
    let with_worker = procfs::Process { workers: vec![21], ..process(20, 10, &[20, 21]) };
    table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10]), with_worker], BEGIN);
    assert_silent(&mut table, seen(20, 21, 110, struck(0, false)));
    assert_shown(&mut table, seen(20, 20, 111, reported(10, 7 << 8, true)), "20 of 10 p20 ends Some(Code(7)) None");
    let kernels = CLONE_THREAD | CLONE_UNTRACED;
    assert_silent(&mut table, seen(10, 11, 120, Kind::Forked { maker: 10, maker_tid: 10 }));
    assert_silent(&mut table, seen(10, 10, 120, Kind::NewTask { tid: 11, flags: kernels, comm: b"iou" }));
    assert_silent(&mut table, seen(10, 10, 121, reported(1, 7 << 8, false)));
    assert_shown(&mut table, seen(10, 11, 122, struck(0, true)), "10 of 10 p10 ends Some(Code(7)) None");
    // Of one that is not known, it is not known either.
    assert_silent(&mut table, seen(30, 31, 130, struck(0, false)));
    assert_shown(&mut table, seen(30, 30, 131, reported(10, 7 << 8, true)), "30 of 10 reported ends None None");
}

#[test]
fn the_last_thread_may_be_seen_to_end_before_another_one() {
    let table_with_threads = || Processes { inputs: Inputs { reports: true, ..Inputs::default() }, ..table() };
    let killed = End::from_status(9);
    let mut table = table_with_threads();
    assert_silent(&mut table, seen(20, 21, 110, reported(10, 0, true)));
    assert!(table.waits());
    assert_shown(
        &mut table,
        seen(20, 20, 111, struck(9, false)),
        &format!("20 of 10 p20 ends {:?} None", Some(killed)),
    );
    assert!(!table.waits() && table.strays.is_empty() && !table.threads.contains_key(&20));
    // It need not come.
    let mut table = table_with_threads();
    assert_silent(&mut table, seen(20, 20, 110, reported(10, 7 << 8, true)));
    assert!(table.overdue(110 + PATIENCE_NS - 1).is_none());
    let Some(Event::Exit(exit)) = table.overdue(110 + PATIENCE_NS) else { panic!() };
    assert_eq!((exit.process.pid, exit.process.time_ns, exit.end), (20, 110, Some(End::Code(7))));
    assert_eq!(table.threads.len(), table.processes.len());
    // One of a process that is not known any more leaves nothing behind.
    assert_silent(&mut table, seen(20, 21, PATIENCE_NS, reported(10, 0, false)));
    assert!(table.overdue(2 * PATIENCE_NS).is_none() && table.strays.is_empty());
}

#[test]
fn in_doubt_only_what_the_record_itself_says_is_shown() {
    let mut table = Processes { inputs: Inputs { reports: true, ..Inputs::default() }, ..table() };
    table.forget(200);
    assert_silent(&mut table, seen(10, 10, 150, fork(30)));
    assert_silent(&mut table, seen(30, 30, 151, Kind::Renamed { comm: b"x", by_exec: true }));
    assert_shown(&mut table, seen(30, 30, 152, EXEC), "30 of - x runs /bin/x");
    assert_shown(
        &mut table,
        seen(30, 30, 153, reported(10, 3 << 8, true)),
        "30 of 10 reported ends Some(Code(3)) None",
    );
    // Whether others have ended is not known; of the last one it is.
    assert_silent(&mut table, seen(20, 20, 154, reported(10, 0, false)));
    assert_shown(
        &mut table,
        seen(20, 21, 155, reported(10, 9, true)),
        &format!("20 of 10 - ends {:?} None", Some(End::from_status(9))),
    );
    assert_eq!(table.missed(), Missed::default());
}

#[test]
fn after_a_loss_it_learns_anew() {
    let mut table = Processes { inputs: Inputs { reports: true, ..Inputs::default() }, ..table() };
    table.forget(200);
    table.relearn(vec![20, 10, 1], |_| None, &[], 200);
    // Not read yet: its exec shows nearly all.
    assert_shown(&mut table, seen(20, 20, 210, EXEC), "20 of - - runs /bin/x");
    assert_shown(&mut table, seen(20, 20, 211, reported(10, 3 << 8, true)), "20 of 10 - ends Some(Code(3)) Some(210)");
    let read = |pid| match pid {
        20 => procfs::Read::Gone,
        pid => procfs::Read::Alive(procfs::Process { as_of_ns: 220, ..process(pid, u32::from(pid == 10), &[pid]) }),
    };
    assert!(table.read_some(2, true, read));
    assert!(!table.read_some(2, true, read));
    // Read later than this happened.
    assert_shown(&mut table, seen(10, 10, 215, EXEC), "10 of - - runs /bin/x");
    assert_shown(&mut table, seen(10, 10, 230, EXEC), "10 of 1 p10 runs /bin/x");
}

#[test]
fn one_that_is_about_to_end_is_read_again() {
    let mut table = table();
    table.forget(200);
    table.relearn(vec![10], |_| None, &[], 200);
    assert!(table.read_some(9, true, |_| procfs::Read::Ending));
    assert!(!table.read_some(9, false, |_| procfs::Read::Ending));
}

#[test]
fn an_exec_of_which_only_the_name_was_seen_is_missed() {
    let mut table = table();
    let named = || Kind::Renamed { comm: b"x", by_exec: true };
    assert_silent(&mut table, seen(10, 10, 110, named()));
    assert_shown(&mut table, seen(10, 10, 111, EXEC), "10 of 1 x runs /bin/x");
    assert_eq!(table.missed().execs, 0);
    assert_silent(&mut table, seen(10, 10, 112, named()));
    assert_silent(&mut table, seen(10, 10, 113, named()));
    assert_eq!(table.missed().execs, 1);
    assert_shown(&mut table, seen(10, 10, 114, end(1)), "10 of 1 x ends None Some(111)");
    assert_eq!(table.missed().execs, 2);
    // Beyond the point of no return an exec can only fail by a signal.
    assert_silent(&mut table, seen(20, 20, 115, named()));
    assert_silent(&mut table, seen(20, 20, 116, reported(1, 9, false)));
    assert_eq!(table.missed().execs, 2);
    // Where that is not reported, it was seen.
    assert_silent(&mut table, seen(20, 21, 117, named()));
    let taken = Kind::SignalTaken { signal: libc::SIGSEGV as u8, has_handler: false };
    assert_silent(&mut table, seen(20, 21, 118, taken));
    assert!(table.see(&seen(20, 21, 119, end(1))).is_some());
    assert_eq!(table.missed().execs, 2);
}

#[test]
fn without_the_tracepoint_a_fork_is_known_but_not_whose_child_it_is() {
    let mut table = table();
    assert_silent(&mut table, seen(30, 30, 110, Kind::Forked { maker: 10, maker_tid: 10 }));
    assert_shown(&mut table, seen(30, 30, 111, EXEC), "30 of - p10 runs /bin/x");
    assert_silent(&mut table, seen(20, 22, 112, Kind::Forked { maker: 20, maker_tid: 20 }));
    for tid in [20, 21] {
        assert_silent(&mut table, seen(20, tid, 113, end(10)));
    }
    assert_shown(&mut table, seen(20, 22, 114, end(10)), "20 of 10 p20 ends None None");
}

#[test]
fn a_user_that_is_shown_counts_from_then_on() {
    let mut table = Processes::new(Inputs { keeps_users: true, users_are_reported: true, ..Inputs::default() });
    table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10])], BEGIN);
    assert_silent(&mut table, seen(10, 10, 110, Kind::UserChanged(Some(700))));
    assert_eq!(user_of(&mut table, 10, 111, EXEC_32), Some(700));
    assert_silent(&mut table, seen(10, 10, 112, Kind::UserChanged(Some(800))));
    assert_eq!(user_of(&mut table, 10, 113, end(1)), Some(800));
}

/// The user of the next event, where BPF does not add it.
fn user_of(table: &mut Processes, pid: u32, time_ns: u64, what: Kind<'_>) -> Option<u32> {
    table.see(&Record { who: Who::default(), ..seen(pid, pid, time_ns, what) }).unwrap().process().uid
}

fn table_of_users() -> Processes {
    let mut table = Processes::new(Inputs { keeps_users: true, ..Inputs::default() });
    table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10]), process(20, 1, &[20, 21])], BEGIN);
    table
}

#[test]
fn users_are_those_of_parents_until_they_are_changed() {
    let mut table = table_of_users();
    assert_silent(&mut table, seen(10, 10, 110, fork(30)));
    assert_eq!(user_of(&mut table, 30, 111, EXEC), Some(500));
    assert_silent(&mut table, seen(30, 30, 120, Kind::UserChanged(None)));
    assert_eq!(user_of(&mut table, 30, 121, EXEC), None);
    table.resolve(|_| None, |pid| (pid == 30).then_some((600, 130)));
    assert_eq!(user_of(&mut table, 30, 125, EXEC), None);
    assert_eq!(user_of(&mut table, 30, 135, EXEC), Some(600));
    assert_silent(&mut table, seen(30, 30, 136, fork(31)));
    assert_eq!(user_of(&mut table, 31, 137, end(10)), Some(600));
}

#[test]
fn threads_with_users_of_their_own_leave_a_process_none_until_it_executes() {
    let mut table = table_of_users();
    assert_silent(&mut table, seen(20, 21, 110, Kind::UserChanged(None)));
    table.resolve(|_| None, |_| Some((600, 120)));
    assert_silent(&mut table, seen(20, 21, 130, fork(30)));
    assert_eq!(user_of(&mut table, 30, 131, EXEC), None);
    assert_eq!(user_of(&mut table, 20, 140, EXEC), None);
    table.resolve(|_| None, |_| Some((600, 150)));
    assert_eq!(user_of(&mut table, 20, 160, EXEC), Some(600));
}

#[test]
fn what_a_32_bit_program_does_with_its_user_is_not_seen() {
    let mut table = table_of_users();
    assert_silent(&mut table, seen(10, 10, 110, fork(30)));
    assert_eq!(user_of(&mut table, 30, 111, EXEC_32), Some(500));
    assert_silent(&mut table, seen(30, 30, 112, fork(31)));
    assert_eq!(user_of(&mut table, 31, 113, end(10)), None);
    table.resolve(|_| None, |_| Some((600, 120)));
    assert_eq!(user_of(&mut table, 30, 130, end(10)), None);
}

#[test]
fn where_changes_are_not_seen_no_user_is_shown() {
    let mut table = table();
    assert_eq!(user_of(&mut table, 10, 110, EXEC), None);
    table.resolve(|_| None, |_| Some((600, 120)));
    assert_eq!(user_of(&mut table, 10, 130, EXEC), None);
}

/// As BPF says it of a process that ends.
fn leaves(pid: u32, time_ns: u64, uid: u32) -> Record<'static> {
    let who = Who { uid: Some(uid), cgroup_id: Some(u64::from(uid) + 7) };
    Record { who, ..seen(pid, pid, time_ns, Kind::Leaves) }
}

#[track_caller]
fn assert_left(table: &mut Processes, record: &Record<'_>, uid: u32) {
    let event = table.see(record).unwrap();
    let process = event.process();
    assert_eq!((process.uid, process.cgroup_id), (Some(uid), Some(u64::from(uid) + 7)));
}

#[test]
fn an_end_waits_for_who_it_was_which_comes_before_or_after_it() {
    let mut table = Processes { inputs: Inputs { leaves: true, ..Inputs::default() }, ..table() };
    let end_of = |pid, time_ns| Record { who: Who::default(), ..seen(pid, pid, time_ns, end(10)) };
    for (pid, time_ns) in [(30, 110), (31, 120)] {
        assert_silent(&mut table, seen(10, 10, time_ns, fork(pid)));
    }
    assert_silent(&mut table, leaves(30, 130, 700));
    assert_left(&mut table, &end_of(30, 131), 700);
    assert_silent(&mut table, seen(31, 31, 140, end(10)));
    assert_left(&mut table, &leaves(31, 141, 800), 800);
    // What was left of one that had the number before is no part of this one.
    assert_silent(&mut table, seen(10, 10, 150, fork(32)));
    assert_silent(&mut table, leaves(32, 151, 800));
    assert_silent(&mut table, seen(32, 32, 152, Kind::Forked { maker: 10, maker_tid: 10 }));
    assert_silent(&mut table, leaves(32, 160, 900));
    assert_left(&mut table, &end_of(32, 161), 900);
}

#[test]
fn an_exit_does_not_wait_for_ever() {
    let group_of = |event: Option<Event<'_>>| event.map(|event| (event.process().pid, event.process().cgroup_id));
    let mut table = Processes { inputs: Inputs { leaves: true, ..Inputs::default() }, ..table() };
    for (pid, time_ns) in [(30, 110), (31, 120), (32, 130), (33, 140)] {
        assert_silent(&mut table, seen(10, 10, time_ns, fork(pid)));
    }
    assert!(!table.waits());
    assert_silent(&mut table, seen(30, 30, 150, end(10)));
    assert!(table.waits() && table.has_tracked());
    assert_eq!(group_of(table.overdue(150 + PATIENCE_NS - 1)), None);
    assert_eq!(group_of(table.overdue(150 + PATIENCE_NS)), Some((30, None)));
    // Nor if its number comes back.
    assert_silent(&mut table, seen(31, 31, 160, end(10)));
    assert_silent(&mut table, seen(31, 31, 170, Kind::Forked { maker: 10, maker_tid: 10 }));
    assert_silent(&mut table, leaves(31, 180, 700));
    assert_eq!(group_of(table.overdue(190)), Some((31, None)));
    assert_left(&mut table, &Record { who: Who::default(), ..seen(31, 31, 190, end(10)) }, 700);
    // Nor if something was lost, before or after it ended.
    assert_silent(&mut table, seen(32, 32, 200, end(10)));
    table.forget(220);
    assert_eq!(group_of(table.overdue(220)), Some((32, None)));
    assert!(!table.waits());
    let lost = seen(33, 33, 210, reported(10, 0, true));
    assert_eq!(group_of(table.see(&lost)), Some((33, None)));
    assert_eq!(table.missed().exits, 0);
}

#[test]
fn who_the_first_thread_was_is_no_matter_once_another_one_has_executed_a_program() {
    let mut table = Processes { inputs: Inputs { leaves: true, ..Inputs::default() }, ..table() };
    let nobody = |record| Record { who: Who::default(), ..record };
    assert_silent(&mut table, nobody(seen(20, 20, 110, end(10))));
    assert_silent(&mut table, leaves(20, 111, 700));
    assert_silent(&mut table, nobody(seen(20, 20, 119, Kind::Renamed { comm: b"new", by_exec: true })));
    assert!(table.is_executing(20));
    assert!(table.see(&nobody(seen(20, 20, 120, EXEC))).is_some());
    assert!(!table.is_executing(20));
    assert_silent(&mut table, nobody(seen(20, 20, 130, end(10))));
    assert_left(&mut table, &leaves(20, 131, 800), 800);
}

/// Before Linux 5.7.
#[test]
fn where_perf_does_not_name_the_parent_the_report_does_or_it_is_the_last_one_known() {
    let mut table = table();
    assert_silent(&mut table, seen(10, 10, 110, fork(30)));
    let end = Kind::End { ppid: None, report: None };
    assert_shown(&mut table, seen(30, 30, 120, end), "30 of 10 fork ends None None");
    table.inputs.reports = true;
    let Kind::End { report, .. } = reported(7, 0, true) else { panic!() };
    let end = Kind::End { ppid: None, report };
    assert_shown(&mut table, seen(10, 10, 130, end), "10 of 7 p10 ends Some(Code(0)) None");
}

#[test]
fn a_process_that_was_forked_while_proc_was_read_is_known_nonetheless() {
    let mut table = table();
    // Its maker was read after that, the list of processes before; or the maker is gone.
    assert_silent(&mut table, seen(10, 10, 50, fork(30)));
    assert_shown(&mut table, seen(30, 30, 110, EXEC), "30 of 10 fork runs /bin/x");
    assert_silent(&mut table, seen(9, 9, 51, fork(31)));
    assert_silent(&mut table, seen(9, 9, 52, end(1)));
    assert_shown(&mut table, seen(31, 31, 111, EXEC), "31 of - fork runs /bin/x");
    table.resolve(|pid| (pid == 31).then_some((1, 120)), |_| None);
    assert_shown(&mut table, seen(31, 31, 130, EXEC), "31 of 1 fork runs /bin/x");
}

#[test]
fn a_parent_that_was_not_there_any_more_is_looked_up() {
    let mut table = Processes::new(Inputs::default());
    table.fill(vec![process(1, 0, &[1]), process(30, 10, &[30])], BEGIN);
    assert_shown(&mut table, seen(30, 30, 110, EXEC), "30 of - p30 runs /bin/x");
    table.resolve(|_| Some((1, 120)), |_| None);
    assert_shown(&mut table, seen(30, 30, 130, EXEC), "30 of 1 p30 runs /bin/x");
}

#[test]
fn a_process_whose_first_thread_has_ended_had_several() {
    let mut table = Processes::new(Inputs::default());
    table.fill(vec![process(1, 0, &[1]), process(20, 1, &[21])], BEGIN);
    // kill() names the first thread.
    assert_silent(&mut table, seen(1, 1, 109, Kind::SignalSent { tid: 20, signal: libc::SIGTERM as u8 }));
    assert_silent(&mut table, seen(20, 21, 110, Kind::ExitThread(6)));
    assert_shown(&mut table, seen(20, 21, 111, end(1)), "20 of 1 p20 ends None None");
}
