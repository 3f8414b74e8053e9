// Command testimage is the one program in the image that the tests, the demo and the benchmarks run: a small web
// server that can also be told to misbehave. It is built static, so that the image needs nothing else.
//
//	GET /            host name, version, path: one "name value" a line
//	GET /env         its environment, one variable a line
//	GET /exit?code=3 answers, then exits with that code
//	GET /load?url=U&every=20ms  asks U so often from now on (0s: no longer)
//	GET /loaded      what came of that, as JSON
//	GET /health/NAME 200, unless there is a file /tmp/NAME: then the status that it holds
//	GET /health/NAME?set=503 writes that file; set=200 removes it
//	GET /resolv.conf its /etc/resolv.conf
//
// With -check=NAME it serves nothing, and exits at once: with code 0, or 1 if there is a file /tmp/NAME.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	listen     string
	exitAfter  time.Duration
	exitCode   int
	lines      int
	every      time.Duration
	memory     int
	ignoreTerm bool
	check      string
}

func parse(args []string, getenv func(string) string) (options, error) {
	port := getenv("PORT")
	if port == "" {
		port = "80"
	}
	o := options{exitAfter: -1}
	flags := flag.NewFlagSet("web", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", ":"+port, "address to listen on; its port is $PORT, or 80")
	flags.Func("exit-after", "exit by itself after this time (0s: at once)", func(s string) (err error) {
		o.exitAfter, err = time.ParseDuration(s)
		return err
	})
	flags.IntVar(&o.exitCode, "exit-code", 0, "the code to exit with")
	flags.IntVar(&o.lines, "lines", 0, "write this many numbered lines to stdout, and as many to stderr")
	flags.DurationVar(&o.every, "every", 0, "and after them one line each so often, without end")
	flags.IntVar(&o.memory, "memory", 0, "hold this many MiB of memory")
	flags.BoolVar(&o.ignoreTerm, "ignore-term", false, "go on after SIGTERM, so that only SIGKILL ends it")
	flags.StringVar(&o.check, "check", "", "exit at once: with code 1 if there is a file of this name in /tmp, else 0")
	return o, flags.Parse(args)
}

func main() {
	o, err := parse(os.Args[1:], os.Getenv)
	if err != nil {
		os.Exit(2)
	}
	os.Exit(run(context.Background(), o, os.Stdout, os.Stderr))
}

// run serves until it is told to end, and returns the exit code.
func run(ctx context.Context, o options, stdout, stderr io.Writer) int {
	held := make([]byte, o.memory<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1 // a page counts only once it has been written to
	}
	if o.ignoreTerm {
		signal.Ignore(syscall.SIGTERM)
	} else {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
		defer stop()
	}
	for i := range o.lines {
		fmt.Fprintf(stdout, "out %d\n", i+1)
		fmt.Fprintf(stderr, "err %d\n", i+1)
	}
	if o.check != "" {
		if _, err := os.Stat(filepath.Join(os.TempDir(), filepath.Base(o.check))); err == nil {
			return 1
		}
		return 0
	}
	if o.exitAfter == 0 {
		return o.exitCode
	}

	exit := make(chan int, 1)
	server := &http.Server{Addr: o.listen, Handler: routes(exit), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	code := wait(ctx, o, exit, served, stdout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && code == 0 {
		fmt.Fprintln(stderr, "shut down:", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(stderr, "serve:", err)
		code = 1
	}
	return code
}

// wait returns the exit code once the program ought to end.
func wait(ctx context.Context, o options, exit <-chan int, served chan error, stdout io.Writer) int {
	var end, tick <-chan time.Time
	if o.exitAfter > 0 {
		end = time.After(o.exitAfter)
	}
	if o.every > 0 {
		ticker := time.NewTicker(o.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for n := o.lines + 1; ; {
		select {
		case <-ctx.Done():
			return 0
		case <-end:
			return o.exitCode
		case code := <-exit:
			return code
		case err := <-served:
			served <- err // run reports it
			return 1
		case <-tick:
			fmt.Fprintf(stdout, "out %d\n", n)
			n++
		}
	}
}

// health answers with the status that it was told to, by itself or by who wrote the file.
func health(w http.ResponseWriter, r *http.Request) {
	file := filepath.Join(os.TempDir(), filepath.Base(r.PathValue("name")))
	var err error
	switch set := r.FormValue("set"); set {
	case "":
		b, readErr := os.ReadFile(file)
		if code, err := strconv.Atoi(strings.TrimSpace(string(b))); readErr == nil && err == nil {
			w.WriteHeader(code)
		}
		return
	case "200":
		err = os.Remove(file)
	default:
		err = os.WriteFile(file, []byte(set), 0o644)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func routes(exit chan<- int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		host, err := os.Hostname()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "host %s\nversion %s\npath %s\n", host, os.Getenv("VERSION"), r.URL.Path)
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		for _, v := range os.Environ() {
			fmt.Fprintln(w, v)
		}
	})
	asked := &load{now: nothingYet(), end: func() {}}
	mux.HandleFunc("GET /load", asked.start)
	mux.HandleFunc("GET /loaded", asked.tell)
	mux.HandleFunc("GET /health/{name}", health)
	mux.HandleFunc("GET /resolv.conf", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "/etc/resolv.conf") })
	mux.HandleFunc("GET /exit", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			http.Error(w, fmt.Sprintf("code: %v", err), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "exiting with", code)
		select {
		case exit <- code:
		default: // it is ending already
		}
	})
	return mux
}
