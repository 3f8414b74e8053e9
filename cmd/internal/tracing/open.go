// Package tracing tells OpenTelemetry what becomes of each change, from its commit to the container that was started for it, across hosts.
// DESIGN.md says how the spans of one change find together.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Wanted reports whether the standard variables ask for traces: OTEL_TRACES_EXPORTER, or an endpoint of OTLP, and neither OTEL_SDK_DISABLED nor
// the exporter "none". An exporter or a protocol that there is not is an error that names the variable.
func Wanted(getenv func(string) string) (bool, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	endpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if getenv("OTEL_SDK_DISABLED") == "true" || exporter == "none" || exporter == "" && endpoint == "" {
		return false, nil
	}
	switch exporter {
	case "", "otlp", "console":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: there are otlp, console and none", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		protocol := getenv(name)
		if protocol == "http/protobuf" {
			break
		}
		if protocol != "" && exporter != "console" {
			return false, fmt.Errorf("%s is %q: there is http/protobuf alone, which collectors take on port 4318", name, protocol)
		}
	}
	return true, nil
}

// Open makes the provider of tracers that the environment asks for, as the OpenTelemetry specification says: exporter, sampler, batches and
// attributes. What cannot be exported waits in a queue that is bounded, and is dropped where that is full: nothing waits for it.
// Whoever opens it calls Shutdown.
func Open(ctx context.Context, node, cluster, version string, say *slog.Logger) (*sdktrace.TracerProvider, error) {
	var exporter sdktrace.SpanExporter
	var err error
	if os.Getenv("OTEL_TRACES_EXPORTER") == "console" {
		exporter, err = stdouttrace.New()
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	of, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "podman-swarm-agent"), attribute.String("service.version", version),
		attribute.String("service.instance.id", node), attribute.String("host.name", node), attribute.String("podman_swarm.cluster", cluster)),
		resource.WithFromEnv()) // what people say wins
	if err != nil {
		return nil, fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { say.Warn("traces cannot be sent", "err", err) }))
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of), sdktrace.WithIDGenerator(named{})), nil
}
