{{/* The operator's rights: `cluster` in all namespaces, or `sets` in watched and `jobs` in job namespaces;
     `environments` beside either.
     docs/rbac.yaml has the same rules; a test compares them. */}}
{{- define "flowdeps.rules.locks" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Credentials of indexes: read by name, copied to where runs need them, never listed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# What an admission policy goes by.
- apiGroups: [flowdeps.dev]
  resources: [runenvironments]
  verbs: [get, list, watch, create, patch, delete]
{{- if and .Values.config.watchNamespaces (include "flowdeps.environmentsPolicy" .) }}
{{ include "flowdeps.rules.runs" . }}
{{- end }}
{{- $cached := false }}
{{- range .Values.config.workPools }}
{{- if eq (.delivery | default "Auto") "Cache" }}{{ $cached = true }}{{ end }}
{{- end }}
{{- if $cached }}
{{ include "flowdeps.rules.caches" . }}
{{- end }}
{{- end -}}

{{- define "flowdeps.rules.caches" -}}
# Whether runs can mount the cache of their pool: the Pod Security of their namespace, and the claim there.
- apiGroups: [""]
  resources: [namespaces, persistentvolumeclaims]
  verbs: [get]
{{- end -}}

{{- define "flowdeps.rules.runs" -}}
# To notice an environment that a run could not pull.
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{- end -}}

{{/* In the whole cluster, where a policy gives runs their environments. */}}
{{- define "flowdeps.rules.environments" -}}
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings]
  resourceNames: [{{ include "flowdeps.environmentsPolicy" . | quote }}]
  verbs: [get]
# Their container runtimes: not all can mount an environment.
- apiGroups: [""]
  resources: [nodes]
  verbs: [list]
{{- if not .Values.config.watchNamespaces }}
{{ include "flowdeps.rules.runs" . }}
{{- end }}
{{- end -}}

{{- define "flowdeps.rules.sets" -}}
# patch: the finalizer flowdeps.dev/cleanup.
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets]
  verbs: [get, list, watch, patch]
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets/status]
  verbs: [patch]
# Pods that inspect an image and verify a lock in it.
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
{{- if or (include "flowdeps.environmentsPolicy" .) (include "flowdeps.claims" . | fromYamlArray) }}
# To keep revisions that runs name, for pods that try whether runs can mount an environment, and for
# those that put environments on claims.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- else }}
# To keep revisions that runs name.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* The claims from which runs mount environments, as a list. */}}
{{- define "flowdeps.claims" -}}
{{- $claims := list -}}
{{- range .Values.config.workPools -}}
{{- with (.volume | default dict).claimName }}{{ $claims = append $claims . }}{{ end -}}
{{- end -}}
{{- uniq $claims | toYaml -}}
{{- end -}}

{{- define "flowdeps.rules.cluster" -}}
{{ include "flowdeps.rules.sets" . }}
# To notice when the resource is removed and installed again.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{ include "flowdeps.rules.identity" . }}
{{- end -}}

{{/* kube-system: its uid distinguishes this cluster from others that share a Prefect. */}}
{{- define "flowdeps.rules.identity" -}}
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end -}}

{{/* In the operator's own namespace: the Lease that the active operator holds. */}}
{{- define "flowdeps.rules.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "flowdeps.fullname" . | quote }}]
  verbs: [get, update]
# An object has no name in the request that creates it.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end -}}

{{/* The rights of `flowdeps cleanup`, in the same namespaces. */}}
{{- define "flowdeps.rules.cleanup.locks" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, delete]
- apiGroups: [flowdeps.dev]
  resources: [runenvironments]
  verbs: [list, delete]
{{- end -}}

{{- define "flowdeps.rules.cleanup.sets" -}}
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets]
  verbs: [list, patch]
- apiGroups: [flowdeps.dev]
  resources: [flowdependencysets/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, delete]
{{ include "flowdeps.rules.cleanup.locks" . }}
{{- end -}}

{{- define "flowdeps.rules.cleanup.jobs" -}}
{{- if include "flowdeps.claims" . | fromYamlArray }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, delete]
{{- end }}
{{ include "flowdeps.rules.cleanup.locks" . }}
{{- end -}}

{{- define "flowdeps.rules.cleanup.cluster" -}}
{{ include "flowdeps.rules.cleanup.sets" . }}
{{ include "flowdeps.rules.identity" . }}
{{- end -}}

{{- define "flowdeps.rules.cleanup.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "flowdeps.fullname" . | quote }}]
  verbs: [get, update, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end -}}

{{/* All roles and bindings. `of` is the chart; the rest is passed to `flowdeps.granted`. */}}
{{- define "flowdeps.grants" -}}
{{- $watched := .of.Values.config.watchNamespaces -}}
{{- $prefix := .rules | default "" -}}
{{- $lease := dict "kind" "Role" "namespace" .of.Release.Namespace "rules" (print $prefix "lease") "suffix" (print .suffix "-lease") -}}
{{- include "flowdeps.granted" (merge $lease .) -}}
{{- if not $watched -}}
{{- include "flowdeps.granted" (merge (dict "kind" "ClusterRole" "rules" (print $prefix "cluster")) .) -}}
{{- end -}}
{{- range $watched -}}
{{- include "flowdeps.granted" (merge (dict "kind" "Role" "namespace" . "rules" (print $prefix "sets")) $) -}}
{{- end -}}
{{- if $watched -}}
{{- $others := list -}}
{{- range .of.Values.config.workPools -}}
{{- $others = concat $others (.jobNamespaces | default list) -}}
{{- end -}}
{{- range uniq $others -}}
{{- if not (has . $watched) -}}
{{- include "flowdeps.granted" (merge (dict "kind" "Role" "namespace" . "rules" (print $prefix "jobs")) $) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A role and its binding. of: the chart; kind: Role or ClusterRole; namespace; rules; suffix of the name;
     account that gets the role; annotations. */}}
{{- define "flowdeps.granted" -}}
{{- $name := print (include "flowdeps.fullname" .of) .suffix -}}
{{- range list .kind (printf "%sBinding" .kind) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ . }}
metadata:
  name: {{ $name | quote }}
  {{- with $.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "flowdeps.labels" $.of | nindent 4 }}
  {{- with $.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if eq . $.kind }}
rules:
  {{- include (printf "flowdeps.rules.%s" $.rules) $.of | nindent 2 }}
{{- else }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $.kind }}
  name: {{ $name | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account | quote }}
    namespace: {{ $.of.Release.Namespace | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Not empty: the release has cluster-wide objects anyway: who may make these may make policies too, as a rule. Helm
     cannot ask. */}}
{{- define "flowdeps.isClusterWide" -}}
{{- $role := and .Values.rbac.create (not .Values.config.watchNamespaces) -}}
{{- if or .Values.crds.enabled .Values.rbac.aggregate $role }}true{{ end -}}
{{- end -}}

{{/* Not empty: the API server has policies of a kind, which are stable since a version. Without a cluster
     (`helm template`), no kinds are known, and the version decides. of: the chart. */}}
{{- define "flowdeps.serves" -}}
{{- $known := .of.Capabilities.APIVersions -}}
{{- $served := $known.Has (print "admissionregistration.k8s.io/v1/" .kind) -}}
{{- if not ($known.Has "v1/Pod") -}}
{{- $served = or $served (semverCompare (printf ">=%s-0" .since) .of.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if $served }}true{{ end -}}
{{- end -}}

{{/* Not empty: the release has the policy over the operator's account. `auto` means where the API server has such
     policies, and the release has cluster-wide objects anyway. */}}
{{- define "flowdeps.hasAdmissionPolicy" -}}
{{- $served := include "flowdeps.serves" (dict "of" . "kind" "ValidatingAdmissionPolicy" "since" "1.30.0") -}}
{{- $auto := and $served (include "flowdeps.isClusterWide" .) -}}
{{- with toString .Values.admissionPolicy.enabled -}}
{{- if or (eq . "true") (and (eq . "auto") $auto) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The name of the policy that gives environments to runs, by which the operator finds it; empty if the release has
     none. */}}
{{- define "flowdeps.environmentsPolicy" -}}
{{- $served := include "flowdeps.serves" (dict "of" . "kind" "MutatingAdmissionPolicy" "since" "1.36.0") -}}
{{- $auto := and $served (include "flowdeps.isClusterWide" .) -}}
{{- with .Values.config.environments -}}
{{- if and .repository (or (eq .admission "Enabled") (and (eq .admission "Auto") $auto)) -}}
{{- include "flowdeps.fullname" $ }}-environments
{{- end -}}
{{- end -}}
{{- end -}}
