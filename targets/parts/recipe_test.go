package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// The hash is of what a recipe says and of what it starts from, and of nothing else.
func TestContext(t *testing.T) {
	seen := make(map[string]string)
	for _, p := range parts() {
		archive, hash, err := p.context("sha256:base")
		if err != nil {
			t.Fatal(err)
		}
		again, same, err := p.context("sha256:base")
		if err != nil || !bytes.Equal(archive, again) || hash != same {
			t.Errorf("%s: two readings give the hashes %s and %s (%v)", p.Name, hash, same, err)
		}
		if _, other, _ := p.context("sha256:other"); other == hash {
			t.Errorf("%s: the hash does not depend on the base", p.Name)
		}
		if with := seen[hash]; with != "" {
			t.Errorf("%s and %s have one hash", p.Name, with)
		}
		seen[hash] = p.Name
		modes := make(map[string]int64)
		for in := tar.NewReader(bytes.NewReader(archive)); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
				t.Errorf("%s: %s has a time or an owner", p.Name, h.Name)
			}
			modes[h.Name] = h.Mode
		}
		if modes["Dockerfile"] != 0o644 {
			t.Errorf("%s: there is no Dockerfile: %v", p.Name, modes)
		}
		for name, mode := range modes {
			if strings.HasSuffix(name, ".sh") && mode != 0o755 {
				t.Errorf("%s: %s has mode %o", p.Name, name, mode)
			}
		}
	}
}

// Every folder with a recipe is a part, and no recipe names a registry's address or leaves apt's archives behind.
func TestRecipes(t *testing.T) {
	dirs, err := fs.ReadDir(recipes, ".")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != len(parts()) {
		t.Errorf("there are %d recipes and %d parts", len(dirs), len(parts()))
	}
	for _, d := range dirs {
		text, err := recipes.ReadFile(d.Name() + "/Dockerfile")
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range []string{"\nFROM ${BASE}\n", "/var/lib/apt/lists/*", "/var/cache/apt/*"} {
			if !strings.Contains("\n"+string(text), want) {
				t.Errorf("%s: the recipe does not have %q", d.Name(), want)
			}
		}
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"", "haproxy nginx redis postgres patroni etcd consul zookeeper"},
		{"redis haproxy", "redis haproxy"},
		{"patroni", "postgres patroni"},
		{"postgres patroni postgres", "postgres patroni"},
	} {
		list, err := chosen(strings.Fields(c.names))
		var names []string
		for _, p := range list {
			names = append(names, p.Name)
		}
		if err != nil || strings.Join(names, " ") != c.want {
			t.Errorf("%q chooses %v (%v), want %s", c.names, names, err, c.want)
		}
	}
	if _, err := chosen([]string{"mysql"}); err == nil || !strings.Contains(err.Error(), "haproxy, nginx") {
		t.Errorf("an unknown name gives %v, want the names that there are", err)
	}
}

func TestUpstream(t *testing.T) {
	for version, want := range map[string]string{
		"3.0.11-1+deb13u1": "3.0.11", "5:8.0.2-3+deb13u1": "8.0.2", "1.8.7+dfsg1-2": "1.8.7", "17.6": "17.6", "4.0-rc1-2": "4.0-rc1",
	} {
		if got := upstream(version); got != want {
			t.Errorf("upstream(%q) is %q, want %q", version, got, want)
		}
	}
}

// Only Debian's own archive serves: neither its security fixes nor what others publish.
func TestFindMirror(t *testing.T) {
	lines := []string{
		"main cloud-sdk-bookworm https://packages.example/apt/",
		"main bookworm-security http://debian.example/debian-security/",
		"contrib bookworm http://debian.example/debian/",
		"main bookworm-updates http://debian.example/debian/",
		"main noble http://ubuntu.example/ubuntu/",
		"main bookworm http://user:secret@debian.example/debian/",
	}
	if got := findMirror(strings.Join(lines, "\n")); got != "" {
		t.Errorf("%q is taken for Debian's archive", got)
	}
	lines = slices.Insert(lines, 2, "main bookworm http://debian.example/debian/")
	if got := findMirror(strings.Join(lines, "\n")); got != "http://debian.example/debian" {
		t.Errorf("the mirror is %q", got)
	}
}

// Without a registry and without debootstrap there is no base, and the error says what to do.
func TestBootstrapMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := bootstrap(t.Context(), engine{}, "trixie", ownBase("trixie"))
	if err == nil || !strings.Contains(err.Error(), "let the engine reach a registry") {
		t.Errorf("the error is %v, want what to do", err)
	}
	if err := (engine{}).check(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no docker command") {
		t.Errorf("the error without a docker command is %v", err)
	}
}
