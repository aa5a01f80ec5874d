package sysfault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

// volume mounts a file system in memory of a size. It is unmounted at the end.
func volume(t *testing.T, size string) string {
	t.Helper()
	needsRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("needs to mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// full tries to write a new file.
func full(dir string) bool {
	f := filepath.Join(dir, "service")
	err := os.WriteFile(f, bytes.Repeat([]byte("x"), 8192), 0o600)
	_ = os.Remove(f) // it may not be there
	return errors.Is(err, unix.ENOSPC)
}

// A volume is full while a part says so, what the service frees is taken, and all of it is free again at the end.
func TestDisk(t *testing.T) {
	dir := volume(t, "40m")
	data := filepath.Join(dir, "data")
	if err := os.WriteFile(data, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	h := help(t, task.Disk, dirKey+"="+dir)
	part := task.Full{Bound: 40 << 20}
	if err := h.Arm(t.Context(), "full", parts(t, map[string]any{"full": part})["full"]); err != nil {
		t.Fatal(err)
	}
	if full(dir) {
		t.Fatal("it is full when it is armed")
	}
	out := h.set(t, map[string]any{"full": part})
	if !full(dir) {
		t.Error("it is not full")
	}
	t.Logf("full after %v", out.To.Sub(out.From))
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was freed is taken", func() bool { return read[task.Fullness](t, h, "full").TopUps > 0 })
	if !full(dir) {
		t.Error("it is not full again")
	}
	h.set(t, map[string]any{"full": part, "second": part})
	h.set(t, map[string]any{"second": part})
	if !full(dir) {
		t.Error("the end of one part has ended the other")
	}
	r := read[task.Fullness](t, h, "second")
	if r.NoSpace == 0 || r.Size != 40<<20 || r.FreeAfter != 0 || r.Ours < 35<<20 {
		t.Errorf("report %+v", r)
	}
	for range 2 {
		h.set(t, nil)
		if full(dir) {
			t.Error("it is full at the end")
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%d entries are left: %v", len(entries), err)
	}
	h.set(t, map[string]any{"full": part})
	_ = h.process.Kill() // what it took goes with it
	<-h.Gone()
	if full(dir) {
		t.Error("a dead helper keeps it full")
	}
}

// What is not the volume that was made for it is never filled.
func TestDiskRefuses(t *testing.T) {
	for dir, bound := range map[string]int64{
		volume(t, "40m"): 16 << 20, // bigger than it was to be
		volume(t, "0"):   64 << 20, // as big as the machine's memory
		t.TempDir():      64 << 20, // the machine's disk
	} {
		h := help(t, task.Disk, dirKey+"="+dir)
		p := parts(t, map[string]any{"full": task.Full{Bound: bound}})
		if err := h.Arm(t.Context(), "full", p["full"]); err == nil || !strings.Contains(err.Error(), "machine") {
			t.Errorf("%s is armed: %v", dir, err)
		}
		if _, err := h.Set(t.Context(), p); err == nil || !strings.Contains(err.Error(), "machine") {
			t.Errorf("%s is filled: %v", dir, err)
		}
	}
}
