package hosts_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/target/hosts"
)

func TestLookup(t *testing.T) {
	file := write(t, `{
		"app": ["127.9.1.2", "127.9.1.3"],
		"db": ["127.0.0.1:40009"],
		"db:9000": ["127.0.0.1:40001", "127.0.0.1:40002"],
		"six": ["::1", "[::1]:7"]
	}`)
	t.Setenv(target.EnvHosts, file)
	for _, c := range []struct {
		name, port string
		want       []string
	}{
		{"app", "8080", []string{"127.9.1.2:8080", "127.9.1.3:8080"}},
		{"db", "9000", []string{"127.0.0.1:40001", "127.0.0.1:40002"}},
		{"db", "80", []string{"127.0.0.1:40009"}},
		{"six", "80", []string{"[::1]:80", "[::1]:7"}},
		{"127.9.9.9", "80", []string{"127.9.9.9:80"}},
		{"::1", "80", []string{"[::1]:80"}},
	} {
		got, err := hosts.Lookup(t.Context(), c.name, c.port)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s:%s: %q, %v, want %q", c.name, c.port, got, err, c.want)
		}
	}
}

func TestLookupReadsTheFileAnew(t *testing.T) {
	file := write(t, `{"app": ["127.9.1.2"]}`)
	t.Setenv(target.EnvHosts, file)
	for _, want := range []string{"127.9.1.2:80", "127.9.1.3:80"} {
		got, err := hosts.Lookup(t.Context(), "app", "80")
		if err != nil || !slices.Equal(got, []string{want}) {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		if err := os.WriteFile(file, []byte(`{"app": ["127.9.1.3"]}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLookupFallsBackToDNS(t *testing.T) {
	for _, file := range []string{"", write(t, `{"app": ["127.9.1.2"]}`)} {
		t.Setenv(target.EnvHosts, file)
		got, err := hosts.Lookup(t.Context(), "localhost", "80")
		if err != nil || !slices.Contains(got, "127.0.0.1:80") {
			t.Errorf("localhost with file %q: %q, %v", file, got, err)
		}
	}
}

func TestLookupErrors(t *testing.T) {
	for what, text := range map[string]string{"not JSON": `{`, "not a map": `["a"]`} {
		t.Setenv(target.EnvHosts, write(t, text))
		if got, err := hosts.Lookup(t.Context(), "app", "80"); err == nil {
			t.Errorf("%s: %q", what, got)
		}
	}
	t.Setenv(target.EnvHosts, filepath.Join(t.TempDir(), "none"))
	if _, err := hosts.Lookup(t.Context(), "app", "80"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	t.Setenv(target.EnvHosts, write(t, `{"app": []}`))
	_, err := hosts.Lookup(t.Context(), "app", "80")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsNotFound {
		t.Errorf("a name without addresses: %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
