package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// table says of every Go type that an object is made of which of its fields are taken. A field that is not named
// here is refused when it is set, by its path: what an upgrade of k8s.io/api adds is refused until somebody writes it
// here, and nothing that a person asked for is passed over in silence. A type that is not named here is taken whole.
//
//	name         taken; what it says is done, or for Services and Ingresses recorded and served
//	name=value   only this value is taken
//	name~value   this value says what happens anyway: taken, and not recorded. Any other is refused
//
// Whatever runs the containers does what stands under PodTemplateSpec and below, and nothing else.
func table() map[string]string {
	return map[string]string{
		"Deployment": "metadata spec status",
		"Service":    "metadata spec status",
		"Ingress":    "metadata spec status",
		"Namespace":  "metadata spec status",
		"Endpoints":  "metadata subsets",
		"ConfigMap":  "metadata data binaryData immutable",
		"Secret":     "metadata type data stringData immutable~false",

		// What Kubernetes' servers fill in is taken, since exported objects hold it, and not recorded.
		"ObjectMeta": "name generateName namespace labels annotations generation creationTimestamp" +
			" uid resourceVersion selfLink managedFields deletionTimestamp deletionGracePeriodSeconds",

		"DeploymentSpec":          "replicas selector template strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds",
		"DeploymentStrategy":      "type rollingUpdate",
		"RollingUpdateDeployment": "maxUnavailable maxSurge",
		"LabelSelector":           "matchLabels matchExpressions",

		"PodTemplateSpec": "metadata spec",
		"PodSpec": "containers initContainers volumes restartPolicy terminationGracePeriodSeconds dnsPolicy dnsConfig hostAliases" +
			" hostname hostNetwork nodeSelector affinity tolerations topologySpreadConstraints securityContext" +
			" schedulerName~default-scheduler serviceAccountName~default serviceAccount~default" +
			" automountServiceAccountToken~false enableServiceLinks~false shareProcessNamespace~false" +
			" setHostnameAsFQDN~false hostUsers~true",
		"PodSecurityContext": "runAsUser runAsGroup runAsNonRoot supplementalGroups seccompProfile supplementalGroupsPolicy~Merge",
		"SeccompProfile":     "type=RuntimeDefault",
		"PodDNSConfig":       "nameservers searches options",
		"PodDNSConfigOption": "name value",
		"HostAlias":          "ip hostnames",

		"Affinity":                 "nodeAffinity podAffinity podAntiAffinity",
		"NodeAffinity":             "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
		"PodAffinity":              "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
		"PodAntiAffinity":          "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
		"NodeSelector":             "nodeSelectorTerms",
		"NodeSelectorTerm":         "matchExpressions matchFields",
		"NodeSelectorRequirement":  "key operator values",
		"PreferredSchedulingTerm":  "weight preference",
		"PodAffinityTerm":          "labelSelector namespaces topologyKey",
		"WeightedPodAffinityTerm":  "weight podAffinityTerm",
		"Toleration":               "key operator value effect",
		"TopologySpreadConstraint": "maxSkew topologyKey whenUnsatisfiable labelSelector nodeAffinityPolicy~Honor nodeTaintsPolicy~Ignore",

		"Container": "name image imagePullPolicy command args workingDir env envFrom ports volumeMounts resources securityContext" +
			" readinessProbe livenessProbe startupProbe lifecycle" +
			" terminationMessagePath~/dev/termination-log terminationMessagePolicy~File",
		"EnvVar":               "name value valueFrom",
		"EnvVarSource":         "fieldRef configMapKeyRef secretKeyRef",
		"ConfigMapKeySelector": "name key optional",
		"ConfigMapEnvSource":   "name optional",
		"ObjectFieldSelector":  "apiVersion fieldPath",
		"SecretKeySelector":    "name key optional",
		"EnvFromSource":        "prefix configMapRef secretRef",
		"SecretEnvSource":      "name optional",
		"ContainerPort":        "name containerPort protocol hostPort hostIP",
		"VolumeMount":          "name mountPath subPath readOnly mountPropagation~None recursiveReadOnly~Disabled",
		"ResourceRequirements": "limits requests",
		"SecurityContext": "runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem capabilities privileged" +
			" allowPrivilegeEscalation seccompProfile procMount~Default",
		"Capabilities": "add drop",

		"Probe": "httpGet tcpSocket exec initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold" +
			" terminationGracePeriodSeconds",
		"HTTPGetAction":    "path port host scheme httpHeaders",
		"HTTPHeader":       "name value",
		"TCPSocketAction":  "port host",
		"ExecAction":       "command",
		"Lifecycle":        "preStop",
		"LifecycleHandler": "exec httpGet sleep",
		"SleepAction":      "seconds",

		"Volume":                "name emptyDir hostPath secret configMap",
		"SecretVolumeSource":    "secretName items defaultMode optional",
		"ConfigMapVolumeSource": "name items defaultMode optional",
		"KeyToPath":             "key path mode",
		"EmptyDirVolumeSource":  "medium sizeLimit",
		"HostPathVolumeSource":  "path type",

		"ServiceSpec": "type selector ports clusterIP clusterIPs externalName externalIPs sessionAffinity sessionAffinityConfig" +
			" externalTrafficPolicy internalTrafficPolicy trafficDistribution publishNotReadyAddresses healthCheckNodePort" +
			" ipFamilies ipFamilyPolicy loadBalancerIP loadBalancerClass loadBalancerSourceRanges allocateLoadBalancerNodePorts",
		"EndpointSubset":  "addresses notReadyAddresses ports",
		"EndpointAddress": "ip",
		"EndpointPort":    "name port protocol appProtocol",

		"ServicePort": "name protocol port targetPort nodePort appProtocol",

		"IngressSpec":           "ingressClassName defaultBackend rules tls",
		"IngressTLS":            "hosts secretName",
		"IngressRule":           "host http",
		"HTTPIngressRuleValue":  "paths",
		"HTTPIngressPath":       "path pathType backend",
		"IngressBackend":        "service resource",
		"IngressServiceBackend": "name port",
		"ServiceBackendPort":    "name number",

		"NamespaceSpec": "finalizers",
	}
}

// reasons says in a person's words why a field is refused, where its name does not say it.
func reasons() map[string]string {
	const (
		volumes = "only emptyDir, hostPath, secret and configMap volumes are"
		shared  = "only namespaces of its own, and hostNetwork, are"
		labels  = "write the labels into labelSelector"
	)
	return map[string]string{
		"ObjectMeta.ownerReferences":           "nothing is deleted along with an owner",
		"ObjectMeta.finalizers":                "a delete does not wait for anybody",
		"EndpointAddress.targetRef":            "the endpoints of pods follow the pods: write them by hand only for what is elsewhere",
		"EndpointAddress.nodeName":             "what is given by hand is reached by all hosts alike",
		"EndpointAddress.hostname":             "only pods of a headless Service have names of their own",
		"Secret.immutable":                     "to change what a Secret holds takes scope write, which is all that keeps it",
		"PodSpec.ephemeralContainers":          "use podman exec on the host",
		"PodSpec.serviceAccountName":           "there are no service accounts",
		"PodSpec.serviceAccount":               "there are no service accounts",
		"PodSpec.automountServiceAccountToken": "there are no service accounts",
		"PodSpec.imagePullSecrets":             "log the host in to the registry (podman login) instead",
		"PodSpec.nodeName":                     "use nodeSelector",
		"PodAffinityTerm.namespaceSelector":    "name the namespaces",
		"PodAffinityTerm.matchLabelKeys":       labels,
		"PodAffinityTerm.mismatchLabelKeys":    labels,
		"Toleration.tolerationSeconds":         "what is tolerated is tolerated for good",

		"TopologySpreadConstraint.minDomains":     "use podAntiAffinity",
		"TopologySpreadConstraint.matchLabelKeys": labels,
		"PodSpec.schedulerName":                   "there is one way of placing replicas",
		"PodSpec.hostPID":                         shared,
		"PodSpec.hostIPC":                         shared,
		"PodSpec.shareProcessNamespace":           shared,
		"PodSpec.activeDeadlineSeconds":           "a Deployment's containers run until they are replaced",
		"Probe.grpc":                              "use httpGet or tcpSocket, or exec with grpc_health_probe in the image",
		"Lifecycle.postStart":                     "have the container's command do first what is to be done first",
		"LifecycleHandler.tcpSocket":              "it would do nothing: use httpGet, exec or sleep",
		"Container.restartPolicy":                 "what is to run on beside the others (Always) belongs into containers, and init containers are run until they succeed",
		"EnvVarSource.resourceFieldRef":           "write the limit's value",
		"EnvVarSource.fileKeyRef":                 "only configMapKeyRef, secretKeyRef and fieldRef are",
		"Volume.projected":                        volumes,
		"Volume.downwardAPI":                      volumes,
		"Volume.persistentVolumeClaim":            volumes,
		"VolumeMount.subPathExpr":                 "write subPath",
		"SeccompProfile.type":                     "only RuntimeDefault, which is Podman's own profile, is",
	}
}

// rule is what the table says of one field.
type rule struct {
	only    string // the one value that is taken
	neutral bool   // … because it says what happens anyway
}

// rules are the table's, by type and field; made when they are first asked for, and never changed.
var rules = sync.OnceValue(func() map[string]map[string]rule {
	rs := map[string]map[string]rule{}
	for typ, line := range table() {
		rs[typ] = map[string]rule{}
		for _, word := range strings.Fields(line) {
			name, value, neutral := strings.Cut(word, "~")
			if !neutral {
				name, value, _ = strings.Cut(word, "=")
			}
			rs[typ][name] = rule{value, neutral}
		}
	}
	return rs
})

// allow is a walk through an object that holds every field that is set against the table.
type allow struct {
	wrong field.ErrorList
	clear bool // set neutral values to none, and complain of nothing
}

// refused lists every field that is set and not taken.
func refused(o Object) field.ErrorList {
	var a allow
	a.walk(reflect.ValueOf(o).Elem(), nil)
	return a.wrong
}

// clearNeutral takes out of the object what says only what happens anyway, so that an object exported from a cluster
// is the same as the one written by hand.
func clearNeutral(o Object) {
	a := allow{clear: true}
	a.walk(reflect.ValueOf(o).Elem(), nil)
}

func (a *allow) walk(v reflect.Value, path *field.Path) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			a.walk(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			a.walk(v.Index(i), path.Index(i))
		}
	case reflect.Struct:
		taken, ok := rules()[v.Type().Name()]
		if !ok {
			return
		}
		for _, f := range fieldsOf(v.Type()) {
			if f.name == "kind" || f.name == "apiVersion" {
				continue
			}
			if c := v.FieldByIndex(f.index); isSet(c) {
				r, ok := taken[f.name]
				a.field(v.Type().Name()+"."+f.name, c, path.Child(f.name), r, ok)
			}
		}
	}
}

// isSet reports whether a field says anything: an empty list or map says as little as none.
func isSet(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() > 0
	}
	return !v.IsZero()
}

func (a *allow) field(name string, v reflect.Value, path *field.Path, r rule, ok bool) {
	says := ""
	if ok && r.only != "" {
		says = fmt.Sprint(reflect.Indirect(v).Interface())
		ok = says == r.only
	}
	switch {
	case a.clear && ok && r.neutral:
		v.SetZero()
	case ok:
		a.walk(v, path)
	case !a.clear:
		a.wrong = append(a.wrong, field.Forbidden(path, reason(name, says, r)))
	}
}

func reason(name, says string, r rule) string {
	text := "not supported yet by podman-swarm"
	if says != "" {
		q, _ := json.Marshal(says) // a string always marshals
		text = string(q) + " is " + text
	}
	switch why := reasons()[name]; {
	case why != "":
		return text + ": " + why
	case r.only != "":
		return text + ": only " + r.only + " is"
	}
	return text
}
