package ratelimit

// Known counts the keys that the limiter remembers in the process.
func (r *Limiter) Known() (n int) {
	for i := range r.known.shards {
		n += len(r.known.shards[i].keys)
	}
	return n
}

// MaxKnown is the bound of that.
const MaxKnown = shards * keysPerShard
