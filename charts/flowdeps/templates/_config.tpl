{{/* A mapping without its empty values, for which the operator has its own defaults. Kubernetes' own types
     stay unchanged. */}}
{{- define "flowdeps.filled" -}}
{{- $out := dict -}}
{{- range $name, $value := . -}}
{{- if and (kindIs "map" $value) (not (has $name (list "nodeSelector" "resources" "labels" "annotations"))) -}}
{{- $value = include "flowdeps.filled" $value | fromYaml -}}
{{- end -}}
{{- if or (kindIs "bool" $value) $value -}}
{{- $_ := set $out $name $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{/* The operator's configuration file. */}}
{{- define "flowdeps.config" -}}
{{- $prefect := pick .Values.prefect "apiUrl" "pollInterval" "artifacts" "events" -}}
{{- $owner := .Values.config.owner | default (printf "%s/%s" .Release.Namespace (include "flowdeps.fullname" .)) -}}
{{- $lease := dict "enabled" true "namespace" .Release.Namespace "name" (include "flowdeps.fullname" .) -}}
{{- $own := dict "prefect" $prefect "owner" $owner "leaderElection" (merge $lease .Values.leaderElection) -}}
{{- if .Values.config.environments.repository -}}
{{- $image := .Values.config.environments.image | default (include "flowdeps.image" .) -}}
{{- $_ := set $own "environments" (dict "image" $image "policy" (include "flowdeps.environmentsPolicy" .)) -}}
{{- end -}}
{{- include "flowdeps.filled" (merge $own .Values.config) -}}
{{- end -}}

{{/* Checks that the schema cannot express. All problems are reported together. */}}
{{- define "flowdeps.check" -}}
{{- $wrong := list -}}
{{- if not .Values.prefect.apiUrl -}}
{{- $wrong = append $wrong "prefect.apiUrl: missing; write the address of Prefect's API, such as http://prefect-server.prefect.svc:4200/api" -}}
{{- end -}}
{{- if not .Values.image.repository -}}
{{- $wrong = append $wrong "image.repository: missing; this is not a released chart, so name the image that you built, such as registry.example.com/flowdeps" -}}
{{- end -}}
{{- if regexMatch "^https?://[^/?#]*@" (.Values.prefect.apiUrl | default "") -}}
{{- $wrong = append $wrong "prefect.apiUrl: a user name or password in a URL is not allowed; use prefect.existingSecret" -}}
{{- end -}}
{{- $index := .Values.config.index -}}
{{- $urls := concat (list $index.url .Values.config.vulnerabilities.database) ($index.extraUrls | default list) ($index.allowed | default list) -}}
{{- range concat ($index.packages | default list) ($index.credentialHelpers | default list) -}}
{{- $urls = append $urls .url -}}
{{- end -}}
{{- range $urls -}}
{{- if regexMatch "^https?://[^/?#]*@" (. | default "") -}}
{{- $wrong = append $wrong "config: a user name or password in a URL of index or vulnerabilities is not allowed; remove the part before '@'" -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^https?://[^/?#]*@" (.Values.config.environments.proxy | default "") -}}
{{- $wrong = append $wrong "config.environments.proxy: a user name or password in a URL is not allowed; remove the part before '@'" -}}
{{- end -}}
{{- with .Values.config.environments.repository -}}
{{- $host := "([a-z0-9-]+(\\.[a-z0-9-]+)+(:[0-9]{1,5})?|[a-z0-9-]+:[0-9]{1,5}|localhost)" -}}
{{- $part := "[a-z0-9]+([._-]+[a-z0-9]+)*" -}}
{{- $example := "such as registry.example.com/flowdeps" -}}
{{- if contains "://" . -}}
{{- $wrong = append $wrong (printf "config.environments.repository: %s:// is no part of a repository; write it %s" (first (splitList "://" .)) $example) -}}
{{- else if not (regexMatch (printf "^%s(/%s)*$" $host $part) .) -}}
{{- if or (contains "@" .) (contains ":" (last (splitList "/" .))) -}}
{{- $wrong = append $wrong (printf "config.environments.repository: %q has a tag or a digest, which flowdeps gives itself; write it %s" . $example) -}}
{{- else if regexMatch (printf "^%s(/%s)*$" $part $part) . -}}
{{- $wrong = append $wrong (printf "config.environments.repository: %q names no registry; write its host first, %s" . $example) -}}
{{- else -}}
{{- $wrong = append $wrong (printf "config.environments.repository: %q is not a repository; write it %s" . $example) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "flowdeps.claims" . | fromYamlArray) (not .Values.config.environments.repository) -}}
{{- $wrong = append $wrong "config.workPools[].volume: environments on a claim come from a registry; write config.environments.repository" -}}
{{- end -}}
{{- range .Values.config.workPools -}}
{{- if and .labels (not $.Values.config.environments.repository) -}}
{{- $wrong = append $wrong "config.workPools[].labels: such pods get ready environments; write config.environments.repository" -}}
{{- end -}}
{{- end -}}
{{- $secret := .Values.prefect.existingSecret -}}
{{- if and $secret.name (not $secret.apiKeyKey) (not $secret.authStringKey) -}}
{{- $wrong = append $wrong "prefect.existingSecret: no key of the Secret is named; set apiKeyKey or authStringKey" -}}
{{- end -}}
{{- if and $secret.apiKeyKey $secret.authStringKey -}}
{{- $wrong = append $wrong "prefect.existingSecret: Prefect takes an API key or an auth string; remove apiKeyKey or authStringKey" -}}
{{- end -}}
{{- if and (not $secret.name) (or $secret.apiKeyKey $secret.authStringKey) -}}
{{- $wrong = append $wrong "prefect.existingSecret.name: missing; name the Secret that has the key" -}}
{{- end -}}
{{- range $index, $one := .Values.extraEnv -}}
{{- if and (has $one.name (list "PREFECT_API_KEY" "PREFECT_API_AUTH_STRING")) $one.value -}}
{{- $wrong = append $wrong (printf "extraEnv[%d]: %s is a secret, not a value; use prefect.existingSecret" $index $one.name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- $wrong = append $wrong "metrics: serviceMonitor and podMonitor together would scrape all metrics twice; enable only one" -}}
{{- end -}}
{{- if $wrong -}}
{{- printf "\n\n%s\n" (join "\n" (uniq $wrong)) | fail -}}
{{- end -}}
{{- end -}}
