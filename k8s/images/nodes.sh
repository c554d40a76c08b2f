# Images from their archives in the cache onto the nodes of the cluster. Source it after archives.sh.
# shellcheck shell=bash

readonly KIND=io.x-k8s.kind
readonly NODE_SECONDS=120

# nodes ROLE
nodes() {
    docker ps --filter "label=$KIND.cluster=$SLIPWAY_CLUSTER" --filter "label=$KIND.role=$1" --format '{{.Names}}'
}

# The nodes that run pods: kind keeps a taint on control planes when there are workers.
pod_nodes() {
    local found
    found="$(nodes worker)"
    [ -n "$found" ] || found="$(nodes control-plane)"
    printf '%s' "$found"
}

# new_pod_nodes: those of a cluster that is being created, once they take images.
new_pod_nodes() {
    local wanted found node deadline=$((SECONDS + NODE_SECONDS))
    wanted="$(grep -c 'role: worker' kind-config.yaml)"
    until found="$(nodes worker)" && [ "$(grep -c . <<<"$found")" = "$wanted" ]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.3
    done
    for node in $found; do
        until docker exec "$node" ctr version >/dev/null 2>&1; do
            ((SECONDS < deadline)) || return 1
            sleep 0.3
        done
    done
    printf '%s' "$found"
}

node_has() { docker exec "$1" ctr --namespace k8s.io images ls -q "name==docker.io/$2" 2>/dev/null | grep -q .; }

# lacking REFERENCE NODE...: those of the nodes that do not have the image.
lacking() {
    local reference="$1" node
    shift
    for node in "$@"; do node_has "$node" "$reference" || printf '%s\n' "$node"; done
}

# blobs_on_all NODE...: the digests of what every one of these nodes has already.
blobs_on_all() {
    local node
    for node in "$@"; do docker exec "$node" ctr --namespace k8s.io content ls -q; done \
        | sort | uniq -c | awk -v nodes=$# '$1 == nodes {print $2}'
}

# put FILE NODE: into the node's /var. Where that is a folder of this machine, `docker cp` would take much longer, and
# a second name for the file is enough on the same file system.
put() {
    local var
    var="$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var"}}{{.Source}}{{end}}{{end}}' "$2")"
    if [ ! -w "$var" ]; then
        docker cp "$1" "$2:/var/"
    elif ! ln "$1" "$var/" 2>/dev/null; then
        cp "$1" "$var/"
    fi
}

# import_into NODE FILE: as a file on the node, for a stream through `docker exec` takes half as long again.
# `--local` takes a third of the time; older nodes do not know it and always work that way.
import_into() {
    local there failed=0
    there="/var/$(basename "$2")"
    put "$2" "$1" && docker exec "$1" sh -euc '
        file="$1" && shift
        ! ctr images import --help | grep -q -e --local || set -- --local
        ctr --namespace k8s.io images import "$@" --all-platforms --snapshotter overlayfs "$file"' sh "$there" \
        || failed=1
    docker exec "$1" rm -f "$there"
    ((failed == 0)) || { say "$1 could not take the image"; return 1; }
}

# send REFERENCE NODE...: what any of the nodes lacks of an image, to all of them at once.
send() {
    local archive file node pids=() pid failed=0
    archive="$(archive_of "$1")"
    file="$WORK/$(basename "$archive")"
    shift
    blobs_on_all "$@" >"$file.blobs"
    python3 k8s/images/missing_blobs.py "$file.blobs" "$archive" "$file"
    for node in "$@"; do
        import_into "$node" "$file" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    rm -f "$file" "$file.blobs"
    ((failed == 0)) || forget_if_damaged "$archive"
    return "$failed"
}

# A damaged archive must not fail every run: the next one makes it anew.
forget_if_damaged() {
    intact "$1" && return
    say "the archive was damaged, and is removed; run this again: $1"
    rm -f "$1"
}

# intact ARCHIVE: whether every blob is what its name says. Reads all of it.
intact() {
    local blob
    whole "$1" || return 1
    for blob in $(tar --list --file "$1" | grep '^blobs/sha256/.'); do
        [ "$(tar --extract --to-stdout --file "$1" "$blob" | sha256sum | cut -d ' ' -f 1)" = "${blob##*/}" ] || return 1
    done
}
