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

{{/*
Every project that stages may be started for, as a list.
*/}}
{{- define "slipway.projects" -}}
{{- concat (default list .Values.stages.imageProjects) (keys (default dict .Values.stages.projects)) | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/*
Says "yes" when each project has a user of its own in place of this one: in this release's own store, for users that
stages are, unless the values bring the keys. Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.perProject" -}}
{{- $values := (index . 0).Values.objectStore -}}
{{- if and $values.enabled (has (index . 1) (list "lander" "stages")) (not (index $values.users (index . 1)).existingSecret) }}yes{{ end -}}
{{- end -}}

{{/*
The Secret with the keys of all projects' users, <project>.access-key and <project>.secret-key. A pod gets those of its
own project. Call with (list $ "stages").
*/}}
{{- define "slipway.objectStore.projectSecretName" -}}
{{- printf "%s-object-store-project-%s" (include "slipway.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/*
All users that the setup makes, in its order, as a list of {name, secret, accessKey, secretKey, grants, project}.
*/}}
{{- define "slipway.objectStore.accounts" -}}
{{- $grants := include "slipway.objectStore.grants" . | fromYaml -}}
{{- $accounts := list -}}
{{- range $user := list "airflow" "lander" "serving" "stages" "mlflow" -}}
{{- if include "slipway.objectStore.perProject" (list $ $user) -}}
{{- $secret := include "slipway.objectStore.projectSecretName" (list $ $user) -}}
{{- range $project := include "slipway.projects" $ | fromYamlArray -}}
{{- $accounts = append $accounts (dict "name" (printf "%s-%s" $user $project) "secret" $secret "accessKey" (printf "%s.access-key" $project) "secretKey" (printf "%s.secret-key" $project) "grants" (get $grants $user) "project" $project) -}}
{{- end -}}
{{- end -}}
{{- $accounts = append $accounts (dict "name" $user "secret" (include "slipway.objectStore.userSecretName" (list $ $user)) "accessKey" "access-key" "secretKey" "secret-key" "grants" (get $grants $user) "project" "") -}}
{{- end -}}
{{- toYaml $accounts -}}
{{- end -}}

{{/*
A policy document: for a project, of what is under its name alone. Call with (list $ grants project).
*/}}
{{- define "slipway.objectStore.policy" -}}
{{- $buckets := (index . 0).Values.objectStore.buckets -}}
{{- $project := index . 2 -}}
{{- $statements := list -}}
{{- range $bucket, $access := index . 1 -}}
{{- $arn := printf "arn:aws:s3:::%s" (get $buckets $bucket) -}}
{{- $statements = append $statements (dict "Effect" "Allow" "Action" (list "s3:GetBucketLocation") "Resource" (list $arn)) -}}
{{- $list := dict "Effect" "Allow" "Action" (list "s3:ListBucket") "Resource" (list $arn) -}}
{{- if $project -}}
{{- $list = set $list "Condition" (dict "StringLike" (dict "s3:prefix" (list (printf "%s/*" $project)))) -}}
{{- end -}}
{{- $statements = append $statements $list -}}
{{- $actions := list "s3:GetObject" -}}
{{- if eq $access "write" -}}{{- $actions = concat $actions (list "s3:PutObject" "s3:DeleteObject" "s3:AbortMultipartUpload" "s3:ListMultipartUploadParts") -}}{{- end -}}
{{- $objects := empty $project | not | ternary (printf "%s/%s/*" $arn $project) (printf "%s/*" $arn) -}}
{{- $statements = append $statements (dict "Effect" "Allow" "Action" $actions "Resource" (list $objects)) -}}
{{- end -}}
{{- dict "Version" "2012-10-17" "Statement" $statements | toPrettyJson -}}
{{- end -}}
