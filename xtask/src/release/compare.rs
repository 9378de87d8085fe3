//! How a checked-in BPF object differs from what its source gives, in sentences.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use anyhow::Result;
use bpfship_object::Endian;
use bpfship_object::btf::{Btf, Field};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// How many names a sentence lists at most.
const NAMES: usize = 5;

/// A section, as far as it is of interest here.
struct Part<'data> {
    name: String,
    /// How many sections before have the same name.
    nth: usize,
    executable: bool,
    size: u64,
    /// Empty where the file has none, as with `.bss`.
    data: &'data [u8],
    /// Where in `data` the functions are, by name.
    functions: BTreeMap<String, &'data [u8]>,
}

impl Part<'_> {
    fn key(&self) -> (&str, usize) {
        (&self.name, self.nth)
    }
}

/// What differs in `found`, a checked-in object, from `wanted`, which its source gives. Nothing, if they are the same
/// bytes.
pub fn differences(found: &[u8], wanted: &[u8]) -> Vec<String> {
    if found == wanted {
        return Vec::new();
    }
    let (found_parts, wanted_parts) = match (parts(found), parts(wanted)) {
        (Ok(found), Ok(wanted)) => (found, wanted),
        (Err(error), _) | (_, Err(error)) => {
            return vec![format!("{}; it is no object: {error}", bytes(found, wanted))];
        }
    };
    let (found_by_key, wanted_by_key) = (by_key(&found_parts), by_key(&wanted_parts));
    let mut sentences = Vec::new();
    for part in &wanted_parts {
        match found_by_key.get(&part.key()) {
            Some(other) if other.data == part.data && other.size == part.size => {}
            Some(other) if part.executable => sentences.extend(programs(other, part)),
            Some(other) if part.name == ".BTF" => sentences.push(types(other, part)),
            Some(other) => sentences.push(section(other, part)),
            None => sentences.push(format!("section `{}` ({} bytes) is missing", part.name, part.size)),
        }
    }
    for part in found_parts.iter().filter(|part| !wanted_by_key.contains_key(&part.key())) {
        sentences.push(format!("unexpected section `{}` ({} bytes)", part.name, part.size));
    }
    if sentences.is_empty() {
        // The headers of file and sections.
        sentences.push(format!("outside of its sections, {}", bytes(found, wanted)));
    }
    sentences
}

/// The first place in which two objects differ that says most: a program, else a section, else the types.
pub fn place(one: &[u8], other: &[u8]) -> String {
    let (Ok(one), Ok(other)) = (parts(one), parts(other)) else { return "an object that cannot be read".into() };
    let other = by_key(&other);
    let differing = || {
        let pair = |part| Some((part, *other.get(&Part::key(part))?));
        one.iter().filter_map(pair).filter(|(part, other)| part.data != other.data || part.size != other.size)
    };
    let name = |(part, other): (&Part, &Part)| {
        let differs = |(name, code): &(&String, &&[u8])| other.functions.get(*name) != Some(*code);
        part.functions.iter().find(differs).map(|(name, _)| format!("`{name}` in section `{}`", part.name))
    };
    if let Some(program) = differing().filter(|(part, _)| part.executable).find_map(name) {
        return program;
    }
    let is_telling = |(part, _): &(&Part, &Part)| !part.name.starts_with(".BTF") && !part.name.starts_with(".sym");
    match differing().find(is_telling) {
        Some((part, _)) => format!("section `{}`", part.name),
        None => match one.iter().find(|part| !other.contains_key(&part.key())) {
            Some(part) => format!("section `{}`", part.name),
            None => match differing().find(|(part, _)| part.name == ".BTF") {
                Some((part, other)) => format!("section `.BTF` ({})", differing_types(part, other)),
                None => "a relocation or symbol".into(),
            },
        },
    }
}

fn by_key<'a, 'data>(parts: &'a [Part<'data>]) -> HashMap<(&'a str, usize), &'a Part<'data>> {
    parts.iter().map(|part| (part.key(), part)).collect()
}

fn parts(bytes: &[u8]) -> Result<Vec<Part<'_>>> {
    let file = File::parse(bytes)?;
    let mut symbols: HashMap<_, Vec<_>> = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        symbols.entry(symbol.section_index()).or_default().push(symbol);
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut parts: Vec<Part> = Vec::new();
    for section in file.sections() {
        let name = section.name()?.to_owned();
        let data = section.data()?;
        let mut functions = BTreeMap::new();
        for symbol in symbols.get(&Some(section.index())).into_iter().flatten() {
            let begin = symbol.address() as usize;
            let code = begin.checked_add(symbol.size() as usize).and_then(|end| data.get(begin..end));
            if let Some(code) = code {
                functions.insert(symbol.name()?.to_owned(), code);
            }
        }
        let count = counts.entry(name.clone()).or_default();
        let nth = *count;
        *count += 1;
        let executable = section.kind() == SectionKind::Text;
        parts.push(Part { name, nth, executable, size: section.size(), data, functions });
    }
    Ok(parts)
}

/// Which programs of a section differ.
fn programs(found: &Part, wanted: &Part) -> Vec<String> {
    let mut sentences = Vec::new();
    let names: BTreeSet<&String> = found.functions.keys().chain(wanted.functions.keys()).collect();
    for name in names {
        let what = if wanted.name == ".text" { "function" } else { "program" };
        let place = format!("{what} `{name}` in section `{}`", wanted.name);
        sentences.extend(match (found.functions.get(name), wanted.functions.get(name)) {
            (Some(found), Some(wanted)) if found == wanted => None,
            (Some(found), Some(wanted)) => {
                let begin = format!("from instruction {} on", first_difference(found, wanted) / INSTRUCTION);
                Some(match (found.len() / INSTRUCTION, wanted.len() / INSTRUCTION) {
                    (a, b) if a == b => format!("{place} differs {begin}, of {a}"),
                    (a, b) => format!("{place} has {a} instructions where its source gives {b}, and differs {begin}"),
                })
            }
            (None, _) => Some(format!("{place} is missing")),
            (_, None) => Some(format!("unexpected {place}")),
        });
    }
    if sentences.is_empty() {
        sentences.push(section(found, wanted));
    }
    sentences
}

fn section(found: &Part, wanted: &Part) -> String {
    if found.data.is_empty() && wanted.data.is_empty() {
        return format!("section `{}` has {} bytes, expected {}", wanted.name, found.size, wanted.size);
    }
    format!("in section `{}`, {}", wanted.name, bytes(found.data, wanted.data))
}

fn bytes(found: &[u8], wanted: &[u8]) -> String {
    let begin = first_difference(found, wanted);
    match (found.len(), wanted.len()) {
        (a, b) if a == b => format!("byte {begin} of {a} is the first that differs"),
        (a, b) => format!("there are {a} bytes, expected {b}; byte {begin} is the first that differs"),
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Which types differ.
fn types(found: &Part, wanted: &Part) -> String {
    let (Some(found_types), Some(wanted_types)) = (contents(found.data), contents(wanted.data)) else {
        return section(found, wanted);
    };
    let (mut missing, mut needless, mut other) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let names: BTreeSet<&String> = found_types.keys().chain(wanted_types.keys()).collect();
    for name in names {
        match (found_types.get(name), wanted_types.get(name)) {
            (None, _) => missing.insert(name.as_str()),
            (_, None) => needless.insert(name.as_str()),
            (found, wanted) => found != wanted && other.insert(name.as_str()),
        };
    }
    let mut faults = Vec::new();
    for (names, fault) in [(missing, "missing"), (needless, "there without need"), (other, "not the same")] {
        let is_anonymous = |name: &&&str| name.ends_with(' ');
        let listed: Vec<&str> = names.iter().filter(|name| !is_anonymous(name)).take(NAMES).copied().collect();
        match names.len() - listed.len() {
            _ if names.is_empty() => {}
            0 => faults.push(format!("{}: {fault}", listed.join(", "))),
            more if listed.is_empty() => faults.push(format!("types without a name ({more} kinds of them): {fault}")),
            more => faults.push(format!("{} and {more} more: {fault}", listed.join(", "))),
        }
    }
    if faults.is_empty() {
        faults.push(
            "the types are the same, their order or the strings beside them (lines of the source) are not".into(),
        );
    }
    format!("in section `.BTF`, {}", faults.join("; "))
}

/// The names of types that differ.
fn differing_types(one: &Part, other: &Part) -> String {
    let [one, other] = [one, other].map(|part| contents(part.data).unwrap_or_default());
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ = names.into_iter().filter(|name| one.get(*name) != other.get(*name) && !name.ends_with(' '));
    let names: Vec<&str> = differ.map(String::as_str).collect();
    match names.as_slice() {
        [] => "their order".into(),
        few if few.len() <= NAMES => few.join(", "),
        many => format!("{} and {} more", many[..NAMES].join(", "), many.len() - NAMES),
    }
}

/// What types there are by kind and name, and for each a number that stands for what it consists of.
fn contents(section: &[u8]) -> Option<BTreeMap<String, Vec<u64>>> {
    let endian = if section.first() == Some(&0xeb) { Endian::Big } else { Endian::Little };
    let btf = Btf::parse(section, endian).ok()?;

    // Of a type with a name, that is all that others see, so a change is reported where it is. What one without a name
    // is, such as a pointer, becomes known further with each round.
    let mut seen: Vec<u64> = vec![0; btf.types.len() + 1];
    for (type_, seen) in btf.types.iter().zip(&mut seen[1..]) {
        *seen = number(&(type_.kind, type_.name()));
    }
    let whole = |fields: &[Field], seen: &[u64]| {
        let fields = fields.iter().map(|field| match field {
            Field::Type(id) => (seen[*id as usize], &b""[..]),
            Field::Number(number) => (u64::from(*number), &b""[..]),
            Field::Name(name) => (0, *name),
        });
        number(&fields.collect::<Vec<_>>())
    };
    for _ in 0..8 {
        let next = btf.types.iter().zip(&seen[1..]).map(|(type_, now)| match type_.name() {
            b"" => whole(&type_.fields, &seen),
            _ => *now,
        });
        seen = std::iter::once(0).chain(next.collect::<Vec<_>>()).collect();
    }
    let mut contents: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for type_ in &btf.types {
        let name = format!("{} {}", type_.kind, String::from_utf8_lossy(type_.name()));
        contents.entry(name).or_default().push(whole(&type_.fields, &seen));
    }
    contents.values_mut().for_each(|numbers| numbers.sort_unstable());
    Some(contents)
}

fn number(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
