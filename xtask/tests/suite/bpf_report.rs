//! `report`: what objects contain and need.

use std::fs;

use serde_json::{Value, json};

use super::support::{Random, Workspace, knows_the_commands, own_root};
use bpfship_object::kernel_features;
use bpfship_object::report::Report;

/// What the programs below are written with.
const HEADER: &str = r#"#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define core __attribute__((preserve_access_index))
typedef unsigned int u32;
typedef unsigned long long u64;
SEC("license") char LICENSE[] = "Dual MIT/GPL";
static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
static int (*trace_printk)(const char *format, int size, ...) = (void *)6;
static int (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;
static int (*helper_of_tomorrow)(void) = (void *)999;
"#;

const MAPS: &str = r#"
struct inner { __uint(type, 9); __uint(max_entries, 8); __type(key, u32); __type(value, u64); };
struct { __uint(type, 13); __uint(max_entries, 4); __type(key, u32); __array(values, struct inner); } of_maps SEC(".maps");
struct { __uint(type, 3); __uint(max_entries, 4); __uint(key_size, 4); __array(values, int(void *)); } calls SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct { u32 type, key_size, value_size, max_entries; } old SEC("maps") = { .type = 6 };
struct { __uint(type, 77); __uint(max_entries, 1); } odd SEC(".maps");
const volatile u32 limit = 3;
static __attribute__((noinline)) u64 twice(u64 number) { return number * limit; }
static long each(u32 index, void *context) { *(u64 *)context += index; return 0; }
SEC("kprobe/do_exit") int counts(void *context)
{
	u32 zero = 0;
	u64 sum = 0, *found = map_lookup_elem(&of_maps, &zero);
	if (!found)
		return helper_of_tomorrow();
	loop(4, each, &sum, 0);
	__sync_fetch_and_add(found, 1);
	return __sync_lock_test_and_set(found, twice(sum)) > 5;
}
SEC("xdp") int passes(void *context)
{
	volatile u32 rounds = limit;
	while (rounds--)
		;
	return 2;
}
SEC("of/tomorrow") int odd_program(void *context) { return 0; }
"#;

const TYPES: &str = r#"
enum state { RUNNING = 1, STOPPED = 2 };
struct pair { int first, second; } core;
struct task { int before; struct { struct pair pairs[3]; union { int a; long b; }; } core; } core;
typedef struct { int member; } core named;
struct all { struct task *task; } core;
#define READ(to, from) probe_read_kernel(&(to), sizeof(to), __builtin_preserve_access_index(&(from)))
SEC("raw_tp/sys_enter") int reads(struct all *context)
{
	struct task *task = 0;
	int number = 0, sum = 0;
	READ(task, context->task);
	READ(number, task->pairs[2].second);
	sum += number;
	READ(number, task->a);
	sum += number;
	READ(number, ((named *)task)->member);
	sum += number + __builtin_preserve_field_info(task->b, 1) + __builtin_preserve_field_info(task->b, 2);
	sum += __builtin_preserve_type_info(*(struct pair *)0, 0);
	return sum + __builtin_preserve_enum_value(*(enum state *)STOPPED, 1);
}
SEC("fentry/do_exit") int enters(void *context) { return 0; }
SEC("socket") int plain(void *context) { return 0; }
"#;

/// A workspace with one source, compiled.
fn compiled(name: &str, program: &str) -> Workspace {
    let workspace = Workspace::new(name, "package = \"tool\"\nbpf.folder = \"kernel\"\nbpf.cpu = \"v3\"\n")
        .write("kernel/tick.bpf.c", &format!("{HEADER}{program}"));
    workspace.xtask("bpf").succeeds();
    workspace
}

/// The one report of both byte orders.
#[track_caller]
fn report(workspace: &Workspace) -> Value {
    let output = workspace.xtask("report --json --offline").succeeds().json();
    let [report] = output["objects"].as_array().unwrap().as_slice() else { panic!("{output:#}") };
    assert_eq!(report["files"], json!(["tick_bpfel.o", "tick_bpfeb.o"]));
    assert_eq!(report["targets"], json!(["bpfel", "bpfeb"]));
    report.clone()
}

/// Everything that is needed, with the kernel that has it.
fn needs_of(report: &Value) -> Vec<(&str, &str)> {
    let needs = report["needs"].as_array().unwrap().iter();
    needs.map(|need| (need["what"].as_str().unwrap(), need["kernel"].as_str().unwrap())).collect()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn tens_of_thousands_of_relocations_are_read() {
    let function =
        |number| format!("SEC(\"socket\") int f{number}(struct wide *wide) {{ int sum = 0; MANY return sum; }}\n");
    let functions: String = (0..30).map(function).collect();
    let program = format!(
        "struct wide {{ int field; }} core;\n#define ONE sum += *(volatile int *)&wide->field;\n\
         #define TEN(it) it it it it it it it it it it\n#define MANY TEN(TEN(TEN(ONE)))\n{functions}"
    );
    let report = report(&compiled("many", &program));
    assert_eq!(report["relocations"][0]["count"], 30_000);
}

#[test]
fn a_report_reads_the_checked_in_objects_and_nothing_else() {
    let workspace = Workspace::usual("report");
    workspace.xtask("bpf").succeeds();
    let listing = "find . -type f -not -path './target/*' -exec sha256sum {} + | sort";
    let before = workspace.shell(listing).succeeds().text();
    let workspace = workspace.env("BPFSHIP_CACHE", "nothing-is-here").env("BPFSHIP_ENGINE", "podman");
    workspace
        .xtask("report --offline")
        .succeeds()
        .says("tick (bpfel, bpfeb): Linux 4.17 or newer\n")
        .says("\n  programs            tick: raw_tp/sys_enter (raw_tracepoint), ")
        .says("\n  license             GPL\n")
        .says("\n  needs               4.17: raw_tp/… programs (c4f6699dfcb8)\n")
        .says("\n  without BTF         it makes no difference\n")
        .says("\n  without BPF_EVENTS  tick cannot be loaded: such a kernel has no raw_tracepoint programs\n")
        .says_nothing_of("CO-RE")
        .says_nothing_of("not known");
    assert_eq!(workspace.shell(listing).succeeds().text(), before);
    assert!(!workspace.path("nothing-is-here").exists());
}

#[test]
fn an_object_that_is_not_what_its_source_gives_is_not_reported() {
    let workspace = Workspace::usual("stale");
    workspace
        .xtask("report")
        .ends_with(1)
        .says("the BPF objects are not up to date: there is no kernel/bpf.lock; run `cargo xtask bpf`");
    workspace.xtask("bpf").succeeds();
    let workspace = workspace.write("kernel/include/answer.h", "#define ANSWER 43\n");
    workspace
        .xtask("report")
        .ends_with(1)
        .says("not up to date: kernel/include/answer.h changed; run `cargo xtask bpf`")
        .says_nothing_of("programs");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn maps_and_functions_and_instructions_are_reported() {
    let workspace = compiled("maps", MAPS);
    let report = report(&workspace);
    let map = |name: &str| report["maps"].as_array().unwrap().iter().find(|map| map["name"] == name).unwrap();
    assert_eq!(map("of_maps"), &json!({"name": "of_maps", "type": "hash_of_maps", "inner_type": "lru_hash"}));
    assert_eq!(map("calls"), &json!({"name": "calls", "type": "prog_array", "inner_type": null}));
    assert_eq!(map("ring")["type"], "ringbuf");
    assert_eq!(map("odd")["type"], "77");
    assert_eq!(map("old")["type"], "percpu_array");
    assert_eq!(map(".rodata")["type"], "array");
    assert_eq!(report["helpers"], json!(["999", "loop", "map_lookup_elem"]));
    assert_eq!(
        report["unknown"],
        json!(["helper 999", "map type 77", "the type of programs in section `of/tomorrow`"])
    );
    assert_eq!(report["oldest_kernel"], "5.17");
    assert_eq!(report["needs_kernel_btf"], false);

    let needs = needs_of(&report);
    for need in [
        ("helper loop", "5.17"),
        ("functions that helpers call", "5.13"),
        ("atomics other than a plain add", "5.12"),
        ("map type ringbuf", "5.8"),
        ("loops", "5.3"),
        ("global variables", "5.2"),
        ("functions that programs call", "4.16"),
        ("map type hash_of_maps", "4.12"),
        ("map type lru_hash", "4.10"),
        ("xdp programs", "4.8"),
        ("kprobe/… programs", "4.1"),
    ] {
        assert!(needs.contains(&need), "{need:?} is not in {needs:?}");
    }

    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let named = |list: &str, name: &str| {
        report[list].as_array().unwrap().iter().find(|found| found["name"] == name).unwrap().clone()
    };
    let [twice, each] = ["twice", "each"].map(|name| number(&named("functions", name), "instructions"));
    let counts = named("programs", "counts");
    assert_eq!(counts["type"], "kprobe");
    assert_eq!(counts["attach"], "do_exit");
    assert_eq!(number(&counts, "loaded_instructions"), number(&counts, "instructions") + twice + each);
    let passes = named("programs", "passes");
    assert_eq!(passes["loaded_instructions"], passes["instructions"]);
    assert_eq!(named("programs", "odd_program")["type"], Value::Null);
    let sum: u64 =
        ["counts", "passes", "odd_program"].map(|name| number(&named("programs", name), "instructions")).iter().sum();
    assert_eq!(number(&report, "instructions"), sum + twice + each);

    workspace
        .xtask("report")
        .succeeds()
        .says("tick (bpfel, bpfeb): at least Linux 5.17\n")
        .says("\n  not known           helper 999, map type 77, the type of programs in section `of/tomorrow`\n")
        .says("hash_of_maps of lru_hash: of_maps\n")
        .says("\n  without BPF_EVENTS  counts cannot be loaded: such a kernel has no kprobe programs\n")
        .says("of odd_program, it is not known\n")
        .says_nothing_of("passes cannot");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_types_of_the_kernel_are_needed_for_is_reported() {
    let workspace = compiled("types", TYPES);
    let report = report(&workspace);
    let relocations: Vec<String> = report["relocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            format!("{} {} {}", found["target"].as_str().unwrap(), found["kind"].as_str().unwrap(), found["count"])
        })
        .collect();
    assert_eq!(
        relocations,
        [
            "enum state.STOPPED enumval_value 1",
            "named.member byte_off 1",
            "struct all.task byte_off 1",
            "struct pair type_exists 1",
            "struct task.a byte_off 1",
            "struct task.b byte_sz 1",
            "struct task.b field_exists 1",
            "struct task.pairs[2].second byte_off 1",
        ]
    );
    assert_eq!(report["needs_kernel_btf"], true);
    let counts: Vec<&Value> = ["name", "relocations"]
        .into_iter()
        .flat_map(|word| report["programs"].as_array().unwrap().iter().map(move |program| &program[word]))
        .collect();
    assert_eq!(counts, [&json!("reads"), &json!("enters"), &json!("plain"), &json!(8), &json!(0), &json!(0)]);
    workspace
        .xtask("report")
        .succeeds()
        .says("tick (bpfel, bpfeb): Linux 5.5 or newer, with BTF\n")
        .says("\n  CO-RE relocations   8: 4 byte_off, 1 byte_sz, 1 enumval_value, 1 field_exists, 1 type_exists\n")
        .says("struct task: a, b, pairs[2].second\n")
        .says("named: member\n")
        .says("struct pair\n")
        .says("\n  without BTF         enters cannot be loaded: attaching takes the kernel's own")
        .says("given no BTF file either, libbpf refuses reads, and aya 0.14 ")
        .says_nothing_of("plain cannot")
        .says_nothing_of("refuses plain");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_the_kernels_own_is_reported() {
    let workspace = compiled(
        "symbols",
        r#"
extern int acquire(void) __attribute__((section(".ksyms")));
extern int maybe(void) __attribute__((section(".ksyms"), weak));
extern const int counter __attribute__((section(".ksyms")));
extern const void address __attribute__((section(".ksyms")));
SEC("tc") int filters(void *context)
{
	char word[] = "x";
	trace_printk(word, sizeof(word));
	return acquire() + (maybe ? maybe() : 0) + counter + (long)&address;
}
"#,
    );
    let report = report(&workspace);
    assert_eq!(report["kernel_symbols"], json!(["acquire", "counter", "maybe"]));
    assert_eq!(report["unknown"], json!([]));
    assert_eq!(report["needs_kernel_btf"], true);
    assert_eq!(report["oldest_kernel"], "5.13");
    assert_eq!(
        report["without_btf"],
        json!(["nothing of it can be loaded: only the kernel's BTF contains where acquire, counter, maybe are"])
    );
    assert_eq!(
        report["without_bpf_events"],
        json!(["filters cannot be loaded: such a kernel does not have trace_printk"])
    );
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_read_of_the_kernels_configuration_is_reported() {
    let workspace = compiled(
        "kconfig",
        r#"
extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern int CONFIG_HZ __attribute__((section(".kconfig")));
extern int CONFIG_NUMA __attribute__((section(".kconfig"), weak));
SEC("socket") int new_enough(void *context) { return LINUX_KERNEL_VERSION > 0x50000 && CONFIG_HZ > 99 && !CONFIG_NUMA; }
"#,
    );
    let report = report(&workspace);
    assert_eq!(report["maps"], json!([{"name": ".kconfig", "type": "array", "inner_type": null}]));
    assert_eq!(report["kernel_config"], json!(["CONFIG_HZ", "CONFIG_NUMA", "LINUX_KERNEL_VERSION"]));
    assert_eq!(report["oldest_kernel"], "5.2");
    workspace
        .xtask("report")
        .succeeds()
        .says("\n  kernel config       CONFIG_HZ, CONFIG_NUMA, LINUX_KERNEL_VERSION\n")
        .says("\n  note                CONFIG_HZ: libbpf reads the kernel's configuration in ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn registers_of_one_architecture_are_noted() {
    let workspace = compiled(
        "registers",
        r#"
struct pt_regs { unsigned long bx, di; } core;
SEC("kprobe/do_exit") int first(struct pt_regs *context) { return context->di != 0; }
"#,
    );
    let report = report(&workspace);
    assert_eq!(
        report["notes"],
        json!([
            "struct pt_regs differs between architectures, and the object reads di in it, as on x86: on an architecture without that \
             field, it cannot be loaded"
        ])
    );
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn structs_of_functions_are_reported() {
    let workspace = compiled(
        "struct-ops",
        r#"
SEC("struct_ops/choose") int choose(void *context) { return 0; }
struct ops { int (*choose)(void *context); };
struct sched_ext_ops___new { int (*choose)(void *context); };
SEC(".struct_ops.link") struct ops choosing = { .choose = choose };
SEC(".struct_ops.link") struct sched_ext_ops___new scheduling = { .choose = choose };
"#,
    );
    let report = report(&workspace);
    assert_eq!(
        report["maps"],
        json!([
            {"name": "choosing", "type": "struct_ops", "inner_type": null},
            {"name": "scheduling", "type": "struct_ops", "inner_type": null}
        ])
    );
    assert_eq!(report["oldest_kernel"], "6.12");
    assert!(needs_of(&report).contains(&("struct_ops with a link", "6.4")));
    assert_eq!(report["unknown"], json!(["the first kernel with struct_ops ops"]));
    assert_eq!(report["needs_kernel_btf"], true);
    workspace.xtask("report").succeeds().says("choose, choosing, scheduling cannot be loaded: ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_an_old_kernel_finds_too_long_is_reported() {
    let program = |count: usize| {
        format!(
            "SEC(\"xdp\") int fills(void *context) {{ asm volatile(\".rept {count}\\nr0 = 1\\n.endr\" ::: \"r0\"); return 0; }}\n"
        )
    };
    for (count, total, kernel) in [(4094, 4096, "4.8"), (4095, 4097, "5.2")] {
        let report = report(&compiled("long", &program(count)));
        assert_eq!(report["instructions"], total);
        assert_eq!(report["oldest_kernel"], kernel);
    }
}

#[test]
fn byte_orders_that_differ_have_a_report_each() {
    let workspace = compiled(
        "orders",
        r#"
SEC("xdp") int swaps(u32 *context)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return context[0] * context[1];
#else
	return 2;
#endif
}
"#,
    );
    let output = workspace.xtask("report").succeeds();
    output.says("tick (bpfel): Linux 4.8 or newer\n").says("\n\ntick (bpfeb): Linux 4.8 or newer\n");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn any_object_can_be_reported() {
    let workspace = Workspace::usual("files");
    workspace.xtask("bpf").succeeds();
    let elsewhere = Workspace::empty("elsewhere").write("broken.o", "nonsense").write("empty.o", "");
    for name in ["tick_bpfel.o", "tick_bpfeb.o"] {
        fs::copy(workspace.path("kernel/objects").join(name), elsewhere.path(name)).unwrap();
    }
    fs::copy("/bin/sh", elsewhere.path("program")).unwrap();
    elsewhere
        .xtask("report ./tick_bpfel.o ./tick_bpfeb.o")
        .succeeds()
        .says("./tick (bpfel, bpfeb): Linux 4.17 or newer\n");
    // What can be read is reported, and everything else is listed.
    elsewhere
        .xtask("report broken.o tick_bpfeb.o empty.o program")
        .ends_with(1)
        .says("tick (bpfeb): Linux 4.17 or newer\n")
        .says("error: these files cannot be read:\n  broken.o: not an ELF file")
        .says("\n  empty.o: not an ELF file")
        .says("\n  program: its machine is ")
        .says(", expected 247 (BPF)\n");
    elsewhere.xtask("report broken.o").ends_with(1).says("error: broken.o: not an ELF file").in_one_line();
    elsewhere.xtask("report missing.o").ends_with(2).says("error: there is no file missing.o").in_one_line();
    elsewhere.xtask("report .").ends_with(2).says("error: there is no file .").in_one_line();
    for wrong in ["bpf tick_bpfel.o", "report --check", "report --plan"] {
        elsewhere.xtask(wrong).ends_with(2).says("Usage: cargo xtask ");
    }
    for moved in ["bpf --report", "bpf --report tick_bpfel.o", "bpf --report --json"] {
        elsewhere.xtask(moved).ends_with(2).says("error: `--report` is a command now: cargo xtask report\n");
    }
}

#[test]
fn a_name_does_nothing_to_a_terminal() {
    let workspace = compiled("names", "SEC(\"raw_tp/a\u{1b}[31m\") int paints(void *context) { return 0; }\n");
    workspace.xtask("report").succeeds().says("raw_tp/a\\u{1b}[31m (raw_tracepoint), ").says_nothing_of("\u{1b}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_guide_names_every_field_and_no_other_command() {
    let guide = fs::read_to_string(own_root().join("docs/bpf-report.md")).unwrap();
    knows_the_commands(&guide);
    let mut fields: Vec<String> = Vec::new();
    let mut next = vec![report(&compiled("fields", TYPES)), report(&compiled("fields", MAPS))];
    while let Some(value) = next.pop() {
        match value {
            Value::Object(object) => object.into_iter().for_each(|(field, value)| {
                fields.push(field);
                next.push(value);
            }),
            Value::Array(list) => next.extend(list),
            _ => {}
        }
    }
    assert!(fields.len() > 100);
    for field in fields {
        assert!(guide.contains(&format!("`{field}`")), "`{field}` is not in it");
    }
}

#[test]
fn helpers_have_the_numbers_that_libbpf_gives_them() {
    let plan = Workspace::copy_of_our_own("helpers").xtask("bpf --plan").succeeds().text();
    let header = plan.split_whitespace().find(|word| word.ends_with("/bpf_helper_defs.h")).unwrap();
    let header = fs::read_to_string(header).unwrap();
    let mut found = 0;
    for line in header.lines().filter(|line| line.contains("(* const bpf_")) {
        let (_, line) = line.split_once("(* const bpf_").unwrap();
        let (name, line) = line.split_once(')').unwrap();
        let (_, number) = line.rsplit_once("(void *) ").unwrap();
        let number = number.trim_end_matches(';').parse().unwrap();
        assert_eq!(kernel_features::helper(number).map(|row| row.name), Some(name), "{number}");
        found += 1;
    }
    assert!(found > 200 && kernel_features::helper(found + 1).is_none(), "{found}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn whatever_comes_is_reported_or_refused() {
    let mut objects = Vec::new();
    for (name, program) in [("mutated-maps", MAPS), ("mutated-types", TYPES)] {
        let workspace = compiled(name, program);
        for name in workspace.list("kernel/objects") {
            objects.push(fs::read(workspace.path("kernel/objects").join(name)).unwrap());
        }
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    const ROUNDS: usize = 20_000;
    let output =
        (0..ROUNDS).filter(|round| Report::read(&random.mutated(&objects[round % objects.len()])).is_ok()).count();
    assert!((ROUNDS / 20..ROUNDS * 19 / 20).contains(&output), "{output} of {ROUNDS} were understood");
}
