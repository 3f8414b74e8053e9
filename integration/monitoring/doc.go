// Package monitoring holds what people put into their Prometheus and Grafana: rules.yaml, what makes each of its alerts fire in
// rules_test.yaml, a runbook for each in runbooks.md, and dashboard.json. Its tests hold these to each other; that each metric they
// name is there is held to running agents by the agent's own tests (cmd/podman-swarm-agent: TestMetrics_…, TestPrometheus_…).
package monitoring
