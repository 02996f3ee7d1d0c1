package lb

import "errors"

// What calls that name a service or a server may fail with.
var (
	ErrNoService = errors.New("no such service")
	ErrNoServer  = errors.New("no such server")
)
