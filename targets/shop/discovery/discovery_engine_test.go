package discovery_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/shop/discovery"
)

// Each service tells of a node that registers, and of one that leaves, long before what it registered would have run out.
func TestNodesComeAndGoOnDocker(t *testing.T) {
	for name, c := range map[string]struct {
		port string
		args []string
	}{
		"etcd":      {"2379", []string{"etcd", "--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", "http://127.0.0.1:2379"}},
		"consul":    {"8500", []string{"agent", "-dev", "-client", "0.0.0.0"}},
		"zookeeper": {"2181", nil},
	} {
		t.Run(name, func(t *testing.T) {
			host := container(t, "localhost/tutti/"+name+":parts", c.args...)
			service, err := discovery.Open(fmt.Sprintf("%s://%s:%s", name, host, c.port))
			if err != nil {
				t.Fatal(err)
			}
			comeAndGo(t, service)
		})
	}
}

func comeAndGo(t *testing.T, s discovery.Service) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), 60*time.Second)
	defer end()
	told := make(chan []string, 100)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil { // it is not up yet, or nobody has ever registered
			_ = s.Watch(ctx, func(found []string) { told <- found })
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	defer func() {
		end()
		<-watched
	}()
	until := func(want ...string) {
		t.Helper()
		var last []string
		for {
			select {
			case last = <-told:
				if slices.Sort(last); slices.Equal(last, want) {
					return
				}
			case <-ctx.Done():
				t.Fatalf("it tells %v, want %v", last, want)
			}
		}
	}
	register := func(name, address string) (leave func()) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			discovery.Keep(ctx, s, discovery.Node{Name: name, Address: address}, slog.New(slog.DiscardHandler))
		}()
		return func() {
			cancel()
			<-done
		}
	}
	leaveOne := register("app-1", "10.0.0.1:8080")
	until("10.0.0.1:8080")
	leaveTwo := register("app-2", "10.0.0.2:8080")
	defer leaveTwo()
	until("10.0.0.1:8080", "10.0.0.2:8080")
	began := time.Now()
	leaveOne()
	until("10.0.0.2:8080")
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v to tell of one that left, as if it had died", took)
	}
	again := register("app-1", "10.0.0.1:8080")
	defer again()
	until("10.0.0.1:8080", "10.0.0.2:8080")
}

// container starts an image until the test ends, and returns its address. The test is skipped where there is no engine or no such image,
// which in CI is a failure.
func container(t *testing.T, image string, args ...string) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		missing("there is no image %s (make parts), or no engine: %s", image, out)
	}
	run := []string{"run", "--detach", "--rm", "--label", "tutti.test=shop", image}
	id := docker(t, append(run, args...)...)
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "--force", "--volumes", id).Run() })
	return docker(t, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", id)
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).Output()
	if err != nil {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func TestOpenRefusesWhatIsNone(t *testing.T) {
	for _, url := range []string{"", "etcd", "etcd://", "etcd://host", "etcd://a:1,b", "redis://a:1"} {
		if _, err := discovery.Open(url); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}
