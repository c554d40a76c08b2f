{{/*
Every path between pods, client to servers. NetworkPolicies for both ends are made from this table, and the
connectivity test on a cluster reads them back.
*/}}
{{- define "slipway.network.paths" -}}
{{- $told := ternary "" ", receivers" (empty .Values.airflow.notifications.existingSecret) -}}
{{- $late := ternary "" ", receivers" (empty (include "slipway.airflow.tellsOfLateRuns" .)) -}}
{{- $mlflow := .Values.airflow.mlflowConnection | ternary ", mlflow" "" -}}
{{- $roles := dict -}}
{{- range $user, $settings := omit .Values.objectStore.users "root" -}}
{{- $_ := set $roles $user ($settings.cloudRole | ternary ", cloud-roles" "") -}}
{{- end -}}
airflow-api-server: [postgres, minio{{ $roles.airflow }}, kubernetes-api, airflow-scheduler, airflow-triggerer]
airflow-scheduler: [postgres, minio{{ $roles.airflow }}, kubernetes-api, airflow-api-server{{ $told }}{{ $mlflow }}]
airflow-dag-processor: [postgres]
airflow-triggerer: [postgres, minio{{ $roles.airflow }}, kubernetes-api{{ $late }}{{ $mlflow }}]
airflow-task: [minio{{ $roles.airflow }}, airflow-api-server{{ $mlflow }}]
airflow-migration: [postgres]
airflow-cleanup: [kubernetes-api]
mlflow: [postgres, minio{{ $roles.mlflow }}]
mlflow-migration: [postgres]
postgres: []
minio: []
object-store-setup: [minio]
stage-data: [minio{{ $roles.stages }}]
stage-model: [minio{{ $roles.stages }}, mlflow]
stage-roll-out: [minio{{ $roles.stages }}, mlflow, kubernetes-api, serving]
stage-smoke: [minio{{ $roles.stages }}, serving]
stage-land: [minio{{ $roles.lander }}]
serving: [minio{{ $roles.serving }}]
test: [minio{{ $roles.airflow }}, mlflow, airflow-api-server]
{{- end -}}

{{/*
What servers listen on. The scheduler and the triggerer serve the logs of what they run.
*/}}
{{- define "slipway.network.ports" -}}
airflow-api-server: 8080
airflow-scheduler: 8793
airflow-triggerer: 8794
mlflow: 5000
postgres: 5432
minio: 9000
serving: 8080
{{- end -}}

{{/*
What those of a Service's allowFrom may connect to besides: the console, which no pod of the release opens.
*/}}
{{- define "slipway.network.outsiderPorts" -}}
minio: [9001]
{{- end -}}

{{/*
Labels of a table's row. Stages share one component and differ in slipway.dev/pod. Call with (list $ row).
*/}}
{{- define "slipway.network.selector" -}}
{{- $row := index . 1 -}}
{{- if hasPrefix "stage-" $row -}}
{{ include "slipway.selectorLabels" (list (index . 0) "stage") }}
slipway.dev/pod: {{ trimPrefix "stage-" $row }}
{{- else -}}
{{ include "slipway.selectorLabels" (list (index . 0) $row) }}
{{- end -}}
{{- end -}}

{{/*
Ranges and ports as one egress rule. Call with (list cidrs ports).
*/}}
{{- define "slipway.network.outside" -}}
- to:
    {{- range index . 0 }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    {{- range index . 1 }}
    - port: {{ . }}
    {{- end }}
{{- end -}}

{{/*
Where the Kubernetes API answers, {cidrs, ports}: what the values say, else what the cluster says, else everywhere. Both
the server's own addresses and its Service's count, as networks differ in which of the two they see. Helm can't catch a
refusal, but it names the template in which it came. Call with $.
*/}}
{{- define "slipway.network.kubernetesApi: where you may not look it up, give networkPolicy.kubernetesApi.cidrs" -}}
{{- $given := .Values.networkPolicy.kubernetesApi -}}
{{- $cidrs := default list $given.cidrs -}}
{{- $ports := list -}}
{{- range $given.ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- if not $cidrs -}}
{{- $slice := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
{{- $addresses := list -}}
{{- range $slice.endpoints }}{{ $addresses = concat $addresses .addresses }}{{ end -}}
{{- range $slice.ports }}{{ $ports = append $ports (int .port) }}{{ end -}}
{{- if $addresses -}}
{{- $service := default dict (lookup "v1" "Service" "default" "kubernetes").spec -}}
{{- $addresses = concat $addresses (default list $service.clusterIPs) -}}
{{- range $service.ports }}{{ $ports = append $ports (int .port) }}{{ end -}}
{{- end -}}
{{- range $addresses | uniq -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (contains ":" . | ternary "128" "32")) -}}
{{- end -}}
{{- end -}}
{{- dict "cidrs" (default (list "0.0.0.0/0") $cidrs) "ports" (uniq $ports) | toYaml -}}
{{- end -}}

{{/*
One egress rule to a server of the table. Call with (list $ server).
*/}}
{{- define "slipway.network.egressTo" -}}
{{- $root := index . 0 -}}
{{- $server := index . 1 -}}
{{- $values := $root.Values -}}
{{- if eq $server "kubernetes-api" -}}
{{- $api := include "slipway.network.kubernetesApi: where you may not look it up, give networkPolicy.kubernetesApi.cidrs" $root | fromYaml -}}
{{ include "slipway.network.outside" (list $api.cidrs $api.ports) }}
{{- else if eq $server "cloud-roles" -}}
{{ include "slipway.network.outside" (list $values.objectStore.external.roleService.cidrs $values.objectStore.external.roleService.ports) }}
{{- else if eq $server "receivers" -}}
{{ include "slipway.network.outside" (list $values.airflow.notifications.cidrs $values.airflow.notifications.ports) }}
{{- else if and (eq $server "postgres") (not $values.postgres.enabled) -}}
{{ include "slipway.network.outside" (list $values.postgres.external.cidrs (list $values.postgres.external.port)) }}
{{- else if and (eq $server "minio") (not $values.objectStore.enabled) -}}
{{ include "slipway.network.outside" (list $values.objectStore.external.cidrs (list (include "slipway.objectStore.port" $root))) }}
{{- else -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "slipway.network.selector" . | nindent 10 }}
  ports:
    - port: {{ get (include "slipway.network.ports" $root | fromYaml) $server }}
{{- end -}}
{{- end -}}

{{/*
The workload's values that belong to a row: extra egress rules and who may connect from outside.
*/}}
{{- define "slipway.network.workloads" -}}
{{- $values := .Values -}}
{{- dict
  "airflow-api-server" $values.airflow.apiServer
  "airflow-scheduler" $values.airflow.scheduler
  "airflow-dag-processor" $values.airflow.dagProcessor
  "airflow-triggerer" $values.airflow.triggerer
  "airflow-task" $values.airflow.task
  "mlflow" $values.mlflow
  "postgres" $values.postgres
  "minio" $values.objectStore
  "stage-data" $values.stages.data
  "stage-model" $values.stages.model
  "stage-roll-out" $values.stages.rollOut
  "stage-smoke" $values.stages.smoke
  "stage-land" $values.stages.land
  "serving" $values.serving
| toYaml -}}
{{- end -}}

{{/*
Rows that this release has no pods for.
*/}}
{{- define "slipway.network.absent" -}}
{{- $absent := list -}}
{{- if not .Values.postgres.enabled -}}{{- $absent = append $absent "postgres" -}}{{- end -}}
{{- if not .Values.objectStore.enabled -}}{{- $absent = concat $absent (list "minio" "object-store-setup") -}}{{- end -}}
{{- toYaml $absent -}}
{{- end -}}
