package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// baseLimit is for debootstrap, which fetches and unpacks some hundred packages.
const baseLimit = 20 * time.Minute

// slim is done to a fresh Debian before it becomes an image: nothing of this machine stays, nor what nobody reads in a
// container. What is installed later leaves the same things out, and starts no services.
const slim = `set -eu
cd "$1"
rm -rf etc/resolv.conf etc/hostname etc/machine-id var/lib/apt/lists/* var/cache/apt/* var/log/*.log var/log/apt \
	var/cache/debconf/*-old usr/share/man/* usr/share/info/* usr/share/locale/* usr/share/lintian/* tmp/* run/*
find usr/share/doc -mindepth 2 ! -name copyright ! -type d -delete
find usr/share/doc -mindepth 1 -type d -empty -delete
cat >etc/dpkg/dpkg.cfg.d/slim <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
END
printf 'Acquire::Languages "none";\nAPT::AutoRemove::SuggestsImportant "false";\n' >etc/apt/apt.conf.d/slim
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 0755 usr/sbin/policy-rc.d
`

// official is the image that a recipe names itself.
func official(suite string) string { return "debian:" + suite + "-slim" }

// ownBase is what we call a base that we have made. It is never an official image's name: a tag that
// looks like one and is not would deceive every other build on the machine.
func ownBase(suite string) string {
	sum := sha256.Sum256([]byte(suite + "\n" + runtime.GOARCH + "\n" + slim))
	return repository + "base:" + suite + "-" + hex.EncodeToString(sum[:])[:12]
}

// base returns the name and the id of the image that parts of a suite start from: one that is there, else
// the official one, else one that debootstrap makes.
func base(ctx context.Context, e engine, suite string, say func(string)) (name, id string, err error) {
	for _, name := range []string{ownBase(suite), official(suite)} {
		if id, _, err := e.image(ctx, name); id != "" || err != nil {
			return name, id, err
		}
	}
	name = official(suite)
	say("pulling " + name)
	_, pullErr := e.run(ctx, pullLimit, nil, "pull", "--quiet", name)
	if pullErr != nil {
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		name = ownBase(suite)
		say("making it by debootstrap, as no registry answers")
		if err := bootstrap(ctx, e, suite, name); err != nil {
			return "", "", fmt.Errorf("make the base %s by debootstrap: %w\n  it could not be pulled either: %s", suite, err, firstLine(pullErr))
		}
	}
	id, _, err = e.image(ctx, name)
	if err == nil && id == "" {
		err = fmt.Errorf("find image %s: the engine reported success but does not have it", name)
	}
	return name, id, err
}

// bootstrap makes a minimal Debian and imports it.
func bootstrap(ctx context.Context, e engine, suite, name string) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("that needs Linux; let the engine reach a registry")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return errors.New("it is not installed; apt-get install debootstrap, or let the engine reach a registry")
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root; run `make parts` once as root, or let the engine reach a registry")
	}
	dir, err := os.MkdirTemp("/var/tmp", "tutti-base-")
	if err != nil {
		return err
	}
	// debootstrap mounts /proc and /sys inside. It unmounts them, but a killed one does not, and then
	// nothing of the machine's own may be removed.
	defer func() {
		err = errors.Join(err, removeTree(context.WithoutCancel(ctx), dir))
	}()
	root := filepath.Join(dir, "root")
	args := []string{"--variant=minbase", suite, root}
	if mirror := mirror(ctx); mirror != "" {
		args = append(args, mirror)
	}
	if err := do(ctx, "debootstrap", args...); err != nil {
		return err
	}
	if err := do(ctx, "sh", "-c", slim, "slim", root); err != nil {
		return err
	}
	archive := filepath.Join(dir, "root.tar")
	if err := do(ctx, "tar", "--sort=name", "--numeric-owner", "--exclude=./dev/*", "-C", root, "-cf", archive, "."); err != nil {
		return err
	}
	_, err = e.run(ctx, buildLimit, nil, "import",
		"--change", "LABEL "+labelBase+"="+strings.TrimPrefix(name, repository+"base:"),
		"--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"--change", `CMD ["bash"]`,
		archive, name)
	return err
}

// do runs a command and keeps what it says for its error.
func do(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, baseLimit)
	defer cancel()
	out, err := command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return failure(ctx, baseLimit, err, string(out))
	}
	return nil
}

// removeTree removes a folder and what is mounted in it.
func removeTree(ctx context.Context, dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := do(ctx, "umount", f[1]); err != nil {
				return fmt.Errorf("remove %s: unmount %s: %w", dir, f[1], err)
			}
		}
	}
	return do(ctx, "rm", "-rf", "--one-file-system", dir)
}

// mirror is where this machine's own apt gets Debian from, or "" for debootstrap's own choice.
func mirror(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := command(ctx, "apt-get", "indextargets", "--format", "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "" // no apt, as on a Fedora with debootstrap
	}
	return findMirror(string(out))
}

// findMirror picks the archive of Debian itself from lines of component, release and address: its updates, security
// fixes and what others publish lie elsewhere, or under other names.
func findMirror(targets string) string {
	scan := bufio.NewScanner(strings.NewReader(targets))
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) != 3 || f[0] != "main" || strings.ContainsAny(f[1], "-/") {
			continue
		}
		if at := strings.TrimSuffix(f[2], "/"); strings.HasSuffix(at, "/debian") && !strings.Contains(at, "@") {
			return at
		}
	}
	return ""
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
