//! `cargo xtask sign`: says who made a release, in signatures and signed statements beside its archives.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::flags::{self, Common};
use crate::release::boot_report::{REPORT, Report};
use crate::sign::run::Key;
use crate::sign::{facts, plan, statement};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::verify::release as verify;
use crate::workspace::facts as workspace;

/// What was signed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Signed {
    /// Archives.
    pub signed: Vec<String>,
    /// How many boots are stated.
    pub boots: usize,
    /// The fingerprint of the key.
    pub by: String,
}

/// With --public: the public key in all its forms.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Public {
    pub minisign: String,
    pub ssh: String,
    pub fingerprint: String,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Sign) -> Result<()> {
    let key = Key::default();
    if request.public {
        let key = facts::secret(request.signing.key.as_deref())?.public;
        let (minisign, ssh, fingerprint) = (key.minisign(), key.ssh(), key.fingerprint());
        return match request.show.json {
            true => screen::print_result(Public { minisign, ssh, fingerprint }),
            false => screen::print(&format!("{minisign}\n{ssh}\n{fingerprint}\n")),
        };
    }
    let folder = match &request.folder {
        Some(folder) => folder.clone(),
        None => workspace::dist_of(&workspace::find_manifest(common.manifest_path.as_deref())?),
    };
    let secret = if request.show.plan { None } else { Some(facts::secret(request.signing.key.as_deref())?) };
    // What was altered since `dist` must not be signed.
    let (manifest, text) = verify::whole(&folder)?;
    verify::check_list(&folder, &manifest)?;
    let boots = match verify::text(&folder.join(REPORT)).context(REPORT)?.map(|text| Report::parse(&text)) {
        Some(Some(boots)) => boots,
        Some(None) => bail!("{REPORT} is none that this version understands: run `cargo xtask boot` again"),
        None => Report::new(),
    };
    let builder = match (&request.signing.by, &secret) {
        (Some(builder), _) => builder.clone(),
        (None, Some(key)) => statement::builder_of(&key.public.fingerprint()),
        (None, None) => statement::builder_of("…"),
    };
    if let Some(secret) = secret {
        key.put(Arc::new(secret))?;
    }
    let tasks = plan::sign(&folder, &manifest, text.as_bytes(), &boots, &builder, &key);
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    let public = key.get()?.public;
    let files: Vec<String> = manifest.files().collect();
    if request.show.json {
        let boots = boots.boots.len();
        return screen::print_result(Signed { signed: files, boots, by: public.fingerprint() });
    }
    runner.status(format!("signed by {}: cargo xtask verify --signer {}", public.fingerprint(), public.minisign()));
    Ok(())
}
