package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/sync/mesh"
)

// selfSigned is a certificate for that name which nobody vouches for.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// stranger answers at an address whoever asks for the protocol of joiners with the same line.
func stranger(t *testing.T, addr, line string) {
	t.Helper()
	l, err := tls.Listen("tcp", addr, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "b")}, NextProtos: []string{mesh.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { tells(conn, line) })
		}
	})
}

func tells(conn net.Conn, line string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		_, _ = io.WriteString(conn, line+"\n") // one that has left is not told
	}
}

// TestAgent_aStrangerEndsNoAgent has somebody take the address of a host that is off, and say there that a member is none any more: that
// is no member's word, and the agent goes on.
func TestAgent_aStrangerEndsNoAgent(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.end(t)
	a.end(t)
	stranger(t, b.cluster, `{"error":"host a was removed from the cluster"}`)
	a.start(t)
	a.says(t, "what it says counts for nothing")
	a.end(t)
}
