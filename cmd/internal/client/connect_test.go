package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a proxy hands on is asked as whoever the client is; who calls it by another name, or is a web page, is refused.
func TestProxy_handsOnWithTheCredentials(t *testing.T) {
	agent := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, strings.Join([]string{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.UserAgent(), string(b)}, " "))
	}))
	defer agent.Close()
	c, err := New(agent.URL, "psctl")
	if err != nil {
		t.Fatal(err)
	}
	c.http, c.token = agent.Client(), "sesame"
	proxy := httptest.NewServer(c.Proxy(func(err error) { t.Log(err) }))
	defer proxy.Close()
	for _, x := range []struct {
		header, value string
		code          int
		want          string
	}{
		{"Authorization", "Bearer other", 200, "POST /api/v1/pods?a=b Bearer sesame psctl for curl body"},
		{"Host", "evil.example", 421, "localhost"},
		{"Origin", "http://evil.example", 403, "web pages"},
		{"Sec-Fetch-Site", "cross-site", 403, "web pages"},
		{"Sec-Fetch-Site", "same-origin", 200, "Bearer sesame"},
	} {
		req, err := http.NewRequest("POST", proxy.URL+"/api/v1/pods?a=b", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", "curl")
		if req.Header.Set(x.header, x.value); x.header == "Host" {
			req.Host = x.value
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != x.code || !strings.Contains(string(b), x.want) || err != nil {
			t.Errorf("%s: %s: got %d %q, %v, want %d %q", x.header, x.value, resp.StatusCode, b, err, x.code, x.want)
		}
	}
	agent.Close()
	resp, err := http.Get(proxy.URL + "/healthz")
	if err != nil || resp.StatusCode != http.StatusBadGateway {
		t.Errorf("without an agent: got %v, %v", resp, err)
	}
}
