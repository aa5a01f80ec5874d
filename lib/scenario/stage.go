package scenario

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/schedule"
)

// maxRate is the highest rate of the format, per second.
const maxRate = 1e6

// stageKeys are the keys of one stage of a load.
func stageKeys() *keys {
	elsewhere := "warmup in load: it comes before the first stage"
	return &keys{
		name: "a stage", groups: []string{"load"}, item: true, brief: "{rate: 100/s, to: 400/s, for: 30s}",
		belong: map[string]string{
			"warmup": elsewhere, "timeout": "timeout in load, for all requests", "arrivals": "arrivals in load, for all stages",
			"requests": "requests in load, for all stages", "capacity": "capacity in load, instead of stages",
		},
		list: []key{
			{name: "rate", doc: "requests sent, on schedule however slow the answers are", form: rate{maxRate}, group: "load"},
			{name: "users", doc: "a closed loop: each user sends, waits for the answer, thinks, and begins again", form: integer{what: "a whole number", min: 1, max: schedule.MaxUsers}, group: "load"},
			{name: "to", doc: "a ramp: the rate at the end of the stage", form: rate{maxRate}},
			{name: "swing", doc: "a sine: by how much the rate rises and falls, at most the rate itself", form: rate{maxRate}},
			{name: "period", doc: "of the sine, which begins at the rate and rises", form: duration{time.Millisecond, day}},
			{name: "think", doc: "between an answer and the user's next request", def: "0s", form: duration{0, time.Hour}},
			{name: "for", doc: "how long the stage lasts", required: true, form: duration{time.Millisecond, day}},
		},
	}
}

// schedule reads when load is sent. If a part of it cannot be read it has no stages: then nothing is said of how long load lasts.
func (b *builder) schedule(f *fields) schedule.Schedule {
	errors := len(b.errs)
	s := schedule.Schedule{Warmup: f.duration("warmup", DefaultWarmup)}
	if f.text("arrivals") == string(schedule.Poisson) {
		s.Arrivals = schedule.Poisson
	}
	switch {
	case f.has("rate"):
		if !f.has("for") {
			b.wrong(b.head(f.node), "load lacks %q", "for").expect("for: %s", duration{})
		}
		s.Stages = []schedule.Stage{{Rate: get(f, "rate", 0.0), For: f.duration("for", 0)}}
	case f.has("stages"):
		s.Stages = b.stages(f)
	}
	unread := func(g schedule.Stage) bool { return g.For <= 0 || g.Rate <= 0 && g.Users <= 0 }
	if len(b.errs) > errors || slices.ContainsFunc(s.Stages, unread) {
		s.Stages = nil
	}
	b.amount(f, s)
	return s
}

// amount checks how many requests there are.
func (b *builder) amount(f *fields, s schedule.Schedule) {
	if len(s.Stages) == 0 || s.Closed() {
		return
	}
	at := f.valueOf("for")
	if f.has("stages") {
		at = b.head(f.valueOf("stages"))
	}
	requests := s.Mean() * s.For().Seconds()
	switch {
	case requests < 1 && s.Steady():
		b.wrong(at, "there is no request in it").expect("at least %s at this rate", time.Duration(float64(time.Second)/s.Peak()))
	case requests < 1:
		b.wrong(at, "there is no request in it").expect("longer stages, or higher rates")
	case s.Arrivals == schedule.Poisson && s.Count() > schedule.MaxPoisson:
		b.wrong(f.at["arrivals"].node, "%d requests cannot be drawn", s.Count()).expect("at most %d requests with poisson arrivals, or arrivals: uniform", schedule.MaxPoisson)
	}
}

// stages reads the stages, nil if one of them cannot be read.
func (b *builder) stages(f *fields) []schedule.Stage {
	if f.has("for") {
		b.wrong(f.at["for"].key, "load lasts as long as its stages: it has no \"for\" beside them").expect("for inside each stage")
	}
	items := get[[]item](f, "stages", nil)
	var all []schedule.Stage
	for _, i := range items {
		one, ok := i.v.(*fields)
		if !ok {
			return nil
		}
		g := schedule.Stage{
			Rate: get(one, "rate", 0.0), To: get(one, "to", 0.0), Swing: get(one, "swing", 0.0), Period: one.duration("period", 0),
			Users: int(get(one, "users", int64(0))), Think: one.duration("think", 0), For: one.duration("for", 0),
		}
		b.stage(one, g)
		if first, ok := items[0].v.(*fields); ok && one.chosen["load"] != "" && first.chosen["load"] != "" && one.chosen["load"] != first.chosen["load"] {
			b.wrong(one.at[one.chosen["load"]].key, "the stages of a load are all open or all closed, and the first has %s", first.chosen["load"]).
				expect("%s here too, or another scenario", first.chosen["load"])
		}
		all = append(all, g)
	}
	if len(all) == 0 || len(all) < len(f.valueOf("stages").Content) {
		return nil
	}
	if users := all[0].Users > 0; users && f.text("arrivals") == string(schedule.Poisson) {
		b.wrong(f.at["arrivals"].node, "users come when they have their answers: in a closed loop the target says when").expect("a rate in each stage, or no arrivals")
	}
	return all
}

// stage checks what one stage says together.
func (b *builder) stage(f *fields, g schedule.Stage) {
	lacks := func(has, lacks string, want form) {
		b.wrong(f.at[has].key, "a sine has a swing and a period, and here is no %s", lacks).expect("%s: %s", lacks, want)
	}
	for _, name := range []string{"to", "swing", "period"} {
		if f.chosen["load"] == "users" && f.has(name) {
			b.wrong(f.at[name].key, "%s is of a rate, and here are users", name).expect("rate instead of users, or stages with more users")
			return
		}
	}
	switch {
	case f.chosen["load"] == "rate" && f.has("think"):
		b.wrong(f.at["think"].key, "a rate is kept however long anybody thinks").expect("users instead of rate, or no think")
	case f.has("to") && (f.has("swing") || f.has("period")):
		b.wrong(f.at["to"].key, "a stage is a ramp or a sine, and here are both").expect("to, or swing and period")
	case f.has("swing") && !f.has("period"):
		lacks("swing", "period", duration{})
	case f.has("period") && !f.has("swing"):
		lacks("period", "swing", rate{maxRate})
	case g.Rate > 0 && g.Swing > g.Rate:
		b.wrong(f.at["swing"].node, "the rate would fall below 0: it is %s", f.at["rate"].node.Value).expect("at most %s", f.at["rate"].node.Value)
	case g.Rate+g.Swing > maxRate:
		b.wrong(f.at["swing"].node, "the rate would rise above what can be sent").expect("rate and swing of at most %.0f/s together", float64(maxRate))
	}
}

// ofUsers refuses what needs a schedule with numbers: in a closed loop which request comes when is known only once it has come.
func (b *builder) ofUsers(s *Scenario, top, load *fields) {
	if !s.Load.Schedule.Closed() {
		return
	}
	refuse := func(at *yaml.Node, what string) {
		b.wrong(at, "%s with users: what a request sends is a function of its number, and in a closed loop nobody knows which will be sent", what).
			expect("a rate in each stage instead of users")
	}
	if len(s.Verify) > 0 {
		refuse(top.at["verify"].key, "verify")
	}
	if s.Load.Client.Generator != "" {
		b.wrong(load.at["generator"].key, "generator with users: attack and turbo keep to a schedule, and users to the answers they get").
			expect("no generator, or a rate in each stage instead of users")
	}
	if s.Load.Keys > 0 {
		refuse(load.at["keys"].key, "keys")
	}
	for _, i := range get[[]item](load, "requests", nil) {
		if one, ok := i.v.(*fields); ok && one.has("steps") {
			refuse(one.at["steps"].key, "steps")
		}
	}
}

// For is how long measured load lasts; 0 where a search says it, or where it could not be read.
func (l Load) For() time.Duration { return l.Schedule.For() }

// length names what says how long load lasts.
func (l Load) length() string {
	if l.Schedule.Steady() {
		return "load.for"
	}
	return fmt.Sprintf("the sum of %d stages", len(l.Schedule.Stages))
}
