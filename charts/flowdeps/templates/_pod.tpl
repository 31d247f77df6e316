{{/* Where the chart's pods run, and as which user. */}}
{{- define "flowdeps.placement" -}}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The operator's variables: extraEnv, and our own unless extraEnv sets them. */}}
{{- define "flowdeps.env" -}}
{{- $secret := .Values.prefect.existingSecret -}}
{{- /* The root file system is read-only, but Prefect's client needs a home directory. */ -}}
{{- $own := list (dict "name" "HOME" "value" "/tmp") -}}
{{- range $name, $key := dict "PREFECT_API_KEY" $secret.apiKeyKey "PREFECT_API_AUTH_STRING" $secret.authStringKey -}}
{{- if $key -}}
{{- $reference := dict "name" $secret.name "key" $key -}}
{{- $own = append $own (dict "name" $name "valueFrom" (dict "secretKeyRef" $reference)) -}}
{{- end -}}
{{- end -}}
{{- $named := list -}}
{{- range .Values.extraEnv -}}
{{- $named = append $named .name -}}
{{- end -}}
{{- range $own -}}
{{- if not (has .name $named) }}
{{ toYaml (list .) }}
{{- end -}}
{{- end -}}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{/* The labels that distinguish the pods of `helm test` from the operator's. */}}
{{- define "flowdeps.testLabels" -}}
app.kubernetes.io/name: {{ include "flowdeps.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}
