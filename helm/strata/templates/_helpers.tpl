{{/* Names are fixed: the operator, its docs and users' RoleBindings hold them, and there is one Strata in a cluster. */}}
{{- define "strata.operator" -}}strata-operator{{- end }}
{{- define "strata.nodeProxy" -}}strata-node-proxy{{- end }}

{{/* Labels by which pods are selected. Takes a dict of root and component. */}}
{{- define "strata.selector" -}}
app.kubernetes.io/name: strata
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of every object. Takes a dict of root and component. */}}
{{- define "strata.labels" -}}
{{ include "strata.selector" . }}
app.kubernetes.io/part-of: strata
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The reference of an image. Takes a dict of root and image. */}}
{{- define "strata.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Bytes of a size such as 2Gi, as a decimal number. */}}
{{- define "strata.bytes" -}}
{{- if kindIs "string" . -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[KMGT]i$" .) | default 1 | int64) -}}
{{- else -}}
{{- int64 . -}}
{{- end }}
{{- end }}

{{/* A map as key=value,key=value. */}}
{{- define "strata.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $text := kindIs "string" $value | ternary $value ($value | int64 | toString) -}}
{{- $pairs = append $pairs (printf "%s=%s" $key $text) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end }}

{{/* What builder pods have where their ImageBuild's spec.pod says nothing, as JSON; empty if nothing. */}}
{{- define "strata.buildPod" -}}
{{- $pod := dict -}}
{{- range $field, $value := dict "priorityClassName" .Values.builds.priorityClassName "runtimeClassName" .Values.builds.runtimeClassName "imagePullSecrets" .Values.builds.imagePullSecrets "nodeSelector" .Values.builds.nodeSelector "tolerations" .Values.builds.tolerations "affinity" .Values.builds.affinity "labels" .Values.builds.podLabels "annotations" .Values.builds.podAnnotations -}}
{{- if $value }}{{ $_ := set $pod $field $value }}{{ end -}}
{{- end -}}
{{- if $pod }}{{ toJson $pod }}{{ end -}}
{{- end }}

{{/* The sinks of notifications as JSON, each with the folder where its Secret is mounted; empty if there are none. */}}
{{- define "strata.sinks" -}}
{{- $sinks := list -}}
{{- range .Values.notifications.sinks -}}
{{- $sink := omit . "secretName" -}}
{{- if .secretName }}{{ $_ := set $sink "secretFolder" (printf "/etc/strata-sinks/%s" .name) }}{{ end -}}
{{- $sinks = append $sinks $sink -}}
{{- end -}}
{{- if $sinks }}{{ toJson $sinks }}{{ end -}}
{{- end }}

{{/* The operator's settings, without the prefix STRATA_; an empty one is the operator's default. */}}
{{- define "strata.settings" -}}
SERVICE_ACCOUNT: {{ include "strata.operator" . | quote }}
LISTEN: "0.0.0.0:8080"
LOG_FORMAT: {{ .Values.operator.logFormat | quote }}
LOG_LEVEL: {{ .Values.operator.logLevel | quote }}
CLUSTER_DOMAIN: {{ .Values.clusterDomain | quote }}
WORKERS: {{ .Values.operator.workers | int64 | quote }}
RESYNC_SECONDS: {{ .Values.operator.resyncSeconds | int64 | quote }}
STUCK_SECONDS: {{ .Values.operator.stuckSeconds | int64 | quote }}
REGISTRY_IMAGE: {{ .Values.registries.image | quote }}
{{- $registrySecrets := list }}{{ range .Values.registries.imagePullSecrets }}{{ $registrySecrets = append $registrySecrets .name }}{{ end }}
REGISTRY_PULL_SECRETS: {{ join "," $registrySecrets | quote }}
REGISTRY_RECHECK_SECONDS: {{ .Values.registries.recheckSeconds | int64 | quote }}
NODE_PROXY: {{ .Values.nodeProxy.enabled | quote }}
NODE_PROXY_NAMESPACE: {{ .Values.nodeProxy.namespace | quote }}
NODE_PROXY_CONFIG_MAP: {{ include "strata.nodeProxy" . | quote }}
NODE_CIDRS: {{ join "," .Values.registries.nodeCIDRs | quote }}
BUILDER_IMAGE: {{ include "strata.image" (dict "root" . "image" .Values.builder.image) | quote }}
BUILDER_IMAGE_PULL_POLICY: {{ .Values.builder.image.pullPolicy | quote }}
MAX_BUILDS: {{ .Values.builds.maxConcurrent | int64 | quote }}
MAX_BUILDS_PER_NAMESPACE: {{ .Values.builds.maxConcurrentPerNamespace | int64 | quote }}
PAUSED: {{ .Values.builds.paused | default "" | toString | quote }}
IMAGE_VOLUMES: {{ .Values.builds.imageVolumes | quote }}
CONTEXT_LIMIT_BYTES: {{ include "strata.bytes" .Values.builds.contextLimit | quote }}
MIRRORS: {{ include "strata.pairs" .Values.mirrors | quote }}
INSECURE_REGISTRIES: {{ join "," .Values.builds.insecureRegistries | quote }}
PLATFORM: {{ .Values.builds.platform | quote }}
BUILD_REQUESTS: {{ include "strata.pairs" .Values.builds.resources.requests | quote }}
BUILD_LIMITS: {{ include "strata.pairs" .Values.builds.resources.limits | quote }}
HELPER_REQUESTS: {{ include "strata.pairs" .Values.builds.helperResources.requests | quote }}
HELPER_LIMITS: {{ include "strata.pairs" .Values.builds.helperResources.limits | quote }}
BUILD_POD: {{ include "strata.buildPod" . | quote }}
SCRATCH_LIMIT: {{ .Values.builds.scratchLimit | quote }}
JOB_TTL_SECONDS: {{ .Values.builds.jobTTLSeconds | int64 | quote }}
CA_BUNDLE_FILE: {{ ternary "/etc/strata/ca.crt" "" (ne .Values.caBundle "") | quote }}
HTTP_PROXY: {{ .Values.proxy.http | quote }}
HTTPS_PROXY: {{ .Values.proxy.https | quote }}
NO_PROXY: {{ join "," .Values.proxy.noProxy | quote }}
POLLS_AT_ONCE: {{ .Values.polling.concurrency | int64 | quote }}
POLLS_PER_HOST: {{ .Values.polling.perHost | int64 | quote }}
POLL_ALLOWED_CIDRS: {{ join "," .Values.pollAllowedCidrs | quote }}
WEBHOOK_LISTEN: {{ ternary "0.0.0.0:8090" "" .Values.webhooks.enabled | quote }}
WEBHOOK_TRUSTED_PROXIES: {{ join "," .Values.webhooks.trustedProxies | quote }}
REGISTRY_NOTIFICATIONS: {{ .Values.webhooks.registryNotifications | quote }}
NOTIFICATION_SOURCE: {{ .Values.notifications.source | quote }}
NOTIFICATION_SINKS: {{ include "strata.sinks" . | quote }}
{{- end }}

{{/* Security of a container that needs nothing; Pod Security restricted admits it. */}}
{{- define "strata.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "strata.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
