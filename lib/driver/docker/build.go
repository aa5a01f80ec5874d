package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/tutti-bench/tutti/lib/target"
)

// buildImage builds a Compose build section with the engine's classic builder, under
// a name made of everything that goes into it.
func (d *Driver) buildImage(ctx context.Context, i target.Image, progress func(string)) (imageRef, error) {
	if i.Dockerfile == "" {
		i.Dockerfile = "Dockerfile"
	}
	files, err := contextFiles(i.Context, i.Dockerfile)
	if err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w", i.Context, err)
	}
	tag, err := buildTag(i, files)
	if err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w", i.Context, err)
	}
	if i.Pull != "always" && i.Pull != "build" {
		if ref, ok, err := d.inspectImage(ctx, tag); ok || err != nil {
			return ref, err
		}
	}
	progress("building " + i.Context)
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(writeContext(w, i.Context, files))
	}()
	err = d.build(ctx, r, i, tag, progress)
	r.Close()
	<-written
	if err != nil {
		return imageRef{}, fmt.Errorf("build %s: %w", i.Context, err)
	}
	ref, ok, err := d.inspectImage(ctx, tag)
	if err == nil && !ok {
		err = fmt.Errorf("build %s: the engine reported success but does not have it", i.Context)
	}
	return ref, err
}

func (d *Driver) build(ctx context.Context, r io.Reader, i target.Image, tag string, progress func(string)) error {
	args := make(map[string]*string)
	for k, v := range i.Args {
		args[k] = &v
	}
	auth, err := d.allCredentials()
	if err != nil {
		return err
	}
	res, err := d.api.ImageBuild(ctx, r, build.ImageBuildOptions{
		Tags: []string{tag}, Dockerfile: filepath.ToSlash(i.Dockerfile), Target: i.Target, BuildArgs: args,
		Remove: true, ForceRemove: true, PullParent: i.Pull == "always", AuthConfigs: auth,
		Labels: map[string]string{labelImage: "build"}, Version: build.BuilderV1,
	})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var said tail
	err = messages(res.Body, func(m jsonmessage.JSONMessage) {
		_, _ = io.WriteString(&said, m.Stream)
		if step := strings.TrimSpace(printable(m.Stream)); strings.HasPrefix(step, "Step ") {
			progress(step)
		}
	})
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "BuildKit") || strings.Contains(err.Error(), "buildkit") {
		err = fmt.Errorf("%w (the Dockerfile needs BuildKit: build it with `docker compose build` and name the image)", err)
	}
	return fmt.Errorf("%w\n%s", err, printable(said.String()))
}

// allCredentials are for base images: a Dockerfile may name any registry.
func (d *Driver) allCredentials() (map[string]registry.AuthConfig, error) {
	if d.conn.config == nil {
		return nil, nil
	}
	all, err := d.conn.config.GetAllCredentials()
	if err != nil {
		return nil, fmt.Errorf("ask for the registries' credentials: %w", err)
	}
	auth := make(map[string]registry.AuthConfig)
	for server, a := range all {
		auth[server] = registry.AuthConfig{
			Username: a.Username, Password: a.Password, Auth: a.Auth,
			ServerAddress: a.ServerAddress, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
		}
	}
	return auth, nil
}

// contextFiles lists, in order, what a build context sends: everything but what
// .dockerignore excludes. The Dockerfile and .dockerignore always go along; the builder needs them.
func contextFiles(root, dockerfile string) ([]string, error) {
	if !filepath.IsLocal(dockerfile) {
		return nil, fmt.Errorf("the Dockerfile %s is outside of the build's context", dockerfile)
	}
	if _, err := os.Stat(filepath.Join(root, dockerfile)); err != nil {
		return nil, fmt.Errorf("find the Dockerfile: %w", err)
	}
	patterns, err := ignored(root, dockerfile)
	if err != nil {
		return nil, err
	}
	match, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, fmt.Errorf("read .dockerignore: %w", err)
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		skip, err := match.MatchesOrParentMatches(rel)
		if err != nil {
			return err
		}
		if skip && rel != filepath.ToSlash(dockerfile) && rel != ".dockerignore" {
			// A later "!" pattern, or the Dockerfile, may want something inside.
			if e.IsDir() && !match.Exclusions() && !strings.HasPrefix(filepath.ToSlash(dockerfile), rel+"/") {
				return filepath.SkipDir
			}
			return nil
		}
		if e.IsDir() || e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 {
			files = append(files, rel)
		}
		return nil
	})
	return files, err
}

// ignored reads DOCKERFILE.dockerignore, or else .dockerignore.
func ignored(root, dockerfile string) ([]string, error) {
	for _, name := range []string{dockerfile + ".dockerignore", ".dockerignore"} {
		f, err := os.Open(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return ignorefile.ReadAll(f)
	}
	return nil, nil
}

// buildTag names an image by everything that goes into it.
func buildTag(i target.Image, files []string) (string, error) {
	sum := sha256.New()
	if err := writeContext(sum, i.Context, files); err != nil {
		return "", err
	}
	// Maps are written with sorted keys.
	if err := json.NewEncoder(sum).Encode([]any{i.Dockerfile, i.Target, i.Args}); err != nil {
		return "", err
	}
	return "tutti-build:" + hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// writeContext writes files as a tar archive. Times and owners are left out: they
// make no other image.
func writeContext(w io.Writer, root string, files []string) error {
	out := tar.NewWriter(w)
	for _, rel := range files {
		if err := writeFile(out, filepath.Join(root, filepath.FromSlash(rel)), rel); err != nil {
			return fmt.Errorf("send the build's context: %w", err)
		}
	}
	return out.Close()
}

func writeFile(out *tar.Writer, path, rel string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: rel, Mode: int64(info.Mode().Perm()), Typeflag: tar.TypeReg}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, rel+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		h.Size = info.Size()
	}
	if err := out.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}
