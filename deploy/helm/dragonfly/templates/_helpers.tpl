{{- define "dragonfly.labels" -}}
app.kubernetes.io/name: dragonfly
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "dragonfly.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "dragonfly.supernodes" -}}
{{- $hosts := list -}}
{{- range $i := until (int .Values.supernode.replicas) -}}
{{- $hosts = append $hosts (printf "%s-supernode-%d.%s-supernode.%s.svc:8002" $.Release.Name $i $.Release.Name $.Release.Namespace) -}}
{{- end -}}
{{ toJson $hosts }}
{{- end }}
{{- define "dragonfly.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
{{- /* `bind`: a port below 1024 is listened on. */}}
capabilities: {drop: [ALL]{{ if .bind }}, add: [NET_BIND_SERVICE]{{ end }}}
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "dragonfly.listen" -}}
{{- .Values.daemon.config.listen | default "127.0.0.1:65001" -}}
{{- end }}
{{- define "dragonfly.probe" -}}
httpGet: {host: 127.0.0.1, path: /healthz, port: {{ include "dragonfly.listen" . | splitList ":" | last }}}
{{- end }}
{{- define "dragonfly.peerPort" -}}
{{- .Values.daemon.config.peer_listen | default "0.0.0.0:65002" | splitList ":" | last -}}
{{- end }}
