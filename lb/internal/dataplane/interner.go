package dataplane

// interner gives services with equal settings one copy of them, so that thousands of
// services need no more of the processor's cache than one. The copies are immutable.
type interner struct {
	timeouts map[timeouts]*timeouts
	settings map[serviceSettings]*serviceSettings
}

func newInterner() interner {
	return interner{map[timeouts]*timeouts{}, map[serviceSettings]*serviceSettings{}}
}

// intern returns settings that are equal to set.
func (x *interner) intern(set *serviceSettings) *serviceSettings {
	set.timeouts = firstEqual(x.timeouts, set.timeouts)
	return firstEqual(x.settings, set)
}

// retain deletes all settings but those of these services.
func (x *interner) retain(services map[*Service]struct{}) {
	*x = newInterner()
	for v := range services {
		set := v.settings.Load()
		x.timeouts[*set.timeouts], x.settings[*set] = set.timeouts, set
	}
}

// firstEqual is the first value equal to *v that it was asked for.
func firstEqual[T comparable](seen map[T]*T, v *T) *T {
	if first := seen[*v]; first != nil {
		return first
	}
	seen[*v] = v
	return v
}
