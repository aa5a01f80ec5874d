package compose

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Names by which a user accepts a danger.
const (
	allowPrivileged = "privileged"
	allowSocket     = "docker-socket"
	allowHost       = "host-namespaces"
	allowUnconfined = "unconfined"
	allowCap        = "cap-add:"
	allowBind       = "writable-bind:"
)

// An allowance is what the user accepts.
type allowance struct {
	names map[string]bool
	caps  map[string]bool
	binds []string // absolute, symbolic links resolved
}

func parseAllow(names []string, dir string) (allowance, error) {
	a := allowance{names: make(map[string]bool), caps: make(map[string]bool)}
	for _, n := range names {
		switch {
		case strings.HasPrefix(n, allowCap):
			a.caps[capability(n[len(allowCap):])] = true
		case strings.HasPrefix(n, allowBind) && n != allowBind:
			path := n[len(allowBind):]
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			a.binds = append(a.binds, realPath(path))
		case slices.Contains([]string{allowPrivileged, allowSocket, allowHost, allowUnconfined}, n):
			a.names[n] = true
		default:
			return a, fmt.Errorf("nothing can be allowed by the name %q; the names are %s, %s, %s, %s, %sNAME, %sPATH",
				n, allowPrivileged, allowSocket, allowHost, allowUnconfined, allowCap, allowBind)
		}
	}
	return a, nil
}

func (a allowance) bind(path string) bool {
	return slices.ContainsFunc(a.binds, func(b string) bool { return within(path, b) })
}

// capability brings a capability's name into the form SYS_ADMIN.
func capability(s string) string {
	return strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "CAP_")
}

// dangerousCaps are the capabilities with which a container can reach the host: mounts,
// kernel modules, raw memory, other processes, the clock, files past their permissions.
var dangerousCaps = []string{
	"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_PTRACE", "SYS_BOOT", "SYS_TIME", "SYSLOG",
	"DAC_READ_SEARCH", "MAC_ADMIN", "MAC_OVERRIDE", "BPF", "PERFMON", "CHECKPOINT_RESTORE",
}

// engineSockets are the sockets through which a container would own the machine.
var engineSockets = []string{
	"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
	"/run/podman/podman.sock", "/run/crio/crio.sock", "/run/user/*/docker.sock", "/run/user/*/podman/podman.sock",
}

// givesSocket reports whether a bind of path (links resolved) shows an engine's socket.
// Read-only does not help: a socket can still be written to.
func givesSocket(path string) bool {
	if base := filepath.Base(path); base == "docker.sock" || base == "podman.sock" || base == "containerd.sock" {
		return true
	}
	for _, pattern := range engineSockets {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, sock := range found {
			if within(realPath(sock), path) || within(sock, path) {
				return true
			}
		}
	}
	return false
}

// within reports whether path is folder or in it. Both are absolute and resolved.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// realPath resolves symbolic links, of the longest part that exists where the whole does not.
func realPath(path string) string {
	path = filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realPath(parent), filepath.Base(path))
}
