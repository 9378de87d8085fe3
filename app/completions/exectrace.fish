complete -c exectrace -l pid -d 'Only this process and its descendants (may be given more than once)' -r -f
complete -c exectrace -l comm -d 'Only programs of this name, of which the kernel keeps 15 bytes (may be given more than once)' -r -f -a "(__fish_complete_command)"
complete -c exectrace -l uid -d 'Only programs run by the user of this number (may be given more than once)' -r -f
complete -c exectrace -l duration -d 'Stop after this many seconds' -r -f
complete -c exectrace -l count -d 'Stop after this many events' -r -f
complete -c exectrace -l buffer -d 'Room for events not yet shown; rounded up to a power of two, and to a page' -r -f
complete -c exectrace -l btf -d 'The kernel\'s types, should /sys/kernel/btf/vmlinux be missing; or in the variable EXECTRACE_BTF' -r -F
complete -c exectrace -l way -d 'Only this way, instead of the best one' -r -f -a "btf\t''
btf-perf\t'The same for kernels without a ring buffer'
tracepoints\t''
perf\t'The same without BPF'"
complete -c exectrace -l json -d 'One JSON object a line (--help lists the fields)'
complete -c exectrace -l no-exits -d 'Only programs that start, not how processes end'
complete -c exectrace -l preflight -d 'Tell what this kernel offers, and what would be missing here; with --json for programs'
complete -c exectrace -l self-test -d 'Check on this machine that exectrace sees what happens, and exit with 0 if so'
complete -c exectrace -s v -l verbose -d 'Say when tracing begins, and show the verifier\'s log should the kernel reject a BPF program'
complete -c exectrace -s V -l version -d 'Print version, commit, target and the SHA-256 of each embedded BPF object'
complete -c exectrace -s h -l help -d 'Print help (see more with \'--help\')'
