package mux

import "sync"

// chunkSize bounds by how much a queue is larger than what is in it.
const chunkSize = 16 << 10

type chunk struct {
	bytes     [chunkSize]byte
	read, end int
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// queue is bytes that nobody has read.
type queue struct {
	chunks []*chunk // none of them read to its end
	size   int
}

func (q *queue) push(b []byte) {
	q.size += len(b)
	for len(b) > 0 {
		if len(q.chunks) == 0 || q.chunks[len(q.chunks)-1].end == chunkSize {
			q.chunks = append(q.chunks, chunks.Get().(*chunk))
		}
		last := q.chunks[len(q.chunks)-1]
		n := copy(last.bytes[last.end:], b)
		last.end += n
		b = b[n:]
	}
}

func (q *queue) pop(b []byte) (n int) {
	for n < len(b) && len(q.chunks) > 0 {
		first := q.chunks[0]
		m := copy(b[n:], first.bytes[first.read:first.end])
		n += m
		first.read += m
		if first.read == first.end {
			q.chunks = q.chunks[1:]
			first.free()
		}
	}
	q.size -= n
	return n
}

func (q *queue) clear() {
	for _, c := range q.chunks {
		c.free()
	}
	*q = queue{}
}

func (c *chunk) free() {
	c.read, c.end = 0, 0
	chunks.Put(c)
}
