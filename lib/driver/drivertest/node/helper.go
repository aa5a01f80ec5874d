package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
)

// A place is where a process runs, as far as it can see itself.
type place struct {
	Capabilities string            // effective ones, a hexadecimal mask
	Namespaces   map[string]string // by kind, as the kernel names them
	Groups       string            // /proc/self/cgroup
	Processes    int               // that it sees
	Volume       bool              // it could write /volume/from-helper
	CgroupsFor   string            // the control groups' file that it could open for writing
}

// look reads where this process runs. What cannot be read stays empty: not every system has it.
func look() place {
	p := place{Namespaces: make(map[string]string)}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			p.Capabilities = strings.TrimSpace(mask)
		}
	}
	kinds, _ := os.ReadDir("/proc/self/ns")
	for _, k := range kinds {
		p.Namespaces[k.Name()], _ = os.Readlink("/proc/self/ns/" + k.Name())
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	p.Groups = string(groups)
	p.Processes = len(processes())
	p.Volume = os.WriteFile("/volume/from-helper", []byte("hello"), 0o644) == nil
	for _, pattern := range []string{"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/*/cgroup.procs"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if f, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil {
				f.Close()
				p.CgroupsFor = file
			}
		}
	}
	return p
}

func processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killer ends the first process of the container that a part names, or looks whether it lives, as the harness's own helper
// does.
type killer struct{ parts agent.Parts }

func (k *killer) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	o := agent.Outcome{From: time.Now()}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if _, there := k.parts[name]; there {
			continue
		}
		var part struct {
			ID   string
			Kill bool
		}
		if err := json.Unmarshal(parts[name], &part); err != nil {
			return o, err
		}
		p, err := firstOf(part.ID)
		if err == nil && part.Kill {
			err = p.Kill()
		}
		if err != nil {
			return o, err
		}
	}
	k.parts = maps.Clone(parts)
	o.To = time.Now()
	return o, nil
}

// Read says nothing of the dead: one that was there a moment ago is taken to live.
func (k *killer) Read(context.Context) (agent.Parts, error) {
	said := make(agent.Parts, len(k.parts))
	for name := range k.parts {
		said[name] = json.RawMessage(`{"dead":false}`)
	}
	return said, nil
}

func (k *killer) Close() error { return nil }

// firstOf finds the process that is the first one of its namespace and in a container's control group.
func firstOf(container string) (*os.Process, error) {
	if container == "" {
		return nil, errors.New("no container is named")
	}
	for _, pid := range processes() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		groups, _ := os.ReadFile(dir + "cgroup")
		status, _ := os.ReadFile(dir + "status")
		if strings.Contains(string(groups), container) && first(string(status)) {
			return os.FindProcess(pid)
		}
	}
	return nil, fmt.Errorf("no process of container %s is seen", container)
}

func first(status string) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			all := strings.Fields(ids)
			return len(all) > 1 && all[len(all)-1] == "1"
		}
	}
	return false
}
