{{/* The chart has no manifests of its own: it reads those that kustomize reads, and puts in what differs. */}}

{{- define "larder.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}
{{- end }}

{{/* The settings of all services, as YAML: those of the base, and over them those of the values. */}}
{{- define "larder.settings" -}}
{{- $settings := dict }}
{{- range $line := .Files.Lines "base/settings.env" }}
{{- if contains "=" $line }}
{{- $pair := splitn "=" 2 $line }}
{{- $_ := set $settings $pair._0 $pair._1 }}
{{- end }}
{{- end }}
{{- mergeOverwrite $settings .Values.settings | toYaml }}
{{- end }}

{{/* A name that changes with the settings, so that pods are rolled when they do. */}}
{{- define "larder.settingsName" -}}
larder-settings-{{ include "larder.settings" . | sha256sum | trunc 10 }}
{{- end }}

{{/* What the gateway has otherwise than the services: base/gateway says the same. */}}
{{- define "larder.gateway" -}}
{{- if eq .kind "Deployment" }}
{{- $container := first .spec.template.spec.containers }}
{{- $http := dict "name" "http" "containerPort" 8080 }}
{{- $_ := set $container "ports" (prepend (rest $container.ports) $http) }}
{{- $ready := dict "path" "/ready" "port" "metrics" }}
{{- $live := dict "path" "/live" "port" "metrics" }}
{{- $_ := set $container "startupProbe" (dict "httpGet" $ready "periodSeconds" 2 "failureThreshold" 60) }}
{{- $_ := set $container "readinessProbe" (dict "httpGet" $ready "periodSeconds" 2 "timeoutSeconds" 2 "failureThreshold" 2) }}
{{- $_ := set $container "livenessProbe" (dict "httpGet" $live "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 3) }}
{{- end }}
{{- if eq .kind "Service" }}
{{- $http := dict "name" "http" "port" 80 "targetPort" "http" "appProtocol" "http" }}
{{- $_ := set .spec "ports" (prepend (rest .spec.ports) $http) }}
{{- $_ := unset .spec "clusterIP" }}
{{- end }}
{{- end }}
