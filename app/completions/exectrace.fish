complete -c exectrace -l pid -d 'Only this process and its descendants (may be given more than once)' -r -f
complete -c exectrace -l comm -d 'Only programs of this name, of which the kernel keeps 15 bytes (may be given more than once)' -r -f -a "(__fish_complete_command)"
complete -c exectrace -l uid -d 'Only programs run by this user, a name or a number (may be given more than once)' -r -f -a "(__fish_complete_users)"
complete -c exectrace -l ppid -d 'Only children of this process (may be given more than once)' -r -f
complete -c exectrace -l cgroup -d 'Only programs in this control group (v2), such as /system.slice, or below it (may be given more than once)' -r -f -a "(__fish_complete_directories)"
complete -c exectrace -l match -d 'Only programs whose file and arguments, with a blank between each, match this regular expression' -r -f
complete -c exectrace -l min-duration -d 'Only exits, of processes that ran at least so long after their last exec' -r -f
complete -c exectrace -s o -l output -d 'Append to this file, which SIGHUP opens anew' -r -F
complete -c exectrace -l duration -d 'Stop after this many seconds' -r -f
complete -c exectrace -l count -d 'Stop after this many events' -r -f
complete -c exectrace -l buffer -d 'Room for events not yet shown; rounded up to a power of two, and to a page' -r -f
complete -c exectrace -l btf -d 'The kernel\'s types, should /sys/kernel/btf/vmlinux be missing; or in the variable EXECTRACE_BTF' -r -F
complete -c exectrace -l backend -d 'Use this backend only, instead of the best one that works here' -r -f -a "btf\t'BPF reads the kernel\'s structs, and a ring buffer carries the events'
btf-perf\t'The same with perf buffers'
tracepoints\t'BPF hands over the records of tracepoints'
perf\t'Without BPF'"
complete -c exectrace -l json -d 'One JSON object a line (--help lists the fields)'
complete -c exectrace -l no-exits -d 'Only programs that start, not how processes end'
complete -c exectrace -l failed -d 'Also execs that are refused, with the error; needs BTF'
complete -c exectrace -l relative -d 'Instead of the time of day, seconds since tracing began'
complete -c exectrace -l tree -d 'Indent programs below those that started them'
complete -c exectrace -l show-cgroup -d 'A column with the ID of the container, or else with the path of the control group'
complete -c exectrace -l show-tty -d 'A column with the controlling terminal of each program that starts'
complete -c exectrace -l show-cwd -d 'A column with the current directory of each program that starts'
complete -c exectrace -l summary -d 'At the end, what was executed how often, what failed, and what took longest; no events'
complete -c exectrace -l preflight -d 'Report what this kernel offers, and what would be missing here; with --json for programs'
complete -c exectrace -l self-test -d 'Check on this machine that exectrace sees what happens, and exit with 0 if so'
complete -c exectrace -s v -l verbose -d 'Say when tracing begins, and show the verifier\'s log should the kernel reject a BPF program'
complete -c exectrace -s V -l version -d 'Print version, commit, target and the SHA-256 of each embedded BPF object'
complete -c exectrace -s h -l help -d 'Print help (see more with \'--help\')'
