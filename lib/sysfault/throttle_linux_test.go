package sysfault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
)

// tree makes a tree of control groups of files, with one container and two disks of which one has no medium.
func tree(t *testing.T, v2 bool, id string) (w *throttler, dir string) {
	t.Helper()
	root, blocks := t.TempDir(), t.TempDir()
	write(t, blocks, map[string]string{
		"sda/size": "1000\n", "sda/dev": "8:0\n", "sr0/size": "0\n", "sr0/dev": "11:0\n", "zram0/size": "1000\n", "zram0/dev": "253:0\n",
	})
	dir = filepath.Join(root, "blkio", "docker", id)
	files := map[string]string{
		"blkio.throttle.read_bps_device": "", "blkio.throttle.write_bps_device": "8:0 500\n",
		"blkio.throttle.io_service_bytes": "8:0 Read 100\n8:0 Write 200\nTotal 300\n",
	}
	if v2 {
		write(t, root, map[string]string{"cgroup.controllers": "io"})
		dir = filepath.Join(root, "system.slice", "docker-"+id+".scope")
		files = map[string]string{"io.max": "8:0 rbps=max wbps=500 riops=max wiops=max\n", "io.stat": "8:0 rbytes=100 wbytes=200 rios=1 wios=1\n"}
	}
	write(t, dir, files)
	return newThrottle(root, blocks), dir
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The limits are written in the kernel's words, the lowest one counts, and at the end there is what was there before. The files of the test
// keep the last word written, as the kernel's do for one device.
func TestThrottleWords(t *testing.T) {
	id := strings.Repeat("ab", 32)
	part := func(rate int64) any { return task.Brake{ID: id, Rate: rate} }
	t.Run("version 1", func(t *testing.T) {
		w, dir := tree(t, false, id)
		check := func(of agent.Parts, read, write string) {
			t.Helper()
			if _, err := w.Set(t.Context(), of); err != nil {
				t.Fatal(err)
			}
			r, wr := content(t, dir+"/blkio.throttle.read_bps_device"), content(t, dir+"/blkio.throttle.write_bps_device")
			if !strings.HasPrefix(r, read) || !strings.HasPrefix(wr, write) {
				t.Errorf("read %q, write %q; want %q, %q", r, wr, read, write)
			}
		}
		check(parts(t, map[string]any{"slow": part(400)}), "8:0 400", "8:0 400")
		check(parts(t, map[string]any{"slow": part(400), "slower": part(300)}), "8:0 300", "8:0 300")
		check(parts(t, map[string]any{"slow": part(400)}), "8:0 400", "8:0 400")
		write(t, dir, map[string]string{"blkio.throttle.io_service_bytes": "8:0 Read 1100\n8:0 Write 2200\n"})
		all, err := w.Read(t.Context())
		if r := report[task.Braked](t, all, "slow"); err != nil || r.Read != 1000 || r.Written != 2000 || fmt.Sprint(r.Devices) != "[8:0]" || r.Reaches != reachesV1 {
			t.Errorf("report %+v: %v", r, err)
		}
		check(nil, "8:0 0", "8:0 500")
		check(nil, "8:0 0", "8:0 500")
	})
	t.Run("version 2", func(t *testing.T) {
		w, dir := tree(t, true, id)
		for _, c := range []struct {
			of   agent.Parts
			want string
		}{
			{parts(t, map[string]any{"slow": part(400)}), "8:0 rbps=400 wbps=400"},
			{parts(t, map[string]any{"fast": part(4000)}), "8:0 rbps=4000 wbps=500"},
			{nil, "8:0 rbps=max wbps=500"},
		} {
			if _, err := w.Set(t.Context(), c.of); err != nil {
				t.Fatal(err)
			}
			if got := content(t, dir+"/io.max"); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		}
		// A container that ends takes its limits with it.
		if _, err := w.Set(t.Context(), parts(t, map[string]any{"slow": part(400)})); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := w.Set(t.Context(), parts(t, map[string]any{"slow": part(0)})); err != nil {
			t.Errorf("no leavings in a container that has ended: %v", err)
		}
		if _, err := w.Set(t.Context(), parts(t, map[string]any{"slow": part(400)})); err == nil || !strings.Contains(err.Error(), "no control group") {
			t.Errorf("error %v", err)
		}
	})
}

// The machine's kernel takes the limits, and forgets them at the end.
func TestThrottle(t *testing.T) {
	needsRoot(t)
	id := containerID(t)
	dir, file := filepath.Join("/sys/fs/cgroup/blkio", id), "blkio.throttle.write_bps_device"
	if exists("/sys/fs/cgroup/cgroup.controllers") {
		dir, file = filepath.Join("/sys/fs/cgroup", id), "io.max"
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+io"), 0) // what is missing shows below
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skip("needs control groups: ", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if !exists(filepath.Join(dir, file)) {
		t.Skip("needs the io controller")
	}
	h := help(t, task.Throttle)
	h.set(t, map[string]any{"slow": task.Brake{ID: id, Rate: 1 << 20}})
	if got := content(t, filepath.Join(dir, file)); !strings.Contains(got, "1048576") {
		t.Errorf("the kernel has %q", got)
	}
	if r := read[task.Braked](t, h, "slow"); len(r.Devices) == 0 || r.Read+r.Written != 0 {
		t.Errorf("report %+v", r)
	}
	// What a killed helper has left, a rate of 0 takes away.
	_ = h.process.Kill()
	<-h.Gone()
	h = help(t, task.Throttle)
	h.set(t, map[string]any{"slow": task.Brake{ID: id}})
	if got := content(t, filepath.Join(dir, file)); strings.Contains(got, "1048576") {
		t.Errorf("the kernel has %q still", got)
	}
	h.set(t, map[string]any{"slow": task.Brake{ID: id, Rate: 1 << 20}})
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, filepath.Join(dir, file)); strings.Contains(got, "1048576") {
		t.Errorf("the kernel has %q at the end", got)
	}
}
