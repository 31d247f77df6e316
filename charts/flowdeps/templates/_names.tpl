{{- define "flowdeps.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "flowdeps.fullname" -}}
{{- $name := include "flowdeps.name" . -}}
{{- $own := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $own | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Not flowdeps-<something>: the ConfigMaps of sets have such names. */}}
{{- define "flowdeps.configName" -}}
{{- include "flowdeps.fullname" . -}}.config
{{- end -}}

{{- define "flowdeps.cleanupConfigName" -}}
{{- include "flowdeps.fullname" . -}}.cleanup
{{- end -}}

{{- define "flowdeps.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "flowdeps.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{- define "flowdeps.selectorLabels" -}}
app.kubernetes.io/name: {{ include "flowdeps.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The chart's own labels take precedence, because objects are found by them. */}}
{{- define "flowdeps.labels" -}}
{{- $own := include "flowdeps.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- toYaml (merge $own (.Values.commonLabels | default dict)) -}}
{{- end -}}

{{/* Without versions, so that a new chart with the same pod restarts nothing. */}}
{{- define "flowdeps.podLabels" -}}
{{- $own := include "flowdeps.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $own (.Values.podLabels | default dict) (.Values.commonLabels | default dict)) -}}
{{- end -}}

{{/* The start of an object's metadata. */}}
{{- define "flowdeps.metadata" -}}
name: {{ include "flowdeps.fullname" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "flowdeps.labels" . | nindent 2 }}
{{- end -}}

{{- define "flowdeps.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- $image.repository }}@{{ $image.digest -}}
{{- else -}}
{{- $image.repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}
