package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"

	"github.com/tutti-bench/tutti/lib/target"
)

// labelImage marks the images that we made. They are named by their content and
// kept from run to run.
const labelImage = "bench.tutti.image"

// imageRef is an image that the engine has.
type imageRef struct {
	name   string // what containers are created from
	digest string // what is recorded

	version string // of what is in it, as its labels say; "" if they do not
}

// Prepare gets every image of a target, and the one that the agent runs in, and
// returns the digests by service. Services are checked before the first byte is fetched.
func (d *Driver) Prepare(ctx context.Context, t *target.Target, progress func(string)) (map[string]string, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if _, err := d.info(ctx); err != nil {
		return nil, err
	}
	if err := check(t); err != nil {
		return nil, err
	}
	if _, err := d.tuttiImage(ctx, progress); err != nil {
		return nil, err
	}
	digests := make(map[string]string)
	for _, name := range sortedKeys(t.Services) {
		ref, err := d.image(ctx, t.Services[name], progress)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		digests[name] = ref.digest
	}
	return digests, nil
}

// image returns a service's image, made or fetched if need be.
func (d *Driver) image(ctx context.Context, s target.Service, progress func(string)) (imageRef, error) {
	key, err := json.Marshal(s.Image)
	if err != nil {
		return imageRef{}, err
	}
	return d.once(string(key), func() (imageRef, error) {
		switch s.Image.Kind {
		case target.ImageTutti:
			return d.tuttiImage(ctx, progress)
		case target.ImageGo:
			return d.goImage(ctx, s.Image.Ref, progress)
		case target.ImageBuild:
			return d.buildImage(ctx, s.Image, progress)
		case target.ImageRef:
			return d.pullImage(ctx, s.Image, progress)
		}
		return imageRef{}, fmt.Errorf("unknown kind of image %q", s.Image.Kind)
	})
}

// imageSlot is one image that is being got, or was.
type imageSlot struct {
	mu  sync.Mutex               // held while it is being got
	ref atomic.Pointer[imageRef] // nil until it is there
}

// once remembers what get returned for a key, so that replicas and trials do not ask
// again. An error is not remembered.
func (d *Driver) once(key string, get func() (imageRef, error)) (imageRef, error) {
	d.mu.Lock()
	slot := d.images[key]
	if slot == nil {
		slot = new(imageSlot)
		d.images[key] = slot
	}
	d.mu.Unlock()
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if ref := slot.ref.Load(); ref != nil {
		return *ref, nil
	}
	ref, err := get()
	if err == nil {
		slot.ref.Store(&ref)
	}
	return ref, err
}

// forget makes once ask anew for whatever was an image of that name.
func (d *Driver) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, slot := range d.images {
		if ref := slot.ref.Load(); ref != nil && ref.name == name {
			slot.ref.CompareAndSwap(ref, nil)
		}
	}
}

// createFrom makes a container from an image. If the engine has lost the image since we got it, that is got again, once: nothing
// holds an image that no container uses yet, and who prunes the engine, or cleans up after another run, may take it.
func (d *Driver) createFrom(
	ctx context.Context, get func() (imageRef, error), create func(imageRef) (id string, err error),
) (id string, img imageRef, err error) {
	for tried := false; ; tried = true {
		if img, err = get(); err != nil {
			return "", imageRef{}, err
		}
		if id, err = create(img); tried || id != "" || !cerrdefs.IsNotFound(err) {
			return id, img, err
		}
		// Another container may have had it got again by now.
		if _, there, lost := d.inspectImage(ctx, img.name); lost == nil && !there {
			d.forget(img.name)
		}
	}
}

// inspectImage returns what the engine has under a name; ok is false if nothing.
func (d *Driver) inspectImage(ctx context.Context, name string) (ref imageRef, ok bool, err error) {
	got, err := d.api.ImageInspect(ctx, name)
	switch {
	case cerrdefs.IsNotFound(err):
		return imageRef{}, false, nil
	case err != nil:
		return imageRef{}, false, fmt.Errorf("look for image %s: %w", name, err)
	}
	digest := got.ID
	if len(got.RepoDigests) > 0 {
		sort.Strings(got.RepoDigests)
		digest = got.RepoDigests[0]
	}
	ref = imageRef{name: name, digest: digest}
	if got.Config != nil {
		ref.version = versionOf(got.Config.Labels)
	}
	return ref, true, nil
}

// labelOCIVersion is the version of what is in an image, as the OCI's image specification has it. An image that has none
// of its own shows that of the image it was made from, so that the label is named beside it.
const labelOCIVersion = "org.opencontainers.image.version"

func versionOf(labels map[string]string) string {
	if v := labels[target.LabelVersion]; v != "" {
		return v
	}
	if v := labels[labelOCIVersion]; v != "" {
		return v + " (" + labelOCIVersion + ")"
	}
	return ""
}

// Versions returns what the images of a target say of their programs' versions.
func (d *Driver) Versions(ctx context.Context, t *target.Target) (map[string]string, error) {
	versions := make(map[string]string)
	for _, name := range sortedKeys(t.Services) {
		ref, err := d.image(ctx, t.Services[name], func(string) {})
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		if ref.version != "" {
			versions[name] = ref.version
		}
	}
	return versions, nil
}

// pullImage gets an image from its registry as its pull policy says.
func (d *Driver) pullImage(ctx context.Context, i target.Image, progress func(string)) (imageRef, error) {
	named, err := reference.ParseDockerRef(i.Ref)
	if err != nil {
		return imageRef{}, fmt.Errorf("image %q: %w", i.Ref, err)
	}
	name := reference.FamiliarString(named)
	if i.Pull != "always" {
		ref, ok, err := d.inspectImage(ctx, name)
		if ok || err != nil {
			return ref, err
		}
	}
	what := "pull image " + name
	if part, ok := partName(name); ok { // no registry has it
		return imageRef{}, &target.UnavailableError{
			What: "find image " + name,
			Err:  errors.New("it is made by tutti's own recipes, and was not made on this engine yet"),
			Hint: fmt.Sprintf("make parts NAMES=%s, in tutti's source tree", part),
		}
	}
	if i.Pull == "never" {
		return imageRef{}, &target.UnavailableError{
			What: "find image " + name,
			Err:  fmt.Errorf("the engine does not have it, and its pull_policy is never"),
			Hint: "docker pull " + name,
		}
	}
	if err := d.pull(ctx, named, progress); err != nil {
		return imageRef{}, &target.UnavailableError{What: what, Err: oneLine(err), Hint: pullHint(named, err)}
	}
	ref, ok, err := d.inspectImage(ctx, name)
	if err == nil && !ok {
		err = fmt.Errorf("%s: the engine reported success but does not have it", what)
	}
	return ref, err
}

// partName is the NAME of an image localhost/tutti/NAME:parts, of those that targets/parts makes.
func partName(image string) (name string, ok bool) {
	name, ok = strings.CutPrefix(image, "localhost/tutti/")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, ":parts")
}

func (d *Driver) pull(ctx context.Context, named reference.Named, progress func(string)) error {
	auth, err := d.credentials(named)
	if err != nil {
		return err
	}
	progress("pulling " + reference.FamiliarString(named))
	body, err := d.api.ImagePull(ctx, named.String(), image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	defer body.Close()
	return pullProgress(body, reference.FamiliarString(named), progress)
}

// credentials asks the docker command's configuration, and through it any
// credential helper, who we are to a registry. Empty means nobody.
func (d *Driver) credentials(named reference.Named) (string, error) {
	server := reference.Domain(named)
	if server == "docker.io" {
		server = "https://index.docker.io/v1/" // the key that Docker Hub has had since its first version
	}
	if d.conn.config == nil {
		return "", nil
	}
	a, err := d.conn.config.GetAuthConfig(server)
	if err != nil {
		return "", fmt.Errorf("ask for the credentials of %s: %w", server, err)
	}
	if a.Username == "" && a.IdentityToken == "" && a.RegistryToken == "" && a.Auth == "" {
		return "", nil
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: a.Username, Password: a.Password, Auth: a.Auth,
		ServerAddress: a.ServerAddress, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
	})
}

func pullHint(named reference.Named, err error) string {
	s := err.Error()
	switch {
	case strings.Contains(s, "unauthorized") || strings.Contains(s, "denied"):
		return "is the name right? else: docker login " + reference.Domain(named)
	case strings.Contains(s, "not found") || strings.Contains(s, "manifest unknown"):
		return "no such image or tag; check its spelling"
	}
	return "is the registry within reach? an image that is there already is not pulled: docker pull " + reference.FamiliarString(named)
}

// pullProgress sums up the layers of a pull and says how far it is, once a second.
func pullProgress(r io.Reader, name string, progress func(string)) error {
	type layer struct{ current, total int64 }
	layers := make(map[string]layer)
	last := time.Now()
	return messages(r, func(m jsonmessage.JSONMessage) {
		if m.Status != "Downloading" || m.Progress == nil {
			return
		}
		layers[m.ID] = layer{m.Progress.Current, m.Progress.Total}
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		var sum layer
		for _, l := range layers {
			sum.current, sum.total = sum.current+l.current, sum.total+l.total
		}
		progress(fmt.Sprintf("pulling %s: %.1f of %.1f MB", name, float64(sum.current)/1e6, float64(sum.total)/1e6))
	})
}

// messages reads an engine's stream of JSON messages to its end. An error in the
// stream is returned: the HTTP status says 200 by then.
func messages(r io.Reader, each func(jsonmessage.JSONMessage)) error {
	dec := json.NewDecoder(r)
	for {
		var m jsonmessage.JSONMessage
		if err := dec.Decode(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != nil {
			return m.Error
		}
		if each != nil {
			each(m)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
