# What runs on a target: sent anew each time, kept nowhere. Before it stand assignments of the variables in capitals. All is in
# functions, and the last line calls one: of a script that was cut off nothing runs.

# One line of the report. What a program prints is never a line of it, for it does not know the token.
say() {
    printf '@%s %s\n' "$TOKEN" "$*"
}

fail() {
    say "fail $*"
    exit 1
}

# The SHA-256 of what comes in.
sum() {
    for program in sha256sum "busybox sha256sum" "shasum -a 256" "openssl dgst -sha256 -r"; do
        if command -v "${program%% *}" >/dev/null; then
            found=$($program 2>/dev/null) && printf %s "${found%% *}"
            return
        fi
    done
}

# The nearest folder above that is there.
existing() {
    at=$1
    while [ ! -d "$at" ]; do
        at=${at%/*}
        [ -n "$at" ] || at=/
    done
    printf %s "$at"
}

# What stands in a field of the file system that a folder is on: 4 is what is free, in KiB, 6 where it is mounted.
disk() {
    df -Pk "$1" 2>/dev/null | {
        read -r _
        read -r _ _ _ free _ mounted
        case $2 in 4) printf %s "$free" ;; *) printf %s "$mounted" ;; esac
    }
}

boot() {
    cat /proc/sys/kernel/random/boot_id 2>/dev/null
}

# When a process began, in ticks: a number that came around is not the same process.
started() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return
    # shellcheck disable=SC2086
    set -- ${stat##*)}
    shift 19
    printf %s "$1"
}

# The version that a link leads to.
version_of() {
    to=$(readlink "$LINK" 2>/dev/null) || return
    case $to in ".$NAME/"*) printf %s "${to#".$NAME/"}" ;; esac
}

unit_state() {
    systemctl show -p ActiveState -p SubState -p MainPID -p NRestarts "$NAME.service" 2>/dev/null | tr '\n' ' '
}

facts() {
    say "machine $(uname -m)"
    say "kernel $(uname -s) $(uname -r)"
    # Class, byte order and machine of a program of this system.
    say "elf $({ dd if=/proc/self/exe bs=1 count=20 2>/dev/null | od -An -tu1 || dd if=/proc/self/exe bs=1 count=20 2>/dev/null |
        hexdump -v -e '1/1 "%u "'; } 2>/dev/null | tr -s ' \n' '  ')"
    pages=
    read -r _ pages _ <<END
$(grep KernelPageSize: /proc/self/smaps 2>/dev/null)
END
    say "page $pages"
    btf=no
    [ -r /sys/kernel/btf/vmlinux ] && btf=yes
    say "btf $btf"
    say "paranoid $(cat /proc/sys/kernel/perf_event_paranoid 2>/dev/null)"
    tracefs=no
    grep -q ' tracefs ' /proc/mounts 2>/dev/null && tracefs=yes
    say "tracefs $tracefs"
    init=$(cat /proc/1/comm 2>/dev/null)
    [ -d /run/systemd/system ] && init=systemd
    [ -d /run/openrc ] && init=openrc
    say "init $init"
    say "year $(date +%Y)"
    say "user $(id -u) $(id -un 2>/dev/null)"
    for program in sudo doas; do
        command -v $program >/dev/null && $program -n true >/dev/null 2>&1 && say "become $program"
    done
    hash=$(printf %s x | sum)
    say "hash ${hash:-none}"
    folder=$(existing "$DIR")
    say "free $(disk "$folder" 4)"
    # There, a space is written so.
    mounted=$(disk "$folder" 6 | sed 's/ /\\040/g')
    while read -r _ at _ options _; do
        [ "$at" = "$mounted" ] && say "mount $at $options"
    done </proc/mounts
    say "existing $folder"
    [ -w "$folder" ] && say "writable"
    if [ -L "$LINK" ]; then
        say "link $(readlink "$LINK")"
    elif [ -f "$LINK" ]; then
        say "file $(sum <"$LINK")"
    elif [ -e "$LINK" ]; then
        say "other"
    fi
    for file in "$STORE"/*; do
        if [ -f "$file" ]; then
            at=$(sum <"$file")
            say "version ${file##*/} $at"
        fi
    done
    while read -r line; do
        say "history $line"
    done 2>/dev/null <"$STORE/.history"
    [ -f "$STORE/.undone" ] && say "undone $(head -n 1 "$STORE/.undone")"
    [ -f "$STORE/.pending" ] && say "pending $(head -n 1 "$STORE/.pending")"
    owner=$(readlink "$STORE/.lock" 2>/dev/null) && alive "$owner" && say "locked ${owner#* * * }"
    if [ -f "$UNIT" ]; then
        say "unit $(sum <"$UNIT") $(unit_state)"
        grep -q "^$MARK" "$UNIT" && say "own-unit"
    fi
    say end
}

# Whether the owner of a lock is still at work.
alive() {
    read -r id ticks of <<END
$1
END
    of=${of%% *}
    [ "$of" = "$(boot)" ] && [ "$ticks" = "$(started "$id")" ]
}

lock() {
    received=
    # A service's user must reach what root puts there.
    umask 022
    mkdir -p "$STORE" 2>/dev/null || fail "it cannot make the folder $STORE: $(mkdir -p "$STORE" 2>&1)"
    mine="$$ $(started $$) $(boot) $WHO"
    while ! ln -s "$mine" "$STORE/.lock" 2>/dev/null; do
        owner=$(readlink "$STORE/.lock") || fail "it cannot make a lock in $STORE: $(ln -s "$mine" "$STORE/.lock" 2>&1)"
        if alive "$owner"; then
            fail "locked ${owner#* * * }"
        fi
        # Two that find it abandoned must not both remove it, or one would remove what the other has made.
        mkdir "$STORE/.breaking" 2>/dev/null || fail "locked somebody who has just begun"
        [ "$(readlink "$STORE/.lock")" = "$owner" ] && rm -f "$STORE/.lock"
        rmdir "$STORE/.breaking"
    done
    trap leave EXIT
    trap 'exit 1' HUP INT TERM PIPE
    # A deployment that nobody ended, because the power was cut: what was there before it is there again.
    if [ -f "$STORE/.pending" ]; then
        undo "the deployment was cut off, by a loss of power perhaps"
    fi
}

# What a failure leaves is what was there before it.
leave() {
    if [ -n "$received" ] && [ "$(version_of)" != "$VERSION" ] && ! grep -qxF "$VERSION" "$STORE/.history" 2>/dev/null; then
        rm -f "$STORE/$VERSION"
    fi
    rm -f "$STORE/.new" "$STORE/.out" "$STORE/.pid" "$STORE/.next" "$STORE/.lock"
    rmdir "$STORE" 2>/dev/null
}

# Runs the program with a limit of seconds; its output is what is shown if it fails.
try() {
    limit=$1
    shift
    (
        sleep "$limit"
        kill -9 "$(cat "$STORE/.pid")"
    ) </dev/null >/dev/null 2>&1 &
    killer=$!
    # Not in the background, where a shell has programs ignore interrupts; nor with what this shell itself ignores. What is printed
    # is at most 2 MiB, in blocks of 512 bytes.
    (
        trap - HUP INT TERM PIPE
        ulimit -f 4096 2>/dev/null
        # shellcheck disable=SC2016
        exec sh -c 'echo $$ >"$0"; exec "$@"' "$STORE/.pid" "$@"
    ) </dev/null >"$STORE/.out" 2>&1
    code=$?
    kill $killer 2>/dev/null
    [ $code = 0 ] && return
    tail -n 20 "$STORE/.out" 2>/dev/null | cut -c 1-400 | while read -r line; do
        say "output $line"
    done
    shift
    called="\`$NAME${1:+ $*}\`"
    case $code in
    126) why="$called cannot be started here (exit code 126)" ;;
    137) why="$called was killed, or did not end within $limit seconds" ;;
    *) why="$called failed (exit code $code)" ;;
    esac
    return 1
}

receive() {
    file=$STORE/$VERSION
    if [ "$SIZE" = 0 ]; then
        [ -f "$file" ] || fail "$VERSION has just been removed there: run this again"
        return
    fi
    say receiving
    cat >"$STORE/.new" 2>/dev/null || fail "the disk is full, or $STORE cannot be written"
    got=$(sum <"$STORE/.new")
    [ "$got" = "$SHA256" ] || fail "what arrived is not what was sent (SHA-256 $got, and $SHA256 is expected): the connection was cut, or the disk is full"
    chmod 755 "$STORE/.new" || fail "it cannot set the mode of a file in $STORE"
    sync
    received=yes
    mv -f "$STORE/.new" "$file" || fail "it cannot rename a file in $STORE"
}

# Has the link lead to a version, by one rename.
point() {
    rm -f "$STORE/.next"
    ln -s ".$NAME/$1" "$STORE/.next" && mv -f "$STORE/.next" "$LINK"
}

# Brings back what was there before, by what .pending says of it: the kind of the link, the version, whether there was a unit, and
# whether it ran.
undo() {
    read -r kind before unit ran <<END
$(sed -n 2p "$STORE/.pending")
END
    case $kind in
    version) point "$before" ;;
    file) ln -f "$STORE/$before" "$STORE/.next" && mv -f "$STORE/.next" "$LINK" && rm -f "$STORE/$before" ;;
    none) rm -f "$LINK" ;;
    esac
    case $unit in
    changed) mv -f "$STORE/.unit" "$UNIT" ;;
    new)
        systemctl disable --now "$NAME.service" >/dev/null 2>&1
        rm -f "$UNIT"
        ;;
    esac
    if [ "$unit" != none ]; then
        systemctl daemon-reload >/dev/null 2>&1
        case $unit$ran in
        new*) systemctl reset-failed "$NAME.service" >/dev/null 2>&1 ;;
        *yes)
            systemctl reset-failed "$NAME.service" >/dev/null 2>&1
            systemctl restart "$NAME.service" >/dev/null 2>&1
            ;;
        *) systemctl stop "$NAME.service" >/dev/null 2>&1 ;;
        esac
    fi
    printf '%s: %s\n%s\n' "$(sed -n 3p "$STORE/.pending")" "$1" "$(sed -n 1p "$STORE/.pending")" >"$STORE/.undone"
    rm -f "$STORE/.pending" "$STORE/.unit" "$STORE/.confirmed" "$STORE/.healthy"
    sync
}

back() {
    undo "$1"
    fail "undone $1"
}

# What a unit does until it has been watched for long enough.
watch_unit() {
    pid=$(systemctl show -p MainPID "$NAME.service" 2>/dev/null)
    n=0
    while [ $n -lt "$WATCH" ]; do
        sleep 1
        n=$((n + 1))
        if ! systemctl is-active --quiet "$NAME.service" || [ "$(systemctl show -p MainPID "$NAME.service")" != "$pid" ]; then
            systemctl status --no-pager -n 15 "$NAME.service" 2>&1 | tail -n 15 | cut -c 1-400 | while read -r line; do
                say "output $line"
            done
            back "the unit $NAME.service ended $n s after its start"
        fi
    done
}

# Everything from the binary's arrival to the confirmation. From the switch on it ends by itself, whoever is cut off.
deploy() {
    lock
    receive
    for each in $PREFLIGHTS; do
        say preflight
        command_words "$each"
        # shellcheck disable=SC2086
        eval "try \"\$LIMIT\" \"\$STORE/\$VERSION\" $words" || fail "preflight $why"
    done
    trap '' HUP INT TERM PIPE
    before="none -"
    if [ -L "$LINK" ]; then
        before="version $(version_of)"
    elif [ -f "$LINK" ]; then
        found=found-$(sum <"$LINK" | cut -c 1-12)
        ln -f "$LINK" "$STORE/$found" || fail "it cannot keep the $NAME that is there"
        before="file $found"
    fi
    unit="none no"
    if [ -f "$UNIT" ] && grep -q "^$MARK" "$UNIT"; then
        cp "$UNIT" "$STORE/.unit" || fail "it cannot keep the unit that is there"
        unit="changed no"
        systemctl is-active --quiet "$NAME.service" && unit="changed yes"
    elif [ -n "$SERVICE" ]; then
        unit="new no"
    fi
    printf '%s\n%s %s\n%s\n' "$TOKEN" "$before" "$unit" "$VERSION" >"$STORE/.pending" || fail "the disk is full"
    sync
    say switching
    point "$VERSION" || back "the link $LINK cannot be made"
    for each in $SELFTESTS; do
        say self-test
        command_words "$each"
        eval "try \"\$LIMIT\" \"\$LINK\" $words" || back "$why"
    done
    if [ "$unit" != "none no" ]; then
        say service
        if [ -n "$SERVICE" ]; then
            { printf '%s\n' "$SERVICE" >"$UNIT.new" && mv -f "$UNIT.new" "$UNIT"; } || back "the unit $UNIT cannot be written"
        fi
        systemctl daemon-reload && systemctl enable --quiet "$NAME.service" 2>/dev/null
        if ! systemctl restart "$NAME.service" >"$STORE/.out" 2>&1; then
            said=$(head -n 1 "$STORE/.out" | cut -c 1-200)
            back "the unit $NAME.service cannot be started${said:+ ($said)}"
        fi
        watch_unit
    fi
    : >"$STORE/.healthy"
    say healthy
    n=0
    until [ "$(cat "$STORE/.confirmed" 2>/dev/null)" = "$TOKEN" ]; do
        [ $n -lt "$CONFIRM" ] || back "nobody confirmed it within $CONFIRM seconds"
        sleep 1
        n=$((n + 1))
    done
    rm -f "$STORE/.pending" "$STORE/.unit" "$STORE/.confirmed" "$STORE/.healthy" "$STORE/.undone"
    remember
    sync
    say "done $(unit_state)"
}

command_words() {
    eval "words=\$COMMAND_$1"
}

# The history, oldest first, each version once; what is more than the number to keep goes.
remember() {
    { grep -vxF "$VERSION" "$STORE/.history" 2>/dev/null; echo "$VERSION"; } >"$STORE/.next"
    tail -n "$KEEP" "$STORE/.next" >"$STORE/.history"
    rm -f "$STORE/.next"
    for file in "$STORE"/*; do
        case ${file##*/} in found-*) continue ;; esac
        grep -qxF "${file##*/}" "$STORE/.history" || rm -f "$file"
    done
}

# From a connection of its own, so that who confirms can still reach the target.
confirm() {
    n=0
    while [ $n -lt "$CONFIRM" ]; do
        if [ "$(head -n 1 "$STORE/.pending" 2>/dev/null)" != "$TOKEN" ]; then
            [ "$(version_of)" = "$VERSION" ] && { say confirmed; return; }
            [ "$(sed -n 2p "$STORE/.undone" 2>/dev/null)" = "$TOKEN" ] && fail "undone $(head -n 1 "$STORE/.undone")"
            fail "nothing was switched"
        fi
        if [ -f "$STORE/.healthy" ]; then
            printf %s "$TOKEN" >"$STORE/.confirmed" && say confirmed
            return
        fi
        sleep 1
        n=$((n + 1))
    done
    fail "it did not get well within $CONFIRM seconds"
}

uninstall() {
    lock
    if [ -f "$UNIT" ] && grep -q "^$MARK" "$UNIT"; then
        systemctl disable --now "$NAME.service" >/dev/null 2>&1
        rm -f "$UNIT" || fail "it cannot remove $UNIT"
        systemctl daemon-reload >/dev/null 2>&1
        systemctl reset-failed "$NAME.service" >/dev/null 2>&1
    fi
    if [ -n "$(version_of)" ]; then
        rm -f "$LINK" || fail "it cannot remove $LINK"
    fi
    rm -rf "$STORE" || fail "it cannot remove $STORE"
    sync
    # What it wrote as a service, and what its administrator did. Of a user that systemd makes up, the first of two is a link to the other.
    for folder in log lib; do
        kept=/var/$folder/private/$NAME
        [ -d "$kept" ] || kept=/var/$folder/$NAME
        [ -d "$kept" ] && say "kept $kept"
    done
    [ -d "$UNIT.d" ] && say "kept $UNIT.d"
    say "done"
}
