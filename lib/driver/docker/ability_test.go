package docker_test

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/target"
)

// engineOf makes the fake an engine that says this of itself.
func (f *fake) engineOf(more map[string]any) {
	info := map[string]any{
		"OSType": "linux", "Architecture": runtime.GOARCH, "ServerVersion": "29.0.0", "NCPU": 4,
		"CgroupVersion": "2", "CgroupDriver": "systemd", "CpuCfsQuota": true, "SystemTime": "2026-01-02T03:04:05Z",
	}
	for k, v := range more {
		info[k] = v
	}
	f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if path == "/info" {
			reply(w, info)
		}
		return path == "/info"
	}
}

func TestAbilities(t *testing.T) {
	all := target.CanKill | target.CanStop | target.CanPause | target.CanScale | target.CanRemove | target.CanCrash | target.CanExec |
		target.CanLimit | target.CanBound | target.CanEnterNetwork | target.CanEnterNode | target.CanTrace | target.CanMount | target.CanThrottle
	for name, c := range map[string]struct {
		info map[string]any
		lack target.Ability
	}{
		"all":      {nil, 0},
		"rootless": {map[string]any{"SecurityOptions": []string{"name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"}}, target.CanCrash | target.CanThrottle},
		"rootless without control groups": {
			map[string]any{"SecurityOptions": []string{"name=rootless"}, "CgroupDriver": "none", "CpuCfsQuota": false},
			target.CanCrash | target.CanThrottle | target.CanPause | target.CanLimit,
		},
		"other users": {map[string]any{"SecurityOptions": []string{"name=userns"}}, 0},
		"no quota":    {map[string]any{"CpuCfsQuota": false}, target.CanLimit},
	} {
		t.Run(name, func(t *testing.T) {
			home(t)
			f := newFake(t, "1.51")
			f.engineOf(c.info)
			facts, err := f.driver().Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := all &^ c.lack; facts.Abilities != want {
				t.Errorf("it can %v, want %v", facts.Abilities, want)
			}
			if facts.Details["cgroup"] != "2" || facts.Details["cgroup_driver"] == "" || facts.Details["rootless"] == "" {
				t.Errorf("details: %v", facts.Details)
			}
		})
	}
}

type hostSent struct {
	PidMode, UsernsMode, CgroupnsMode, NetworkMode string
	CapAdd, CapDrop                                []string
	Mounts                                         []struct {
		Type, Source, Target string
		ReadOnly             bool
	}
}

// What is shared with the machine is shared with its users too: an engine whose containers have other ones refuses
// anything else. What is shared with a node needs the node's users.
func TestHelperOfOtherUsers(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	f.engineOf(map[string]any{"SecurityOptions": []string{"name=userns"}})
	tg := web(1)
	tg.Volumes = map[string]target.Volume{"data": {Name: "data"}}
	s := tg.Services["app"]
	s.Healthcheck = nil
	tg.Services["app"] = s
	host := tg.Services["app"]
	host.Name, host.HostNamespaces = "host", []string{"userns"}
	tg.Services["host"] = host
	c, _ := upFake(t, f, tg)
	node := func(service string) target.Node {
		return c.Nodes()[slices.IndexFunc(c.Nodes(), func(n target.Node) bool { return n.Service == service })]
	}
	for _, want := range []struct {
		service              string
		place                target.Place
		users, pids, network string
		capability, mounted  string
	}{
		{"app", target.InNetwork, "", "", "container:" + node("app").ID, "CAP_NET_ADMIN", ""},
		{"app", target.InMachine, "host", "host", "none", "CAP_KILL", ""},
		{"app", target.InProcesses, "", "container:" + node("app").ID, "none", "CAP_SYS_PTRACE", ""},
		{"app", target.AtVolume, "", "", "none", "CAP_DAC_OVERRIDE", "tutti-r-a-1_data"},
		{"app", target.InDisk, "host", "", "none", "", "/sys/fs/cgroup"},
		{"host", target.InNetwork, "host", "", "container:" + node("host").ID, "CAP_NET_ADMIN", ""},
	} {
		// The fake has no streams: what was asked for is all that there is to see.
		if _, err := c.(target.Enterer).Enter(t.Context(), node(want.service), want.place, "data", "helper", "x"); err == nil {
			t.Fatal("the fake has given a stream")
		}
		var sent struct{ HostConfig hostSent }
		f.sent("POST /containers/create", &sent)
		h := sent.HostConfig
		mounted := ""
		for _, m := range h.Mounts {
			mounted += m.Source
		}
		if h.UsernsMode != want.users || h.PidMode != want.pids || h.NetworkMode != want.network || mounted != want.mounted ||
			strings.Join(h.CapAdd, " ") != want.capability || !slices.Equal(h.CapDrop, []string{"ALL"}) {
			t.Errorf("%s in %s: %+v", want.place, want.service, h)
		}
	}
	if left := len(f.made); left != 2 {
		t.Errorf("%d containers are there, want the two nodes", left)
	}
}

// After its engine was restarted a run's containers have exited, run again by their policy, or are there half; its
// volumes and networks are as they were. All of it goes.
func TestSweepAfterEngineRestart(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	left := map[string]bool{"/containers/node": true, "/containers/helper": true, "/networks/net": true, "/volumes/tools": true}
	labels := map[string]string{target.LabelRun: "R", target.LabelHost: "h"}
	f.handle = func(w http.ResponseWriter, r *http.Request, path string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Method == http.MethodDelete {
			if strings.HasPrefix(path, "/containers/") && (r.URL.Query().Get("force") != "1" || r.URL.Query().Get("v") != "1") {
				t.Errorf("%s is not forced, with its volumes: %v", path, r.URL.Query())
			}
			delete(left, path)
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		if path != "/containers/json" && path != "/networks" && path != "/volumes" {
			return false
		}
		if !strings.Contains(r.URL.Query().Get("filters"), target.LabelRun) {
			t.Errorf("%s is asked without our label", path)
		}
		list := []any{}
		for at := range left {
			kind, name, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
			if strings.HasPrefix(path[1:], kind) && (kind != "containers" || r.URL.Query().Get("all") == "1") {
				list = append(list, map[string]any{"Id": name, "Name": name, "Names": []string{"/" + name}, "Labels": labels, "State": "exited"})
			}
		}
		if path == "/volumes" {
			reply(w, map[string]any{"Volumes": list})
		} else {
			reply(w, list)
		}
		return true
	}
	d := f.driver()
	if found, err := d.Sweep(t.Context(), "R"); err != nil || found != 4 || len(left) > 0 {
		t.Errorf("found %d, %v; left %v", found, err, left)
	}
	if found, err := d.Sweep(t.Context(), "R"); err != nil || found != 0 {
		t.Errorf("then found %d, %v", found, err)
	}
}
