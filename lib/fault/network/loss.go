package network

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// LossKind is the verb loss.
func LossKind() fault.Kind {
	ways := []fault.Way{
		{
			Name: rule.WayNFT, Means: "dropped at random where they arrive by nftables (numgen)",
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasNumgen},
		},
		{
			Name: rule.WayNFQueue, Means: "queued to a helper that drops at random (NFQUEUE)",
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasNFQueue},
		},
	}
	return fault.Kind{
		Summary: "a share of the packets that come in lost; segments that the kernel has joined are one packet",
		Params:  []fault.Param{{Name: "share", Type: fault.Share, Required: true, Summary: "of the packets, such as 10%"}, peer()},
		Places:  []target.Place{target.InNetwork},
		Ways:    ways,
		New: func(p fault.Params) (fault.Fault, error) {
			share := p.Number("share", 0)
			all := make(byWay, len(ways))
			for _, w := range ways {
				all[w.Name] = ruled("packets lost at random", func(s *fault.Site) (rule.Part, error) {
					r := rule.Rule{Act: rule.Lose, Way: w.Name, Direction: rule.In, Share: share}
					if s.Rand != nil {
						r.Seed = s.Rand.Uint64()
					}
					var err error
					r.Peers, err = peers(s, p, "from")
					return rule.Part{r}, err
				}, lost(p))
			}
			return all, nil
		},
	}
}

// lost proves a loss by what was lost of all that came.
func lost(p fault.Params) proof {
	asked := percent(p.Number("share", 0)) + " of " + from("packets", p) + " lost"
	return func(part rule.Part, r rule.Report, _ time.Duration) (string, string, bool) {
		n, k := r[0].Packets, r[0].Hit
		if n == 0 {
			return asked, "no packet met the rule: nothing was lost", true
		}
		delivered := fmt.Sprintf("%s of %d packets", percent(float64(k)/float64(n)), n)
		if !likely(n, k, part[0].Share) {
			return asked, delivered + ", which chance gives once in 1,000 times at most", true
		}
		return asked, delivered, k == 0
	}
}

// likely reports whether k of n is within the 99.9 % interval of a binomial distribution: neither k or fewer, nor k or
// more have a chance below 0.05 %. The tails are summed exactly (Clopper and Pearson, Biometrika 26, 1934): what is
// refused here is a share outside of their interval for k of n.
func likely(n, k uint64, share float64) bool {
	const tail = 0.0005
	if share <= 0 || share >= 1 {
		return k == n && share >= 1 || k == 0 && share <= 0
	}
	return below(n, k, share) >= tail && below(n, n-k, 1-share) >= tail
}

// below is the chance of k or fewer of n.
func below(n, k uint64, share float64) float64 {
	if k >= n {
		return 1
	}
	if float64(k) >= float64(n)*share {
		return 1 - above(n, k+1, share)
	}
	sum := 0.0
	for i := k; ; i-- { // the terms fall from k downwards, as k lies below the mean
		term := chance(n, i, share)
		sum += term
		if i == 0 || term < sum*1e-12 {
			return sum
		}
	}
}

// above is the chance of k or more of n, for k above the mean.
func above(n, k uint64, share float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		term := chance(n, i, share)
		sum += term
		if term < sum*1e-12 {
			break
		}
	}
	return sum
}

// chance is that of k of n.
func chance(n, k uint64, share float64) float64 {
	logOf := func(x uint64) float64 { l, _ := math.Lgamma(float64(x) + 1); return l }
	return math.Exp(logOf(n) - logOf(k) - logOf(n-k) + float64(k)*math.Log(share) + float64(n-k)*math.Log1p(-share))
}

// percent writes a share with four digits at most.
func percent(share float64) string { return strconv.FormatFloat(share*100, 'g', 4, 64) + " %" }
