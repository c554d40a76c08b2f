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
{{- if $root.Values.postgres.external.caSecret }}
- name: PGSSLROOTCERT
  value: {{ include "slipway.postgres.caFolder" . }}/ca.crt
{{- end }}
{{ include "slipway.secretEnv" (list "PGUSER" $secret "username") }}
{{ include "slipway.secretEnv" (list "PGPASSWORD" $secret "password") }}
{{- end -}}

{{- define "slipway.postgres.caFolder" -}}/run/slipway/postgres-ca{{- end -}}

{{/*
The certificates of who vouches for an external server, for every pod that has slipway.postgres.env. Call with $.
*/}}
{{- define "slipway.postgres.caMount" -}}
{{- if .Values.postgres.external.caSecret -}}
- {name: postgres-ca, mountPath: {{ include "slipway.postgres.caFolder" . }}, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "slipway.postgres.caVolume" -}}
{{- with .Values.postgres.external.caSecret -}}
- name: postgres-ca
  projected:
    sources:
      - secret:
          name: {{ . }}
          items: [{key: ca.crt, path: ca.crt}]
{{- end -}}
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
Says "yes" when a user is a role of the cloud, which gives its pods what they need. Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.isRole" -}}
{{- if (index (index . 0).Values.objectStore.users (index . 1)).cloudRole }}yes{{ end -}}
{{- end -}}

{{/*
A user's keys; nothing for a role. Where each project has a user of its own, who starts the pod puts the project's name
for {project}. Call with (list $ "stages" ACCESS_KEY SECRET_KEY), the last two names of variables.
*/}}
{{- define "slipway.objectStore.keys" -}}
{{- if not (include "slipway.objectStore.isRole" .) -}}
{{- $own := include "slipway.objectStore.perProject" . -}}
{{- $secret := $own | empty | ternary (include "slipway.objectStore.userSecretName" .) (include "slipway.objectStore.projectSecretName" .) -}}
{{- $prefix := $own | empty | ternary "" "{project}." -}}
{{ include "slipway.secretEnv" (list (index . 2) $secret (printf "%saccess-key" $prefix | quote)) }}
{{ include "slipway.secretEnv" (list (index . 3) $secret (printf "%ssecret-key" $prefix | quote)) }}
{{- end -}}
{{- end -}}

{{/*
Credentials and address of the object store, for obstore and boto3 alike. Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.env" -}}
{{- $root := index . 0 -}}
{{- $endpoint := include "slipway.objectStore.endpoint" $root -}}
{{- with include "slipway.objectStore.keys" (list $root (index . 1) "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") }}{{ . }}
{{ end -}}
# Not AWS_ENDPOINT_URL: boto3 would look for the keys of roles there too.
- name: AWS_ENDPOINT_URL_S3
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
