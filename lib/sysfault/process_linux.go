package sysfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// A process is one of the processes that can be seen from here.
type process struct {
	pid   int
	name  string // of its program, as the kernel knows it
	start string // when it began, in ticks: pids are used again
}

func (p process) String() string { return fmt.Sprintf("%s (%d)", p.name, p.pid) }

// machineNamespace is what the machine's first process namespace is called: PROC_PID_INIT_INO of the kernel's proc_ns.h.
const machineNamespace = "pid:[4026531836]"

// nodeProcesses lists the node's processes. A node that shares the machine's is refused: it would be all of the machine's.
func nodeProcesses() ([]process, error) {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("ask for this process's namespace: %w", err)
	}
	if own == machineNamespace {
		return nil, errors.New("this node has no process namespace of its own: the machine's processes are not touched")
	}
	return processes()
}

// processes lists all processes that can be seen, but this program and its kind.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the node's processes: %w", err)
	}
	us, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile(path.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended meanwhile
		}
		p, ok := parseStat(pid, string(stat))
		if !ok || isHelper(pid, us) {
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// parseStat reads /proc/PID/stat; false is a zombie. The name may have blanks and brackets in it.
func parseStat(pid int, stat string) (process, bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	f := strings.Fields(stat[end+1:])
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return process{}, false
	}
	return process{pid: pid, name: stat[open+1 : end], start: f[19]}, true // field 22 of proc(5)
}

// isHelper reports whether a process is a helper like us: the same program, told to be one. What the target runs may be
// this program too, but not as a helper.
func isHelper(pid int, us os.FileInfo) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := bytes.Split(line, []byte{0})
	if len(args) < 3 || string(args[1]) != "helper" {
		return false
	}
	exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	// It is another file in another image, so only what does not change by copying is compared.
	return err != nil || exe.Size() == us.Size()
}
