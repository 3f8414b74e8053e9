package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dashboard is as much of Grafana's as is looked at.
type dashboard struct {
	Panels []struct {
		Type, Title string
		Targets     []struct {
			Expr    string
			Instant bool
		}
	}
	Templating struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage // of a data source that is text
			AllValue   string
			IncludeAll bool
		}
	}
}

// panelFigures are what became of the panels' queries.
type panelFigures struct {
	Panels  int      `json:"panels"`
	Queries int      `json:"queries"` // with each choice of the variables
	Samples int      `json:"samples"`
	Empty   []string `json:"empty"` // queries that gave no data, or an error
}

// choice is what somebody has chosen for the variables, by name.
type choice map[string]string

// lookAt runs the queries of every panel as Grafana does, over the time from one moment on until now: with all hosts chosen, and with each host alone.
func (p *prometheus) lookAt(ctx context.Context, file string, from time.Time) (f panelFigures, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return f, err
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		return f, fmt.Errorf("%s: %w", file, err)
	}
	to := time.Now()
	choices, err := p.choices(ctx, &d, from, to)
	if err != nil {
		return f, err
	}
	// As many points as a panel is wide, and the interval of rates as Grafana takes it.
	step := max((to.Sub(from) / 1000).Truncate(time.Second), time.Second)
	rates := max(step+scraped, 4*scraped)
	for _, panel := range d.Panels {
		if panel.Type == "row" {
			continue
		}
		f.Panels++
		for _, target := range panel.Targets {
			for _, c := range choices {
				expr := c.in(strings.ReplaceAll(target.Expr, "$__rate_interval", formatDuration(rates)))
				n, err := p.samples(ctx, expr, target.Instant, from, to, step)
				f.Queries++
				f.Samples += n
				if err != nil {
					f.Empty = append(f.Empty, fmt.Sprintf("%s: %s: %v", panel.Title, expr, err))
				} else if n == 0 {
					f.Empty = append(f.Empty, fmt.Sprintf("%s: %s: no data", panel.Title, expr))
				}
			}
		}
	}
	return f, nil
}

// in is the query with the choice in the place of the variables.
func (c choice) in(expr string) string {
	for name, value := range c {
		expr = strings.ReplaceAll(expr, "$"+name, value)
	}
	return expr
}

// choices are those that there are: of the last variable all of it and each value alone, of those before it the first value. The values come from
// Prometheus, as the dashboard asks for them.
func (p *prometheus) choices(ctx context.Context, d *dashboard, from, to time.Time) (all []choice, err error) {
	all = []choice{{}}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var q struct{ Query string }
		if err := json.Unmarshal(v.Query, &q); err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(q.Query)
		if m == nil {
			return nil, fmt.Errorf("variable %s: what %q asks for is not known here", v.Name, q.Query)
		}
		var values []string
		query := url.Values{"match[]": {all[0].in(m[1])}, "start": {unix(from)}, "end": {unix(to)}}
		if err := p.get(ctx, "label/"+m[2]+"/values", query, &values); err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("variable %s: there is nothing to choose: %s", v.Name, q.Query)
		}
		if v.IncludeAll {
			values = append([]string{v.AllValue}, values...)
		} else {
			values = values[:1]
		}
		var more []choice
		for _, value := range values {
			c := choice{v.Name: value}
			for name, before := range all[0] {
				c[name] = before
			}
			more = append(more, c)
		}
		all = more
	}
	return all, nil
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// samples is how many samples that are numbers a query gives; of one for a moment only, for that as well as over the time.
func (p *prometheus) samples(ctx context.Context, expr string, instant bool, from, to time.Time, step time.Duration) (n int, err error) {
	type series struct {
		Value  [2]any
		Values [][2]any
	}
	count := func(path string, query url.Values) (n int, err error) {
		var data struct{ Result []series }
		if err := p.get(ctx, path, query, &data); err != nil {
			return 0, err
		}
		for _, s := range data.Result {
			for _, sample := range append(s.Values, s.Value) {
				text, _ := sample[1].(string)
				if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
					n++
				}
			}
		}
		return n, nil
	}
	n, err = count("query_range", url.Values{"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {formatDuration(step)}})
	if err == nil && n > 0 && instant {
		n, err = count("query", url.Values{"query": {expr}, "time": {unix(to)}})
	}
	return n, err
}
