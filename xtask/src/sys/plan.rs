//! What a run does, as data: tasks of steps. A step knows its printed line and its doing in one place; here is what
//! prints every plan, and what runs it.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Error, Result, anyhow};
use serde_json::{Value, json};

use crate::sys::parallel;
use crate::sys::process::Runner;
use crate::ui::error::{self, Damaged, Interrupted};
use crate::ui::screen::{self, Line};

/// One piece of work.
pub trait Step: Debug + Send + Sync {
    /// The step in a printed plan: shell that does the same, or a `#` comment for what only this tool can do.
    fn line(&self) -> String;

    /// The step in a plan that is printed as JSON: an object whose only key is the kind of step.
    fn json(&self) -> Value;

    fn run(&self, work: &Work) -> Result<()>;
}

/// Steps, one after the other.
pub type Steps = Vec<Box<dyn Step>>;

/// What a step needs to do its work.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    pub runner: Runner,
    /// What the task does.
    title: &'a str,
    line: Option<&'a Line<'static>>,
}

impl Work<'_> {
    /// Prints what the task does.
    pub fn announce(&self) {
        self.runner.status(self.title);
    }

    /// Shows what is done now on the live line of the task, if it has one.
    pub fn show(&self, text: &str) {
        if let Some(line) = self.line {
            line.set(text);
        }
    }
}

/// Steps that belong together.
#[derive(Debug, Default)]
pub struct Task {
    /// What it does: "building probe for mips". Stands above its steps in a printed plan.
    pub title: String,
    pub steps: Steps,
    /// Whether the title is printed when it begins.
    announced: bool,
    /// What it is called on its live line, and among its neighbours that failed.
    name: Option<String>,
    live: bool,
    /// It runs at the same time as neighbours with the same mark. Each of them comes to its end, even if others fail.
    beside: Option<&'static str>,
    /// It waits for other machines, so that more of its kind than processors run at once.
    waits: bool,
    /// Runs even if something before it failed, for it cleans up.
    always: bool,
    /// What an error of it begins with: "cannot build the standard library".
    failure: Option<String>,
}

impl Task {
    pub fn new(title: impl Into<String>, steps: Steps) -> Task {
        Task { title: title.into(), steps, ..Task::default() }
    }

    pub fn announced(self) -> Task {
        Task { announced: true, ..self }
    }

    pub fn named(self, name: impl Into<String>) -> Task {
        Task { name: Some(name.into()), ..self }
    }

    pub fn live(self, name: impl Into<String>) -> Task {
        Task { live: true, ..self.named(name) }
    }

    pub fn beside(self, group: &'static str) -> Task {
        Task { beside: Some(group), ..self }
    }

    pub fn waiting(self) -> Task {
        Task { waits: true, ..self }
    }

    pub fn always(self) -> Task {
        Task { always: true, ..self }
    }

    pub fn failure(self, text: impl Into<String>) -> Task {
        Task { failure: Some(text.into()), ..self }
    }

    fn json(&self) -> Value {
        json!({
            "title": self.title,
            "beside": self.beside,
            "always": self.always,
            "steps": self.steps.iter().map(|step| step.json()).collect::<Vec<_>>(),
        })
    }

    fn run(&self, runner: Runner) -> Result<()> {
        let line = self.name.as_ref().filter(|_| self.live).map(|name| runner.line(name));
        let work = Work { runner, title: &self.title, line: line.as_ref() };
        if self.announced {
            work.announce();
        }
        match self.always {
            // After an interruption, too.
            true => self.steps.iter().try_for_each(|step| step.run(&work)),
            false => run_steps(&self.steps, &work),
        }
    }
}

/// Runs steps one after the other, until one fails.
pub fn run_steps(steps: &Steps, work: &Work) -> Result<()> {
    steps.iter().try_for_each(|step| {
        work.runner.check_interrupted()?;
        step.run(work)
    })
}

/// How a printed plan begins.
const SCRIPT_HEAD: &str = "\
#!/bin/sh -e
# What this tool does itself, and no command, stands here as a comment: unpacking, checking, packing.
";

/// A plan as a shell script.
pub fn script(tasks: &[Task]) -> String {
    let mut text = SCRIPT_HEAD.to_owned();
    for group in groups(tasks) {
        if group.len() > 1 {
            text += &format!("# side by side: the next {} tasks\n", group.len());
        }
        for task in group {
            text += &format!("# {}\n", task.title);
            task.steps.iter().for_each(|step| text += &format!("{}\n", step.line()));
        }
    }
    text
}

/// A plan as JSON.
pub fn to_json(tasks: &[Task]) -> Value {
    json!({ "tasks": tasks.iter().map(Task::json).collect::<Vec<_>>() })
}

/// Prints a plan.
pub fn print(tasks: &[Task], json: bool) -> Result<()> {
    match json {
        true => screen::print_result(to_json(tasks)),
        false => screen::print(&script(tasks)),
    }
}

/// Runs a plan until something fails. Clean-up steps run even then.
pub fn run(runner: Runner, tasks: &[Task]) -> Result<()> {
    let mut ended = Ok(());
    for group in groups(tasks) {
        match &ended {
            Ok(()) => ended = run_group(runner, group),
            // How it ends is of no interest any more.
            Err(_) => group.iter().filter(|task| task.always).for_each(|task| drop(task.run(runner))),
        }
    }
    ended
}

/// Neighbours that run at the same time stand together, every other task alone.
fn groups(tasks: &[Task]) -> impl Iterator<Item = &[Task]> {
    tasks.chunk_by(|one, next| one.beside.is_some() && one.beside == next.beside)
}

fn run_group(runner: Runner, group: &[Task]) -> Result<()> {
    let run = |task: &Task| {
        // It cleans up after an interruption, too.
        if !task.always {
            runner.check_interrupted()?;
        }
        task.run(runner)
    };
    let results = match group.iter().any(|task| task.waits) {
        true => parallel::map_waiting(group, run),
        false => parallel::map(group, run),
    };
    runner.check_interrupted()?;
    let mut failures = Vec::new();
    for (task, result) in group.iter().zip(results) {
        match result {
            Ok(()) => {}
            // These are for the caller to know.
            Err(error) if error.is::<Damaged>() || error.is::<Interrupted>() => return Err(error),
            Err(error) => failures.push((task, error)),
        }
    }
    match failures.as_slice() {
        [] => Ok(()),
        [(task, _)] if task.beside.is_none() => {
            let (task, error) = failures.remove(0);
            Err(match &task.failure {
                Some(text) => error.context(text.clone()),
                None => error,
            })
        }
        several => Err(together(several)),
    }
}

/// One line for each reason, with the tasks that it holds for.
fn together(failures: &[(&Task, Error)]) -> Error {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (task, error) in failures {
        let reason = error::describe(error);
        let name = task.name.as_deref().unwrap_or(&task.title);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let lines: String = reasons.iter().map(|(reason, names)| format!("\n  {}: {reason}", names.join(", "))).collect();
    match failures.iter().find_map(|(task, _)| task.failure.as_ref()) {
        Some(failure) => anyhow!("{failure}:{lines}"),
        None => anyhow!("{} of them failed:{lines}", failures.len()),
    }
}

/// A place for what one step finds out and a later one needs. Made with the plan, and empty in it.
#[derive(Debug)]
pub struct Slot<T>(Arc<OnceLock<T>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(Arc::clone(&self.0))
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot(Arc::default())
    }
}

impl<T> Slot<T> {
    pub fn put(&self, value: T) -> Result<()> {
        self.0.set(value).map_err(|_| anyhow!("a step was run twice"))
    }

    pub fn get(&self) -> Result<&T> {
        self.0.get().context("a step was run before the one whose result it needs")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::bail;

    use super::*;
    use crate::ui::screen::Level;

    /// Writes down that it ran, and may fail.
    #[derive(Debug, Clone)]
    struct Note {
        name: &'static str,
        fails: Option<&'static str>,
        notes: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Step for Note {
        fn line(&self) -> String {
            format!("echo {}", self.name)
        }

        fn json(&self) -> Value {
            json!({ "note": self.name })
        }

        fn run(&self, _: &Work) -> Result<()> {
            self.notes.lock().unwrap().push(self.name);
            match self.fails {
                Some(reason) => bail!("{reason}"),
                None => Ok(()),
            }
        }
    }

    /// Runs tasks made of names and reasons to fail; gives what ran and the error.
    fn outcome(
        make: impl Fn(Task) -> Task,
        tasks: &[(&'static str, Option<&'static str>)],
    ) -> (Vec<&'static str>, String) {
        let notes: Arc<Mutex<Vec<&str>>> = Arc::default();
        let task = |(name, fails): &(&'static str, Option<&'static str>)| {
            make(Task::new(*name, vec![Box::new(Note { name, fails: *fails, notes: notes.clone() })]))
        };
        let mut tasks: Vec<Task> = tasks.iter().map(task).collect();
        tasks.push(task(&("clean up", None)).beside("end").always());
        let error =
            run(Runner::new(Level::Quiet), &tasks).map_or_else(|error| format!("{error:#}"), |()| String::new());
        let mut ran = notes.lock().unwrap().clone();
        ran.sort_unstable();
        (ran, error)
    }

    #[test]
    fn after_a_failure_nothing_runs_but_what_cleans_up() {
        let tasks = [("a", None), ("b", Some("no room")), ("c", None)];
        let (ran, error) = outcome(|task| task.failure("cannot do it"), &tasks);
        assert_eq!(ran, ["a", "b", "clean up"]);
        assert_eq!(error, "cannot do it: no room");
    }

    #[test]
    fn of_tasks_side_by_side_all_run_and_each_reason_is_printed_once() {
        let tasks = [("a", Some("no room")), ("b", None), ("c", Some("no room")), ("d", Some("no light"))];
        let (ran, error) = outcome(|task| task.beside("all").failure("cannot do it"), &tasks);
        assert_eq!(ran, ["a", "b", "c", "clean up", "d"]);
        assert_eq!(error, "cannot do it:\n  a, c: no room\n  d: no light");
    }

    #[test]
    fn a_plan_is_printed_as_it_runs() {
        let note = |name| -> Steps { vec![Box::new(Note { name, fails: None, notes: Arc::default() })] };
        let tasks = [
            Task::new("first", note("a")),
            Task::new("x", note("b")).beside("g"),
            Task::new("y", note("c")).beside("g"),
        ];
        let text = script(&tasks);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines, ["# first", "echo a", "# side by side: the next 2 tasks", "# x", "echo b", "# y", "echo c"]);
        assert_eq!(to_json(&tasks)["tasks"][1]["steps"][0]["note"], "b");
    }
}
