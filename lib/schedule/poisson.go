package schedule

import "math"

// An order is where n arrivals of a Poisson process lie in their time, given that there are n: the order statistics of n uniform
// variates. The k-th is G(k)/G(n+1), where G(k) is the sum of k exponential variates (Devroye, Non-Uniform Random Variate Generation, 1986, V.3).
// Each variate is a hash of the seed and its number, so that any arrival can be found without those before it; sums are kept for every
// block of them.
type order struct {
	seed uint64
	sums []float64 // before each block
	all  float64   // G(n+1)
}

// blockSize is how many variates are in a block: few, so that one arrival is found fast.
const blockSize = 16

// newOrder draws n arrivals; salt tells those of one seed apart.
func newOrder(seed int64, salt, n uint64) *order {
	o := &order{seed: mix(uint64(seed) + salt*0x9e3779b97f4a7c15), sums: make([]float64, 0, n/blockSize+1)}
	for k := range n + 1 {
		if k%blockSize == 0 {
			o.sums = append(o.sums, o.all)
		}
		o.all += o.gap(k)
	}
	return o
}

// share is where arrival k lies, from 0 to 1.
func (o *order) share(k uint64) float64 {
	sum := o.sums[k/blockSize]
	for i := k - k%blockSize; i <= k; i++ {
		sum += o.gap(i)
	}
	return sum / o.all
}

// gap is an exponential variate of mean 1.
func (o *order) gap(k uint64) float64 {
	u := float64(mix(o.seed+k*0x9e3779b97f4a7c15)>>11+1) / (1 << 53) // above 0, at most 1
	return -math.Log(u)
}

// mix spreads a number over all 64 bits (the finalizer of SplitMix64, Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
