# Images as files in the cache, from which nodes and new engines get them. Source it after lib.sh.
# shellcheck shell=bash

# archive_of REFERENCE: where the archive of an image is, or would be.
archive_of() { printf '%s/images/%s.tar\n' "$SLIPWAY_CACHE" "${1//[:\/]/_}"; }

# whole FILE: whether an archive was written to its end; tar only reads the heads of what is in it.
whole() { [ -s "$1" ] && tar --list --file "$1" >/dev/null 2>&1; }

# keep REFERENCE: writes the engine's image into its archive, whole or not at all, and forgets those of other tags.
keep() {
    local file
    file="$(archive_of "$1")"
    mkdir -p "$(dirname "$file")"
    rm -f "${file%_*}"_*.tar*
    docker save "$1" >"$file.part" || { rm -f "$file.part"; return 1; }
    mv "$file.part" "$file"
}

# load_kept REFERENCE: gives the engine the image from its archive. One that the engine refuses is removed.
load_kept() {
    local file
    file="$(archive_of "$1")"
    whole "$file" || return 1
    docker load --quiet --input "$file" && return
    say "    the archive of $1 is damaged, and removed: $file"
    rm -f "$file"
    return 1
}

# work_dir NAME: a folder of one's own for half-done work. Where our engine keeps the nodes' files it is beside them,
# as a hard link does not reach past a mount.
work_dir() {
    local where="$SLIPWAY_ENGINE_DIR/data/tmp"
    if [ ! -w "$where" ]; then
        where="$SLIPWAY_CACHE/tmp"
        mkdir -p "$where"
    fi
    mktemp -d "$where/$1.XXXXXX"
}
