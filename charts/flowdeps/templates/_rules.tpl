{{/* What the operator may do: `cluster` anywhere, or `sets` in watched and `jobs` in job namespaces.
     docs/rbac.yaml has the same rules, and a test compares. */}}
{{- define "flowdeps.rules.locks" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Credentials of indexes: read by name, copied to where runs need them, never listed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
{{- end -}}

{{- define "flowdeps.rules.sets" -}}
# patch: the finalizer flowdeps.dev/cleanup.
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets]
  verbs: [get, list, watch, patch]
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets/status]
  verbs: [patch]
# Pods that look at an image and try a lock in it.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{ include "flowdeps.rules.locks" . }}
{{- end -}}

{{- define "flowdeps.rules.jobs" -}}
{{ include "flowdeps.rules.locks" . }}
# A revision that a run names is kept.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end -}}

{{- define "flowdeps.rules.cluster" -}}
{{ include "flowdeps.rules.sets" . }}
# To notice when the resource is taken away and installed anew.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{- end -}}

{{/* A role and its binding; of: the chart, kind: Role or ClusterRole, namespace, rules. */}}
{{- define "flowdeps.granted" -}}
{{- range list .kind (printf "%sBinding" .kind) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ . }}
metadata:
  name: {{ include "flowdeps.fullname" $.of | quote }}
  {{- with $.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "flowdeps.labels" $.of | nindent 4 }}
{{- if eq . $.kind }}
rules:
  {{- include (printf "flowdeps.rules.%s" $.rules) $.of | nindent 2 }}
{{- else }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $.kind }}
  name: {{ include "flowdeps.fullname" $.of | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ include "flowdeps.serviceAccountName" $.of | quote }}
    namespace: {{ $.of.Release.Namespace | quote }}
{{- end }}
{{- end }}
{{- end -}}
