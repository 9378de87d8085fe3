//! Whether signers stand behind an archive: its signature, where it comes from, its boots, and who built it again.

use std::collections::BTreeMap;
use std::path::absolute;

use anyhow::Result;
use serde_json::Value;

use super::release::{self, Archives, Release};
use super::report::Report;
use super::sigstore::{self, Identity};
use crate::flags;
use crate::release::boot_report::{self, REPORT};
use crate::release::install::INSTALL;
use crate::release::layout::{CHECKSUMS, MANIFEST};
use crate::sign::dsse::Signed;
use crate::sign::key::PublicKey;
use crate::sign::{facts, statement};
use crate::sys::hash::{self, Sha256};
use crate::sys::process::Runner;
use crate::ui::error::bad_request;

/// Whose word is taken for a release, and for what.
pub struct Trust {
    pub signers: Vec<PublicKey>,
    /// They must state where it comes from, and its boots.
    pub proof: bool,
    /// So many of them must have built it again.
    pub rebuilders: Option<u8>,
}

impl Trust {
    /// Reads the keys that are named.
    pub fn read(words: &flags::Trust) -> Result<Trust> {
        let flags::Trust { signers, proof, rebuilders } = words;
        let signers = facts::signers(signers)?;
        if let Some(wanted) = rebuilders
            && usize::from(*wanted) > signers.len()
        {
            bad_request!("--rebuilders {wanted} wants as many different keys, and --signer names {}", signers.len());
        }
        Ok(Trust { signers, proof: *proof, rebuilders: *rebuilders })
    }

    /// Whether the release must be signed: who built it again need not trust who built it first.
    fn wants_signature(&self) -> bool {
        !self.signers.is_empty() && (self.rebuilders.is_none() || self.proof)
    }
}

/// What is demanded of archives besides being right.
pub struct Demands<'a> {
    pub trust: &'a Trust,
    /// Each must have been booted.
    pub boot: bool,
    /// One whose checksum is nowhere to be found is taken.
    pub without_checksum: bool,
    /// Who must have signed it by Sigstore.
    pub identity: Option<Identity>,
}

impl Archives {
    /// Everything about each of them, and then what is wrong with the files that are about all.
    pub fn check(mut self, runner: Runner, demands: &Demands) -> Result<Vec<Report>> {
        let Demands { trust, boot, without_checksum, identity } = demands;
        let statements = self.release.statements(trust);
        let listed = self.release.signed_list(trust);
        let mut reports = Vec::new();
        for name in &self.names {
            runner.check_interrupted()?;
            let mut report = self.release.check(name, *without_checksum);
            if *boot || trust.proof {
                self.release.check_boots(&mut report);
            }
            self.release.check_trust(name, trust, &statements, &listed, &mut report);
            if let Some(identity) = identity {
                sigstore::check(runner, &absolute(self.release.folder.join(name))?, identity, &mut report)?;
            }
            reports.push(report);
        }
        if self.is_folder {
            self.release.reports.push(self.release.check_script());
        }
        if trust.wants_signature() {
            self.check_beside(trust, &listed);
        }
        reports.extend(self.release.reports.into_iter().filter(|report| !report.faults.is_empty()));
        Ok(reports)
    }

    /// Signers must stand behind what is beside the archives, too, as far as it is there: in the list of checksums, for a signature of
    /// its own may be that of an earlier release.
    fn check_beside(&mut self, trust: &Trust, listed: &BTreeMap<String, Sha256>) {
        let folder = &self.release.folder;
        let sboms = self.names.iter().map(|name| release::sbom(name));
        let script = self.is_folder.then(|| INSTALL.to_owned());
        let mut reports = Vec::new();
        for name in [MANIFEST.to_owned()].into_iter().chain(script).chain(sboms) {
            let path = folder.join(&name);
            if path.symlink_metadata().is_err() {
                continue;
            }
            let mut report = Report::new(&path);
            match facts::is_signed(folder, &name, &trust.signers) {
                // That this is its checksum is checked where it is read.
                Ok(_) if listed.contains_key(&name) => {}
                Ok(_) => report.fault(format!(
                    "no signer stands behind it: {CHECKSUMS} with its checksum, signed, must be beside it"
                )),
                Err(error) => report.fault(format!("{error:#}")),
            }
            reports.push(report);
        }
        self.release.reports.extend(reports);
    }
}

impl Release {
    /// The checksums that signers stand behind.
    fn signed_list(&mut self, trust: &Trust) -> BTreeMap<String, Sha256> {
        if !trust.wants_signature() {
            return BTreeMap::new();
        }
        match facts::is_signed(&self.folder, CHECKSUMS, &trust.signers) {
            Ok(true) => self.checksums.clone().unwrap_or_default(),
            Ok(false) => BTreeMap::new(),
            Err(error) => {
                let mut report = Report::new(&self.folder.join(CHECKSUMS));
                report.fault(format!("{error:#}"));
                self.reports.push(report);
                BTreeMap::new()
            }
        }
    }

    /// What signers state of this release. Something wrong with that is reported.
    fn statements(&mut self, trust: &Trust) -> Vec<Signed> {
        if !trust.proof && trust.rebuilders.is_none() {
            return Vec::new();
        }
        facts::statements(&self.folder, &trust.signers).unwrap_or_else(|error| {
            let mut report = Report::new(&self.folder);
            report.fault(format!("{error:#}"));
            self.reports.push(report);
            Vec::new()
        })
    }

    /// Signers must stand behind an archive.
    fn check_trust(
        &self,
        name: &str,
        trust: &Trust,
        statements: &[Signed],
        listed: &BTreeMap<String, Sha256>,
        report: &mut Report,
    ) {
        let Some(sha256) = report.sha256.filter(|_| !trust.signers.is_empty()) else { return };
        if let Some(wanted) = trust.rebuilders {
            let manifest = self.manifest_text.as_ref().map(|text| hash::bytes(text.as_bytes()));
            let is_rebuild = |it: &&Signed| {
                statement::is_about(&it.statement, statement::REBUILD, name, &sha256)
                    && manifest.is_none_or(|manifest| statement::is_of_manifest(&it.statement, &manifest))
            };
            let mut by: Vec<[u8; 32]> = statements.iter().filter(is_rebuild).map(|it| it.by.bytes).collect();
            by.sort_unstable();
            by.dedup();
            match by.len() >= usize::from(wanted) {
                true => report.against.push(format!("rebuilt by {}", by.len())),
                false => report
                    .fault(format!("{} of the signers state that they built it again, and {wanted} must", by.len())),
            }
        }
        if trust.wants_signature() {
            match facts::is_signed(&self.folder, name, &trust.signers).map(|is| is || listed.get(name) == Some(&sha256))
            {
                Ok(true) => report.against.push("signature".into()),
                Ok(false) => report
                    .fault(format!("no signature of it is there: {name}.minisig, {name}.sig, or one of {CHECKSUMS}")),
                Err(error) => report.fault(format!("{error:#}")),
            }
        }
        if trust.proof {
            self.check_proof(name, statements, sha256, report);
        }
    }

    /// What signers state must be what the manifest and the report of boots beside the archive say.
    fn check_proof(&self, name: &str, statements: &[Signed], sha256: Sha256, report: &mut Report) {
        let of = |kind| {
            statements.iter().map(|it| &it.statement).filter(move |it| statement::is_about(it, kind, name, &sha256))
        };
        let manifest = self.manifest.as_ref().zip(self.manifest_text.as_ref());
        let is_stated = manifest.is_some_and(|(manifest, text)| {
            let is_same = |stated: &Value| {
                let builder = statement::builder(stated).unwrap_or_default();
                *stated == statement::provenance(manifest, text.as_bytes(), builder)
            };
            of(statement::PROVENANCE).any(is_same)
        });
        if !is_stated {
            report.fault(format!("no signer states that it was built as {MANIFEST} says"));
        }
        let known =
            release::text(&self.folder.join(REPORT)).ok().flatten().and_then(|text| boot_report::Report::parse(&text));
        let boots: Vec<_> = known.iter().flat_map(|known| &known.boots).filter(|boot| boot.sha256 == sha256).collect();
        let unstated =
            boots.iter().find(|boot| !of(statement::TEST_RESULT).any(|it| *it == statement::test_result(boot)));
        if let Some(boot) = unstated {
            report.fault(format!("no signer states what {REPORT} says of its boot on {}", boot.kernel.label));
        }
        let is_known = |it: &Value| boots.iter().any(|boot| *it == statement::test_result(boot));
        if let Some(failure) = of(statement::TEST_RESULT).find(|it| statement::is_failure(it) && !is_known(it)) {
            let kernel = failure.pointer("/predicate/configuration/0/name").and_then(Value::as_str).unwrap_or_default();
            report.fault(format!("a signer states that it failed on {kernel}, which {REPORT} does not say"));
        } else if is_stated && unstated.is_none() {
            report.against.push("provenance and boots".into());
        }
    }
}
