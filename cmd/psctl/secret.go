package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	declared "github.com/podman-swarm/podman-swarm/events/manifest"
)

func secretRow(s *corev1.Secret, now time.Time) row {
	return row{cells: []string{s.Name, cmp.Or(string(s.Type), string(corev1.SecretTypeOpaque)), strconv.Itoa(len(s.Data)), age(s.CreationTimestamp.Time, now)}}
}

// describeSecret tells how long each value is, and of a certificate what everybody is told who connects; never a value.
func (p *program) describeSecret(_ context.Context, _ *client.Client, g *page, raw json.RawMessage) error {
	var s corev1.Secret
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	g.line("Type", string(s.Type))
	var rows []string
	_, withheld := s.Annotations[declared.Withheld] // which tells the lengths
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		text := fmt.Sprintf("%d bytes", len(s.Data[k]))
		if withheld {
			text = "not shown"
		}
		rows = append(rows, k+":\t"+text)
	}
	g.below("Data", rows)
	if s.Type != corev1.SecretTypeTLS {
		return nil
	}
	b, _ := pem.Decode(s.Data[corev1.TLSCertKey])
	if b == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil { // one that was taken by an agent of another version
		return nil
	}
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	g.line("Certificate for", cmp.Or(strings.Join(names, ", "), cert.Subject.String()))
	g.line("Issued by", cert.Issuer.String())
	g.line("Valid", fmt.Sprintf("from %s to %s", cert.NotBefore.UTC().Format(time.DateTime), cert.NotAfter.UTC().Format(time.DateTime)))
	switch now := p.now(); {
	case now.After(cert.NotAfter):
		g.line("Now", "it is over: issue another, and apply it")
	case now.Before(cert.NotBefore):
		g.line("Now", "it does not hold yet: look at the clocks")
	}
	return nil
}
