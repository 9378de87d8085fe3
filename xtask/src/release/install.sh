#!/bin/sh
# Installs @RELEASE@ for the machine that it runs on. Where archives and SHA256SUMS are, is the first argument: a folder, or the
# address of one on the web; without it, the folder of this script.
#
#   sh install.sh [FOLDER|URL]     installs, or upgrades; with --uninstall, removes it
#
# DIR is the folder that it goes to, /usr/local/bin if it is not set. Nothing is installed whose SHA-256 is not in SHA256SUMS.
# SIGNER has public keys of minisign or ssh, one a line: if there are any, one of them must have signed SHA256SUMS, and as many as
# REBUILDERS says must state that they built the archive again. minisign or ssh-keygen checks that, whichever is here.
set -eu
umask 022
folder=${DIR:-/usr/local/bin}
signers=${SIGNER-'@SIGNERS@'}
rebuilders=${REBUILDERS-@REBUILDERS@}

# Calls a function for each archive, behind its own words with the name of that and its programs.
each() {
@ARCHIVES@
}
# Calls a function for each program of an archive.
programs() { call=$1 name=$2 && shift 2 && for program; do "$call" "$program"; done; }

refuse() { echo "install.sh: $*" >&2; exit 1; }
here() { command -v "$1" >/dev/null; }

# Whether there is an archive for a target.
released() { grep -q "  $1-$2.tar.gz\$" "$work/SHA256SUMS"; }

# Finds the target of this machine for which there is an archive.
target() {
    case $(uname -s) in Linux) ;; *) refuse "this is no Linux" ;; esac
    machine=$(uname -m)
    case $machine in
@TARGETS@
    *) refuse "no release has an archive for this machine ($machine)" ;;
    esac
    case $triple in armv7-*) released "$1" "$triple" || triple=@ARMV6@ ;; esac # It runs on all that came later.
    # The byte order of this system's own programs: 1 is little-endian, for which the kernel has the same word.
    order=$(dd if=/proc/self/exe bs=1 skip=5 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
    case $machine$order in mips1) triple=@MIPSLE@ ;; esac
    released "$1" "$triple" || refuse "there is no archive for this machine ($machine) in $from: a clone makes one by cargo xtask dist --arch ${triple%%-*}"
}

# Gets a file of the release, if it is there; of what never ends, no more than an archive may have.
get() {
    case $from in
    http://* | https://*) if here curl; then curl -fsL "$from/$1"; else wget -q -O - "$from/$1"; fi ;;
    *) cat "$from/$1" ;;
    esac 2>/dev/null | head -c 300000000 >"$work/$1" && [ -s "$work/$1" ]
}

sum() { if here sha256sum; then sha256sum; else openssl dgst -sha256 -r; fi <"$1" | cut -d ' ' -f 1; }

# The keys of SIGNER, none twice, and each as 32 bytes in base64.
keys() {
    echo "$signers" | while read -r kind key _; do
        case $kind in "" | \#*) continue ;; RW*) key=$kind ;; ssh-ed25519) ;; *) key= ;; esac
        case ${#key} in 56 | 68) echo "$key" | base64 -d | tail -c 32 | base64 ;; *) echo none ;; esac
    done | sort -u
}

# Whether a key has signed a file. minisign's form of keys has a number besides, which its signatures have, too.
signed() {
    if here minisign && get "$1.minisig"; then
        number=$(sed -n 2p "$work/$1.minisig" | base64 -d | head -c 10 | tail -c 8 | base64)
        key=$({ printf Ed; echo "$number" | base64 -d; echo "$2" | base64 -d; } | base64)
        minisign -V -q -P "$key" -m "$work/$1"
    elif here ssh-keygen && get "$1.sig"; then
        key=$({ printf '\0\0\0\13ssh-ed25519\0\0\0 '; echo "$2" | base64 -d; } | base64)
        echo "signer ssh-ed25519 $key" >"$work/signers"
        ssh-keygen -Y verify -f "$work/signers" -I signer -n bpfship -s "$work/$1.sig" <"$work/$1"
    else false; fi >/dev/null 2>&1
}

# Refuses checksums that no signer has signed.
trusted() {
    [ "$signers$rebuilders" ] || return 0
    case $rebuilders in "" | [1-9] | [1-9][0-9]) ;; *) refuse "REBUILDERS is no number from 1 to 99" ;; esac
    { here base64 && { here minisign || here ssh-keygen; }; } ||
        refuse "nothing here checks signatures: install base64, and minisign or openssh, or set SIGNER and REBUILDERS to nothing"
    keys=$(keys)
    case $keys in "" | *none*) refuse "SIGNER is no public key of minisign (RW...) or ssh (ssh-ed25519 ...)" ;; esac
    for key in $keys; do ! signed SHA256SUMS "$key" || return 0; done
    refuse "SHA256SUMS is not signed by SIGNER: nothing was installed"
}

# Refuses an archive, by its name and SHA-256, that too few signers state to have built again.
rebuilt() {
    count=0
    for key in ${rebuilders:+$keys}; do
        file=rebuild-$(echo "$key" | tr -cd A-Za-z0-9 | cut -c 1-16).intoto.jsonl
        if get "$file" && signed "$file" "$key"; then
            case $(sed 's/.*"payload":"\([^"]*\)".*/\1/' "$work/$file" | base64 -d) in
            *'"bpfship:rebuild/v1","subject":'*"{\"digest\":{\"sha256\":\"$2\"},\"name\":\"$1\"}"*) count=$((count + 1)) ;;
            esac
        fi
    done
    [ $count -ge "${rebuilders:-0}" ] || refuse "$count of SIGNER built $1 again, and $rebuilders must: nothing was installed"
}

# Puts the programs of an archive beside their places, if they are what they should be and start.
stage() {
    name=$1; shift; target "$name"
    archive=$name-$triple.tar.gz
    get "$archive" || refuse "cannot get $archive from $from"
    found=$(sum "$work/$archive")
    grep -q "^$found  $archive\$" "$work/SHA256SUMS" || refuse "$archive has not the SHA-256 of SHA256SUMS: nothing was installed"
    rebuilt "$archive" "$found"
    gzip -dc "$work/$archive" | (cd "$work" && tar xf -)
    for program; do
        new=$folder/.$program.new
        rm -f "$new" # It may be a link, which cp would follow.
        cp "$work/$name-$triple/$program" "$new" || refuse "cannot write to $folder: run this as root, or set DIR"
        chmod 755 "$new"
        "$new" --version >/dev/null || refuse "$program does not start on this machine: nothing was installed"
    done
}

ours() {
    if [ -L "$folder/$1" ] || [ -d "$folder/$1" ]; then refuse "$folder/$1 is a link or a folder, and not of this script"; fi
}
place() { mv -f "$folder/.$1.new" "$folder/$1" && echo "installed $name as $folder/$1"; }
drop() { rm -f "$folder/.$1.new"; }
remove() { [ -e "$folder/$1" ] || refuse "there is no $folder/$1: it is not installed"; rm "$folder/$1" && echo "removed $folder/$1"; }

[ $# -lt 2 ] || refuse "more than one argument: sh install.sh [FOLDER|URL], or --uninstall, is expected"
each programs ours
case ${1-} in
--uninstall) each programs remove ;;
-h | --help) sed -n '1d; /^set/q; s/^# \{0,1\}//p' "$0" ;;
-*) refuse "sh install.sh [FOLDER|URL], or --uninstall, is expected" ;;
*)
    from=${1:-$(dirname "$0")}
    here sha256sum || here openssl || refuse "nothing here computes SHA-256: install coreutils or openssl"
    [ -d "$folder" ] || refuse "there is no folder $folder: set DIR to another one"
    work=$(mktemp -d)
    trap 'rm -rf "$work"; each programs drop' EXIT
    trap 'exit 1' HUP INT TERM
    case $from in http*://*) here curl || here wget || refuse "nothing here downloads: install curl or wget" ;; esac
    get SHA256SUMS || refuse "cannot get SHA256SUMS from $from"
    trusted
    each stage
    each programs place
    ;;
esac
