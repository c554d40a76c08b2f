#!/bin/bash
# Makes the roles and databases what the release wants, at every start of the server: a role or database that a
# newer chart adds appears on an old volume, and a new password in a Secret counts after a restart.
# Runs as the container's postStart hook, over the server's local socket, which needs no password.
set -euo pipefail

readonly PASSWORDS=/run/slipway/passwords
readonly SILENCE_SECONDS=1800

run_sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$1"; }

# The server of the first start listens on the socket alone and goes away again; TCP is the real one.
# Failing here kills the container, and no probe runs before this hook is done, so nothing but this sets a limit. A
# server that recovers from a crash refuses connections (pg_isready: 1) and gets all the time it takes: killed, it would
# begin again, for ever. Only silence (2) ends the wait; the first start is silent too while it fills a slow volume.
wait_for_server() {
  local heard=$SECONDS
  until pg_isready --quiet --host 127.0.0.1; do
    if (($? == 1)); then heard=$SECONDS; fi
    if ((SECONDS - heard > SILENCE_SECONDS)); then
      echo "error: Postgres has not answered for ${SILENCE_SECONDS} s" >&2
      return 1
    fi
    sleep 0.5
  done
}

# ensure_role FOLDER: the role whose name and password are in that folder.
ensure_role() {
  run_sql postgres <<SQL
\set role \`cat $PASSWORDS/$1/username\`
\set password \`cat $PASSWORDS/$1/password\`
SELECT format('CREATE ROLE %I', :'role')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN PASSWORD :'password';
SQL
}

# ensure_database FOLDER NAME: a database that only its owner (and the superuser) may connect to.
ensure_database() {
  run_sql postgres <<SQL
\set role \`cat $PASSWORDS/$1/username\`
\set name '$2'
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'role')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
ALTER DATABASE :"name" OWNER TO :"role";
SQL
}

ensure_superuser_password() {
  run_sql postgres <<SQL
\set role '$POSTGRES_USER'
\set password \`cat $POSTGRES_PASSWORD_FILE\`
ALTER ROLE :"role" PASSWORD :'password';
SQL
}

wait_for_server
ensure_superuser_password
# SLIPWAY_DATABASES: lines of "<folder> <database>".
while read -r folder database; do
  [[ -n $folder ]] || continue
  ensure_role "$folder"
  ensure_database "$folder" "$database"
done <<<"$SLIPWAY_DATABASES"
