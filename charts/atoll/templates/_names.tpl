{{- define "atoll.labels" -}}
app.kubernetes.io/name: atoll-hub
app.kubernetes.io/part-of: atoll
{{- end }}
{{- define "atoll.selector" -}}
app.kubernetes.io/name: atoll-hub
{{- end }}
