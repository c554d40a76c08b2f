{{/*
Names. Objects are called <fullname>-<component>. Kubernetes allows 63 characters for a label value and 52 for a
CronJob; the longest suffix, "-airflow-dag-processor" plus what controllers append, leaves 35 for the prefix.
*/}}
{{- define "slipway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 35 | trimSuffix "-" -}}
{{- end -}}

{{- define "slipway.fullname" -}}
{{- $name := include "slipway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 35 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 35 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 35 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
The name of a component's objects. Call with (list $ "airflow-scheduler").
*/}}
{{- define "slipway.componentName" -}}
{{- printf "%s-%s" (include "slipway.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/*
What selects a component's pods, and never changes. Call with (list $ "airflow-scheduler").
*/}}
{{- define "slipway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "slipway.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/*
Labels of an object. The chart's version is not among a pod's labels (see selectorLabels), so a new chart that
changes nothing for a component does not restart it. Call with (list $ "airflow-scheduler").
*/}}
{{- define "slipway.labels" -}}
{{ include "slipway.selectorLabels" . }}
app.kubernetes.io/part-of: {{ include "slipway.name" (index . 0) }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
Name, namespace and labels of an object. Call with (list $ component) or (list $ component name).
*/}}
{{- define "slipway.metadata" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
name: {{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}{{ include "slipway.componentName" (list $root $component) }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "slipway.labels" (list $root $component) | nindent 2 }}
{{- end -}}

{{/*
A full image reference. Call with (list $ .Values.airflow.image).
*/}}
{{- define "slipway.image" -}}
{{- $image := index . 1 -}}
{{- $tag := default (index . 0).Chart.AppVersion $image.tag -}}
{{- $name := printf "%s:%s" $image.repository $tag -}}
{{- if $image.registry -}}{{- $name = printf "%s/%s" $image.registry $name -}}{{- end -}}
{{- if $image.digest -}}{{- $name = printf "%s@%s" $name $image.digest -}}{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "slipway.imageFields" -}}
image: {{ include "slipway.image" . }}
imagePullPolicy: {{ (index . 1).pullPolicy }}
{{- end -}}

{{/*
The pod's half of Pod Security "restricted". Call with (list $ userId groupId); a null user leaves ids to the cluster.
*/}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" (index . 1)) }}
runAsUser: {{ int64 (index . 1) }}
runAsGroup: {{ int64 (index . 2) }}
fsGroup: {{ int64 (index . 2) }}
# Changing the group of every file at each start takes minutes on a big volume.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/*
The container's half of Pod Security "restricted", with nothing writable but the mounted volumes.
*/}}
{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
What every pod's spec starts with. Call with (list $ workload serviceAccountName usesKubernetesApi).
The workload is a block of values.
*/}}
{{- define "slipway.podBase" -}}
{{- $root := index . 0 -}}
{{- $workload := index . 1 -}}
serviceAccountName: {{ index . 2 }}
automountServiceAccountToken: {{ index . 3 }}
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $workload.pod }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Copies of one component on different nodes where there are some, unless the values say how to spread them.
Call with (list $ component workload).
*/}}
{{- define "slipway.spread" -}}
{{- if and (gt (int (index . 2).replicas) 1) (not (hasKey (default dict (index . 2).pod) "topologySpreadConstraints")) -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "slipway.selectorLabels" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}

{{- define "slipway.podAnnotations" -}}
{{- with .podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
A Job whose name carries a hash of what it does, as a Job's pod can't be changed in place: new image or values, new Job;
the same, the same Job. No hook is involved, so `--wait` and `kubectl apply` both work.
Call with (list $ component workload pod more); `more` is a list of what else the Job does, beside what its pod says.
*/}}
{{- define "slipway.job" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $pod := index . 3 -}}
{{- $more := index . 4 -}}
{{- $annotations := include "slipway.podAnnotations" (index . 2) -}}
{{- $does := print $pod $annotations -}}
{{- if $more }}{{ $does = prepend $more $does | toJson }}{{ end -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "slipway.metadata" (list $root $component (printf "%s-%s" (include "slipway.componentName" (list $root $component)) ($does | sha256sum | trunc 8))) | nindent 2 }}
spec:
  backoffLimit: 10
  template:
    metadata:
      labels:
        {{- include "slipway.selectorLabels" (list $root $component) | nindent 8 }}
      {{- with $annotations | trim }}
      annotations:
        {{- . | nindent 8 }}
      {{- end }}
    spec:
      {{- $pod | nindent 6 }}
{{- end -}}

{{/*
A workload's extra environment, sorted by name.
*/}}
{{- define "slipway.extraEnv" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/*
One environment variable out of a Secret. Call with (list NAME secret key).
*/}}
{{- define "slipway.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{/*
A PodDisruptionBudget for a workload with several replicas. Call with (list $ component workload).
*/}}
{{- define "slipway.pdb" -}}
{{- $root := index . 0 -}}
{{- if gt (int (index . 2).replicas) 1 }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "slipway.metadata" (list $root (index . 1)) | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "slipway.selectorLabels" (list $root (index . 1)) | nindent 6 }}
{{- end }}
{{- end -}}

{{/*
A service account that holds no token unless its pod asks for one. Call with (list $ component workload), and for pods
that use the object store (list $ component workload storeUser): the user may be a role that the account stands for.
*/}}
{{- define "slipway.serviceAccount" -}}
{{- $annotations := default dict (index . 2).serviceAccountAnnotations -}}
{{- if gt (len .) 3 -}}
{{- $user := index (index . 0).Values.objectStore.users (index . 3) -}}
{{- $annotations = merge (deepCopy $annotations) (default dict $user.serviceAccountAnnotations) -}}
{{- end -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "slipway.metadata" (list (index . 0) (index . 1)) | nindent 2 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{/*
Binds a component's Role to its service account; both carry the component's name. Call with (list $ component).
*/}}
{{- define "slipway.roleBinding" -}}
{{- $name := include "slipway.componentName" . -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "slipway.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ (index . 0).Release.Namespace }}
{{- end -}}

{{/*
The start of a Service's spec and its annotations. Call with the workload's service block.
*/}}
{{- define "slipway.serviceAnnotations" -}}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
