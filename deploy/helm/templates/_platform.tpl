{{- /* Each helper takes a dict: root is the chart context, name the process. */ -}}

{{- define "platform.name" -}}
{{- printf "%s-%s" .root.Release.Name .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "platform.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "platform.labels" -}}
{{ include "platform.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "platform.image" -}}
{{- with .root.Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.root.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "platform.secret" -}}
{{- .root.Values.existingSecret | default (include "platform.name" (dict "root" .root "name" "secrets")) -}}
{{- end -}}

{{- /* The commands of docker-compose.yml; a test compares them. */ -}}
{{- define "platform.command" -}}
{{- $celery := list "celery" "--app=transcribe_platform.celery" -}}
{{- $worker := concat $celery (list "worker" "--loglevel=INFO" "--pool=threads") -}}
{{- $alone := list "--without-gossip" "--without-mingle" -}}
{{- $granian := list "granian" "--interface" -}}
{{- $stay := list "--respawn-failed-workers" "--log-level" "warning" -}}
{{- if eq .kind "web" -}}
{{- concat $granian (list "wsgi" "--blocking-threads" "160") $stay (list "transcribe_platform.wsgi:application") | toJson -}}
{{- else if eq .kind "live" -}}
{{- concat $granian (list "asgi" "--runtime-mode" "mt" "--runtime-threads" "4") $stay (list "transcribe_platform.asgi:application") | toJson -}}
{{- else if eq .kind "worker" -}}
{{- $size := printf "--concurrency=%d" (add 1 (int .root.Values.processes.worker.calls)) -}}
{{- concat $worker (list $size (printf "--queues=transcribe.%s" .region) "--hostname=worker@%h") $alone | toJson -}}
{{- else if eq .kind "webhooks" -}}
{{- concat $worker (list "--concurrency=11" "--queues=webhooks,housekeeping" "--hostname=webhooks@%h") $alone | toJson -}}
{{- else if eq .kind "dispatcher" -}}
{{- list "python" "manage.py" "run_dispatcher" | toJson -}}
{{- else if eq .kind "beat" -}}
{{- concat $celery (list "beat" "--loglevel=INFO" "--schedule=/tmp/beat-schedule" "--pidfile=") | toJson -}}
{{- else if eq .kind "flower" -}}
{{- concat $celery (list "flower" "--address=0.0.0.0" "--port=5555") | toJson -}}
{{- else if eq .kind "migrate" -}}
{{- list "python" "manage.py" "migrate" "--no-input" | toJson -}}
{{- end -}}
{{- end -}}

{{- define "platform.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "platform.pod-security" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "platform.environment" -}}
envFrom:
  - configMapRef: {name: {{ include "platform.name" (dict "root" .root "name" "settings") }}}
  - secretRef: {name: {{ include "platform.secret" . }}}
env:
  - {name: PGAPPNAME, value: {{ .kind }}}
  - {name: OTEL_SERVICE_NAME, value: transcription-{{ .kind }}}
  - {name: PROBE_DIR, value: /tmp/probes}
  {{- if has .kind (list "web" "live") }}
  - {name: DRAIN_SECONDS, value: "5"}  # HAProxy and the Service detect it in this time
  {{- end }}
{{- end -}}

{{- define "platform.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "platform.selector" . | nindent 8 }}
{{- end -}}
