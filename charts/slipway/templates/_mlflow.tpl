{{/*
Host headers that MLflow answers to. It compares the whole header, port included, and a list replaces its own,
so every spelling of the Service is here with and without the port.
*/}}
{{- define "slipway.mlflow.allowedHosts" -}}
{{- $service := include "slipway.componentName" (list . "mlflow") -}}
{{- $port := .Values.mlflow.service.port -}}
{{- $hosts := list "localhost" "localhost:*" "127.0.0.1" "127.0.0.1:*" -}}
{{- range list "" (printf ".%s" .Release.Namespace) (printf ".%s.svc" .Release.Namespace) (printf ".%s.svc.cluster.local" .Release.Namespace) -}}
{{- $hosts = concat $hosts (list (printf "%s%s" $service .) (printf "%s%s:%v" $service . $port)) -}}
{{- end -}}
{{- concat $hosts .Values.mlflow.allowedHosts | join "," -}}
{{- end -}}

{{- define "slipway.mlflow.authIni" -}}
[mlflow]
default_permission = READ
database_uri = {{ include "slipway.postgres.url" (list . "psycopg" .Values.postgres.databases.mlflow.authName) }}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
# Checking a password costs a quarter of a second; the answer is kept for a minute.
auth_cache_ttl_seconds = 60
{{- end -}}

{{/*
Databases of MLflow; the password comes by PGPASSWORD. Call with $.
*/}}
{{- define "slipway.mlflow.databaseEnv" -}}
{{- $database := .Values.postgres.databases.mlflow.name -}}
{{ include "slipway.postgres.env" (list . "mlflow" $database) }}
- name: MLFLOW_BACKEND_STORE_URI
  value: {{ include "slipway.postgres.url" (list . "psycopg" $database) }}
{{- end -}}

{{/*
A user out of its Secret. Call with (list $ "admin").
*/}}
{{- define "slipway.mlflow.userEnv" -}}
{{- $secret := include "slipway.mlflow.userSecretName" . -}}
{{- $prefix := upper (index . 1) -}}
{{ include "slipway.secretEnv" (list (printf "%s_USERNAME" $prefix) $secret "username") }}
{{ include "slipway.secretEnv" (list (printf "%s_PASSWORD" $prefix) $secret "password") }}
{{- end -}}

{{/*
Identity of the databases' migration: everything that decides its result. Waiting pods look for it.
*/}}
{{- define "slipway.mlflow.migrationId" -}}
{{- list (include "slipway.image" (list . .Values.mlflow.image)) (.Files.Get "files/migration.py") (.Files.Get "files/mlflow/migrate.py") .Values.mlflow.users (include "slipway.mlflow.authIni" .) (include "slipway.postgres.url" (list . "psycopg" .Values.postgres.databases.mlflow.name)) | toJson | sha256sum | trunc 10 -}}
{{- end -}}

{{- define "slipway.mlflow.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: scripts, mountPath: /opt/slipway-scripts, readOnly: true}
{{- with include "slipway.postgres.caMount" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "slipway.mlflow.volumes" -}}
- name: tmp
  emptyDir: {}
- name: scripts
  configMap:
    name: {{ include "slipway.componentName" (list . "mlflow-scripts") }}
{{- with include "slipway.postgres.caVolume" . }}
{{ . }}
{{- end }}
{{- end -}}
