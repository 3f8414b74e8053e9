package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// shortening is how the times of the rules are made shorter, so that nobody waits for a day: each becomes such a part of itself, and never more
// than most. It is applied to all of them alike, and to nothing else:
//
//   - what stands behind for:, and every window [5m];
//   - in an expression, every number of 60 or more, or product of numbers, which is then one of seconds. Those with 1024 in them are bytes. What is
//     compared with what is left until a moment to come (… - time() < N) stays as it is: nobody has to wait for that.
//
// No alert, operator, metric or label is another for it.
type shortening struct {
	part int
	most time.Duration
}

// of is what becomes of a time.
func (s shortening) of(d time.Duration) time.Duration {
	return min(max((d/time.Duration(s.part)).Round(time.Second), time.Second), s.most)
}

// tokens of an expression: texts, windows, names, and numbers or products of numbers.
const tokens = `"[^"]*"|\[[0-9smhdw]+\]|[A-Za-z_:$][A-Za-z0-9_:]*|[0-9.]+(?: \* [0-9.]+)*`

// expr is the expression with shorter times.
func (s shortening) expr(text string) (string, error) {
	var out strings.Builder
	at := 0
	for _, m := range regexp.MustCompile(tokens).FindAllStringIndex(text, -1) {
		token := text[m[0]:m[1]]
		out.WriteString(text[at:m[0]])
		at = m[1]
		switch {
		case token[0] == '[':
			d, err := parseDuration(strings.Trim(token, "[]"))
			if err != nil {
				return "", err
			}
			token = "[" + formatDuration(s.of(d)) + "]"
		case strings.ContainsRune("0123456789.", rune(token[0])) && !strings.HasSuffix(text[:m[0]], "- time() < "):
			n, err := product(token)
			if err != nil {
				return "", err
			}
			if n >= 60 && !strings.Contains(token, "1024") {
				token = strconv.FormatFloat(s.of(time.Duration(n*float64(time.Second))).Seconds(), 'f', -1, 64)
			}
		}
		out.WriteString(token)
	}
	return out.String() + text[at:], nil
}

// product is what numbers with " * " between them come to.
func product(text string) (float64, error) {
	n := 1.0
	for f := range strings.SplitSeq(text, " * ") {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, err
		}
		n *= v
	}
	return n, nil
}

// parseDuration reads a duration as Prometheus writes it, of one unit.
func parseDuration(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if text == "" {
		return 0, fmt.Errorf("duration %q: is empty", text)
	}
	n, err := strconv.Atoi(text[:len(text)-1])
	unit, ok := units[text[len(text)-1]]
	if err != nil || !ok {
		return 0, fmt.Errorf("duration %q: want a number and one of s, m, h, d, w", text)
	}
	return time.Duration(n) * unit, nil
}

func formatDuration(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// rules are rules.yaml with shorter times.
type rules struct {
	alerts  []string // their names, in order
	text    []byte   // of the file
	changes []string // what is another in it
}

// readRules reads a file of rules and shortens its times.
func (s shortening) readRules(file string) (r rules, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	var doc struct {
		Groups []struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(b, &doc); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	for _, g := range doc.Groups {
		for _, rule := range g.Rules {
			if err := s.shorten(rule, &r); err != nil {
				return r, fmt.Errorf("%s: group %s: %w", file, g.Name, err)
			}
		}
	}
	r.text, err = yaml.Marshal(doc)
	return r, err
}

// shorten shortens one rule, and notes what is another.
func (s shortening) shorten(rule map[string]any, r *rules) error {
	name, isAlert := rule["alert"].(string)
	if isAlert {
		if slices.Contains(r.alerts, name) {
			return fmt.Errorf("two alerts are called %s", name)
		}
		r.alerts = append(r.alerts, name)
	} else {
		name, _ = rule["record"].(string)
	}
	if text, ok := rule["for"].(string); ok {
		d, err := parseDuration(text)
		if err != nil {
			return fmt.Errorf("%s: for: %w", name, err)
		}
		rule["for"] = formatDuration(s.of(d))
		r.changes = append(r.changes, fmt.Sprintf("%s: for %s is %s", name, text, rule["for"]))
	}
	text, ok := rule["expr"].(string)
	if !ok {
		return fmt.Errorf("%s: no expr", name)
	}
	short, err := s.expr(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if rule["expr"] = short; short != text {
		r.changes = append(r.changes, fmt.Sprintf("%s: %s\n  is %s", name, strings.ReplaceAll(text, "\n", "\n    "), strings.ReplaceAll(short, "\n", "\n    ")))
	}
	return nil
}
