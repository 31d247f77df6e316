{{/* Pods with our label and nothing else of ours, in namespaces where that is enough. */}}
{{- define "flowdeps.labelledPods" -}}
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector:
    matchExpressions:
      - {key: flowdeps.dev/set, operator: Exists}
      - {key: flowdeps.dev/set, operator: NotIn, values: [none]}
      - {key: flowdeps.dev/purpose, operator: DoesNotExist}
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
      scope: "*"
matchConditions:
  - name: isAllowed
    expression: has(params.spec.labels)
  - name: hasNothingElse
    expression: >-
      !object.spec.?volumes.orValue([]).exists(one, one.name.startsWith("flowdeps-")) &&
      !(object.spec.containers + object.spec.?initContainers.orValue([])).exists(one,
      one.name.startsWith("flowdeps-"))
{{- end }}

{{- define "flowdeps.labelledLine" -}}
- name: key
  expression: object.metadata.labels["flowdeps.dev/set"]
- name: name
  expression: params.spec.labels + variables.key
# The API server would refuse a pod with any other reference.
- name: lines
  expression: >-
    !(variables.name in params.spec.environments) ? [] :
    [params.spec.environments[variables.name]].filter(line,
    line.reference.matches({{ include "flowdeps.environmentReference" . }}) &&
    line.lock.matches("^sha256:[0-9a-f]{64}$"))
- name: users
  expression: >-
    object.spec.containers.filter(one, variables.lines.exists(line, line.image == one.?image.orValue("")))
# What the pod says is kept. Where PYTHONPATH comes from elsewhere, what it is can't be known.
- name: takes
  expression: >-
    variables.users.size() > 0 && variables.users.all(one,
    one.?volumeMounts.orValue([]).all(mount, !(mount.mountPath + "/").startsWith("/opt/flowdeps/")) &&
    ["PYTHONPATH", "FLOWDEPS_SET", "FLOWDEPS_LOCK", "FLOWDEPS_BOOT"].all(name,
    one.?env.orValue([]).all(entry, entry.name != name || !has(entry.valueFrom)) &&
    one.?env.orValue([]).filter(entry, entry.name == name).size() < 2) &&
    (one.?envFrom.orValue([]).size() == 0 || one.?env.orValue([]).exists(entry, entry.name == "PYTHONPATH")))
{{- end }}
