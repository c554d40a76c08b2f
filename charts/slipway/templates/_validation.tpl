{{/*
Values that contradict each other stop the installation with a sentence instead of being guessed at.
values.schema.json has caught unknown keys and wrong types before this runs.
*/}}
{{- define "slipway.validate" -}}
{{- include "slipway.validateKeys" . -}}
{{- include "slipway.validatePostgres" . -}}
{{- include "slipway.validateObjectStore" . -}}
{{- include "slipway.validateAirflow" . -}}
{{- include "slipway.validateServices" . -}}
{{- include "slipway.validateProjects" . -}}
{{- end -}}

{{/*
A key without a value (`postgres:` and nothing below it) takes the chart's default away; files/keys.txt has the keys that
can't go.
*/}}
{{- define "slipway.validateKeys" -}}
{{- $empty := list -}}
{{- range $path := .Files.Lines "files/keys.txt" -}}
{{- $found := $.Values -}}
{{- $walked := "" -}}
{{- $gone := false -}}
{{- range $key := splitList "." $path | compact -}}
{{- if not $gone -}}
{{- $walked = printf "%s.%s" $walked $key | trimPrefix "." -}}
{{- $found = index $found $key -}}
{{- $gone = kindIs "invalid" $found -}}
{{- end -}}
{{- end -}}
{{- if $gone -}}{{- $empty = append $empty $walked -}}{{- end -}}
{{- end -}}
{{- with uniq $empty -}}
{{- fail (printf "no value is given for %s: leave the key out to keep its default, or say what it is." (join ", " .)) -}}
{{- end -}}
{{- end -}}

{{- define "slipway.validatePostgres" -}}
{{- $postgres := .Values.postgres -}}
{{- if and $postgres.enabled $postgres.external.host -}}
{{- fail (printf "postgres.external.host is %q but postgres.enabled is true: set postgres.enabled to false to use the external server, or empty postgres.external.host." $postgres.external.host) -}}
{{- end -}}
{{- $verifies := hasPrefix "verify-" $postgres.external.sslMode -}}
{{- if and $postgres.external.caSecret (or $postgres.enabled (not $verifies)) -}}
{{- fail (printf "postgres.external.caSecret is %q but nothing would be checked against it: it needs postgres.enabled false and postgres.external.sslMode verify-ca or verify-full." $postgres.external.caSecret) -}}
{{- end -}}
{{- if and $verifies $postgres.enabled -}}
{{- fail (printf "postgres.external.sslMode is %s but postgres.enabled is true: this release's own Postgres has no certificate; set postgres.enabled to false to use an external server." $postgres.external.sslMode) -}}
{{- end -}}
{{- if and $verifies (not $postgres.external.caSecret) -}}
{{- fail (printf "postgres.external.sslMode is %s but postgres.external.caSecret is empty: name a Secret with the key ca.crt, the certificates of who vouches for the server." $postgres.external.sslMode) -}}
{{- end -}}
{{- if not $postgres.enabled -}}
{{- if not $postgres.external.host -}}
{{- fail "postgres.enabled is false but postgres.external.host is empty: name the server to use." -}}
{{- end -}}
{{- range $name, $database := $postgres.databases -}}
{{- if not $database.existingSecret -}}
{{- fail (printf "postgres.enabled is false but postgres.databases.%s.existingSecret is empty: name a Secret with the keys username and password of that role." $name) -}}
{{- end -}}
{{- end -}}
{{- if $postgres.existingSecret -}}
{{- fail "postgres.existingSecret holds the superuser of this release's own Postgres, but postgres.enabled is false: empty it." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.validateObjectStore" -}}
{{- $store := .Values.objectStore -}}
{{- if and $store.enabled $store.external.endpoint -}}
{{- fail (printf "objectStore.external.endpoint is %q but objectStore.enabled is true: set objectStore.enabled to false to use the external store, or empty objectStore.external.endpoint." $store.external.endpoint) -}}
{{- end -}}
{{- if not $store.enabled -}}
{{- if not $store.external.endpoint -}}
{{- fail "objectStore.enabled is false but objectStore.external.endpoint is empty: name the store to use." -}}
{{- end -}}
{{- range $name, $user := $store.users -}}
{{- if not (or (eq $name "root") $user.existingSecret $user.cloudRole) -}}
{{- fail (printf "objectStore.enabled is false but objectStore.users.%s.existingSecret is empty: name a Secret with the keys access-key and secret-key of that user, or set cloudRole to true if it is a role of the cloud." $name) -}}
{{- end -}}
{{- if and (eq $name "root") $user.existingSecret -}}
{{- fail "objectStore.users.root.existingSecret holds the administrator of this release's own MinIO, but objectStore.enabled is false: empty it." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $user := omit $store.users "root" -}}
{{- if and $user.cloudRole $store.enabled -}}
{{- fail (printf "objectStore.users.%s.cloudRole is true but objectStore.enabled is true: this release's own MinIO knows no roles of a cloud; set cloudRole to false, or use an external store." $name) -}}
{{- end -}}
{{- if and $user.cloudRole $user.existingSecret -}}
{{- fail (printf "objectStore.users.%s has keys (existingSecret is %q) and is a role of the cloud (cloudRole is true): leave one of them out." $name $user.existingSecret) -}}
{{- end -}}
{{- if and $user.serviceAccountAnnotations (not $user.cloudRole) -}}
{{- fail (printf "objectStore.users.%s.serviceAccountAnnotations would do nothing, as cloudRole is false: set it to true if the user is a role of the cloud, or empty them." $name) -}}
{{- end -}}
{{- end -}}
{{- $buckets := values $store.buckets -}}
{{- if ne (len $buckets) (len (uniq $buckets)) -}}
{{- fail (printf "objectStore.buckets uses a name twice (%s): give each bucket its own." (join ", " (sortAlpha $buckets))) -}}
{{- end -}}
{{- end -}}

{{- define "slipway.validateAirflow" -}}
{{- $secret := dict "core.fernet_key" "airflow.existingSecret" "api.secret_key" "airflow.existingSecret" "api_auth.jwt_secret" "airflow.existingSecret" "database.sql_alchemy_conn" "postgres.databases.airflow.existingSecret" -}}
{{- range $section, $settings := .Values.airflow.config -}}
{{- range $key, $_ := $settings -}}
{{- $path := printf "%s.%s" $section $key -}}
{{- with get $secret $path -}}
{{- fail (printf "airflow.config.%s would put a secret into a ConfigMap: use %s." $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.validateServices" -}}
{{- $services := dict "airflow.apiServer" .Values.airflow.apiServer.service "mlflow" .Values.mlflow.service "postgres" .Values.postgres.service "objectStore" .Values.objectStore.service "serving" .Values.serving.service -}}
{{- if .Values.networkPolicy.enabled -}}
{{- range $name, $service := $services -}}
{{- if and (ne $service.type "ClusterIP") (not $service.allowFrom) -}}
{{- fail (printf "%s.service.type is %s but %s.service.allowFrom is empty, so the NetworkPolicies would refuse everyone from outside: list who may connect." $name $service.type $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The rule is that of ml/core/project.py, which has the same names to give: of Services and of MLflow's experiments.
*/}}
{{- define "slipway.validateProjects" -}}
{{- $services := dict -}}
{{- range $name, $_ := .Values.stages.projects -}}
{{- if not (regexMatch "^[a-z]([a-z0-9_-]{0,38}[a-z0-9])?$" $name) -}}
{{- fail (printf "stages.projects.%s can't be a project's name: it begins with a small letter, goes on with small letters, digits, '-' and '_', does not end with those two, and has at most 40 signs in all." $name) -}}
{{- end -}}
{{- $service := replace "_" "-" $name -}}
{{- with get $services $service -}}
{{- fail (printf "stages.projects has %s and %s, which would both be served as %s: rename one of them." . $name $service) -}}
{{- end -}}
{{- $_ := set $services $service $name -}}
{{- with trimSuffix "-monitoring" $name -}}
{{- if and (ne . $name) (hasKey $.Values.stages.projects .) -}}
{{- fail (printf "stages.projects has %s and %s, whose MLflow experiment would be that of the monitoring of %s: rename one of them." . $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
