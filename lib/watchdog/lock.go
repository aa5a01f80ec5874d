package watchdog

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lockPatience is for Held, which takes a lock for an instant to see whether it can.
const lockPatience = 500 * time.Millisecond

// errHeld means that somebody else holds a lock.
var errHeld = errors.New("it is running already")

// Lock marks a run as alive until release is called or this process dies, however it dies.
func Lock(run string) (release func(), err error) {
	path, err := lockPath(run)
	if err == nil {
		err = makeCache(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("lock run %s: %w", run, err)
	}
	deadline := time.Now().Add(lockPatience)
	for {
		f, err := lockFile(path, true)
		if err == nil {
			return func() { os.Remove(path); f.Close() }, nil
		}
		if !errors.Is(err, errHeld) || time.Now().After(deadline) {
			return nil, fmt.Errorf("lock run %s: %w", run, err)
		}
		<-time.After(lockPatience / 20)
	}
}

// Held reports whether a run is alive on this machine. If that cannot be told, it says
// that it is: nothing is to be removed then.
func Held(run string) bool {
	path, err := lockPath(run)
	if err != nil {
		return true
	}
	f, err := lockFile(path, false)
	if err == nil {
		f.Close()
		return false
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// forget removes the lock of a run that has died and is cleaned up.
func forget(run string) {
	if path, err := lockPath(run); err == nil {
		os.Remove(path)
	}
}

func lockPath(run string) (string, error) {
	if run == "" || strings.ContainsAny(run, `/\:`) || run[0] == '.' {
		return "", fmt.Errorf("%q is no id of a run", run)
	}
	dir, err := cacheDir("locks")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, run+".lock"), nil
}

// HostID is a stable id of this machine and user. Things on a shared engine that carry it
// are ours to judge; others' runs may be alive where we cannot see their locks.
func HostID() (string, error) {
	dir, err := cacheDir("")
	if err == nil {
		err = makeCache(dir)
	}
	if err != nil {
		return "", fmt.Errorf("find this machine's id: %w", err)
	}
	// A home folder may be shared by several machines.
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this machine's id: %w", err)
	}
	path := filepath.Join(dir, "host-id-"+filepath.Base(name))
	if id, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(id)), nil
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	made, err := os.CreateTemp(dir, "host-id-*.tmp")
	if err != nil {
		return "", fmt.Errorf("make this machine's id: %w", err)
	}
	defer os.Remove(made.Name())
	_, err = made.WriteString(hex.EncodeToString(b) + "\n")
	if err = errors.Join(err, made.Close()); err != nil {
		return "", fmt.Errorf("make this machine's id: %w", err)
	}
	// A link, not a rename: of two that make one at once, the first wins and both use it.
	if err := os.Link(made.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make this machine's id: %w", err)
	}
	id, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("find this machine's id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// makeCache makes a folder of the cache. Who only looks, or takes something away, makes none: a dog may outlive its folder.
func makeCache(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the cache folder: %w (set TUTTI_CACHE)", err)
	}
	return nil
}

// cacheDir is TUTTI_CACHE or the user's cache folder, or a folder in it. It need not be there.
func cacheDir(sub string) (string, error) {
	dir := os.Getenv("TUTTI_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w (set TUTTI_CACHE)", err)
		}
		dir = filepath.Join(user, "tutti")
	}
	return filepath.Join(dir, sub), nil
}
