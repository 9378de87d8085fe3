//! The JSON schemas in docs/schemas/: of what verbs print with --json, of the files of a release, and of the configuration. They
//! are written from the types that print and parse, so that they know the same keys.
#![cfg(test)]

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::arch::{ARCHES, Arch};
use crate::bpf::target::{BpfTarget, ObjectName, TARGETS};
use crate::release::boot_report::{self, Report};
use crate::release::manifest::{self, Manifest};
use crate::release::staging::Made;
use crate::sys::hash::Sha256;
use crate::ui::screen;
use crate::verbs;
use crate::workspace::cached::Listing;
use crate::workspace::config::Written;

/// Types that are written as a word.
macro_rules! words {
    ($($type:ty, $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Schema::try_from($schema).unwrap()
            }
        }
    )*};
}

words! {
    Sha256, json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    Arch, json!({ "enum": ARCHES.each_ref().map(|arch| arch.name) });
    BpfTarget, json!({ "enum": TARGETS.each_ref().map(|target| target.name) });
    ObjectName, json!({ "type": "string", "pattern": "_bpfe[lb]\\.o$" });
}

/// That of a type that is printed, or written.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// That of what a verb prints, which has a number.
fn result<T: JsonSchema>() -> Value {
    numbered(of::<T>())
}

fn numbered(mut schema: Value) -> Value {
    schema["properties"]["schema"] = json!({ "const": screen::RESULT_SCHEMA });
    schema["required"].as_array_mut().unwrap().insert(0, "schema".into());
    schema
}

/// That of a file that has a number in its own type.
fn file<T: JsonSchema>(number: u32) -> Value {
    let mut schema = of::<T>();
    schema["properties"]["schema"] = json!({ "const": number });
    schema
}

/// Of a Cargo.toml, as far as it is ours.
fn configuration() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.untagged_enum_variant_titles = false);
    let mut table = settings.into_generator().into_root_schema_for::<Written>().to_value();
    let table = table.as_object_mut().unwrap();
    let mut definitions = table.remove("definitions").unwrap();
    let version = table.remove("$schema");
    table["title"] = "bpfship".into();
    table["description"] = "What bpfship ships, and how.".into();
    definitions["configuration"] = json!(table);
    let of = |word: &str| {
        let table = json!({ "$ref": "#/definitions/configuration" });
        let metadata = json!({ "type": "object", "properties": { crate::NAME: table } });
        (word.to_owned(), json!({ "type": "object", "properties": { "metadata": metadata } }))
    };
    json!({
        "$schema": version,
        "title": "Cargo.toml, as far as bpfship reads it",
        "type": "object",
        "properties": Value::from_iter(["workspace", "package"].map(of)),
        "definitions": definitions,
    })
}

/// Why there is no result.
fn error() -> Value {
    numbered(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Error",
        "description": "What is printed with --json if a verb fails before it has a result.",
        "type": "object",
        "properties": {
            "error": { "type": "string", "description": "The sentence that people see, too." },
            "code": { "enum": [1, 2, 130, 143], "description": "The exit code." },
        },
        "required": ["error", "code"],
    }))
}

/// With --plan.
fn plan() -> Value {
    numbered(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Plan",
        "description": "What is printed with --plan --json: what would be done, in this order.",
        "type": "object",
        "properties": {
            "tasks": { "type": "array", "items": {
                "type": "object",
                "properties": {
                    "title": { "type": "string" },
                    "beside": {
                        "type": ["string", "null"],
                        "description": "Neighbours with the same word here are done at the same time.",
                    },
                    "always": { "type": "boolean", "description": "It is done even if something before it failed." },
                    "steps": { "type": "array", "items": {
                        "type": "object",
                        "description": "Its only key is the kind of step.",
                        "minProperties": 1,
                        "maxProperties": 1,
                    } },
                },
                "required": ["title", "beside", "always", "steps"],
            } },
        },
        "required": ["tasks"],
    }))
}

fn all() -> [(&'static str, Value); 30] {
    [
        ("configuration", configuration()),
        ("error", error()),
        ("plan", plan()),
        ("release.json", file::<Manifest>(manifest::SCHEMA)),
        ("boot-report.json", file::<Report>(boot_report::SCHEMA)),
        ("boot", result::<verbs::boot::Booted>()),
        ("bpf", result::<verbs::bpf::Compiled>()),
        ("bpf-check", result::<verbs::bpf::Checked>()),
        ("btf", result::<verbs::btf::Written>()),
        ("cache", result::<Listing>()),
        ("cache-clean", result::<verbs::cache::Removed>()),
        ("ci", result::<verbs::ci::Done>()),
        ("ci-check", result::<verbs::ci::Differences>()),
        ("deploy", result::<verbs::deploy::Deployed>()),
        ("deploy-status", result::<verbs::deploy::Status>()),
        ("dist", result::<Made>()),
        ("doctor", result::<verbs::doctor::Report>()),
        ("doctor-adopt", result::<verbs::doctor::Adopted>()),
        ("emit", result::<verbs::emit::Files>()),
        ("image", result::<verbs::image::Images>()),
        ("init", result::<verbs::init::Done>()),
        ("kernels", result::<verbs::kernels::Kernels>()),
        ("kernels-update", result::<verbs::kernels::Updated>()),
        ("package", result::<verbs::package::Packages>()),
        ("rebuild", result::<verbs::rebuild::Rebuilt>()),
        ("report", result::<verbs::report::Reports>()),
        ("sign", result::<verbs::sign::Signed>()),
        ("sign-public", result::<verbs::sign::Public>()),
        ("verify", result::<verbs::verify::Verified>()),
        ("vmlinux", result::<verbs::vmlinux::Headers>()),
    ]
}

/// With BPFSHIP_WRITE_SCHEMAS=1, it writes them.
#[test]
fn the_schemas_of_the_documentation_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas");
    for (name, schema) in all() {
        let name = format!("{}.schema.json", name.trim_end_matches(".json"));
        // What rustdoc would make a link.
        let text = format!("{schema:#}\n").replace("[`", "`").replace("`]", "`");
        let file = folder.join(&name);
        if std::env::var_os("BPFSHIP_WRITE_SCHEMAS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let present = fs::read_to_string(&file).unwrap_or_default();
        assert!(present == text, "docs/schemas/{name} is not what the types give: BPFSHIP_WRITE_SCHEMAS=1 writes it");
    }
    let known: Vec<String> = all().map(|(name, _)| format!("{}.schema.json", name.trim_end_matches(".json"))).into();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "docs/schemas/{name} is of no type");
    }
}
