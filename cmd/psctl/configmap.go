package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func configMapRow(m *corev1.ConfigMap, now time.Time) row {
	return row{cells: []string{m.Name, strconv.Itoa(len(m.Data) + len(m.BinaryData)), age(m.CreationTimestamp.Time, now)}}
}

// describeConfigMap tells each text in full, its lines below each other, and of what is no text how long it is.
func (p *program) describeConfigMap(_ context.Context, _ *client.Client, g *page, raw json.RawMessage) error {
	var m corev1.ConfigMap
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	if m.Immutable != nil && *m.Immutable {
		g.line("Immutable", "yes: to change what it holds, delete it first")
	}
	var rows []string
	for _, k := range slices.Sorted(maps.Keys(m.Data)) {
		lines := strings.Split(strings.TrimSuffix(m.Data[k], "\n"), "\n")
		rows = append(rows, k+":\t"+shown(lines[0]))
		for _, l := range lines[1:] {
			rows = append(rows, "\t"+shown(l))
		}
	}
	g.below("Data", rows)
	rows = nil
	for _, k := range slices.Sorted(maps.Keys(m.BinaryData)) {
		rows = append(rows, fmt.Sprintf("%s:\t%d bytes", k, len(m.BinaryData[k])))
	}
	g.below("Binary data", rows)
	return nil
}

// shown is a line of text as a terminal and a table take it: tabs are spaces, and what would steer a terminal is written out.
func shown(line string) string {
	var b strings.Builder
	for _, r := range line {
		switch {
		case r == '\t':
			b.WriteString("    ")
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
