{{/* The alerts. Each has a section in docs/how-to/monitoring.md. `own` and `pod` select the operator's series; `pod` is for series with a namespace of their own. */}}
{{- define "flowdeps.alerts" -}}
- alert: FlowdepsDown
  expr: absent(flowdeps_queue_ready{ {{- .own -}} })
  for: 10m
  severity: critical
  summary: The flowdeps operator is down, or its metrics are not scraped.
  description: Runs continue with the published locks; changes of sets wait.
- alert: FlowdepsNoneActive
  expr: max(flowdeps_leader{ {{- .own -}} }) < 1
  for: 5m
  severity: critical
  summary: No flowdeps operator is active, though some stand by.
  description: None of them can take the Lease. /readyz and the log of each show why.
- alert: FlowdepsSetStalled
  expr: max by (namespace, set, reason) (flowdeps_set_stalled_seconds{ {{- .pod -}} }) > 3600
  severity: warning
  summary: {{ `'The dependency set {{ $labels.namespace }}/{{ $labels.set }} has waited for a person for {{ $value | humanizeDuration }}: {{ $labels.reason }}.'` }}
  description: Its last good lock, if it had one, stays in service. `flowdeps status NAMESPACE/NAME` or `kubectl describe fds` shows what to do.
- alert: FlowdepsSetsNotReady
  expr: sum by (reason) (flowdeps_set_conditions{type="Reconciling",status="True",{{ .own }}}) > 0
  for: 1h
  severity: warning
  summary: {{ `'{{ $value }} dependency sets are not ready and are being retried: {{ $labels.reason }}.'` }}
  description: Their last good locks stay in service. The cause is outside of them; `kubectl describe fds NAME` shows it.
- alert: FlowdepsInstallsFail
  expr: sum by (namespace) (increase(flowdeps_failed_installs_total{ {{- .pod -}} }[30m])) >= 2
  severity: warning
  summary: {{ `'Runs in namespace {{ $labels.namespace }} cannot install their packages.'` }}
  description: Their logs have a line that begins with `flowdeps:` and says why. Often the package index refuses credentials or cannot be reached from there, or a run has another image than the lock was made for.
- alert: FlowdepsQueueStuck
  expr: >-
    max(flowdeps_queue_oldest_seconds{ {{- .own -}} }) > 300
    or max(flowdeps_queue_longest_pass_seconds{ {{- .own -}} }) > 300
  for: 5m
  severity: warning
  summary: {{ `'The queue of flowdeps makes no progress: a set or pool has waited for {{ $value | humanizeDuration }}.'` }}
  description: After 15 minutes /healthz fails, and Kubernetes restarts the pod.
- alert: FlowdepsPassesFail
  expr: sum by (kind) (increase(flowdeps_pass_failures_total{ {{- .own -}} }[30m])) > 5
  severity: warning
  summary: {{ `'Passes over a {{ $labels.kind }} end in an error of flowdeps itself.'` }}
  description: The operator's log has the details; the affected sets have the reason InternalError.
- alert: FlowdepsTemplateContended
  expr: sum by (pool) (increase(flowdeps_template_drifts_total{ {{- .own -}} }[1h])) > 3
  severity: warning
  summary: {{ `'Something keeps overwriting the base job template of the pool {{ $labels.pool }}.'` }}
  description: Stop Helm, Terraform or the PrefectWorkPool resource from writing the template (reason Contended).
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
  summary: {{ `'The API server refuses requests ({{ $labels.method }}) from flowdeps.'` }}
  description: The cause is a quota, a policy, or the operator's role (reasons Forbidden, PodsForbidden). With watchNamespaces, name each pool's jobNamespaces.
- alert: FlowdepsRefreshOverdue
  expr: max by (namespace) (flowdeps_refresh_overdue_seconds{ {{- .pod -}} }) > 86400
  for: 1h
  severity: warning
  summary: {{ `'A lock in namespace {{ $labels.namespace }} should have been refreshed {{ $value | humanizeDuration }} ago.'` }}
  description: The lock stays in service and gets older. `flowdeps status NAMESPACE/NAME` shows what prevents the refresh.
- alert: FlowdepsCleanupGivenUp
  expr: sum(increase(flowdeps_cleanups_total{outcome="GivenUp",{{ .own }}}[1h])) > 0
  severity: warning
  summary: Sets were deleted but could not be removed everywhere.
  description: Prefect did not answer, or the API server refused to delete a copy of a lock. flowdeps removes the rest when that ends; the sets' events name it.
- alert: FlowdepsVulnerable
  expr: max by (namespace, set) (flowdeps_vulnerabilities{ {{- .pod -}} }) > 0
  for: 1h
  severity: info
  summary: {{ `'The lock of {{ $labels.namespace }}/{{ $labels.set }} has {{ $value }} known vulnerabilities.'` }}
  description: status.vulnerabilities of the set lists them and what fixes them.
{{- end -}}
