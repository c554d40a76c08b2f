#!/usr/bin/env bash
# Start PostgreSQL; on the first start make the database cluster from the environment:
#   POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE   the password of the first role (required, see below)
#   POSTGRES_USER, POSTGRES_DB (each also _FILE)  the first role (postgres) and database (named like the role)
#   POSTGRES_INITDB_ARGS                          more arguments for initdb
#   POSTGRES_HOST_AUTH_METHOD                     for remote clients (scram-sha-256); `trust` needs no password
#   /docker-entrypoint-initdb.d/*.sh *.sql *.sql.gz   run once, in order
# The cluster is made in a folder beside the data and moved into place when complete, so a container
# killed half way starts over.
set -euo pipefail

readonly SOCKETS=/var/run/postgresql
readonly NEW="$PGDATA/.new"

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# setting NAME [DEFAULT]: the value of NAME, or what the file named by NAME_FILE holds.
setting() {
    local name="$1" file="${1}_FILE"
    [[ -z ${!name:-} || -z ${!file:-} ]] || fail "$name and $file are both set: keep one"
    if [[ -n ${!file:-} ]]; then
        [[ -r ${!file} ]] || fail "$file names ${!file}, which cannot be read"
        printf '%s' "$(<"${!file}")"
    else
        printf '%s' "${!name:-${2:-}}"
    fi
}

# initdb asks for the name of the user it runs as; a UID that the cluster chose has none.
name_this_user() {
    local directory
    getent passwd "$(id -u)" >/dev/null && return
    directory="$(mktemp -d)"
    printf 'postgres:x:%s:%s::/tmp:/bin/false\n' "$(id -u)" "$(id -g)" >"$directory/passwd"
    printf 'postgres:x:%s:\n' "$(id -g)" >"$directory/group"
    export LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD="$directory/passwd" NSS_WRAPPER_GROUP="$directory/group"
}

run_initdb() {
    local user="$1" password="$2"
    # shellcheck disable=SC2086  # several arguments in one variable, as the name says
    initdb --pgdata="$NEW" --username="$user" --encoding=UTF8 --pwfile=<(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$NEW/pg_hba.conf"
}

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh) if [[ -x $script ]]; then "$script"; else (. "$script"); fi ;;
        *.sql) psql --file "$script" ;;
        *.sql.gz) gunzip -c "$script" | psql ;;
        esac
    done
}

# A server that only this container's own socket reaches runs while the database is filled.
fill() {
    local user="$1" database="$2" sockets
    sockets="$(mktemp -d)"
    pg_ctl --pgdata="$NEW" --wait --silent start --log=/dev/stderr \
        --options="-c listen_addresses='' -c unix_socket_directories='$sockets' -c fsync=off"
    export PGHOST="$sockets" PGUSER="$user" PGOPTIONS="-c client_min_messages=warning"
    [[ $database == postgres ]] || createdb --maintenance-db=postgres "$database"
    PGDATABASE="$database" PSQLRC=/dev/null run_scripts
    unset PGHOST PGUSER PGOPTIONS
    pg_ctl --pgdata="$NEW" --wait --silent stop --mode=fast
    sync
    rmdir "$sockets"
}

# PG_VERSION moves last: with it in place the cluster is complete. A move that was cut short goes on.
move_into_place() {
    find "$NEW" -mindepth 1 -maxdepth 1 ! -name PG_VERSION ! -name .complete -exec mv -t "$PGDATA" {} +
    mv "$NEW/PG_VERSION" "$PGDATA/"
    rm -rf "$NEW"
}

make_cluster() {
    local user database password
    user="$(setting POSTGRES_USER postgres)"
    database="$(setting POSTGRES_DB "$user")"
    password="$(setting POSTGRES_PASSWORD)"
    [[ -n $password || ${POSTGRES_HOST_AUTH_METHOD:-} == trust ]] \
        || fail "the first start needs a password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
    name_this_user
    rm -rf "$NEW"
    run_initdb "$user" "${password:-unused}"
    fill "$user" "$database"
    : >"$NEW/.complete"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
}

prepare() {
    mkdir -p "$PGDATA" 2>/dev/null && [[ -w $PGDATA ]] \
        || fail "user $(id -u) cannot write to $PGDATA: give the volume to that user or set PGDATA to a folder in it"
    chmod 0700 "$PGDATA" 2>/dev/null \
        || fail "user $(id -u) does not own $PGDATA: set PGDATA to a folder inside the volume"
    [[ -s $PGDATA/PG_VERSION ]] && return
    [[ -e $NEW/.complete ]] || make_cluster
    move_into_place
}

# As root (the official image allows it) hand the volume over and start again as postgres.
drop_root() {
    mkdir -p "$PGDATA"
    find "$PGDATA" "$SOCKETS" \! -user postgres -exec chown postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

[[ ${1:-} == -* ]] && set -- postgres "$@"
if [[ ${1:-} == postgres && " $* " != *" --version "* && " $* " != *" --help "* ]]; then
    [[ $(id -u) != 0 ]] || drop_root "$@"
    prepare
    [[ -w $SOCKETS ]] || set -- "$@" -c unix_socket_directories=/tmp
fi
exec "$@"
