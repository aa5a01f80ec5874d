package tutti_test

import (
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// certificate is one in PEM.
func certificate(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

const encrypted = `version: 1
name: encrypted
target: {compose: compose.yaml, ingress: "https://app:8080", nodes: app}
load:
  rate: 10/s
  for: 10s
  requests: [GET /]
  tls: {ca: certs.pem}
`

// The certificates that a scenario names go into every plan. What is wrong with them is told at the line that names them.
func TestCertificates(t *testing.T) {
	good := certificate(t)
	for name, c := range map[string]struct{ file, want string }{
		"good":            {good + good, ""},
		"none":            {"", "is empty"},
		"no PEM":          {"hello", "holds no certificate"},
		"a key":           {good + strings.ReplaceAll(good, "CERTIFICATE", "PRIVATE KEY"), "holds a PRIVATE KEY"},
		"broken":          {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "certificate 1"},
		"too long":        {strings.Repeat("x", 1<<20+1), "1048577 bytes"},
		"not there":       {"-", "there is no file"},
		"where it stands": {"-", "encrypted.yaml:8:13: "},
	} {
		b := newBench(t, encrypted)
		b.file = filepath.Join(filepath.Dir(b.file), "encrypted.yaml")
		if c.file != "-" {
			write(t, filepath.Join(filepath.Dir(b.file), "certs.pem"), c.file)
		}
		s := b.parse(t)
		_, err := tutti.LoadTargets(t.Context(), s, tutti.ComposeOptions{})
		if c.want == "" {
			if err != nil || s.Load.Client.TLS.Certificates != c.file {
				t.Errorf("%s: %v; %d bytes", name, err, len(s.Load.Client.TLS.Certificates))
			}
			continue
		}
		if _, ok := errors.AsType[scenario.Errors](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// run.json says how load was sent, if the scenario does.
func TestClientInRun(t *testing.T) {
	for text, want := range map[string]*rundir.Client{
		"": nil,
		", connections: 7, keepalive: false, http2: true, follow_redirects: true, generator: turbo": {
			Connections: 7, HTTP2: true, Redirects: 10, Generator: "turbo",
		},
		", keepalive: {age: 90s}": {KeepAlive: true, MaxAge: 90},
	} {
		b := newBench(t, strings.Replace(twoArms, "timeout: 1s,", "timeout: 1s"+text+",", 1))
		synctest.Test(t, func(t *testing.T) {
			res, err := b.run(t.Context(), t)
			if err != nil {
				t.Fatal(err)
			}
			got := res.Run.Load.Client
			if (got == nil) != (want == nil) || got != nil && *got != *want {
				t.Errorf("%q: %+v, want %+v", text, got, want)
			}
		})
	}
}
