package lb

// alike has services with equal settings share them, so that thousands of services
// take no more of the cache for them than one does. What it holds is never changed.
type alike struct {
	timeouts map[timeouts]*timeouts
	settings map[serviceSettings]*serviceSettings
}

func newAlike() alike {
	return alike{map[timeouts]*timeouts{}, map[serviceSettings]*serviceSettings{}}
}

// of returns settings that are equal to set.
func (x *alike) of(set *serviceSettings) *serviceSettings {
	set.timeouts = firstOf(x.timeouts, set.timeouts)
	return firstOf(x.settings, set)
}

// firstOf is the first value equal to *v that was asked for.
func firstOf[T comparable](seen map[T]*T, v *T) *T {
	if first := seen[*v]; first != nil {
		return first
	}
	seen[*v] = v
	return v
}
