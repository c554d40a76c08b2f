{{/*
Secrets are made once and kept: `lookup` finds what is in the cluster and its bytes are used again, and
`helm.sh/resource-policy: keep` leaves them after `helm uninstall`, because the volumes that they open stay too.
`helm template` can't look anything up, so each run shows new random values; `helm template --dry-run=server` can.
*/}}

{{/*
A whole Secret. Call with (list $ component name (dict key plaintextForFirstInstall ...)).
Call it once per Secret and render: a second call would draw other random values.
*/}}
{{- define "slipway.keptSecret" -}}
{{- $root := index . 0 -}}
{{- $name := index . 2 -}}
{{- $found := lookup "v1" "Secret" $root.Release.Namespace $name -}}
{{- $kept := dict -}}
{{- if $found -}}{{- $kept = default dict $found.data -}}{{- end -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "slipway.metadata" (list $root (index . 1) $name) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  {{- range $key, $first := index . 3 }}
  {{ $key }}: {{ get $kept $key | default ($first | b64enc) }}
  {{- end }}
{{- end -}}

{{/*
Where each secret is: the user's own, or the one this chart keeps. Call with $.
*/}}
{{- define "slipway.airflow.secretName" -}}
{{- default (printf "%s-airflow" (include "slipway.fullname" .)) .Values.airflow.existingSecret -}}
{{- end -}}

{{- define "slipway.airflow.adminSecretName" -}}
{{- default (printf "%s-airflow-admin" (include "slipway.fullname" .)) .Values.airflow.auth.existingSecret -}}
{{- end -}}

{{- define "slipway.mlflow.secretName" -}}
{{- default (printf "%s-mlflow" (include "slipway.fullname" .)) .Values.mlflow.existingSecret -}}
{{- end -}}

{{- define "slipway.postgres.secretName" -}}
{{- default (printf "%s-postgres" (include "slipway.fullname" .)) .Values.postgres.existingSecret -}}
{{- end -}}

{{/*
Call with (list $ "admin").
*/}}
{{- define "slipway.mlflow.userSecretName" -}}
{{- $user := index (index . 0).Values.mlflow.users (index . 1) -}}
{{- default (printf "%s-mlflow-%s" (include "slipway.fullname" (index . 0)) (index . 1)) $user.existingSecret -}}
{{- end -}}

{{/*
Call with (list $ "airflow").
*/}}
{{- define "slipway.postgres.roleSecretName" -}}
{{- $database := index (index . 0).Values.postgres.databases (index . 1) -}}
{{- default (printf "%s-postgres-%s" (include "slipway.fullname" (index . 0)) (index . 1)) $database.existingSecret -}}
{{- end -}}

{{/*
Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.userSecretName" -}}
{{- $user := index (index . 0).Values.objectStore.users (index . 1) -}}
{{- default (printf "%s-object-store-%s" (include "slipway.fullname" (index . 0)) (index . 1)) $user.existingSecret -}}
{{- end -}}
