//! --preflight: what this kernel offers, which backend exectrace would take, what that cannot know, and what would help.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use crate::{
    backend::{Backend, Refused},
    cli::{BackendName, Cli},
    error::Error,
    features::{Features, Support},
};

pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let features = Features::probe(cli.btf.as_deref())?;
    let report = Report::new(cli, &features);
    let text = if cli.json { report.json()? } else { report.text() };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ if report.backend.is_some() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// The fields of the JSON are documented in docs/exectrace.md: keep them.
#[derive(Debug, Serialize)]
struct Report<'k> {
    kernel: &'k str,
    machine: &'k str,
    page_size: usize,
    bpf_jit: &'static str,
    locked_memory: &'k str,
    offers: Vec<Row>,
    /// The backend that would be taken.
    backend: Option<String>,
    /// What it cannot know.
    missing: Vec<Missing>,
    /// Options that are refused with it.
    refused: Vec<&'static str>,
    /// Why there is no better one, or none at all, with the remedy.
    remedy: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    offer: &'static str,
    /// None if that could not be tried.
    is_there: Option<bool>,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Missing {
    field: &'static str,
    /// None if always.
    when: Option<&'static str>,
}

impl<'k> Report<'k> {
    fn new(cli: &Cli, features: &'k Features) -> Self {
        let (backend, remedy) = match BackendName::choose(cli.backend, features) {
            Ok((backends, lack)) => (backends.into_iter().next(), lack),
            Err(error) => (None, Some(error.to_string())),
        };
        let missing = backend.iter().flat_map(Backend::gaps);
        let refused = backend.iter().flat_map(Backend::refuses).map(Refused::name).collect();
        Self {
            kernel: &features.release,
            machine: &features.machine,
            page_size: features.page,
            bpf_jit: features.jit,
            locked_memory: &features.locked_memory,
            offers: rows(features),
            missing: missing.map(|gap| Missing { field: gap.field, when: gap.when }).collect(),
            backend: backend.map(|backend| backend.to_string()),
            refused,
            remedy,
        }
    }

    fn json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Output(error.into()))?;
        Ok(text + "\n")
    }

    fn text(&self) -> String {
        let mut text = format!(
            "kernel               Linux {} on {}, pages of {} KiB, BPF JIT {}, locked memory {}\n",
            self.kernel,
            self.machine,
            self.page_size / 1024,
            self.bpf_jit,
            self.locked_memory
        );
        for row in &self.offers {
            let is_there = match row.is_there {
                Some(true) => "yes",
                Some(false) => "no",
                None => "?",
            };
            text += format!("{:20} {is_there:4}{}", row.offer, row.detail).trim_end();
            text += "\n";
        }
        text += "\n";
        match &self.backend {
            Some(backend) => text += &format!("backend: {backend}\n"),
            None => text += "backend: none\n",
        }
        for missing in &self.missing {
            match missing.when {
                Some(when) => text += &format!("missing: {}, {when}\n", missing.field),
                None => text += &format!("missing: {}, always\n", missing.field),
            }
        }
        if !self.refused.is_empty() {
            text += &format!("refused: {}\n", self.refused.join(", "));
        }
        if let Some(remedy) = &self.remedy {
            text += &format!("for more: {remedy}\n");
        }
        text
    }
}

fn rows(features: &Features) -> Vec<Row> {
    [
        ("root or capabilities", &features.rights),
        ("no lockdown", &features.lockdown),
        ("bpf()", &features.bpf),
        ("BPF raw tracepoints", &features.raw_tracepoints),
        ("BPF tracepoints", &features.classic_tracepoints),
        ("BTF", &features.btf),
        ("BPF ring buffer", &features.ring_buffer),
        ("perf events", &features.perf),
        ("user stacks", &features.stacks),
        ("groups in samples", &features.perf_groups),
        ("tracefs", &features.tracefs),
        ("tracepoints", &features.tracepoints),
        ("exit tracepoints", &features.codes),
        ("user tracepoints", &features.users),
        ("taskstats", &features.taskstats),
        ("proc connector", &features.connector),
        ("all processes", &features.processes),
        ("host's pids", &features.numbers),
    ]
    .map(|(offer, state)| {
        let (is_there, detail) = match state {
            Support::Yes(detail) => (Some(true), detail.clone()),
            Support::No(error) => (Some(false), error.to_string()),
            Support::Unknown(why) => (None, (*why).to_owned()),
        };
        Row { offer, is_there, detail }
    })
    .into()
}
