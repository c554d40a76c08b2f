{{/*
Airflow's configuration that is no secret, as environment variables. Call with $.
*/}}
{{- define "slipway.airflow.config" -}}
{{- $pods := "/opt/slipway-pods" -}}
AIRFLOW_HOME: /opt/airflow
AIRFLOW__API__BASE_URL: {{ default "http://localhost:8080" .Values.airflow.baseUrl }}
AIRFLOW__CORE__AUTH_MANAGER: {{ eq .Values.airflow.auth.manager "fab" | ternary "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager" "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager" }}
AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: "True"
AIRFLOW__CORE__DAGS_FOLDER: /opt/slipway/dags
AIRFLOW__CORE__EXECUTION_API_SERVER_URL: {{ include "slipway.airflow.url" . }}/execution/
# Stage launches name the LocalExecutor: a launch needs no pod of its own. Every other task gets one.
AIRFLOW__CORE__EXECUTOR: KubernetesExecutor,LocalExecutor
# A pod's address is reachable from the API server, which reads live logs from it; a pod's name is not.
AIRFLOW__CORE__HOSTNAME_CALLABLE: airflow.utils.net.get_host_ip_address
AIRFLOW__CORE__LOAD_EXAMPLES: "False"
AIRFLOW__CORE__PARALLELISM: {{ .Values.airflow.parallelism | quote }}
AIRFLOW__CORE__PLUGINS_FOLDER: /opt/slipway/dags/plugins
AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST: '[{"name": "slipway", "classpath": "adapter.bundle.ImageBundle", "kwargs": {"path": "/opt/slipway/dags"}}]'
# Runs go on with the DAGs of the image that is there, as no pod has the ones of an image before it.
AIRFLOW__DAG_PROCESSOR__DISABLE_BUNDLE_VERSIONING: "True"
AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL: "30"
AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES: "1"
AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL: "30"
AIRFLOW__KUBERNETES_EXECUTOR__ASYNC_POD_CREATION: "True"
AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE: {{ .Release.Namespace }}
AIRFLOW__KUBERNETES_EXECUTOR__POD_CREATION_MAX_CONCURRENCY: "16"
AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE: {{ $pods }}/task.yaml
AIRFLOW__KUBERNETES_EXECUTOR__TASK_PUBLISH_MAX_RETRIES: "5"
AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE: "32"
AIRFLOW__LOGGING__DELETE_LOCAL_LOGS: "True"
AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER: s3://{{ .Values.objectStore.buckets.logs }}
AIRFLOW__LOGGING__REMOTE_LOGGING: "True"
AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID: minio_logs
# A launch that died with its scheduler is picked up, and finds its pod again, within a minute.
AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL: "30"
AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME: "0.2"
AIRFLOW__USAGE_DATA_COLLECTION__ENABLED: "False"
# A running task outlives five minutes without an API server instead of half a minute.
AIRFLOW__WORKERS__EXECUTION_API_RETRIES: "10"
AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS: "60"
# Other S3 servers do not know the checksums that boto3 adds by default.
AWS_REQUEST_CHECKSUM_CALCULATION: when_required
AWS_RESPONSE_CHECKSUM_VALIDATION: when_required
SLIPWAY_LANDING_URL: s3://{{ .Values.objectStore.buckets.landing }}
SLIPWAY_MLFLOW_UI_URL: {{ default "http://localhost:5000" .Values.mlflow.baseUrl }}
SLIPWAY_OBJECT_STORE_UI_URL: {{ default "http://localhost:9001" .Values.objectStore.consoleUrl }}
SLIPWAY_NAMESPACE: {{ .Release.Namespace }}
SLIPWAY_PODS_DIR: {{ $pods }}
SLIPWAY_PROJECTS_PATH: /opt/slipway-projects
{{- end -}}

{{/*
The user's settings as environment variables.
*/}}
{{- define "slipway.airflow.userConfig" -}}
{{- range $section, $settings := .Values.airflow.config }}
{{- range $key, $value := $settings }}
{{ printf "AIRFLOW__%s__%s" $section $key | upper | replace "-" "_" }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "slipway.airflow.configName" -}}
{{- include "slipway.componentName" (list . "airflow-config") -}}
{{- end -}}

{{- define "slipway.airflow.configEnvFrom" -}}
- configMapRef:
    name: {{ include "slipway.airflow.configName" . }}
{{- end -}}

{{/*
An S3 connection of Airflow, put together from a Secret's keys by the kubelet; without a login, boto3 looks for what the
cloud gives the pod's role. Call with (list $ NAME).
*/}}
{{- define "slipway.airflow.connection" -}}
{{- $root := index . 0 -}}
{{- $login := include "slipway.objectStore.isRole" (list $root "airflow") | empty | ternary "\"login\": \"$(OBJECT_STORE_ACCESS_KEY)\", \"password\": \"$(OBJECT_STORE_SECRET_KEY)\", " "" -}}
- name: AIRFLOW_CONN_{{ index . 1 }}
  value: '{"conn_type": "aws", {{ $login }}"extra": {"endpoint_url": {{ include "slipway.objectStore.endpoint" $root | toJson }}, "region_name": {{ $root.Values.objectStore.region | toJson }}}}'
{{- end -}}

{{/*
The connection to MLflow, as its user `stages`, where tasks may have it. Call with $.
*/}}
{{- define "slipway.airflow.mlflowConnection" -}}
{{- if .Values.airflow.mlflowConnection -}}
{{- $secret := include "slipway.mlflow.userSecretName" (list . "stages") -}}
{{ include "slipway.secretEnv" (list "MLFLOW_USERNAME" $secret "username") }}
{{ include "slipway.secretEnv" (list "MLFLOW_PASSWORD" $secret "password") }}
- name: AIRFLOW_CONN_MLFLOW
  value: '{"conn_type": "mlflow", "host": {{ include "slipway.mlflow.url" . | toJson }}, "login": "$(MLFLOW_USERNAME)", "password": "$(MLFLOW_PASSWORD)"}'
{{- end -}}
{{- end -}}

{{/*
Log upload and download, with the object-store user `airflow`. Call with $.
*/}}
{{- define "slipway.airflow.logEnv" -}}
{{- with include "slipway.objectStore.keys" (list . "airflow" "OBJECT_STORE_ACCESS_KEY" "OBJECT_STORE_SECRET_KEY") }}{{ . }}
{{ end -}}
{{ include "slipway.airflow.connection" (list . "MINIO_LOGS") }}
{{- end -}}

{{/*
Environment of the processes that use the database. Call with (list $ secrets), a list of the Secret's keys
that this process needs besides the database.
*/}}
{{- define "slipway.airflow.databaseEnv" -}}
{{- $root := index . 0 -}}
{{- $names := dict "fernet-key" "AIRFLOW__CORE__FERNET_KEY" "jwt-secret" "AIRFLOW__API_AUTH__JWT_SECRET" "api-secret-key" "AIRFLOW__API__SECRET_KEY" -}}
{{- $database := $root.Values.postgres.databases.airflow.name -}}
{{ include "slipway.postgres.env" (list $root "airflow" $database) }}
- name: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN
  value: {{ include "slipway.postgres.url" (list $root "psycopg2" $database) }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- range index . 1 }}
{{ include "slipway.secretEnv" (list (get $names .) (include "slipway.airflow.secretName" $root) .) }}
{{- end }}
{{- end -}}

{{/*
The administrator that the simple auth manager knows. Call with $.
*/}}
{{- define "slipway.airflow.adminEnv" -}}
{{- $secret := include "slipway.airflow.adminSecretName" . -}}
{{ include "slipway.secretEnv" (list "ADMIN_USERNAME" $secret "username") }}
{{ include "slipway.secretEnv" (list "ADMIN_PASSWORD" $secret "password") }}
{{- end -}}

{{- define "slipway.airflow.passwordsFileEnv" -}}
- name: AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
  value: /opt/airflow/passwords.json
{{- end -}}

{{/*
Volumes that every Airflow pod has: two writable folders and the chart's scripts.
*/}}
{{- define "slipway.airflow.mounts" -}}
- {name: home, mountPath: /opt/airflow}
- {name: tmp, mountPath: /tmp}
- {name: scripts, mountPath: /opt/slipway-scripts, readOnly: true}
{{- end -}}

{{- define "slipway.airflow.volumes" -}}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
- name: scripts
  configMap:
    name: {{ include "slipway.componentName" (list . "airflow-scripts") }}
{{- end -}}

{{/*
What the processes that parse or launch DAGs mount besides: stage templates and the user's projects.
*/}}
{{- define "slipway.airflow.dagMounts" -}}
- {name: pods, mountPath: /opt/slipway-pods, readOnly: true}
- {name: projects, mountPath: /opt/slipway-projects, readOnly: true}
{{- end -}}

{{- define "slipway.airflow.dagVolumes" -}}
- name: pods
  configMap:
    name: {{ include "slipway.componentName" (list . "stage-pods") }}
- name: projects
  configMap:
    name: {{ include "slipway.componentName" (list . "projects") }}
{{- end -}}

{{/*
Where the scheduler and the triggerer find the addresses of those who are told of runs. Call with $.
*/}}
{{- define "slipway.airflow.notificationsEnv" -}}
- name: SLIPWAY_NOTIFICATIONS_FILE
  value: /opt/slipway-notifications/addresses
- name: SLIPWAY_NOTIFICATIONS_EVENTS
  value: {{ join "," .Values.airflow.notifications.events }}
{{- end -}}

{{/*
Says "yes" when the triggerer, which tells of late runs and of nothing else, needs the addresses. Call with $.
*/}}
{{- define "slipway.airflow.tellsOfLateRuns" -}}
{{- if and .Values.airflow.notifications.existingSecret (has "late" .Values.airflow.notifications.events) }}yes{{ end -}}
{{- end -}}

{{- define "slipway.airflow.notificationsVolume" -}}
# A folder, so that a changed Secret arrives without a restart.
- name: notifications
  projected:
    sources:
      - secret:
          name: {{ .Values.airflow.notifications.existingSecret }}
          items: [{key: addresses, path: addresses}]
{{- end -}}

{{/*
The init container that waits for the migration of exactly this release's image and values.
*/}}
{{- define "slipway.airflow.wait" -}}
- name: wait
  {{- include "slipway.imageFields" (list . .Values.airflow.image) | nindent 2 }}
  command: [python, /opt/slipway-scripts/migration.py, wait]
  securityContext:
    {{- include "slipway.containerSecurity" . | nindent 4 }}
  env:
    - name: SLIPWAY_MIGRATION
      value: {{ include "slipway.airflow.migrationId" . | quote }}
    {{- include "slipway.postgres.env" (list . "airflow" .Values.postgres.databases.airflow.name) | nindent 4 }}
  resources:
    {{- toYaml .Values.helperResources | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: scripts, mountPath: /opt/slipway-scripts, readOnly: true}
    {{- with include "slipway.postgres.caMount" . }}{{ . | nindent 4 }}{{ end }}
{{- end -}}

{{/*
Probes of the processes that are no server: they ask the database for the heartbeat. Airflow beats every 5 s;
silence is noticed after at most 25 + 2 x 15 = 55 s. Unlike the scheduler's own health port, this says "alive" while
the database is away: a restart would not bring it back, and would lose what is being launched. Call with a job type.
*/}}
{{- define "slipway.airflow.heartbeatProbes" -}}
startupProbe:
  exec:
    command: [python, /opt/slipway-scripts/heartbeat.py, {{ . }}, "25"]
  initialDelaySeconds: 6
  periodSeconds: 3
  timeoutSeconds: 10
  failureThreshold: 45
livenessProbe:
  exec:
    command: [python, /opt/slipway-scripts/heartbeat.py, {{ . }}, "25"]
  periodSeconds: 15
  timeoutSeconds: 10
  failureThreshold: 2
  # What hangs does not tidy up.
  terminationGracePeriodSeconds: 10
{{- end -}}

{{/*
Changes of these restart a pod; changes of Secrets do not (see _secrets.tpl).
*/}}
{{- define "slipway.airflow.checksum" -}}
checksum/config: {{ printf "%s%s%s" (include "slipway.airflow.config" .) (include "slipway.airflow.userConfig" .) ((.Files.Glob "files/airflow/*").AsConfig) | sha256sum | trunc 16 }}
{{- end -}}

{{/*
Identity of the database's migration: everything that decides its result. Waiting pods look for it.
*/}}
{{- define "slipway.airflow.migrationId" -}}
{{- list (include "slipway.image" (list . .Values.airflow.image)) (.Files.Get "files/migration.py") (.Files.Get "files/airflow/migrate.py") .Values.airflow.auth (include "slipway.postgres.url" (list . "psycopg2" .Values.postgres.databases.airflow.name)) | toJson | sha256sum | trunc 10 -}}
{{- end -}}
