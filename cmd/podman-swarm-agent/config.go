package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tracing"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// envPrefix begins the environment variable of every flag: PODMAN_SWARM_DATA_DIR for --data-dir.
const envPrefix = "PODMAN_SWARM_"

// config is what flags and environment come to. Beyond it there are only fields.
type config struct {
	DataDir       string
	NodeName      string
	NodeAddress   string
	NodeLabels    map[string]string
	APIAddr       string
	PodmanURL     string
	RecoveryDelay time.Duration
	LogLevel      string
	LogFormat     string

	ClusterName       string
	ClusterAddr       string
	ClusterAdvertise  string
	Join              []string
	JoinToken         string
	SyncInterval      time.Duration
	MaxClockSkew      time.Duration
	RescheduleAfter   time.Duration
	RecoverAloneAfter time.Duration
	APITLSAddr        string

	ServiceCIDR   string
	IngressHTTP   string
	IngressHTTPS  string
	IngressLog    bool
	IngressProxy  []string
	IngressAnswer time.Duration
	cidr          netip.Prefix   // what ServiceCIDR comes to; not valid: none
	trusted       []netip.Prefix // what IngressProxy comes to

	BackupDir               string
	BackupInterval          time.Duration
	BackupKeep              snapshot.Keep
	BackupCompress          string
	BackupIncrementInterval time.Duration
	sealing                 sealing
	EncryptState            bool
	BackupTo                string
	LogKeep                 string
	RestoreCommitBytes      int     // zero: as Restorer.Most has it
	logKeep                 logKeep // what that comes to
	NATSAddr                string
	AuditFile               string
	AuditFileSize           string
	AuditFileKeep           int
	auditMost               int64 // bytes, what AuditFileSize comes to

	level       slog.Level
	credentials string // folder of systemd's credentials; "": none
	runtime     string // the user's folder in memory, of a service manager

	traces bool           // whether the environment wants them
	podman string         // where Podman is, as PodmanURL and the environment say
	to     snapshot.Store // where BackupTo is; nil: nowhere
	wrong  []error        // flags that say what they cannot
}

// kept is a flag's value. What is wrong with one that is given is kept for check, so that every mistake is said at once.
type kept struct {
	pflag.Value
	name  string
	wrong *[]error
}

// parse sets the value, or says what it wants instead.
func (k kept) parse(text string) error {
	err := k.Value.Set(text)
	if want := map[string]string{"int": "a whole number", "bool": "true or false", "duration": "a time like 90s, 5m or 1h"}[k.Type()]; err != nil && want != "" {
		return errors.New("want " + want)
	}
	return err
}

// Set sets the value, or keeps why it cannot be.
func (k kept) Set(text string) error {
	if err := k.parse(text); err != nil {
		*k.wrong = append(*k.wrong, fmt.Errorf("--%s %q: %w", k.name, text, err))
	}
	return nil
}

func (c *config) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", "/var/lib/podman-swarm", "`folder` of the log and of state.json")
	fs.StringVar(&c.NodeName, "node-name", "", "`name` of this host; it owns its containers by it (default: the host's name)")
	fs.StringVar(&c.NodeAddress, "node-address", "", "IP `address` at which other hosts and users reach this host's containers (default: that of the default route)")
	fs.StringToStringVar(&c.NodeLabels, "node-label", nil, "`label=value` of this host, for nodeSelector; repeatable")
	fs.StringVar(&c.APIAddr, "api-addr", "127.0.0.1:8080", "loopback `host:port` of the API, where kubectl looks by itself")
	fs.StringVar(&c.PodmanURL, "podman-url", "", "`URL` of the Podman service (default: CONTAINER_HOST, else the rootful or rootless socket)")
	fs.DurationVar(&c.RecoveryDelay, "recovery-delay", 5*time.Second, "how long to wait after a start, where no other host is known, before anything is started, made or removed")
	fs.StringVar(&c.ClusterName, "cluster-name", "default", "`name` of the cluster, the same on all its hosts; fixed once there is a DATA_DIR/authority")
	fs.StringVar(&c.ClusterAddr, "cluster-addr", "", "`host:port` where the other hosts of the cluster connect, by mutual TLS (default: none, a cluster of one)")
	fs.StringVar(&c.ClusterAdvertise, "cluster-advertise", "", "`host:port` that the others are told to connect to (default: --cluster-addr)")
	fs.StringArrayVar(&c.Join, "join", nil, "`host:port` of a member of the cluster to join; repeatable, one is enough")
	fs.StringVar(&c.JoinToken, "join-token", "", "`token` to join with, as podman-swarm-agent token prints it on a member; needed once. Others on this host can see it here: better in "+envPrefix+"JOIN_TOKEN")
	fs.DurationVar(&c.SyncInterval, "sync-interval", 30*time.Second, "the longest that a difference between hosts that hear each other may stay unnoticed")
	fs.DurationVar(&c.MaxClockSkew, "max-clock-skew", 10*time.Second, "how far ahead of its own clock this host lets another's move its stamps")
	fs.DurationVar(&c.RescheduleAfter, "reschedule-after", time.Minute, "how long a host must be silent before its replicas move to others; the same on all hosts")
	fs.DurationVar(&c.RecoverAloneAfter, "recover-alone-after", time.Minute, "how long to wait after a start until a majority of the hosts is heard, and ten times as long while what they have is taken over; before, nothing is started, made or removed")
	fs.StringVar(&c.APITLSAddr, "api-tls-addr", "", "`host:port` where the API also listens, on TLS, for who shows a token (psctl token create) or certificate (podman-swarm-agent kubeconfig)")
	fs.StringVar(&c.ServiceCIDR, "service-cidr", "10.96.0.0/12", "`addresses` from which Services get theirs, the same on all hosts; none: Services have no address, and containers no names for them")
	fs.StringVar(&c.IngressHTTP, "ingress-http", asRoot(":80"), "`host:port` where Ingresses are served from the first one on; none: nowhere")
	fs.StringVar(&c.IngressHTTPS, "ingress-https", asRoot(":443"), "`host:port` where Ingresses are served on TLS; none: nowhere")
	fs.BoolVar(&c.IngressLog, "ingress-access-log", false, "log each request to an Ingress, without its query, headers and body")
	fs.StringSliceVar(&c.IngressProxy, "ingress-trusted-proxy", nil, "`addresses` of proxies, as 10.0.0.0/8, whose word of who the client is (X-Forwarded-For) is believed; repeatable")
	fs.DurationVar(&c.IngressAnswer, "ingress-answer-timeout", time.Minute, "how long what an Ingress leads to may take until its answer begins; then the client gets 504")
	fs.StringVar(&c.BackupDir, "backup-dir", "", "`folder` of the backups (default: the data dir)")
	fs.DurationVar(&c.BackupInterval, "backup-interval", time.Hour, "time between two backups; 0: none but on demand")
	fs.DurationVar(&c.BackupIncrementInterval, "backup-increment-interval", time.Minute, "the longest that a change is in no backup: what was appended to the log is put beside the backups as increments; 0: none")
	fs.StringVar(&c.BackupCompress, "backup-compress", "none", "`how` backups are compressed: none or zstd, which zstd -d reads")
	c.sealing.flags(fs)
	fs.BoolVar(&c.EncryptState, "encrypt-state", false, "seal log and state.json with DATA_DIR/encryption.key, which is made at the first start, or with the systemd credential encryption.key; chosen when the data dir is made, changed by podman-swarm-agent reseal")
	for _, k := range c.keeps() {
		*k.n = k.otherwise
		fs.Var((*howMany)(k.n), "backup-keep-"+k.name, k.says)
	}
	fs.StringVar(&c.BackupTo, "backup-to", "", "`where` backups and increments are copied to: a folder, which is not made, or s3://BUCKET/PREFIX?endpoint=https://HOST, with credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials (default: nowhere)")
	fs.StringVar(&c.LogKeep, "log-keep", "all", "`how much` of the log stays in the data dir: an age like 30d, a size like 10GiB, both with a comma between, or all; what goes stays with the backups")
	fs.IntVar(&c.RestoreCommitBytes, "restore-commit-bytes", 0, "`bytes` of the objects in one commit of a restore; so that in a trial a small one is many")
	fs.Lookup("restore-commit-bytes").Hidden = true
	fs.StringVar(&c.NATSAddr, "nats-addr", "", "`host:port` where NATS clients may subscribe to the events (swarm.>), on TLS, with a token of scope read or a certificate, as for --api-tls-addr (default: none)")
	fs.StringVar(&c.AuditFile, "audit-file", "", "`file` to which every event is written, one JSON object a line, for those who ship logs; it is opened anew on SIGHUP (default: none)")
	fs.StringVar(&c.AuditFileSize, "audit-file-size", "100MiB", "`size` at which the next audit file is begun; 0: never, for who moves it away and sends SIGHUP")
	fs.IntVar(&c.AuditFileKeep, "audit-file-keep", 5, "how many earlier audit files stay; 0: all")
	fs.StringVar(&c.LogLevel, "log-level", "info", "`level`: debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "`format`: text or json")
	fs.Lookup("node-label").DefValue, fs.Lookup("join").DefValue, fs.Lookup("backup-recipient").DefValue = "", "", ""
	fs.Lookup("ingress-trusted-proxy").DefValue = "" // none, for --help
	fs.VisitAll(func(f *pflag.Flag) { f.Value = kept{f.Value, f.Name, &c.wrong} })
}

// keep is one of the rules by which backups are kept.
type keep struct {
	n          *int
	name, says string
	otherwise  int
}

func (c *config) keeps() []keep {
	k := &c.BackupKeep
	return []keep{{&k.Last, "last", "keep the last `n` backups; unlimited: all, as for each of the other four", 0}, {&k.Hourly, "hourly", "keep the last backup of each of the last `n` hours that have one", 24},
		{&k.Daily, "daily", "the same of days", 7}, {&k.Weekly, "weekly", "the same of weeks", 4}, {&k.Monthly, "monthly", "the same of months; with 0 for all five, all backups are kept", 0}}
}

// howMany is how many backups a rule keeps, by restic's words: a number, or unlimited, which is -1.
type howMany int

// String is as it is given.
func (n *howMany) String() string {
	if *n < 0 {
		return "unlimited"
	}
	return strconv.Itoa(int(*n))
}

// Set reads it.
func (n *howMany) Set(text string) error {
	i, err := strconv.Atoi(text)
	switch {
	case text == "unlimited":
		i = -1
	case err != nil || i < -1:
		return errors.New("want a whole number, 0 or more, or unlimited")
	}
	*n = howMany(i)
	return nil
}

// Type is for pflag.
func (*howMany) Type() string { return "n" }

// lookup is os.Getenv in environ, which is as os.Environ gives it.
func lookup(environ []string) func(string) string {
	return func(name string) string {
		for _, v := range environ {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// fromEnv sets every flag that the command line left alone and the environment names. A variable that no flag has is an error: passed over, one letter
// too many in PODMAN_SWARM_BACKUP_RECIPIENT would leave backups that anybody can read. Those of tests are let be.
func fromEnv(fs *pflag.FlagSet, environ []string) error {
	var errs []error
	getenv, known := lookup(environ), map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) {
		k, ours := f.Value.(kept)
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		known[name] = ours
		if v := getenv(name); ours && v != "" && !f.Changed {
			if err := k.parse(v); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", name, v, err))
			}
		}
	})
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, envPrefix+"TEST_") && !known[name] {
			errs = append(errs, fmt.Errorf("%s in the environment: there is no such setting", name))
		}
	}
	return errors.Join(errs...)
}

// check completes the configuration and gives every mistake in it at once.
func (c *config) check(getenv func(string) string) error {
	errs := slices.Clone(c.wrong)
	c.credentials, c.runtime = getenv("CREDENTIALS_DIRECTORY"), getenv("XDG_RUNTIME_DIR")
	wrong := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("--%s %q: %s", flag, value, want))
	}
	if c.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			errs = append(errs, fmt.Errorf("--node-name: the host has no name of its own: %w", err))
		}
		c.NodeName = strings.ToLower(name)
	}
	for _, msg := range validation.IsDNS1123Subdomain(c.NodeName) {
		wrong("node-name", c.NodeName, msg)
	}
	for _, k := range slices.Sorted(maps.Keys(c.NodeLabels)) {
		for _, msg := range append(validation.IsQualifiedName(k), validation.IsValidLabelValue(c.NodeLabels[k])...) {
			wrong("node-label", k+"="+c.NodeLabels[k], msg)
		}
	}
	if c.DataDir == "" {
		wrong("data-dir", c.DataDir, "a folder is needed")
	} else if abs, err := filepath.Abs(c.DataDir); err != nil {
		errs = append(errs, fmt.Errorf("--data-dir: %w", err))
	} else {
		c.DataDir = abs
	}
	if c.BackupDir != "" {
		abs, err := filepath.Abs(c.BackupDir)
		if err != nil {
			errs = append(errs, fmt.Errorf("--backup-dir: %w", err))
		}
		c.BackupDir = abs
	}
	for _, d := range []struct{ flag, path string }{{"data-dir", c.DataDir}, {"backup-dir", c.BackupDir}} {
		if info, err := os.Stat(d.path); err == nil && !info.IsDir() {
			wrong(d.flag, d.path, "there is something that is no folder")
		}
	}
	if c.NodeAddress != "" && net.ParseIP(c.NodeAddress) == nil {
		wrong("node-address", c.NodeAddress, "want an IP address, without a port")
	}
	if host, port, err := net.SplitHostPort(c.APIAddr); err != nil {
		wrong("api-addr", c.APIAddr, "want host:port")
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		wrong("api-addr", c.APIAddr, "not a port: "+port)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		wrong("api-addr", c.APIAddr, "everybody who gets there may do everything, so it must be on loopback: 127.0.0.1, ::1 or localhost; for others there is --api-tls-addr")
	}
	errs = append(errs, c.checkCluster()...)
	errs = append(errs, c.checkServices()...)
	var err error
	if c.traces, err = tracing.Wanted(getenv); err != nil {
		errs = append(errs, err)
	}
	if c.podman, err = podman.URL(c.PodmanURL, getenv); err != nil {
		errs = append(errs, fmt.Errorf("--podman-url: %w", err))
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{{"recovery-delay", c.RecoveryDelay, 0}, {"sync-interval", c.SyncInterval, time.Second}, {"max-clock-skew", c.MaxClockSkew, 0},
		{"backup-interval", c.BackupInterval, 0}, {"backup-increment-interval", c.BackupIncrementInterval, 0}, {"reschedule-after", c.RescheduleAfter, silence}, {"recover-alone-after", c.RecoverAloneAfter, 0},
		{"ingress-answer-timeout", c.IngressAnswer, time.Second}} {
		switch {
		case d.value < 0:
			wrong(d.flag, d.value.String(), "must not be negative")
		case d.value < d.least:
			wrong(d.flag, d.value.String(), "must be "+d.least.String()+" or more")
		}
	}
	if c.BackupCompress != "none" && c.BackupCompress != "zstd" {
		wrong("backup-compress", c.BackupCompress, "want none or zstd")
	}
	errs = append(errs, c.sealing.check()...)
	if c.to, err = storeAt(c.BackupTo, cmp.Or(c.BackupDir, c.DataDir)); err != nil {
		errs = append(errs, fmt.Errorf("--backup-to: %w", err)) // without what was given: it may have a secret in it
	}
	switch c.logKeep, err = parseLogKeep(c.LogKeep); {
	case err != nil:
		wrong("log-keep", c.LogKeep, err.Error())
	case c.logKeep == logKeep{}:
	case c.BackupIncrementInterval == 0:
		wrong("log-keep", c.LogKeep, "what is trimmed off the log is kept in increments, and --backup-increment-interval 0 makes none")
	}
	errs = append(errs, c.checkAudit()...)
	if err := c.level.UnmarshalText([]byte(cmp.Or(c.LogLevel, "info"))); err != nil {
		wrong("log-level", c.LogLevel, "want debug, info, warn or error")
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		wrong("log-format", c.LogFormat, "want text or json")
	}
	return errors.Join(errs...)
}

// checkCluster gives the mistakes in what is said of the cluster.
func (c *config) checkCluster() (errs []error) {
	wrong := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("--%s %q: %s", flag, value, want))
	}
	for _, msg := range validation.IsDNS1123Label(c.ClusterName) {
		wrong("cluster-name", c.ClusterName, msg)
	}
	for _, a := range []struct{ flag, value string }{{"cluster-addr", c.ClusterAddr}, {"cluster-advertise", c.ClusterAdvertise}, {"api-tls-addr", c.APITLSAddr}, {"nats-addr", c.NATSAddr}} {
		if a.value != "" && !hostPort(a.value) {
			wrong(a.flag, a.value, "want host:port")
		}
	}
	for _, addr := range c.Join {
		if !hostPort(addr) {
			wrong("join", addr, "want host:port")
		}
	}
	if c.ClusterAddr == "" {
		if len(c.Join) > 0 {
			wrong("join", strings.Join(c.Join, ","), "a host that joins others needs a --cluster-addr where they connect to it")
		}
		if c.ClusterAdvertise != "" {
			wrong("cluster-advertise", c.ClusterAdvertise, "there is no --cluster-addr")
		}
	}
	return errs
}

func hostPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}
