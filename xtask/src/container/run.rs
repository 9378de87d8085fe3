//! How an image is made and given to an engine: the steps of plan.rs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::container::archive;
use crate::container::engine::Image;
use crate::container::facts::Container;
use crate::container::layer::Layer;
use crate::container::lock::{self, Lock};
use crate::container::recipe::Recipe;
use crate::debian::deb::Deb;
use crate::sys::command::{Command, quote};
use crate::sys::plan::{Step, Work};
use crate::sys::{files, hash};
use crate::ui::error::Failed;

/// What apt prints of a version that a server does not have.
const NO_SUCH_VERSION: [&str; 2] = ["was not found", "404  Not Found"];

/// Downloads packages, and what they need.
#[derive(Debug)]
pub struct DownloadPackages {
    pub install: Command,
    pub lock: Option<Lock>,
}

impl Step for DownloadPackages {
    fn line(&self) -> String {
        self.install.to_string()
    }

    fn json(&self) -> Value {
        json!({ "download-packages": { "install": self.install, "lock": self.lock } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.show("packages");
        // apt makes it in its own folders only.
        files::create_folder(&self.install.folder.join("cache/archives/partial"))?;
        let result = work.runner.run(&self.install);
        let is_gone = |error: &anyhow::Error| {
            let failed = error.downcast_ref::<Failed>();
            failed.is_some_and(|failed| NO_SUCH_VERSION.iter().any(|words| failed.output.contains(words)))
        };
        match result {
            Err(error) if self.lock.is_some() && is_gone(&error) => Err(error.context(format!(
                "the mirror does not have what {} names any more: remove that file to take what it has, or set \
                 BPFSHIP_DEBIAN_MIRROR to a mirror that keeps old versions (snapshot.debian.org)",
                lock::FILE
            ))),
            other => other,
        }
    }
}

/// Makes an image of the packages in a folder, and writes down what is in it.
#[derive(Debug)]
pub struct MakeImage {
    pub packages: PathBuf,
    /// Prints the files of the package whose file follows, as a tar archive.
    pub list: Command,
    pub recipe: Recipe,
    pub archive: PathBuf,
}

impl Step for MakeImage {
    fn line(&self) -> String {
        format!(
            "# make an image of the files in {}/*.deb ({}), with one layer and without dates: {}\n\
             # write which packages these are, by version and SHA-256, beside it: {}",
            self.packages.display(),
            self.list,
            quote(&self.archive),
            lock::FILE
        )
    }

    fn json(&self) -> Value {
        json!({ "make-image": {
            "packages": self.packages, "list": self.list, "recipe": self.recipe, "archive": self.archive,
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let packages = self.check()?;
        let layer = self.archive.with_extension("layer");
        self.write_layer(work, &packages, &layer)?;
        work.show("the image");
        let description = archive::description(self.recipe.platform, &hash::file(&layer)?);
        let image = hash::bytes(&description);
        if let Some(lock) = &self.recipe.lock
            && lock.image != image
        {
            bail!(
                "of the packages in {}, it is the image sha256:{image}, and not sha256:{}: write that file anew, for another \
                 version of this tool wrote it",
                lock::FILE,
                lock.image
            );
        }
        let bytes = File::open(&layer).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, bytes) = bytes.with_context(|| format!("cannot read {}", layer.display()))?;
        let to = create(&self.archive)?;
        archive::write(to, &image, &description, &self.recipe.tag(), (bytes, size))?;
        std::fs::remove_file(&layer).with_context(|| format!("cannot remove {}", layer.display()))?;
        let packages = packages.into_iter().map(|(_, package)| package).collect();
        let lock = Lock { architecture: self.recipe.debian.into(), packages, image };
        files::write(&self.archive.with_file_name(lock::FILE), lock.to_string())
    }
}

impl MakeImage {
    /// The packages, by the names of their files: those of the lock, if there is one.
    fn check(&self) -> Result<Vec<(String, Deb)>> {
        let mut packages = Vec::new();
        for file in files::list(&self.packages)?.into_iter().filter(|file| file.ends_with(".deb")) {
            let sha256 = hash::file(&self.packages.join(&file))?;
            let package = Deb::of_file(&file, sha256)?;
            packages.push((file, package));
        }
        packages.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        let Some(lock) = &self.recipe.lock else { return Ok(packages) };
        for (_, package) in &packages {
            match lock.packages.iter().find(|locked| locked.name == package.name) {
                Some(locked) if locked == package => {}
                Some(locked) => bail!(
                    "{} {} has sha256 {}, and {} in {}",
                    package.name,
                    package.version,
                    package.sha256,
                    locked.sha256,
                    lock::FILE
                ),
                None => bail!("{} is needed, and is not in {}: write that file anew", package.name, lock::FILE),
            }
        }
        match packages.len() == lock.packages.len() {
            true => Ok(packages),
            false => bail!("{} names a package twice", lock::FILE),
        }
    }

    fn write_layer(&self, work: &Work, packages: &[(String, Deb)], to: &Path) -> Result<()> {
        let mut layer = Layer::new(create(to)?)?;
        for (file, package) in packages {
            work.show(&package.name);
            let list = self.list.clone().arg(self.packages.join(file).to_string_lossy());
            work.runner.stream(&list, |tar| layer.add(tar)).with_context(|| format!("cannot unpack {file}"))?;
        }
        layer.finish()?.flush().with_context(|| format!("cannot write {}", to.display()))
    }
}

fn create(file: &Path) -> Result<BufWriter<File>> {
    let created = File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
    Ok(BufWriter::with_capacity(1 << 20, created))
}

/// Makes sure that what an engine took is the image that was made.
#[derive(Debug)]
pub struct CheckLoaded {
    pub container: Container,
    pub folder: PathBuf,
    /// Where the image lies in the cache.
    pub entry: PathBuf,
}

impl Step for CheckLoaded {
    fn line(&self) -> String {
        let lock = self.entry.join(lock::FILE);
        format!("# check that {} has the id that is in {}", self.container.image, quote(&lock))
    }

    fn json(&self) -> Value {
        json!({ "check-loaded": { "container": self.container, "entry": self.entry } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Container { engine, image, .. } = &self.container;
        let text = files::read_if_there(&self.entry.join(lock::FILE))?.context("an image without a lock")?;
        let wanted = text.parse::<Lock>()?.image;
        let program = engine.kind.program();
        let found = Image::find(work.runner, engine.kind, &self.folder, image)?;
        let found = found.with_context(|| format!("{program} took the image, and does not have it"))?;
        match found.is(&wanted) {
            true => found.check(image, engine),
            false => bail!("{program} has {image} as {}, and not as {wanted}", found.id),
        }
    }
}

/// Fetches an image of the user's.
#[derive(Debug)]
pub struct PullImage {
    pub pull: Command,
    pub container: Container,
}

impl Step for PullImage {
    fn line(&self) -> String {
        self.pull.to_string()
    }

    fn json(&self) -> Value {
        json!({ "pull-image": { "pull": self.pull, "container": self.container } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.run(&self.pull)?;
        let Container { engine, image, .. } = &self.container;
        let found = Image::find(work.runner, engine.kind, &self.pull.folder, image)?;
        let found = found.with_context(|| format!("{} does not have the image {image}", engine.kind.program()))?;
        found.check(image, engine)
    }
}
