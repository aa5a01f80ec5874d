package record_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

func TestRecordingRoundTrip(t *testing.T) {
	r := recording(t)
	b := write(t, r)
	if again := write(t, r); !bytes.Equal(b, again) {
		t.Error("the same recording is written as other bytes")
	}
	back, err := record.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, back) {
		t.Errorf("wrote %+v\nread  %+v", r, back)
	}
	if again := write(t, back); !bytes.Equal(b, again) {
		t.Error("what was read is written as other bytes")
	}
}

// Versions 1 and 2 had one rate, or none where a search set it.
func TestReadTakesOneRateForASchedule(t *testing.T) {
	r := recording(t)
	text := unzip(t, write(t, r))
	now := `"schedule":{"warmup":1000000000,"stages":[{"rate":20,"for":1000000000}]}`
	if !strings.Contains(text, now) {
		t.Fatalf("no %s in %s", now, text)
	}
	for version, rates := range map[string]map[string]schedule.Schedule{
		`"version":2`: {`"rate":20`: r.Schedule, `"rate":0`: {Warmup: time.Second}},
		`"version":1`: {`"rate":33.5`: schedule.Constant(33.5, time.Second, time.Second)},
	} {
		for rate, want := range rates {
			old := strings.Replace(strings.Replace(text, now, rate, 1), `"version":3`, version, 1)
			back, err := record.Read(zip(t, old))
			if err != nil || !reflect.DeepEqual(back.Schedule, want) {
				t.Errorf("%s, %s: %+v, %v, want %+v", version, rate, back.Schedule, err, want)
			}
		}
	}
}

// No beginning of a recording passes for one.
func TestReadRefusesWhatIsCutOff(t *testing.T) {
	b := write(t, recording(t))
	for n := range b {
		if _, err := record.Read(bytes.NewReader(b[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes pass for a recording", n, len(b))
		}
	}
	text := unzip(t, b)
	lines := strings.SplitAfter(text, "\n")
	for n := range len(lines) - 1 {
		if _, err := record.Read(zip(t, strings.Join(lines[:n], ""))); err == nil {
			t.Errorf("the first %d of %d lines pass for a recording", n, len(lines)-1)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	text := unzip(t, write(t, recording(t)))
	header, rest, _ := strings.Cut(text, "\n")
	for what, bad := range map[string]string{
		"twice":         text + text,
		"header last":   rest + header + "\n",
		"other version": strings.Replace(text, `"version":3`, `"version":4`, 1),
		"unknown line":  header + "\n{\"x\":1}\n" + rest,
		"no JSON":       header + "\nx\n" + rest,
		"unknown class": strings.Replace(text, `"ok"`, `"fine"`, 1),
		"long line":     header + "\n" + strings.Repeat(" ", 17<<20) + "\n" + rest,
		"empty":         "",
		"short op":      header + "\n" + `{"history":{"ops":[[1,2,3]]}}` + "\n" + rest,
		"endless read":  header + "\n" + `{"history":{"ops":[[0,2,3,-1]]}}` + "\n" + rest,
		"op of words":   header + "\n" + `{"history":{"ops":[["x",2,3,4]]}}` + "\n" + rest,
	} {
		if _, err := record.Read(zip(t, bad)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := record.Read(strings.NewReader(text)); err == nil {
		t.Error("not compressed: no error")
	}
}

func TestSaveAndLoad(t *testing.T) {
	r := recording(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "recording.json.gz")
	for range 2 { // the second replaces the first
		if err := r.Save(name); err != nil {
			t.Fatal(err)
		}
	}
	back, err := record.Load(name)
	if err != nil || !reflect.DeepEqual(r, back) {
		t.Errorf("%+v, %v", back, err)
	}
	// A name that is a folder's cannot be replaced: nothing may be left beside it.
	if err := os.MkdirAll(filepath.Join(dir, "folder", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(filepath.Join(dir, "folder")); err == nil {
		t.Error("saved over a folder")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
	if _, err := record.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestSort(t *testing.T) {
	r := &record.Recording{
		Bins:     []record.Bin{{Index: 2}, {Index: -1}, {Index: 0}},
		Events:   []record.Event{{At: 5, Kind: "b"}, {At: 1}, {At: 5, Kind: "a"}},
		Problems: []string{"b", "a"},
	}
	r.Sort()
	got := fmt.Sprintln(r.Bins[0].Index, r.Bins[1].Index, r.Bins[2].Index, r.Events[0].At, r.Events[1].Kind, r.Events[2].Kind, r.Problems)
	if want := "-1 0 2 1ns b a [a b]\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestClassNames(t *testing.T) {
	for _, c := range record.Classes() {
		b, err := c.MarshalText()
		var back record.Class
		if err == nil {
			err = back.UnmarshalText(b)
		}
		if err != nil || back != c {
			t.Errorf("%v comes back as %v, %v", c, back, err)
		}
		if c.Good() != (c == record.OK) || c.Own() != (c == record.Unsent || c == record.Local) {
			t.Errorf("%v: good %v, own %v", c, c.Good(), c.Own())
		}
	}
	if _, err := record.ParseClass("class(99)"); err == nil {
		t.Error("an unknown class has no error")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(unzip(f, write(f, recording(f))))
	f.Add(`{"header":{"version":1}}` + "\n" + `{"generator":{}}` + "\n")
	f.Add(`{"header":{"version":2}}` + "\n" + `{"writes":{"of":"w","lost":1,"registers":{"keys":1}}}` + "\n" +
		`{"history":{"of":"w","ops":[[1,2,-3,4],[1,2,3,-1],[0,18446744073709551615,5,0]]}}` + "\n" + `{"generator":{}}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := record.Read(zip(t, text))
		if err != nil {
			return
		}
		b := write(t, r)
		back, err := record.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if again := write(t, back); !bytes.Equal(b, again) {
			t.Fatalf("%s\nis written again as\n%s", unzip(t, b), unzip(t, again))
		}
	})
}

func recording(tb testing.TB) *record.Recording {
	tb.Helper()
	r := &record.Recording{
		Header: record.Header{
			Version: record.Version, Run: "r1", Arm: "cluster", Block: 1, Order: 2, Seed: 7,
			Zero: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Warmup: time.Second, For: time.Second,
			Timeout: time.Second, Schedule: schedule.Constant(20, time.Second, time.Second), Requests: []string{"GET /"}, Attempts: true,
			Nodes: []record.Node{{Name: "app-1", Service: "app", Balanced: true}},
		},
		Events: []record.Event{{At: 5, Kind: record.NodeDie, Node: "app-1", Source: "engine", Detail: "<b>\x00"}},
		Faults: []record.Fault{{
			Name: "crash", Verb: "kill", Nodes: []string{"app-1"}, Onset: &record.Edge{From: 1, To: 2, Source: "engine"},
			Proof: []record.Proof{{Node: "app-1", What: "die", OK: true}},
		}},
		Writes: []record.Writes{{
			Of: "write", Read: "GET /kv/{{.Key}}", Within: time.Second, Acknowledged: 3, Kept: 1, Lost: 1, Unread: 1, First: 4, Last: 4, Reads: 9, Took: time.Second,
			Lacks: []record.Lack{{Seq: 7, Due: 4, Read: "/kv/k1", Got: "404 <b>", Lost: true}},
		}},
		Histories: []record.History{{Of: "write", Key: 3, Ops: []record.Op{
			{Write: true, Value: 8, Start: -5, End: 7}, {Write: true, Value: 9, Start: 2, End: record.None}, {Value: record.StrangeValue, Start: 3, End: 4},
		}}},
		Problems:  []string{"one"},
		Generator: record.Generator{Scheduled: 20, Counted: 20, Complete: true},
	}
	due := rate(20, 5)
	b := record.NewBinner(due, 20, time.Second, func(b record.Bin) { r.Bins = append(r.Bins, b) })
	for n := range uint64(20) {
		s := record.Sample{Seq: n, Class: record.OK, Node: "app-1", Sent: due(n), Free: record.None, Done: due(n) + time.Duration(n)*time.Millisecond, Tried: []string{"app-1"}, Traced: true}
		if n%5 == 0 {
			s.Class, s.Node, s.Tried, s.Traced = record.Refused, "", nil, false
		}
		b.Add(s)
	}
	b.Close()
	return r
}

func write(tb testing.TB, r *record.Recording) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func unzip(tb testing.TB, b []byte) string {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func zip(tb testing.TB, text string) io.Reader {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	if err := errors.Join(err, z.Close()); err != nil {
		tb.Fatal(err)
	}
	return &b
}
