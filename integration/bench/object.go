package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// How large the measured objects are: a Deployment as people write them, with its defaults, and a Service.
const (
	objectSize = 1400
	smallSize  = 300
)

// What stands in the template for the number of an object and for that of its version: eight digits each.
const (
	nameMark    = "name0000"
	versionMark = "vers0000"
)

// objects makes objects that differ in name and version, all of one size, by copying: the making must not be what is
// measured.
type objects struct {
	template       []byte
	names, version []int // where the digits go
}

// newObjects makes Deployments of objectSize, or Services of smallSize.
func newObjects(size int) (*objects, error) {
	made := func(padding int) any { return deployment(nameMark, padding) }
	if size == smallSize {
		made = func(padding int) any { return service(nameMark, padding) }
	}
	template, err := json.Marshal(made(0))
	if err != nil {
		return nil, err
	}
	if len(template) > size {
		return nil, fmt.Errorf("the measured object has %d bytes without padding, want at most %d", len(template), size)
	}
	if template, err = json.Marshal(made(size - len(template))); err != nil {
		return nil, err
	}
	return &objects{template: template, names: find(template, nameMark), version: find(template, versionMark)}, nil
}

func find(b []byte, mark string) (at []int) {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(mark))
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + len(mark)
	}
}

// of is version v of object i.
func (o *objects) of(i, v int) []byte {
	b := bytes.Clone(o.template)
	for _, at := range o.names {
		put(b[at:at+len(nameMark)], i)
	}
	for _, at := range o.version {
		put(b[at:at+len(versionMark)], v)
	}
	return b
}

// put writes n in as many digits as b has bytes.
func put(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

func key(i int) string { return fmt.Sprintf("deployment/default/%08d", i) }

// deployment is a Deployment with n bytes of padding.
func deployment(name string, n int) *appsv1.Deployment {
	labels := map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
	probe := intstr.FromInt32(1)
	replicas, grace, history := int32(3), int64(30), int32(10)
	return &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: labels, Annotations: map[string]string{
			"example.com/change": versionMark, "example.com/description": strings.Repeat("x", n)}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, RevisionHistoryLimit: &history,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &probe, MaxUnavailable: &probe}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace, DNSPolicy: corev1.DNSClusterFirst,
					Containers: []corev1.Container{{
						Name: "web", Image: "registry.example.com/shop/web:1.27", ImagePullPolicy: corev1.PullIfNotPresent,
						Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
						Env:   []corev1.EnvVar{{Name: "LOG_LEVEL", Value: "info"}, {Name: "DATABASE", Value: "db.default.svc:5432"}},
						Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
							corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("500m")}},
					}},
				},
			},
		},
	}
}

// service is a Service with n bytes of padding.
func service(name string, n int) *corev1.Service {
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default",
			Annotations: map[string]string{"change": versionMark, "text": strings.Repeat("x", n)}},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}
