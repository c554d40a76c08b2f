#!/bin/sh
# Makes buckets, policies and users what the release wants. Runs to the same end any number of times.
# Keys reach mc by standard input, never by its arguments, which every process of the pod could read.
set -eu

readonly SETUP=/opt/slipway-setup
readonly USERS=/run/slipway/users

wait_for_store() {
  tries=0
  until mc ls --quiet store >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      echo "error: $STORE_URL does not answer to the root user's keys" >&2
      mc ls store >&2
      exit 1
    fi
    sleep 1
  done
}

connect() {
  printf '{"url":"%s","accessKey":"%s","secretKey":"%s","api":"s3v4","path":"on"}' \
    "$STORE_URL" "$(cat "$USERS/root/access-key")" "$(cat "$USERS/root/secret-key")" |
    mc alias import --quiet store /dev/stdin >/dev/null
}

ensure_user() {
  key=$(cat "$USERS/$1/access-key")
  mc admin policy create --quiet store "slipway-$1" "$SETUP/policy-$1.json" >/dev/null
  printf '%s\n%s\n' "$key" "$(cat "$USERS/$1/secret-key")" | mc admin user add --quiet store >/dev/null
  if ! mc admin user info --json store "$key" | grep -q "\"policyName\":\"slipway-$1\""; then
    mc admin policy attach --quiet store "slipway-$1" --user "$key" >/dev/null
  fi
  echo "user $key is there"
}

connect
wait_for_store
for bucket in $BUCKETS; do
  mc mb --quiet --ignore-existing "store/$bucket" >/dev/null
  echo "bucket $bucket is there"
done
# The order is the caller's: MLflow's user comes last, because MLflow waits for it.
for user in $STORE_USERS; do
  ensure_user "$user"
done
