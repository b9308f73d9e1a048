{{/* The chart has no manifests of its own: it reads those that kustomize reads, and puts in what differs. */}}

{{- define "larder.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}
{{- end }}

{{/* What stands in `files` of NAME=value lines, each over those before, and over all of them `values`; as YAML. */}}
{{- define "larder.lines" -}}
{{- $settings := dict }}
{{- range $file := .files }}
{{- range $line := $.chart.Files.Lines $file }}
{{- if and (contains "=" $line) (not (hasPrefix "#" $line)) }}
{{- $pair := splitn "=" 2 $line }}
{{- $_ := set $settings $pair._0 $pair._1 }}
{{- end }}
{{- end }}
{{- end }}
{{- mergeOverwrite $settings .values | toYaml }}
{{- end }}

{{/* The settings of all services: the base's, over them those of TLS and of production, and the values'. */}}
{{- define "larder.settings" -}}
{{- $files := list "base/settings.env" "tls/settings.env" "production/settings.env" }}
{{- include "larder.lines" (dict "chart" . "files" $files "values" .Values.settings) }}
{{- end }}

{{/* What the gateway alone is told. */}}
{{- define "larder.gatewaySettings" -}}
{{- $files := list "base/gateway.env" "production/gateway.env" }}
{{- include "larder.lines" (dict "chart" . "files" $files "values" .Values.gatewaySettings) }}
{{- end }}

{{/* Names that change with the settings, so that pods are rolled when they do. */}}
{{- define "larder.settingsName" -}}
larder-settings-{{ include "larder.settings" . | sha256sum | trunc 10 }}
{{- end }}
{{- define "larder.gatewaySettingsName" -}}
larder-gateway-settings-{{ include "larder.gatewaySettings" . | sha256sum | trunc 10 }}
{{- end }}

{{/* What the gateway's `object` has otherwise than the services', and the name of its `settings`: base/gateway says
the same. */}}
{{- define "larder.gateway" -}}
{{- $object := .object }}
{{- if eq $object.kind "Deployment" }}
{{- $container := first $object.spec.template.spec.containers }}
{{- $addresses := (last $container.envFrom).secretRef.name }}
{{- $own := dict "configMapRef" (dict "name" .settings) }}
{{- $_ := set $container "envFrom" (append (initial $container.envFrom) $own) }}
{{- $key := dict "name" $addresses "key" "REDIS_URL" }}
{{- $redis := dict "name" "REDIS_URL" "valueFrom" (dict "secretKeyRef" $key) }}
{{- $_ := set $container "env" (append $container.env $redis) }}
{{- $http := dict "name" "http" "containerPort" 8080 }}
{{- $_ := set $container "ports" (prepend (rest $container.ports) $http) }}
{{- $key := dict "name" "larder-hooks" "key" "secret" }}
{{- $hooks := dict "name" "LARDER_HOOK_SECRET" "valueFrom" (dict "secretKeyRef" $key) }}
{{- $_ := set $container "env" (append $container.env $hooks) }}
{{- $keys := first $object.spec.template.spec.volumes }}
{{- $_ := set $keys.secret "items" (list (dict "key" "admin-token" "path" "admin-token")) }}
{{- end }}
{{- if eq $object.kind "Service" }}
{{- $http := dict "name" "http" "port" 80 "targetPort" "http" "appProtocol" "http" }}
{{- $_ := set $object.spec "ports" (prepend (rest $object.spec.ports) $http) }}
{{- $_ := unset $object.spec "clusterIP" }}
{{- end }}
{{- end }}

{{/* Puts into the first of two pods what a file of components/tls adds to it: `pod`, `more`. */}}
{{- define "larder.more" -}}
{{- $container := first .pod.containers }}
{{- range $more := .more.containers }}
{{- range $field := list "env" "volumeMounts" }}
{{- if hasKey $more $field }}
{{- $_ := set $container $field (concat (default list (get $container $field)) (get $more $field)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $_ := set .pod "volumes" (concat (default list .pod.volumes) (default list .more.volumes)) }}
{{- end }}

{{/* Changes with the Secrets, as far as the cluster shows them to whoever renders. */}}
{{- define "larder.checksum" -}}
{{- $data := dict }}
{{- range $name := list .Values.addresses "larder-keys" "larder-hooks" }}
{{- with (lookup "v1" "Secret" $.Release.Namespace $name).data }}
{{- $_ := set $data $name . }}
{{- end }}
{{- end }}
{{- if $data }}{{ toJson $data | sha256sum }}{{ end }}
{{- end }}
