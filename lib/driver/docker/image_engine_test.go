package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/target"
)

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyProgram puts the node program into a build context.
func copyProgram(t *testing.T, dir string) {
	t.Helper()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tutti"), b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, d *docker.Driver, tg *target.Target) (digest string, said []string) {
	t.Helper()
	digests, err := d.Prepare(t.Context(), tg, func(m string) { said = append(said, m) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImages(digests["app"]) })
	return digests["app"], said
}

func TestBuild(t *testing.T) {
	t.Parallel()
	d := engine(t)
	dir := folder(t, map[string]string{
		"sub/Dockerfile": "FROM scratch AS base\nARG COLOUR=none\nENV COLOUR=$COLOUR\nCOPY . /\nFROM base AS serving\nENTRYPOINT [\"/tutti\"]\nFROM base AS wrong\nENTRYPOINT [\"/nothing\"]\n",
		".dockerignore":  "secret*\n!secret-not\nsub\n",
		"secret.txt":     "not for the image", "secret-not": "for the image",
	})
	copyProgram(t, dir)
	tg := web(1)
	s := tg.Services["app"]
	s.Image = target.Image{
		Kind: target.ImageBuild, Context: dir, Dockerfile: "sub/Dockerfile", Target: "serving",
		Args: map[string]string{"COLOUR": "blue"},
	}
	s.Command = []string{"say", "built"}
	s.Healthcheck = nil
	tg.Services["app"] = s
	first, _ := prepare(t, d, tg)
	// What the context ignores makes no other image, what it holds does.
	if err := os.WriteFile(filepath.Join(dir, "secret.txt"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, said := prepare(t, engine(t), tg); again != first || len(said) > 0 {
		t.Errorf("built again for an ignored file: %s, %s, %q", first, again, said)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret-not"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, _ := prepare(t, engine(t), tg); again == first {
		t.Error("not built again for a changed file")
	}
	s.Command = []string{"serve"}
	tg.Services["app"] = s
	c := up(t, engine(t), target.Spec{Target: tg})
	if got := output(t, c, "get", "http://app-1:8080"); got != " blue\n" {
		t.Errorf("the built image answers %q", got)
	}
}

func TestBuildFails(t *testing.T) {
	t.Parallel()
	d := engine(t)
	for name, c := range map[string]struct {
		image  target.Image
		files  map[string]string
		reason string
	}{
		"no Dockerfile": {target.Image{}, nil, "find the Dockerfile"},
		"outside":       {target.Image{Dockerfile: "../Dockerfile"}, nil, "outside"},
		"bad step":      {target.Image{}, map[string]string{"Dockerfile": "FROM scratch\nCOPY missing /\n"}, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			tg := web(1)
			s := tg.Services["app"]
			s.Image = c.image
			s.Image.Kind, s.Image.Context = target.ImageBuild, folder(t, c.files)
			tg.Services["app"] = s
			_, err := d.Prepare(t.Context(), tg, nil)
			if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "service app") {
				t.Errorf("error %v does not say %q and the service", err, c.reason)
			}
		})
	}
}

func TestGoImage(t *testing.T) {
	t.Parallel()
	d := engine(t)
	abs, err := filepath.Abs("testdata/node")
	if err != nil {
		t.Fatal(err)
	}
	tg := web(1)
	s := tg.Services["app"]
	s.Image = target.Image{Kind: target.ImageGo, Ref: abs}
	s.Healthcheck.Test = []string{"CMD", "/main", "probe"}
	tg.Services["app"] = s
	c := up(t, d, target.Spec{Target: tg})
	if got := output(t, c, "get", "http://app:8080"); got != "app-1 \n" {
		t.Errorf("the image answers %q", got)
	}
}

// What others removed between Prepare and Up is made again, for all replicas at once.
func TestImageRemoved(t *testing.T) {
	t.Parallel()
	d := engine(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY tutti /\nENTRYPOINT [\"/tutti\"]\n", "name": "an image of its own"})
	copyProgram(t, dir)
	tg := web(3)
	s := tg.Services["app"]
	s.Image = target.Image{Kind: target.ImageBuild, Context: dir, Dockerfile: "Dockerfile"}
	tg.Services["app"] = s
	digest, _ := prepare(t, d, tg)
	removeImages(digest)
	if _, err := engineClient(t).ImageInspect(t.Context(), digest); !cerrdefs.IsNotFound(err) {
		t.Fatalf("it is still there: %v", err)
	}
	if nodes := up(t, d, target.Spec{Target: tg}).Nodes(); len(nodes) != 3 {
		t.Errorf("%d nodes are up", len(nodes))
	}
}

func TestMissingImage(t *testing.T) {
	t.Parallel()
	d := engine(t)
	tg := web(1)
	s := tg.Services["app"]
	s.Image = target.Image{Kind: target.ImageRef, Ref: "tutti.invalid/nothing:1", Pull: "never"}
	tg.Services["app"] = s
	_, err := d.Prepare(t.Context(), tg, nil)
	checkUnavailable(t, err, "tutti.invalid/nothing:1", "docker pull")
}
