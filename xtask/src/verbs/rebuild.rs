//! `cargo xtask rebuild`: builds the commit that a manifest names once more, apart from all that is here, and compares.

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::flags::{self, Common};
use crate::rebuild::plan;
use crate::sign::{self, statement};
use crate::sys;
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::verify::release as verify;
use crate::workspace::facts::Workspace;

/// What came out the same.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rebuilt {
    pub same: Vec<Archive>,
    /// What was not built again, in a sentence.
    #[serde(rename = "left-out")]
    pub left_out: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Archive {
    pub file: String,
    pub sha256: Sha256,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Rebuild) -> Result<()> {
    let found = Workspace::find(runner, common).context("a rebuild is of a commit in the repository of a workspace")?;
    let Workspace { root, dist, manifest: cargo_toml, .. } = found.0;
    let release = request.folder.clone().unwrap_or(dist);
    let (manifest, text) = verify::whole(&release)?;
    let left_out = verify::left_out(&release, &manifest)?;
    left_out.iter().for_each(|sentence| runner.status(sentence));

    let flags::Signing { key, by } = &request.signing;
    if !request.sign && (key.is_some() || by.is_some()) {
        bad_request!("--key and --by are for a statement that is signed: add --sign");
    }
    let slot = sign::run::Key::default();
    let mut place = None;
    if request.sign && !request.show.plan {
        let secret = sign::facts::secret(key.as_deref())?;
        let builder = by.clone().unwrap_or_else(|| statement::builder_of(&secret.public.fingerprint()));
        place = Some((sign::facts::place(builder), secret.public));
        slot.put(Arc::new(secret))?;
    }

    let folder = env::temp_dir().join(format!("bpfship-rebuild-{}", std::process::id()));
    let tool = env::current_exe().context("cannot find this program itself")?;
    let tasks = plan::plan(&plan::Request {
        root: &root,
        cargo_toml: &cargo_toml,
        release: &release,
        manifest: &manifest,
        folder: &folder,
        tool: &tool,
        offline: common.offline,
        builder: request.builder,
        prints: !request.show.json,
    })?;
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    if let Some((place, public)) = place {
        let stated = statement::rebuild(&manifest, text.as_bytes(), &place);
        let (name, tasks) = sign::plan::rebuild(&release, stated, &public, &slot);
        sys::plan::run(runner, &tasks)?;
        runner.status(format!("{name} states that these bytes come out of the commit"));
    }
    let archives = manifest.artifacts.iter().map(|it| Archive { file: it.file.clone(), sha256: it.sha256 });
    match request.show.json {
        true => screen::print_result(Rebuilt { same: archives.collect(), left_out }),
        false => Ok(()),
    }
}
