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
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}
