{{/* The alerts; own, pod: what selects the operator's series. `anchor` is one of docs/operations.md. */}}
{{- define "flowdeps.alerts" -}}
- alert: FlowdepsDown
  expr: absent(flowdeps_queue_ready{ {{- .own -}} })
  for: 10m
  severity: critical
  anchor: running-it
  summary: The flowdeps operator is down, or its metrics are not fetched.
  description: Runs go on with the locks that are published; changes of sets wait.
- alert: FlowdepsNoneActive
  expr: max(flowdeps_leader{ {{- .own -}} }) < 1
  for: 5m
  severity: critical
  anchor: running-it
  summary: No flowdeps operator is active, though some stand by.
  description: None of them can take the Lease. /readyz and the log of each say why.
- alert: FlowdepsSetsNotReady
  expr: sum by (reason) (flowdeps_sets{ready="False",{{ .own }}}) > 0
  for: 1h
  severity: warning
  anchor: reasons
  summary: {{ `'{{ $value }} dependency sets are not ready: {{ $labels.reason }}.'` }}
  description: Their last good locks stay in service. `kubectl get fds -A` names them, `kubectl describe fds NAME` says what to do.
- alert: FlowdepsQueueStuck
  expr: max(flowdeps_queue_oldest_seconds{ {{- .own -}} }) > 300
  for: 5m
  severity: warning
  anchor: running-it
  summary: {{ `'A set or pool has waited for {{ $value | humanizeDuration }} in the queue of flowdeps.'` }}
  description: After 15 minutes /healthz fails and the pod is restarted.
- alert: FlowdepsPassesFail
  expr: sum by (kind) (increase(flowdeps_pass_failures_total{ {{- .own -}} }[30m])) > 5
  severity: warning
  anchor: reasons
  summary: {{ `'Passes over a {{ $labels.kind }} end in an error of flowdeps itself.'` }}
  description: The operator's log has the details; sets concerned have the reason InternalError.
- alert: FlowdepsTemplateContended
  expr: sum by (pool) (increase(flowdeps_template_drifts_total{ {{- .own -}} }[1h])) > 3
  severity: warning
  anchor: reasons
  summary: {{ `'Something keeps overwriting the base job template of the pool {{ $labels.pool }}.'` }}
  description: Let Helm, Terraform or the PrefectWorkPool resource leave the template alone (reason Contended).
- alert: FlowdepsPrefectFails
  expr: >-
    sum(rate(flowdeps_api_requests_total{target="prefect",outcome=~"error|401|403|5..",{{ .own }}}[15m]))
    / sum(rate(flowdeps_api_requests_total{target="prefect",{{ .own }}}[15m])) > 0.5
  for: 15m
  severity: warning
  anchor: reasons
  summary: {{ `'{{ $value | humanizePercentage }} of the requests to Prefect fail.'` }}
  description: Prefect is down, overloaded, or refuses the credentials (reasons PrefectUnavailable, PrefectUnauthorized).
- alert: FlowdepsForbidden
  expr: sum by (method) (increase(flowdeps_api_requests_total{target="kubernetes",outcome="403",{{ .own }}}[30m])) > 0
  severity: warning
  anchor: reasons
  summary: {{ `'The API server refuses requests ({{ $labels.method }}) of flowdeps.'` }}
  description: A quota, a policy, or the operator's role (reasons Forbidden, PodsForbidden). With watchNamespaces, each pool's jobNamespaces must be named.
- alert: FlowdepsVulnerable
  expr: max by (namespace, set) (flowdeps_vulnerabilities{ {{- .pod -}} }) > 0
  for: 1h
  severity: info
  anchor: reasons
  summary: {{ `'The lock of {{ $labels.namespace }}/{{ $labels.set }} has {{ $value }} known vulnerabilities.'` }}
  description: status.vulnerabilities of the set says which, and what fixes them.
{{- end -}}
