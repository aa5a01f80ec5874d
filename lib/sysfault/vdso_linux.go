package sysfault

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// skewMark is at the beginning of what we put into a vDSO, so that one can be told that another helper has changed.
	skewMark = "tutti clock skew"
	// stubAlign is where functions begin.
	stubAlign = 16
)

// A vdso is the code that the kernel maps into each process so that it can read clocks without asking, as it is unless
// somebody changes it. All processes of a kernel have the same, where they are of the same kind as we.
type vdso struct {
	isa   isa
	image []byte
	entry map[string]int // offsets of the functions that stubs stand for
	cave  int            // where nothing is, up to the end
}

// ownVDSO reads this process's.
func ownVDSO(i isa) (*vdso, error) {
	at, err := vdsoOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	image, err := at.read(os.Getpid())
	if err != nil {
		return nil, err
	}
	return parseVDSO(i, image)
}

// parseVDSO finds the functions, and the room behind the code.
func parseVDSO(i isa, image []byte) (*vdso, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the vDSO's symbols: %w", err)
	}
	var base uint64
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			base = p.Vaddr
			break
		}
	}
	v := &vdso{isa: i, image: image, entry: make(map[string]int)}
	for _, s := range symbols {
		for _, stub := range i.stubs {
			if s.Name == stub.name && s.Value >= base && s.Value-base < uint64(len(image)) {
				v.entry[s.Name] = int(s.Value - base)
			}
		}
	}
	for _, stub := range i.stubs {
		if _, ok := v.entry[stub.name]; !ok {
			return nil, fmt.Errorf("this kernel's vDSO has no %s", stub.name)
		}
	}
	used := len(bytes.TrimRight(image, "\x00"))
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			used = max(used, int(s.Offset+s.FileSize))
		}
	}
	for _, p := range f.Progs {
		used = max(used, int(p.Off+p.Memsz))
	}
	// The table of sections may end in zeros.
	used = max(used, int(binary.LittleEndian.Uint64(image[0x28:]))+64*len(f.Sections))
	v.cave = (used + stubAlign - 1) / stubAlign * stubAlign
	room, err := v.block(0)
	if err != nil {
		return nil, err
	}
	if v.cave+len(room) > len(image) {
		return nil, fmt.Errorf("this kernel's vDSO has %d bytes free, and %d are needed", max(len(image)-v.cave, 0), len(room))
	}
	return v, nil
}

// block is what goes into the cave: the mark, the skew in ns, and the stubs.
func (v *vdso) block(skew time.Duration) ([]byte, error) {
	b := binary.LittleEndian.AppendUint64([]byte(skewMark), uint64(skew))
	for _, s := range v.isa.stubs {
		code, err := s.with(skew)
		if err != nil {
			return nil, err
		}
		b = append(aligned(b), code...)
	}
	return aligned(b), nil
}

func aligned(b []byte) []byte {
	for len(b)%stubAlign != 0 {
		b = append(b, 0)
	}
	return b
}

// An edit is bytes at an offset of a vDSO.
type edit struct {
	at   int
	data []byte
}

// jumps are the beginnings of the functions, as they lead to the stubs.
func (v *vdso) jumps() ([]edit, error) {
	var all []edit
	at := v.cave + len(aligned([]byte(skewMark+"12345678")))
	for _, s := range v.isa.stubs {
		entry := v.entry[s.name]
		jump, err := v.isa.jump(int64(at - entry))
		if err != nil {
			return nil, err
		}
		all = append(all, edit{entry, jump})
		at += len(aligned(append([]byte(nil), s.code...)))
	}
	return all, nil
}

// What a process's vDSO is like.
type vdsoState int

const (
	vdsoForeign vdsoState = iota // somebody else has changed it, or it is of another kind
	vdsoTrue                     // as the kernel made it, as far as it is run
	vdsoSkewed                   // we have changed it
)

// state says what an image is like, and by how much it is wrong.
func (v *vdso) state(image []byte) (vdsoState, time.Duration, error) {
	jumps, err := v.jumps()
	if err != nil || len(image) != len(v.image) {
		return vdsoForeign, 0, err
	}
	asMade := append([]byte(nil), image...)
	for _, j := range jumps {
		copy(asMade[j.at:], v.image[j.at:j.at+len(j.data)])
	}
	if !bytes.Equal(asMade[:v.cave], v.image[:v.cave]) {
		return vdsoForeign, 0, nil
	}
	if bytes.Equal(image[:v.cave], v.image[:v.cave]) {
		return vdsoTrue, 0, nil
	}
	for _, j := range jumps {
		got := image[j.at : j.at+len(j.data)]
		if !bytes.Equal(got, j.data) && !bytes.Equal(got, v.image[j.at:j.at+len(j.data)]) {
			return vdsoForeign, 0, nil
		}
	}
	mark := image[v.cave:]
	if !bytes.HasPrefix(mark, []byte(skewMark)) {
		return vdsoForeign, 0, nil
	}
	return vdsoSkewed, time.Duration(binary.LittleEndian.Uint64(mark[len(skewMark):])), nil
}

// whole reports whether an image is exactly as it is to be for a skew: a helper may have been killed halfway.
func (v *vdso) whole(image []byte, skew time.Duration) (bool, error) {
	state, is, err := v.state(image)
	if err != nil || skew == 0 {
		return state == vdsoTrue, err
	}
	if state != vdsoSkewed || is != skew {
		return false, nil
	}
	edits, err := v.edits(skew)
	for _, e := range edits {
		if !bytes.Equal(image[e.at:e.at+len(e.data)], e.data) {
			return false, err
		}
	}
	return true, err
}

// edits are what makes a vDSO wrong by skew, in the order in which it has to be written: first the stubs, then the
// ways to them. For none they are the functions' own beginnings. The stubs stay then: a thread may be in one, and nothing
// leads to them any more.
func (v *vdso) edits(skew time.Duration) ([]edit, error) {
	jumps, err := v.jumps()
	if err != nil {
		return nil, err
	}
	if skew == 0 {
		for i, j := range jumps {
			jumps[i].data = v.image[j.at : j.at+len(j.data)]
		}
		return jumps, nil
	}
	block, err := v.block(skew)
	if err != nil {
		return nil, err
	}
	return append([]edit{{v.cave, block}}, jumps...), nil
}

// busy reports whether a thread at an offset is in the middle of what edits changes.
func busy(edits []edit, offset int64) bool {
	for _, e := range edits {
		if offset > int64(e.at) && offset < int64(e.at+len(e.data)) {
			return true
		}
	}
	return false
}

// A mapping is where a process has its vDSO.
type mapping struct{ start, end uint64 }

var errNoVDSO = errors.New("it has no vDSO")

// vdsoOf finds a process's. A process that is ending has no memory any more: that is os.ErrProcessDone.
func vdsoOf(pid int) (mapping, error) {
	maps, err := os.ReadFile(path.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		if _, gone := os.Stat(path.Join("/proc", strconv.Itoa(pid))); gone != nil {
			return mapping{}, os.ErrProcessDone
		}
		return mapping{}, fmt.Errorf("read its memory map: %w", err)
	}
	if len(maps) == 0 {
		return mapping{}, os.ErrProcessDone
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil || end <= start || end-start > 1<<20 {
			return mapping{}, fmt.Errorf("its memory map has %q: %w", line, err)
		}
		return mapping{start, end}, nil
	}
	return mapping{}, errNoVDSO
}

// read reads it, by the right to trace alone: files of /proc belong to the process's user.
func (m mapping) read(pid int) ([]byte, error) {
	image := make([]byte, m.end-m.start)
	into := []unix.Iovec{{Base: &image[0]}}
	into[0].SetLen(len(image))
	n, err := unix.ProcessVMReadv(pid, into, []unix.RemoteIovec{{Base: uintptr(m.start), Len: len(image)}}, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, os.ErrProcessDone
	case err != nil:
		return nil, fmt.Errorf("read its vDSO: %w", err)
	case n < len(image):
		return nil, fmt.Errorf("read its vDSO: %d of %d bytes", n, len(image))
	}
	return image, nil
}
