{{/* The alerts; own, pod: what selects the operator's series, the latter where a series has a namespace of its own. Each has its part of docs/how-to/monitoring.md. */}}
{{- define "flowdeps.alerts" -}}
- alert: FlowdepsDown
  expr: absent(flowdeps_queue_ready{ {{- .own -}} })
  for: 10m
  severity: critical
  summary: The flowdeps operator is down, or its metrics are not fetched.
  description: Runs go on with the locks that are published; changes of sets wait.
- alert: FlowdepsNoneActive
  expr: max(flowdeps_leader{ {{- .own -}} }) < 1
  for: 5m
  severity: critical
  summary: No flowdeps operator is active, though some stand by.
  description: None of them can take the Lease. /readyz and the log of each say why.
- alert: FlowdepsSetStalled
  expr: max by (namespace, set, reason) (flowdeps_set_stalled_seconds{ {{- .pod -}} }) > 3600
  severity: warning
  summary: {{ `'The dependency set {{ $labels.namespace }}/{{ $labels.set }} has waited for somebody for {{ $value | humanizeDuration }}: {{ $labels.reason }}.'` }}
  description: Its last good lock, if it had one, stays in service. `flowdeps status NAMESPACE/NAME` or `kubectl describe fds` says what to do.
- alert: FlowdepsSetsNotReady
  expr: sum by (reason) (flowdeps_set_conditions{type="Reconciling",status="True",{{ .own }}}) > 0
  for: 1h
  severity: warning
  summary: {{ `'{{ $value }} dependency sets are not ready, and tried again: {{ $labels.reason }}.'` }}
  description: Their last good locks stay in service. Something outside of them is out of order; `kubectl describe fds NAME` says what.
- alert: FlowdepsQueueStuck
  expr: >-
    max(flowdeps_queue_oldest_seconds{ {{- .own -}} }) > 300
    or max(flowdeps_queue_longest_pass_seconds{ {{- .own -}} }) > 300
  for: 5m
  severity: warning
  summary: {{ `'The queue of flowdeps stands still: a set or pool has waited for {{ $value | humanizeDuration }}.'` }}
  description: After 15 minutes /healthz fails and the pod is restarted.
- alert: FlowdepsPassesFail
  expr: sum by (kind) (increase(flowdeps_pass_failures_total{ {{- .own -}} }[30m])) > 5
  severity: warning
  summary: {{ `'Passes over a {{ $labels.kind }} end in an error of flowdeps itself.'` }}
  description: The operator's log has the details; sets concerned have the reason InternalError.
- alert: FlowdepsTemplateContended
  expr: sum by (pool) (increase(flowdeps_template_drifts_total{ {{- .own -}} }[1h])) > 3
  severity: warning
  summary: {{ `'Something keeps overwriting the base job template of the pool {{ $labels.pool }}.'` }}
  description: Let Helm, Terraform or the PrefectWorkPool resource leave the template alone (reason Contended).
- alert: FlowdepsPrefectFails
  expr: >-
    sum(rate(flowdeps_api_requests_total{target="prefect",outcome=~"error|401|403|5..",{{ .own }}}[15m]))
    / sum(rate(flowdeps_api_requests_total{target="prefect",{{ .own }}}[15m])) > 0.5
  for: 15m
  severity: warning
  summary: {{ `'{{ $value | humanizePercentage }} of the requests to Prefect fail.'` }}
  description: Prefect is down, overloaded, or refuses the credentials (reasons PrefectUnavailable, PrefectUnauthorized).
- alert: FlowdepsForbidden
  expr: sum by (method) (increase(flowdeps_api_requests_total{target="kubernetes",outcome="403",{{ .own }}}[30m])) > 0
  severity: warning
  summary: {{ `'The API server refuses requests ({{ $labels.method }}) of flowdeps.'` }}
  description: A quota, a policy, or the operator's role (reasons Forbidden, PodsForbidden). With watchNamespaces, each pool's jobNamespaces must be named.
- alert: FlowdepsRefreshOverdue
  expr: max by (namespace) (flowdeps_refresh_overdue_seconds{ {{- .pod -}} }) > 86400
  for: 1h
  severity: warning
  summary: {{ `'A lock in namespace {{ $labels.namespace }} should have been refreshed {{ $value | humanizeDuration }} ago.'` }}
  description: The lock stays in service and grows old. `flowdeps status NAMESPACE/NAME` says what keeps it from a refresh.
- alert: FlowdepsCleanupGivenUp
  expr: sum(increase(flowdeps_cleanups_total{outcome="GivenUp",{{ .own }}}[1h])) > 0
  severity: warning
  summary: Sets are gone that could not be taken out everywhere.
  description: While they were deleted Prefect did not answer, or the API server refused to delete a copy of a lock. What is left goes when that ends; their events say what it is.
- alert: FlowdepsVulnerable
  expr: max by (namespace, set) (flowdeps_vulnerabilities{ {{- .pod -}} }) > 0
  for: 1h
  severity: info
  summary: {{ `'The lock of {{ $labels.namespace }}/{{ $labels.set }} has {{ $value }} known vulnerabilities.'` }}
  description: status.vulnerabilities of the set says which, and what fixes them.
{{- end -}}
