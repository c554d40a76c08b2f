{{/*
One stage pod as Airflow's operator reads it: a whole Pod, to which the launcher adds name, labels and arguments.
Call with (list $ kind workload env), where kind is data, model, roll-out, smoke or land.
*/}}
{{- define "slipway.stages.pod" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $workload := index . 2 -}}
{{- $account := ternary "roll-out" (printf "stage-%s" $kind) (eq $kind "roll-out") -}}
apiVersion: v1
kind: Pod
metadata:
  name: stage
  labels:
    {{- include "slipway.selectorLabels" (list $root "stage") | nindent 4 }}
    slipway.dev/pod: {{ $kind }}
  {{- with $workload.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "slipway.podBase" (list $root $workload (include "slipway.componentName" (list $root $account)) (eq $kind "roll-out")) | nindent 2 }}
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  securityContext:
    {{- include "slipway.podSecurity" (list $root $root.Values.runAsUser 0) | nindent 4 }}
  containers:
    - name: base
      {{- include "slipway.imageFields" (list $root $root.Values.stages.image) | nindent 6 }}
      command: [tini, --, python, -m, ml]
      terminationMessagePath: /dev/termination-log
      terminationMessagePolicy: FallbackToLogsOnError
      securityContext:
        {{- include "slipway.containerSecurity" $root | nindent 8 }}
      env:
        - name: SLIPWAY_LANDING_URL
          value: s3://{{ $root.Values.objectStore.buckets.landing }}
        - name: SLIPWAY_DATA_URL
          value: s3://{{ $root.Values.objectStore.buckets.data }}
        - name: SLIPWAY_MODELS_URL
          value: s3://{{ $root.Values.objectStore.buckets.models }}
        - name: SLIPWAY_PROJECTS_PATH
          value: /opt/slipway-projects
        - name: SLIPWAY_RESULT_PATH
          value: /dev/termination-log
        {{- index . 3 | nindent 8 }}
        {{- with include "slipway.extraEnv" $workload | trim }}{{ . | nindent 8 }}{{ end }}
      resources:
        {{- toYaml $workload.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: projects, mountPath: /opt/slipway-projects, readOnly: true}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: projects
      configMap:
        name: {{ include "slipway.componentName" (list $root "projects") }}
{{- end -}}

{{- define "slipway.stages.rollOutEnv" -}}
{{ include "slipway.objectStore.env" (list . "stages") }}
{{ include "slipway.mlflow.clientEnv" . }}
- name: SLIPWAY_TARGET
  value: kubernetes
- name: SLIPWAY_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: SLIPWAY_SERVING_TEMPLATE
  value: {{ include "slipway.componentName" (list . "serving-template") }}
{{- end -}}

{{- define "slipway.stages.smokeEnv" -}}
{{ include "slipway.objectStore.env" (list . "stages") }}
# Every deployed model has a Service named like its project.
- name: SLIPWAY_SERVING_URL
  value: http://{project}.{{ .Release.Namespace }}.svc:8080
{{- end -}}

{{/*
A pod of the KubernetesExecutor: it reports to the API server and uploads its log, and holds no other secret.
*/}}
{{- define "slipway.stages.taskPod" -}}
{{- $workload := .Values.airflow.task -}}
apiVersion: v1
kind: Pod
metadata:
  name: task
  labels:
    {{- include "slipway.selectorLabels" (list . "airflow-task") | nindent 4 }}
  {{- with $workload.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "slipway.podBase" (list . $workload (include "slipway.componentName" (list . "airflow-task")) false) | nindent 2 }}
  restartPolicy: Never
  securityContext:
    {{- include "slipway.podSecurity" (list . .Values.runAsUser 0) | nindent 4 }}
  containers:
    - name: base
      {{- include "slipway.imageFields" (list . .Values.airflow.image) | nindent 6 }}
      securityContext:
        {{- include "slipway.containerSecurity" . | nindent 8 }}
      envFrom:
        {{- include "slipway.airflow.configEnvFrom" . | nindent 8 }}
      env:
        {{- include "slipway.airflow.logEnv" . | nindent 8 }}
        {{- with include "slipway.airflow.mlflowConnection" . }}{{ . | nindent 8 }}{{ end }}
        {{- with include "slipway.extraEnv" $workload | trim }}{{ . | nindent 8 }}{{ end }}
      resources:
        {{- toYaml $workload.resources | nindent 8 }}
      volumeMounts:
        {{- include "slipway.airflow.mounts" . | nindent 8 }}
        {{- include "slipway.airflow.dagMounts" . | nindent 8 }}
  volumes:
    {{- include "slipway.airflow.volumes" . | nindent 4 }}
    {{- include "slipway.airflow.dagVolumes" . | nindent 4 }}
{{- end -}}

{{/*
Every pod template, file name to text.
*/}}
{{- define "slipway.stages.podTemplates" -}}
{{- $stages := include "slipway.objectStore.env" (list . "stages") -}}
{{- $mlflow := include "slipway.mlflow.clientEnv" . -}}
data.yaml: |
  {{- include "slipway.stages.pod" (list . "data" .Values.stages.data $stages) | nindent 2 }}
model.yaml: |
  {{- include "slipway.stages.pod" (list . "model" .Values.stages.model (printf "%s\n%s" $stages $mlflow)) | nindent 2 }}
roll_out.yaml: |
  {{- include "slipway.stages.pod" (list . "roll-out" .Values.stages.rollOut (include "slipway.stages.rollOutEnv" .)) | nindent 2 }}
smoke.yaml: |
  {{- include "slipway.stages.pod" (list . "smoke" .Values.stages.smoke (include "slipway.stages.smokeEnv" .)) | nindent 2 }}
land.yaml: |
  {{- include "slipway.stages.pod" (list . "land" .Values.stages.land (include "slipway.objectStore.env" (list . "lander"))) | nindent 2 }}
task.yaml: |
  {{- include "slipway.stages.taskPod" . | nindent 2 }}
{{- end -}}
