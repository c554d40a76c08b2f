{{/*
What each user may do: bucket to "read" or "write" (which includes read and delete). MLflow's user is last in
the setup, because MLflow waits for it.
*/}}
{{- define "slipway.objectStore.grants" -}}
airflow: {landing: read, logs: write}
lander: {landing: write}
serving: {models: read}
stages: {landing: read, data: write, models: write}
mlflow: {mlflow: write}
{{- end -}}

{{- define "slipway.objectStore.userOrder" -}}airflow lander serving stages mlflow{{- end -}}

{{/*
A policy document. Call with (list $ grants).
*/}}
{{- define "slipway.objectStore.policy" -}}
{{- $buckets := (index . 0).Values.objectStore.buckets -}}
{{- $statements := list -}}
{{- range $bucket, $access := index . 1 -}}
{{- $arn := printf "arn:aws:s3:::%s" (get $buckets $bucket) -}}
{{- $statements = append $statements (dict "Effect" "Allow" "Action" (list "s3:GetBucketLocation" "s3:ListBucket" "s3:ListBucketMultipartUploads") "Resource" (list $arn)) -}}
{{- $actions := list "s3:GetObject" -}}
{{- if eq $access "write" -}}{{- $actions = concat $actions (list "s3:PutObject" "s3:DeleteObject" "s3:AbortMultipartUpload" "s3:ListMultipartUploadParts") -}}{{- end -}}
{{- $statements = append $statements (dict "Effect" "Allow" "Action" $actions "Resource" (list (printf "%s/*" $arn))) -}}
{{- end -}}
{{- dict "Version" "2012-10-17" "Statement" $statements | toPrettyJson -}}
{{- end -}}
