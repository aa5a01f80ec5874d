// Package target says what a system under test is, and what a driver must be
// able to do with it. It knows no engine: drivers are in lib/driver.
package target

import (
	"fmt"
	"io/fs"
	"net/url"
	"time"
)

// A Target is a system of services, as read from its Compose files.
type Target struct {
	Name     string             // the Compose project's name, or the folder's
	Dir      string             // absolute folder of the first Compose file
	Services map[string]Service // by name
	Networks map[string]Network // by name; "default" is always there
	Volumes  map[string]Volume  // named volumes

	// Notes say in one line each what is done differently from the Compose file, so that
	// arms can run side by side (a fixed port dropped, an address pinned) and which fields are ignored.
	Notes []string
}

// A Service is one service of a target.
type Service struct {
	Name        string
	Image       Image
	Command     []string // nil: the image's own
	Entrypoint  []string // nil: the image's own
	Environment map[string]string
	Networks    map[string]Attachment
	Mounts      []Mount
	Files       []File       // put into every new node before it starts
	Healthcheck *Healthcheck // nil: the image's own, if any; Disable: none
	DependsOn   []Dependency
	Scale       int // replicas, where neither arm nor fault says otherwise
	Labels      map[string]string
	StopSignal  string
	StopGrace   time.Duration // 10 s where the file is silent
	User        string
	WorkingDir  string
	Hostname    string
	Restart     string // Compose's restart policy: no, always, on-failure[:n], unless-stopped
	Expose      []string

	CPUs        float64 // limit, 0: none
	MemoryLimit int64   // bytes, 0: none
	PidsLimit   int64   // 0: none

	// What a user has to allow by name; a driver that cannot give it refuses the service.
	Privileged     bool
	SecurityOpt    []string
	HostNamespaces []string // shared with the machine: pid, ipc, userns

	CapAdd, CapDrop []string
	ReadOnly        bool
	Tmpfs           []string
	Init            bool
}

// ImageKind says how an image comes to be.
type ImageKind string

// The kinds of images.
const (
	ImageRef   ImageKind = "reference" // a registry reference, pulled if absent
	ImageBuild ImageKind = "build"     // a Compose build section
	ImageTutti ImageKind = "tutti"     // the harness's own binary as a scratch image
	ImageGo    ImageKind = "go"        // go://./path: a Go main package, built static into a scratch image
)

// An Image says where a service's program comes from.
type Image struct {
	Kind ImageKind
	Ref  string // reference; for go: the absolute folder of the main package
	// For build:
	Context, Dockerfile string // absolute context, Dockerfile relative to it
	Target              string
	Args                map[string]string
	Pull                string // pull_policy: missing (default), always, never, build
}

// An Attachment is a service's place on a network.
type Attachment struct {
	Aliases []string
	Address string // fixed IPv4 address asked for in the file, else ""
}

// A Network is one network of a target. Every trial has its own.
type Network struct {
	Name     string
	Internal bool
	Subnet   string // asked for in the file, else ""
}

// A Volume is a named volume. Every trial has its own, empty.
type Volume struct {
	Name   string
	Driver string
	Opts   map[string]string
}

// A Mount is one mount of a service.
type Mount struct {
	Kind     string // volume, bind, tmpfs
	Source   string // volume's name, or absolute path
	Target   string
	ReadOnly bool
	Size     int64 // tmpfs: bytes
}

// A File is a file whose contents stand in the Compose file.
type File struct {
	Target   string // absolute path inside the node
	Content  string
	Mode     fs.FileMode
	UID, GID int
}

// A Healthcheck is a Compose healthcheck. Zero durations and counts mean the engine's defaults.
type Healthcheck struct {
	Disable                                       bool
	Test                                          []string // ["CMD", …] or ["CMD-SHELL", "…"]
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// Conditions of depends_on.
const (
	Started   = "service_started"
	Healthy   = "service_healthy"
	Completed = "service_completed_successfully"
)

// A Dependency is one entry of depends_on.
type Dependency struct {
	Service   string
	Condition string
	Required  bool
}

// A Node is one running replica.
type Node struct {
	Name    string // service-n, n from 1
	Service string
	Replica int
	Host    string // host name inside the target's network
	Address string // IP address inside the target's network
	// Addresses are its addresses on all of the target's networks, Address first.
	Addresses []string
	ID        string // the container's id, or the process's
	Image     string // digest of its image
	Zone      string // the Compose label tutti.zone
}

// Names returns every name by which the node may call itself in a header.
func (n Node) Names() []string {
	names := []string{n.Name}
	for _, s := range []string{n.Host, n.Address} {
		if s != "" {
			names = append(names, s)
		}
	}
	if len(n.ID) >= 12 {
		names = append(names, n.ID[:12])
	}
	return names
}

// A Spec is one trial's target: what to start, how many of it, and whose it is.
type Spec struct {
	Target   *Target
	Scale    map[string]int // replicas by service, over the target's own
	MaxScale map[string]int // the most replicas that a fault may ask for

	// What faults will need of the driver, to be made ready before load.
	Places   map[string][]Place // by service: where our binary will be
	Bounded  map[string]int64   // bytes by volume: sizes that faults ask for
	Proxied  map[string]bool    // services that a proxy of the driver's stands in front of
	Env      map[string]string  // added to every service
	Ingress  *url.URL           // where clients come in, as a name inside the network
	Run      string             // id of the run; everything made is labelled with it
	Trial    string             // ARM-N
	LogDir   string             // where each node's logs go, capped; "" keeps none
	Watch    func(NodeEvent)    // told of everything that happens to a node, in order; not nil
	Progress func(string)       // told of slow steps (pulling, building); not nil
}

// Replicas is how many replicas a service starts with.
func (s Spec) Replicas(service string) int {
	if n, ok := s.Scale[service]; ok {
		return n
	}
	return s.Target.Services[service].Scale
}

// ReplicaName is how replica n of a service is called everywhere, n from 1.
func ReplicaName(service string, n int) string { return fmt.Sprintf("%s-%d", service, n) }
