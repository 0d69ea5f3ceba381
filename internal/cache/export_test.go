package cache

import "time"

// SetLife changes how long a value lives in the process, so that a test can tell what ends it.
func (c *Cache) SetLife(d time.Duration) { c.life = d }

// SetTombstone changes how long nobody fills after an invalidation.
func (c *Cache) SetTombstone(d time.Duration) { c.tombstone = d }

// ValueKey is where a row stands in Redis.
func (c *Cache) ValueKey(table, key string) string { return c.valueKey(table, key) }

// Rows counts what the table keeps in the process.
func (t *Table[T]) Rows() (n int) {
	for i := range t.local.shards {
		n += len(t.local.shards[i].rows)
	}
	return n
}

// MaxRows is the bound of that.
const MaxRows = shards * rowsPerShard

// EncodedAs returns a row as it stands in Redis.
func EncodedAs[T any](value T) string {
	text, err := newCoding[T]().encode(entry[T]{value: value, found: true})
	if err != nil {
		panic(err)
	}
	return text
}

// Decodes tells whether text is a row of type T.
func Decodes[T any](text string) bool {
	e, ok := newCoding[T]().decode(text)
	return ok && e.found
}
