package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/tutti-bench/tutti/lib/target"
)

// putFiles writes files into a container that was created and not started. A remote engine gets them too, which
// could not mount a file of this machine.
func (c *cluster) putFiles(ctx context.Context, id string, files []target.File) error {
	if len(files) == 0 {
		return nil
	}
	ctx, cancel := whole(ctx)
	defer cancel()
	var archive bytes.Buffer
	if err := writeFiles(&archive, files); err != nil {
		return err
	}
	// Without CopyUIDGID the archive's own owners hold. With it the engine looks the image's user up, in the host's files.
	if err := c.d.api.CopyToContainer(ctx, id, "/", &archive, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("put files into container: %w", err)
	}
	return nil
}

// writeFiles writes files as a tar archive. Folders that are missing are made by the engine, as root's.
func writeFiles(to *bytes.Buffer, files []target.File) error {
	out := tar.NewWriter(to)
	for _, f := range files {
		h := &tar.Header{
			Name: strings.TrimPrefix(path.Clean(f.Target), "/"), Typeflag: tar.TypeReg, Size: int64(len(f.Content)),
			Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID,
		}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("put %s into the container: %w", f.Target, err)
		}
		if _, err := out.Write([]byte(f.Content)); err != nil {
			return fmt.Errorf("put %s into the container: %w", f.Target, err)
		}
	}
	return out.Close()
}
