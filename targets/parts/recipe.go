package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// What the images are called and labelled with.
const (
	repository = "localhost/tutti/"
	tag        = ":parts"

	labelBase    = "tutti.base"    // on bases, and so on what is made from them: suite and what the base was made by
	labelParts   = "tutti.parts"   // on parts: hash of everything that they were made from
	labelVersion = "tutti.version" // on parts: "haproxy 3.0.11"
)

// The recipes are part of the program, so that an image depends on what they say, and not on
// where they lie, when they were written, or who may read them.
//
//go:embed consul etcd haproxy nginx patroni postgres redis zookeeper
var recipes embed.FS

// A part is one program of others that targets are made of.
type part struct {
	Name  string
	Suite string // Debian release that it comes from
	From  string // the part that it is made on top of; "" is the suite's base
	// Programs are what the image's version names, each by its Debian package.
	Programs []program
}

type program struct{ Name, Package string }

func parts() []part {
	one := func(name, pkg string) []program { return []program{{name, pkg}} }
	return []part{
		{"haproxy", "trixie", "", one("haproxy", "haproxy")},
		{"nginx", "trixie", "", one("nginx", "nginx")},
		{"redis", "trixie", "", one("redis", "redis-server")},
		{"postgres", "trixie", "", one("postgres", "postgresql-17")},
		{"patroni", "trixie", "postgres", []program{{"patroni", "patroni"}, {"postgres", "postgresql-17"}}},
		{"etcd", "trixie", "", one("etcd", "etcd-server")},
		{"consul", "bullseye", "", one("consul", "consul")},
		{"zookeeper", "trixie", "", one("zookeeper", "libzookeeper-java")},
	}
}

func (p part) image() string { return repository + p.Name + tag }

// chosen returns the parts of these names, and those that they are made on top of before them. No names are all parts.
func chosen(names []string) ([]part, error) {
	all := parts()
	if len(names) == 0 {
		return all, nil
	}
	var list []part
	for _, name := range names {
		i := slices.IndexFunc(all, func(p part) bool { return p.Name == name })
		if i < 0 {
			known := make([]string, len(all))
			for i, p := range all {
				known[i] = p.Name
			}
			return nil, fmt.Errorf("there is no part %q; there are %s", name, strings.Join(known, ", "))
		}
		for _, need := range []string{all[i].From, name} {
			if j := slices.IndexFunc(all, func(p part) bool { return p.Name == need }); j >= 0 && !slices.ContainsFunc(list, func(p part) bool { return p.Name == need }) {
				list = append(list, all[j])
			}
		}
	}
	return list, nil
}

// context returns the recipe as what `docker build` reads, and a hash of it and of the image that
// it starts from. Both are the same bytes wherever they are made.
func (p part) context(base string) (archive []byte, hash string, err error) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	err = fs.WalkDir(recipes, p.Name, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := recipes.ReadFile(name)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		h := &tar.Header{Name: path.Base(name), Mode: mode, Size: int64(len(data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err = out.Write(data)
		return err
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the recipe of %s: %w", p.Name, err)
	}
	who, err := json.Marshal(p)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	for _, data := range [][]byte{[]byte(base), who, b.Bytes()} {
		fmt.Fprintf(sum, "%d\n", len(data))
		sum.Write(data)
	}
	return b.Bytes(), hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// upstream cuts what is Debian's from a package's version: "5:8.0.2-3+deb13u1" is 8.0.2.
func upstream(version string) string {
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after
	}
	if i := strings.LastIndex(version, "-"); i >= 0 {
		version = version[:i]
	}
	version, _, _ = strings.Cut(version, "+dfsg")
	return version
}
