package front

// latest remembers the keys that were put last: at least as many as most says, and at most twice as many. Older ones
// are forgotten all at once, so that nobody waits while they are looked for.
type latest[K comparable, V any] struct {
	most            int
	recent, earlier map[K]V
}

func (l *latest[K, V]) get(key K) (value V, there bool) {
	if value, there = l.recent[key]; !there {
		value, there = l.earlier[key]
	}
	return value, there
}

func (l *latest[K, V]) put(key K, value V) {
	if _, there := l.recent[key]; l.recent == nil || !there && len(l.recent) >= l.most {
		l.recent, l.earlier = map[K]V{}, l.recent
	}
	l.recent[key] = value
}
