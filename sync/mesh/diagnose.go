package mesh

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
)

const (
	errorLevel      = slog.LevelError
	diagnoseTimeout = 3 * time.Second
	diagnoseEvery   = time.Minute // of one address
	maxInfo         = 64 << 10    // bytes of a server's greeting
)

var errSameName = errors.New("another host has the name of this one: one of the two must be given another")

// greeting is what of a server's INFO tells whether it can be a peer.
type greeting struct {
	Name    string `json:"server_name"`
	Cluster string `json:"cluster"`
}

// diagnose dials an address once more, by itself, and returns what keeps the host there from being a peer; nil if
// nothing does, or if nobody can be reached there, which NATS says itself.
func (m *Mesh) diagnose(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := raw
	if m.TLS != nil {
		config := m.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName = hostOf(addr)
		}
		conn = tls.Client(raw, config)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxInfo)).ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil // it is going down, or has no time for us
		}
		return err // with TLS 1.3, that our certificate is refused shows only when we read
	}
	return m.judge(line)
}

// judge returns what keeps a host that greets so from being a peer.
func (m *Mesh) judge(line string) error {
	body, ok := strings.CutPrefix(line, "INFO ")
	var g greeting
	if !ok || json.Unmarshal([]byte(body), &g) != nil {
		return errors.New("it is no host of a cluster")
	}
	switch {
	case g.Cluster != m.Cluster:
		return fmt.Errorf("its cluster is %q, ours is %q", g.Cluster, m.Cluster)
	case g.Name == m.Node:
		return errSameName
	}
	return nil
}
