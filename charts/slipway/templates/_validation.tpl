{{/*
Values that contradict each other stop the installation with a sentence instead of being guessed at.
values.schema.json has caught unknown keys and wrong types before this runs.
*/}}
{{- define "slipway.validate" -}}
{{- include "slipway.validatePostgres" . -}}
{{- include "slipway.validateObjectStore" . -}}
{{- include "slipway.validateAirflow" . -}}
{{- include "slipway.validateServices" . -}}
{{- include "slipway.validateProjects" . -}}
{{- end -}}

{{- define "slipway.validatePostgres" -}}
{{- $postgres := .Values.postgres -}}
{{- if and $postgres.enabled $postgres.external.host -}}
{{- fail (printf "postgres.external.host is %q but postgres.enabled is true: set postgres.enabled to false to use the external server, or empty postgres.external.host." $postgres.external.host) -}}
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
{{- if and (ne $name "root") (not $user.existingSecret) -}}
{{- fail (printf "objectStore.enabled is false but objectStore.users.%s.existingSecret is empty: name a Secret with the keys access-key and secret-key of that user." $name) -}}
{{- end -}}
{{- if and (eq $name "root") $user.existingSecret -}}
{{- fail "objectStore.users.root.existingSecret holds the administrator of this release's own MinIO, but objectStore.enabled is false: empty it." -}}
{{- end -}}
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
