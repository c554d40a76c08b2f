{{/*
How pods reach the database and the object store, whether they are this release's or someone else's.
*/}}

{{- define "slipway.postgres.host" -}}
{{- if .Values.postgres.enabled -}}
{{- include "slipway.componentName" (list . "postgres") -}}
{{- else -}}
{{- .Values.postgres.external.host -}}
{{- end -}}
{{- end -}}

{{- define "slipway.postgres.port" -}}
{{- if .Values.postgres.enabled -}}{{ .Values.postgres.service.port }}{{- else -}}{{ .Values.postgres.external.port }}{{- end -}}
{{- end -}}

{{/*
Environment that every Postgres client library reads by itself. URLs so hold neither user nor password, and
passwords may contain any character. Call with (list $ "airflow" databaseName).
*/}}
{{- define "slipway.postgres.env" -}}
{{- $root := index . 0 -}}
{{- $secret := include "slipway.postgres.roleSecretName" (list $root (index . 1)) -}}
- name: PGHOST
  value: {{ include "slipway.postgres.host" $root }}
- name: PGPORT
  value: {{ include "slipway.postgres.port" $root | quote }}
- name: PGDATABASE
  value: {{ index . 2 }}
- name: PGSSLMODE
  value: {{ ternary "disable" $root.Values.postgres.external.sslMode $root.Values.postgres.enabled }}
{{ include "slipway.secretEnv" (list "PGUSER" $secret "username") }}
{{ include "slipway.secretEnv" (list "PGPASSWORD" $secret "password") }}
{{- end -}}

{{/*
Call with (list $ driver databaseName).
*/}}
{{- define "slipway.postgres.url" -}}
{{- $root := index . 0 -}}
postgresql+{{ index . 1 }}://{{ include "slipway.postgres.host" $root }}:{{ include "slipway.postgres.port" $root }}/{{ index . 2 }}
{{- end -}}

{{- define "slipway.objectStore.endpoint" -}}
{{- if .Values.objectStore.enabled -}}
http://{{ include "slipway.componentName" (list . "minio") }}:{{ .Values.objectStore.service.port }}
{{- else -}}
{{- .Values.objectStore.external.endpoint -}}
{{- end -}}
{{- end -}}

{{/*
The port in the endpoint's address.
*/}}
{{- define "slipway.objectStore.port" -}}
{{- $endpoint := include "slipway.objectStore.endpoint" . -}}
{{- $host := (urlParse $endpoint).host -}}
{{- if contains ":" $host -}}
{{- splitList ":" $host | last -}}
{{- else if hasPrefix "https" $endpoint -}}443{{- else -}}80{{- end -}}
{{- end -}}

{{/*
Credentials and address of the object store, for obstore and boto3 alike. Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.env" -}}
{{- $root := index . 0 -}}
{{- $endpoint := include "slipway.objectStore.endpoint" $root -}}
{{- $secret := include "slipway.objectStore.userSecretName" . -}}
{{ include "slipway.secretEnv" (list "AWS_ACCESS_KEY_ID" $secret "access-key") }}
{{ include "slipway.secretEnv" (list "AWS_SECRET_ACCESS_KEY" $secret "secret-key") }}
- name: AWS_ENDPOINT_URL
  value: {{ $endpoint }}
# obstore reads the first name, boto3 the second.
- name: AWS_REGION
  value: {{ $root.Values.objectStore.region }}
- name: AWS_DEFAULT_REGION
  value: {{ $root.Values.objectStore.region }}
- name: AWS_ALLOW_HTTP
  value: {{ hasPrefix "http://" $endpoint | quote }}
{{- end -}}

{{- define "slipway.mlflow.url" -}}
http://{{ include "slipway.componentName" (list . "mlflow") }}:{{ .Values.mlflow.service.port }}
{{- end -}}

{{/*
What a client of MLflow needs. Call with $.
*/}}
{{- define "slipway.mlflow.clientEnv" -}}
{{- $secret := include "slipway.mlflow.userSecretName" (list . "stages") -}}
- name: MLFLOW_TRACKING_URI
  value: {{ include "slipway.mlflow.url" . }}
{{ include "slipway.secretEnv" (list "MLFLOW_TRACKING_USERNAME" $secret "username") }}
{{ include "slipway.secretEnv" (list "MLFLOW_TRACKING_PASSWORD" $secret "password") }}
{{- end -}}

{{- define "slipway.airflow.url" -}}
http://{{ include "slipway.componentName" (list . "airflow") }}:{{ .Values.airflow.apiServer.service.port }}
{{- end -}}
