package netfault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// Measures say of a primitive, by its name, what was asked and what was delivered, over loopback. They are made for
// those that the kernel has, and leave nothing.
type Measures map[string]func(context.Context) (string, error)

// Prober is the worker that says which primitives the kernel has where it runs: its Read returns a
// [target.Primitive] for each of [rule.Primitives]. Each is tried, never guessed, and nothing of it stays. It is meant
// for a namespace of its own.
type Prober struct {
	makers   Makers
	measures Measures
}

var _ agent.Worker = Prober{}

// NewProber makes a prober. It tries the carriers of ways that are in makers; measures may be nil.
func NewProber(makers Makers, measures Measures) Prober {
	return Prober{makers: makers, measures: measures}
}

// Set refuses parts: a prober keeps nothing up.
func (Prober) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	if len(parts) > 0 {
		return agent.Outcome{}, errors.New("the probe keeps nothing up")
	}
	return agent.Outcome{}, nil
}

// Read tries every primitive.
func (p Prober) Read(ctx context.Context) (agent.Parts, error) {
	found := make(map[string]target.Primitive)
	for _, name := range rule.Primitives() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found[name] = p.try(ctx, name)
	}
	parts := make(agent.Parts, len(found))
	for name, one := range found {
		if !one.OK {
			one.Serves = serves(name, found)
		}
		raw, err := json.Marshal(one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		parts[name] = raw
	}
	return parts, nil
}

// Close does nothing: nothing is left.
func (Prober) Close() error { return nil }

// try tries one primitive, and measures it where that is cheap.
func (p Prober) try(ctx context.Context, name string) target.Primitive {
	measure, err := p.attempt(ctx, name)
	if err != nil {
		return target.Primitive{Why: err.Error()}
	}
	one := target.Primitive{OK: true, Measure: measure}
	if m := p.measures[name]; m != nil {
		if one.Measure, err = m(ctx); err != nil {
			one.Measure = "not measured: " + err.Error()
		}
	}
	return one
}

// carried tries a way by its carrier: what it prepares, or else what it does and undoes.
func (p Prober) carried(ctx context.Context, r rule.Rule) (err error) {
	maker, ok := p.makers[r.Way]
	if !ok {
		return fmt.Errorf("this program has nothing for the way %q", r.Way)
	}
	c, err := maker()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c, ok := c.(Preparer); ok {
		if err := c.Prepare(ctx, rule.Part{r}); err != nil {
			return err
		}
	}
	if err := c.Set(ctx, map[string]rule.Part{"probe": {r}}); err != nil {
		return err
	}
	return c.Set(ctx, nil)
}

// A remedy is what serves where a primitive is missing, and how to get it.
type remedy struct {
	by, what string // the primitive that serves, and for what
	fix      string
}

func remedies() map[string]remedy {
	return map[string]remedy{
		rule.HasNFT:      {fix: "Linux 5.12 or later, modprobe nf_tables (CONFIG_NF_TABLES_INET)"},
		rule.HasNumgen:   {rule.HasNFQueue, "loss", "modprobe nft_numgen (CONFIG_NFT_NUMGEN)"},
		rule.HasReject:   {fix: "modprobe nft_reject_inet (CONFIG_NFT_REJECT_INET)"},
		rule.HasRedirect: {fix: "modprobe nft_redir (CONFIG_NFT_REDIR, CONFIG_NFT_NAT)"},
		rule.HasNFQueue: {
			rule.HasNetem, "latency, duplicate, corrupt, reorder",
			"modprobe nfnetlink_queue nft_queue (CONFIG_NETFILTER_NETLINK_QUEUE, and CONFIG_NFT_QUEUE or CONFIG_NETFILTER_XT_TARGET_NFQUEUE)",
		},
		rule.HasNetem:  {rule.HasNFQueue, "latency, duplicate, corrupt, reorder", "modprobe sch_netem (CONFIG_NET_SCH_NETEM)"},
		rule.HasTBF:    {fix: "modprobe sch_tbf (CONFIG_NET_SCH_TBF)"},
		rule.HasIFB:    {rule.HasTBF, "bandwidth, direction out", "modprobe ifb sch_ingress cls_u32 act_mirred (CONFIG_IFB, CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 or CONFIG_NET_CLS_MATCHALL, CONFIG_NET_ACT_MIRRED)"},
		rule.HasResets: {rule.HasReject, "reset, by each connection's next packet", "a kernel with CONFIG_INET_DIAG_DESTROY"},
	}
}

// serves says what serves in place of what is missing, else the fix.
func serves(name string, found map[string]target.Primitive) string {
	r := remedies()[name]
	if r.by != "" && found[r.by].OK {
		return fmt.Sprintf("%s serves for %s; else: %s", r.by, r.what, r.fix)
	}
	return r.fix
}
