#!/bin/sh
# Installs @RELEASE@ for the machine that it runs on. Where archives and SHA256SUMS are, is the first argument: a folder, or the
# address of one on the web; without it, the folder of this script.
#
#   sh install.sh [FOLDER|URL]     installs, or upgrades
#   sh install.sh --uninstall      removes it
#
# DIR is the folder that it goes to, /usr/local/bin if it is not set. Nothing is installed whose SHA-256 is not in SHA256SUMS.
# If SIGNER is set to a public key of minisign or ssh, nothing is installed unless that key has signed SHA256SUMS.
set -eu
umask 022

folder=${DIR:-/usr/local/bin}

# Calls a function for each archive, with its name and its programs.
each() {
@ARCHIVES@
}

refuse() { echo "install.sh: $*" >&2; exit 1; }

# The byte order of this system's programs: 1 is little-endian, 2 is big-endian.
byte_order() { dd if=/proc/self/exe bs=1 skip=5 count=1 2>/dev/null | od -An -tu1 | tr -d ' '; }

# Whether there is an archive for a target.
released() { grep -q "  $1-$2.tar.gz\$" "$work/SHA256SUMS"; }

# Finds the target of this machine for which there is an archive.
target() {
    case $(uname -s) in Linux) ;; *) refuse "this is no Linux" ;; esac
    machine=$(uname -m)
    case $machine in
@TARGETS@
    *) refuse "there is no archive for this machine ($machine)" ;;
    esac
    # ARMv6 runs on all that came later.
    case $triple in armv7-*) released "$1" "$triple" || triple=@ARMV6@ ;; esac
    # The kernel's word for both byte orders.
    case $machine$(byte_order) in mips1) triple=@MIPSLE@ ;; esac
    released "$1" "$triple" || refuse "there is no archive for this machine ($machine) in $from"
}

# Gets a file of the release.
get() {
    case $from in
    http://* | https://*)
        if command -v curl >/dev/null; then curl --fail --silent --show-error --location --output "$work/$1" "$from/$1"
        else wget -q -O "$work/$1" "$from/$1"; fi || refuse "cannot get $from/$1"
        ;;
    *) cp "$from/$1" "$work/$1" || refuse "there is no $1 in $from" ;;
    esac
}

sum() {
    if command -v sha256sum >/dev/null; then sha256sum <"$1"
    elif command -v openssl >/dev/null; then openssl dgst -sha256 -r <"$1"
    else refuse "nothing here computes SHA-256: install coreutils or openssl"; fi
}

# Checks who signed the checksums, if a signer is named.
signed() {
    case ${SIGNER-} in
    "") return ;;
    RW*)
        command -v minisign >/dev/null || refuse "nothing here checks signatures of minisign: install minisign"
        get SHA256SUMS.minisig
        minisign -V -q -P "$SIGNER" -m "$work/SHA256SUMS"
        ;;
    ssh-ed25519\ *)
        command -v ssh-keygen >/dev/null || refuse "nothing here checks signatures of ssh: install openssh"
        get SHA256SUMS.sig
        echo "signer $SIGNER" >"$work/signers"
        ssh-keygen -Y verify -f "$work/signers" -I signer -n bpfship -s "$work/SHA256SUMS.sig" <"$work/SHA256SUMS" >/dev/null
        ;;
    *) refuse "SIGNER is no public key of minisign (RW...) or ssh (ssh-ed25519 ...)" ;;
    esac || refuse "SHA256SUMS is not signed by SIGNER: nothing was installed"
}

ours() {
    shift
    for program; do [ ! -L "$folder/$program" ] || refuse "$folder/$program is a link, which this script did not make"; done
}

# Puts the programs of an archive beside their places, if they are what they should be and start.
stage() {
    name=$1 && shift
    target "$name"
    file=$name-$triple.tar.gz
    get "$file"
    wanted=$(grep "  $file\$" "$work/SHA256SUMS")
    found=$(sum "$work/$file")
    [ "${wanted%% *}" = "${found%% *}" ] ||
        refuse "$file has another SHA-256 than SHA256SUMS has for it: nothing was installed"
    gzip -dc "$work/$file" | (cd "$work" && tar xf -)
    for program; do
        new=$folder/.$program.new
        cp "$work/$name-$triple/$program" "$new" || refuse "cannot write to $folder: run this as root, or set DIR"
        chmod 755 "$new"
        "$new" --version >/dev/null || refuse "$program does not start on this machine: nothing was installed"
    done
}

place() {
    name=$1 && shift
    for program; do
        mv -f "$folder/.$program.new" "$folder/$program"
        echo "$folder/$program is of $name"
    done
}

drop() { shift && for program; do rm -f "$folder/.$program.new"; done; }

remove() {
    shift
    for program; do
        [ -e "$folder/$program" ] || refuse "there is no $folder/$program"
        rm "$folder/$program"
        echo "removed $folder/$program"
    done
}

each ours
case ${1-} in
--uninstall) each remove ;;
-*) refuse "sh install.sh [FOLDER|URL], or --uninstall, is expected" ;;
*)
    from=${1:-$(dirname "$0")}
    from=${from%/}
    [ -d "$folder" ] || refuse "there is no folder $folder: set DIR to another one"
    work=$(mktemp -d)
    trap 'rm -rf "$work"; each drop' EXIT
    trap 'exit 1' HUP INT TERM
    get SHA256SUMS
    signed
    each stage
    each place
    ;;
esac
