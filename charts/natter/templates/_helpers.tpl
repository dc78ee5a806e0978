{{- define "natter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "natter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "natter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "natter.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "natter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "natter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "natter.selector" -}}
app.kubernetes.io/name: natter-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "natter.labels" -}}
{{ include "natter.selector" . }}
app.kubernetes.io/part-of: natter
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "natter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "natter.chatNodeImage" -}}
{{- default (printf "natter.dev/chat-node:%s" .Chart.AppVersion) .Values.defaults.chatNode.image -}}
{{- end -}}

{{- define "natter.testService" -}}
{{- if .Values.test.chatService -}}
{{- .Values.test.chatService -}}
{{- else if .Values.sample.enabled -}}
{{- .Values.sample.name -}}
{{- end -}}
{{- end -}}

{{- /* What the operator may do in the namespaces that it watches: one rule for each reason. */ -}}
{{- define "natter.rules" -}}
# The resource itself: read it, and say in its status how it is.
- apiGroups: [natter.dev]
  resources: [chatservices]
  verbs: [get, list, watch]
- apiGroups: [natter.dev]
  resources: [chatservices/status]
  verbs: [get, patch]
# Owner references that block the deletion of their owner; clusters with OwnerReferencesPermissionEnforcement ask for this.
- apiGroups: [natter.dev]
  resources: [chatservices/finalizers]
  verbs: [update]
# What it makes of a ChatService: applied on the server (create and patch), repaired when it changes (watch), pruned (delete).
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# Keys of the NATS account, made once; Secrets that a ChatService points to are read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Rollouts: how far one is, to have a changed ConfigMap arrive at once (an annotation), and NATS servers one at a time (delete).
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
# Volumes of NATS: deleted with a ChatService only if its reclaimPolicy says so.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
# What it tells people.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
