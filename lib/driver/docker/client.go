package docker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/connhelper"
	dockerctx "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// api is the part of the Engine API that the driver uses, so that the client module
// behind it can be exchanged.
//
//nolint:interfacebloat // it is one outside API, used through one value
type api interface {
	Ping(ctx context.Context) (types.Ping, error)
	Info(ctx context.Context) (system.Info, error)
	ClientVersion() string
	Close() error

	ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, net *network.NetworkingConfig, platform *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerStart(ctx context.Context, id string, options container.StartOptions) error
	ContainerKill(ctx context.Context, id, signal string) error
	ContainerStop(ctx context.Context, id string, options container.StopOptions) error
	ContainerPause(ctx context.Context, id string) error
	ContainerUnpause(ctx context.Context, id string) error
	ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
	ContainerLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
	ContainerAttach(ctx context.Context, id string, options container.AttachOptions) (types.HijackedResponse, error)
	ContainerExecCreate(ctx context.Context, id string, options container.ExecOptions) (container.ExecCreateResponse, error)
	ContainerExecStart(ctx context.Context, execID string, options container.ExecStartOptions) error
	ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error)
	ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error)
	CopyToContainer(ctx context.Context, id, path string, content io.Reader, options container.CopyToContainerOptions) error
	ContainerUpdate(ctx context.Context, id string, config container.UpdateConfig) (container.UpdateResponse, error)
	ContainerStatsOneShot(ctx context.Context, id string) (container.StatsResponseReader, error)
	ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, <-chan error)

	ImageInspect(ctx context.Context, id string, options ...client.ImageInspectOption) (image.InspectResponse, error)
	ImageLoad(ctx context.Context, tar io.Reader, options ...client.ImageLoadOption) (image.LoadResponse, error)
	ImagePull(ctx context.Context, ref string, options image.PullOptions) (io.ReadCloser, error)
	ImageBuild(ctx context.Context, tar io.Reader, options build.ImageBuildOptions) (build.ImageBuildResponse, error)

	ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error)
	ImageRemove(ctx context.Context, id string, options image.RemoveOptions) ([]image.DeleteResponse, error)

	NetworkCreate(ctx context.Context, name string, options network.CreateOptions) (network.CreateResponse, error)
	NetworkConnect(ctx context.Context, id, containerID string, config *network.EndpointSettings) error
	NetworkRemove(ctx context.Context, id string) error
	NetworkList(ctx context.Context, options network.ListOptions) ([]network.Summary, error)

	VolumeCreate(ctx context.Context, options volume.CreateOptions) (volume.Volume, error)
	VolumeRemove(ctx context.Context, id string, force bool) error
	VolumeList(ctx context.Context, options volume.ListOptions) (volume.ListResponse, error)

	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
}

// connection is where the engine is, and how that was found.
type connection struct {
	client  api
	context string                 // name of the Docker context
	where   string                 // for messages: "at unix:///var/run/docker.sock"
	env     map[string]string      // makes a child process find the same engine
	config  *configfile.ConfigFile // the docker command's own configuration
}

const defaultContext = "default"

// connect resolves the engine in the docker command's order: DOCKER_HOST, then
// DOCKER_CONTEXT, then the configuration's current context, then the default socket.
func connect(getenv func(string) string) (connection, error) {
	dir := getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return connection{}, fmt.Errorf("find the Docker configuration: %w", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return connection{}, fmt.Errorf("read the Docker configuration: %w", err)
	}
	name, host := contextName(getenv, cfg), getenv(client.EnvOverrideHost)
	var opts []client.Opt
	env := map[string]string{"DOCKER_CONTEXT": name, "DOCKER_CONFIG": dir}
	if host != "" {
		env["DOCKER_HOST"] = host
	}
	if name == defaultContext {
		opts, err = defaultOptions(host)
	} else {
		opts, host, err = contextOptions(filepath.Join(dir, "contexts"), name)
	}
	if err != nil {
		return connection{}, err
	}
	opts = append(opts, client.WithVersionFromEnv(), client.WithAPIVersionNegotiation(), client.WithUserAgent("tutti"))
	c, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return connection{}, fmt.Errorf("context %q of Docker: %w", name, err)
	}
	if host == "" {
		host = c.DaemonHost()
	}
	where := "at " + host
	if name != defaultContext {
		where += " (context " + name + ")"
	}
	return connection{client: c, context: name, where: where, env: env, config: cfg}, nil
}

func contextName(getenv func(string) string, cfg *configfile.ConfigFile) string {
	switch {
	case getenv(client.EnvOverrideHost) != "":
		return defaultContext
	case getenv("DOCKER_CONTEXT") != "":
		return getenv("DOCKER_CONTEXT")
	case cfg.CurrentContext != "":
		return cfg.CurrentContext
	}
	return defaultContext
}

// defaultOptions connects to DOCKER_HOST, or to the default socket.
func defaultOptions(host string) ([]client.Opt, error) {
	if host == "" {
		return []client.Opt{client.FromEnv}, nil
	}
	helper, err := connhelper.GetConnectionHelper(host)
	if err != nil {
		return nil, fmt.Errorf("DOCKER_HOST %q: %w", host, err)
	}
	if helper == nil {
		return []client.Opt{client.FromEnv}, nil
	}
	// A remote engine over ssh: HTTP through the standard streams of `docker system dial-stdio`.
	return []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
		client.WithHost(helper.Host),
		client.WithDialContext(helper.Dialer),
	}, nil
}

// contextOptions connects to what a named context says, with its TLS material.
func contextOptions(dir, name string) (opts []client.Opt, host string, err error) {
	s := store.New(dir, store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockerctx.DockerEndpoint, func() any { return &dockerctx.EndpointMeta{} }),
	))
	meta, err := s.GetMetadata(name)
	if err != nil {
		return nil, "", fmt.Errorf("context %q of Docker: %w", name, err)
	}
	endpoint, err := dockerctx.EndpointFromContext(meta)
	if err != nil {
		return nil, "", fmt.Errorf("context %q of Docker: %w", name, err)
	}
	full, err := dockerctx.WithTLSData(s, name, endpoint)
	if err != nil {
		return nil, "", fmt.Errorf("context %q of Docker: read its TLS files: %w", name, err)
	}
	opts, err = full.ClientOpts()
	if err != nil {
		return nil, "", fmt.Errorf("context %q of Docker: %w", name, err)
	}
	return opts, endpoint.Host, nil
}
