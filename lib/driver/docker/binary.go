package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tutti-bench/tutti/lib/target"
)

// tuttiImage returns the image that holds our own binary and nothing else. It is
// named by the binary's hash, so that a second run loads nothing.
func (d *Driver) tuttiImage(ctx context.Context, progress func(string)) (imageRef, error) {
	return d.once("tutti", func() (imageRef, error) {
		info, err := d.info(ctx)
		if err != nil {
			return imageRef{}, err
		}
		exe, err := d.executable(ctx, goarch(info.Architecture), progress)
		if err != nil {
			return imageRef{}, err
		}
		return d.binaryImage(ctx, "tutti", "tutti", exe, goarch(info.Architecture), progress)
	})
}

// executable finds a static Linux binary of this program for an architecture: the one
// configured, the running one, one that lies beside it, or one built from its source.
func (d *Driver) executable(ctx context.Context, arch string, progress func(string)) (string, error) {
	what := "make the image tutti"
	if d.cfg.Executable != "" {
		if err := static(d.cfg.Executable, arch); err != nil {
			return "", &target.UnavailableError{What: what, Err: err, Hint: staticHint(arch)}
		}
		return d.cfg.Executable, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%s: find the running program: %w", what, err)
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		// A dynamic binary is not replaced by another behind the user's back.
		if err := static(self, arch); err != nil {
			return "", &target.UnavailableError{What: what, Err: err, Hint: staticHint(arch)}
		}
		return self, nil
	}
	beside := filepath.Join(filepath.Dir(self), "tutti-linux-"+arch)
	if err := static(beside, arch); err == nil {
		return beside, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", &target.UnavailableError{What: what, Err: err, Hint: staticHint(arch)}
	}
	built, err := buildSelf(ctx, arch, progress)
	if err != nil {
		return "", &target.UnavailableError{
			What: what,
			Err:  fmt.Errorf("the engine needs a linux/%s binary, this program is %s/%s, and %w", arch, runtime.GOOS, runtime.GOARCH, err),
			Hint: "put one beside this program as " + filepath.Base(beside) + "; " + staticHint(arch),
		}
	}
	return built, nil
}

func staticHint(arch string) string {
	return "to build a static one: CGO_ENABLED=0 GOOS=linux GOARCH=" + arch + " go build -o tutti-linux-" + arch + " github.com/tutti-bench/tutti/cmd/tutti"
}

// static returns nil if a file is a Linux binary for the architecture that needs no
// dynamic loader: an empty image has none.
func static(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return fmt.Errorf("%s is no Linux binary: %w", path, err)
	}
	defer f.Close()
	machines := map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "386": elf.EM_386,
		"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV, "loong64": elf.EM_LOONGARCH,
	}
	if f.Machine != machines[arch] {
		return fmt.Errorf("%s is built for %v, the engine runs %s", path, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is dynamically linked, and an empty image has no loader for it", path)
		}
	}
	return nil
}

// buildSelf builds this program for the engine with the go command, where that and
// the source are at hand.
func buildSelf(ctx context.Context, arch string, progress func(string)) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Path == "" {
		return "", errors.New("it does not know what it was built from")
	}
	pkg := info.Path
	if v := info.Main.Version; v != "" && v != "(devel)" && !strings.Contains(v, "+dirty") {
		progress("building " + pkg + " for linux/" + arch)
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "tutti-linux-"+arch)
	if err := goBuild(ctx, "", pkg, arch, out); err != nil {
		return "", err
	}
	return out, nil
}

// goBuild builds a main package static, for Linux.
func goBuild(ctx context.Context, dir, pkg, arch, out string) error {
	goCmd, err := exec.LookPath("go")
	if err != nil {
		return errors.New("there is no go command to build one")
	}
	cmd := exec.CommandContext(ctx, goCmd, "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, printable(string(msg)))
	}
	return nil
}

// goImage builds a Go main package into an image that holds nothing else.
func (d *Driver) goImage(ctx context.Context, folder string, progress func(string)) (imageRef, error) {
	info, err := d.info(ctx)
	if err != nil {
		return imageRef{}, err
	}
	arch := goarch(info.Architecture)
	dir, err := os.MkdirTemp("", "tutti-go-")
	if err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w", folder, err)
	}
	defer os.RemoveAll(dir)
	progress("building " + folder)
	out := filepath.Join(dir, "main")
	if err := goBuild(ctx, folder, ".", arch, out); err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w", folder, err)
	}
	if err := static(out, arch); err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w (is it a main package?)", folder, err)
	}
	return d.binaryImage(ctx, "tutti-go", "main", out, arch, progress)
}

// binaryImage loads an image with one binary as its entry point, if the engine does not have it.
func (d *Driver) binaryImage(ctx context.Context, repo, program, path, arch string, progress func(string)) (imageRef, error) {
	f, err := os.Open(path)
	if err != nil {
		return imageRef{}, fmt.Errorf("make an image of %s: %w", path, err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return imageRef{}, fmt.Errorf("make an image of %s: %w", path, err)
	}
	tag := repo + ":" + hex.EncodeToString(hash.Sum(nil))[:12]
	if ref, ok, err := d.inspectImage(ctx, tag); ok || err != nil {
		return ref, err
	}
	progress("loading image " + tag)
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(writeImage(w, f, tag, program, arch))
	}()
	res, err := d.api.ImageLoad(ctx, r)
	if err == nil {
		err = messages(res.Body, nil)
		res.Body.Close()
	}
	r.Close()
	<-written
	if err != nil {
		return imageRef{}, fmt.Errorf("load image %s: %w", tag, err)
	}
	ref, ok, err := d.inspectImage(ctx, tag)
	if err == nil && !ok {
		err = fmt.Errorf("load image %s: the engine reported success but does not have it", tag)
	}
	return ref, err
}

// writeImage writes an image as `docker save` would: a manifest, a configuration and one layer.
func writeImage(w io.Writer, binary io.ReadSeeker, tag, program, arch string) error {
	sum, size := sha256.New(), new(counter)
	if err := writeLayer(io.MultiWriter(sum, size), binary, program); err != nil {
		return err
	}
	layerID := hex.EncodeToString(sum.Sum(nil))
	config, err := json.Marshal(map[string]any{
		"architecture": arch,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z", // the same binary is the same image
		"config": map[string]any{
			"Entrypoint": []string{"/" + program},
			"Env":        []string{"PATH=/"},
			"WorkingDir": "/",
			"Labels":     map[string]string{labelImage: program},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerID}},
	})
	if err != nil {
		return err
	}
	configSum := sha256.Sum256(config)
	configName, layerName := hex.EncodeToString(configSum[:])+".json", layerID+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{tag}, "Layers": []string{layerName},
	}})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for name, data := range map[string][]byte{configName: config, "manifest.json": manifest} {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	if err := out.WriteHeader(&tar.Header{Name: layerName, Mode: 0o644, Size: int64(*size)}); err != nil {
		return err
	}
	if err := writeLayer(out, binary, program); err != nil {
		return err
	}
	return out.Close()
}

// writeLayer writes the only layer: the binary, a /tmp that anyone may write to, and a folder that holds the binary too,
// from which the engine fills volumes.
func writeLayer(w io.Writer, binary io.ReadSeeker, program string) error {
	size, err := binary.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := binary.Seek(0, io.SeekStart); err != nil {
		return err
	}
	layer := tar.NewWriter(w)
	if err := layer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	if err := layer.WriteHeader(&tar.Header{Name: program, Mode: 0o755, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(layer, binary); err != nil {
		return err
	}
	tools := strings.TrimPrefix(toolsAt, "/") + "/"
	if err := layer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: tools, Mode: 0o755}); err != nil {
		return err
	}
	if err := layer.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: tools + program, Linkname: program, Mode: 0o755}); err != nil {
		return err
	}
	return layer.Close()
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// cacheDir is where binaries built for the engine are kept.
func cacheDir() (string, error) {
	dir := os.Getenv("TUTTI_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w", err)
		}
		dir = filepath.Join(user, "tutti")
	}
	dir = filepath.Join(dir, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	return dir, nil
}
